// Chat templates: any bytes are parsed and, where they are a template, rendered within small limits.
#include "runtime/tokenizer/template_render.h"
#include "test/fuzz/fuzz_target.h"
#include <cstdlib>

using namespace bitnet::runtime;

namespace {

void check(const Status &status) {
  if (status.message().empty() || status.message().find('\n') != std::string::npos)
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const auto steps = parse_template({reinterpret_cast<const char *>(data), size});
  if (!steps.ok()) {
    check(steps.status());
    return 0;
  }
  TemplateValue::List messages;
  for (const char *role : {"system", "user", "assistant"})
    messages.push_back(TemplateValue::of_map({{"role", role}, {"content", " caf\xC3\xA9 \xFF</think>\n"}}));
  const TemplateLimits limits{20'000, 1 << 14};
  const auto text = render_template(*steps, {{"messages", messages}, {"bos_token", "<s>"}}, limits);
  if (!text.ok())
    check(text.status());
  else if (text->size() > limits.text_bytes)
    std::abort();
  return 0;
}

namespace bitnet::fuzz {

std::vector<std::string> seeds() {
  return {R"({%- set ns = namespace(last=messages|length - 1, on=true) %}
{%- for m in messages[::-1] if m.role != 'x' %}
    {%- set at = (messages|length - 1) - loop.index0 %}
    {%- if ns.on and m.role == "user" and not(m.content.startswith('<a>') or m.content.endswith("b\u00e9")) %}
        {%- set ns.last = at %}{% else %}{% continue %}
    {%- endif %}
{%- else %}none{%- endfor %}
{{- bos_token ~ ns.last + 1 // 2 % 3 * 4 }}{# c #})",
          R"({% macro turn(who, words='x', n=1) -%}
<{{ who | capitalize }}>{{ words.split('</think>')[-1].lstrip('\n') | trim }}
{%- endmacro %}{% for m in messages %}{{ turn(m['role'], words=m.content) if loop.first else [m, 1, none] | tojson }}
{% endfor %}{% set y %}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{% endset %}
{{ y | default('z', true) | replace('1', '22') }}{{ {'a': 1}.get('a', 2) in [1, 2] is defined }})",
          "{% for i in range(3) %}{% for k, v in {'a': 'b'}.items() %}{{ [k, v] | join(', ') }}{% break %}{% "
          "endfor %}"
          "{% endfor %}{{ raise_exception('no') if absent is none or 'a' < 'b' }}{% generation %}x{% "
          "endgeneration %}"};
}

} // namespace bitnet::fuzz
