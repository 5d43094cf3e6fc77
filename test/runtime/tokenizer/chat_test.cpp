// Chat templates: what Jinja2 makes of them (test/data/chat-cases.json, made by make_chat_cases.py beside
// it), what is refused, and the limits of hostile ones.
#include "runtime/tokenizer/chat.h"
#include "runtime/tokenizer/template_render.h"
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace bitnet::runtime {
namespace {

constexpr ChatMessage kTalk[] = {{"system", "Be brief."}, {"user", "  Hi!\n\u3000"}, {"assistant", "Hello."}};

std::string render(const std::string &source, bool prompt = true) {
  const auto text = render_chat(source, {"<s>", "</s>", ""}, kTalk, 3, prompt);
  return text.ok() ? *text : text.status().message();
}

TEST(Chat, RendersAsJinja2) {
  const json file = json::parse(std::ifstream(BITNET_TEST_DATA "/chat-cases.json"));
  size_t rendered = 0, failed = 0;
  for (const json &one : file["cases"]) {
    const bool family = one.contains("family");
    const std::string source = family ? file["families"][one["family"].get<std::string>()] : one["template"];
    SCOPED_TRACE(source);
    std::vector<ChatMessage> messages;
    for (const json &message : one["messages"])
      messages.push_back({message["role"].get_ref<const std::string &>(),
                          message["content"].get_ref<const std::string &>()});
    const auto text =
        render_chat(source, {"<bos>", "<eos>", ""}, messages.data(), messages.size(), one["prompt"]);
    if (text.ok()) {
      ASSERT_TRUE(one.contains("text")) << *text;
      EXPECT_EQ(*text, one["text"].get<std::string>());
      ++rendered;
      continue;
    }
    EXPECT_EQ(text.status().message().find('\n'), std::string::npos) << text.status().message();
    if (text.status().code() == StatusCode::unsupported) { // what is beyond this part of the language
      EXPECT_FALSE(family) << text.status().message();
    } else {
      EXPECT_EQ(text.status().code(), StatusCode::invalid_argument);
      EXPECT_TRUE(one.contains("fails")) << text.status().message();
      ++failed;
    }
  }
  EXPECT_GT(rendered, 200u);
  EXPECT_GT(failed, 30u);
}

TEST(Chat, ReasonsOfATemplateAreHandedOn) {
  EXPECT_EQ(render("{{ raise_exception('roles must\nalternate') }}"), "chat template: roles must alternate");
  EXPECT_EQ(render("\n{{ messages[9].role }}"),
            "chat template: line 2: expected something to take 'role' of, got something undefined");
  EXPECT_EQ(render("{{ messages | selectattr('role', 'a\\nb\\x00') }}").find('\n'), std::string::npos);
  EXPECT_EQ(render("{{ 'a' + none }}"), "chat template: line 1: cannot apply '+' to a text and none");
}

TEST(Chat, TakesVariablesAsTextOfACommandLine) {
  const std::string source = "{{ enable_thinking is defined and enable_thinking is false }} {{ a is true }} "
                             "{{ b is none }} {{ c + 1 }} {{ d }} {{ e is string }}";
  const auto render = [&](const std::vector<TemplateArgument> &arguments) {
    const auto text = render_chat(source, {}, kTalk, 3, true, arguments);
    return text.ok() ? *text : text.status().message();
  };
  EXPECT_EQ(render({{"enable_thinking", "false"},
                    {"a", "true"},
                    {"b", "none"},
                    {"c", "-3"},
                    {"d", "null"},
                    {"e", "1.5"}}),
            "True True True -2 null True");
  EXPECT_EQ(render({{"c", "1"}, {"enable_thinkin", "false"}}),
            "chat template: variable 'enable_thinkin': expected one that the template reads, got none of "
            "this name");
  EXPECT_EQ(render({{"messages", "x"}}),
            "chat template: variable 'messages': expected another name, this one is set");
  EXPECT_EQ(render({{"c", "1"}, {"c", "2"}}),
            "chat template: variable 'c': expected another name, this one is set");
}

TEST(Chat, RefusesWhatItDoesNotKnow) {
  const auto none = render_chat("", {}, nullptr, 0, true);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), StatusCode::unsupported);
  EXPECT_EQ(none.status().message(), "chat template: the model has none; give the text as a prompt");
  for (const char *source : {"{{",
                             "{% for",
                             "{#",
                             "{%-",
                             "{%%}",
                             "{{ }}",
                             "{{ 'a }}",
                             "{{ '\\q' '\\7' }}",
                             "{% if x %}",
                             "{% endif %}",
                             "{% else %}",
                             "{% raw %}{% endraw %}",
                             "{% include 'x' %}",
                             "{% import 'x' as y %}",
                             "{% call f() %}",
                             "{{ 1.5 }}",
                             "{{ 99999999999999999999 }}",
                             "{{ a, b }}",
                             "{{ a.1 }}",
                             "{{ x is defined if y }}",
                             "{{ 2 ** 3 }}",
                             "{% break %}",
                             "{% for a in b recursive %}{% endfor %}",
                             "{{ ''.__class__ }}",
                             "{{ messages.append(1) }}",
                             "{{ messages.__class__ }}",
                             "{{ messages[0].items }}",
                             "{{ messages[0]['__class__'] }}",
                             "{{ 'a' | safe }}",
                             "{{ messages }}",
                             "{{ 'a' * 9 }}",
                             "{{ '%s' % 1 }}",
                             "{{ '{}'.format(1) }}",
                             "{{ cycler(1) }}",
                             "{{ lipsum() }}",
                             "{{ 'é' | upper }}",
                             "{{ range }}",
                             "{{ 'a' | wordcount }}",
                             "{{ 1 is odd }}"}) {
    const auto refused = render_chat(source, {}, kTalk, 3, true);
    ASSERT_FALSE(refused.ok()) << source;
    EXPECT_EQ(refused.status().code(), StatusCode::unsupported) << source;
    EXPECT_NE(refused.status().message().find("; render it with a Jinja engine (the Python package does)"),
              std::string::npos);
  }
  EXPECT_EQ(render("a\n{% if %}"),
            "chat template: line 2: expected a value, got '%}'; render it with a Jinja engine "
            "(the Python package does) and give the text as a prompt");
}

TEST(Chat, HostileTemplatesComeToAnEnd) {
  const auto error = [](const std::string &source, uint64_t steps = 100'000) {
    auto parsed = parse_template(source);
    if (!parsed.ok())
      return std::string(parsed.status().message());
    const auto text = render_template(*parsed, {}, {steps, 1 << 16});
    return text.ok() ? "" : text.status().message();
  };
  const std::string steps = "line 1: expected at most 100000 steps";
  const std::string loops = "{% for a in range(999) %}{% for b in range(999) %}x{% endfor %}{% endfor %}";
  EXPECT_EQ(error(loops), steps);
  EXPECT_EQ(error(loops, 10'000'000), "line 1: expected texts of at most 65536 bytes");
  EXPECT_EQ(error("{% for a in range(999999999999) %}{% endfor %}"), steps);
  EXPECT_EQ(
      error(
          "{% set ns = namespace(x='ab') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
      "line 1: expected texts of at most 65536 bytes");
  EXPECT_EQ(
      error(
          "{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
      steps);
  EXPECT_EQ(
      error("{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = [ns.x] %}{% endfor %}"),
      "line 1: expected lists nested at most 64 deep");
  EXPECT_EQ(error("{% set ns = namespace() %}{% set ns.x = ns %}"),
            "line 1: expected what chat templates commonly use, got a namespace in a namespace");
  EXPECT_EQ(error("{% set ns = namespace() %}{% set ns.x = [ns] %}"),
            "line 1: expected what chat templates commonly use, got a namespace in a list");
  EXPECT_EQ(error("{% macro f() %}{% for a in [1] %}{{ [f()] ~ 1 }}{% endfor %}{% endmacro %}{{ f() }}"),
            "line 1: expected blocks, expressions and calls nested at most 200 deep");
  // Of one another, made twice: to compare all of them takes 2^60 steps.
  const std::string twice = "{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  EXPECT_EQ(error("{% set ns = namespace(x=1) %}" + twice + "{% set y = ns.x %}{% set ns.x = 1 %}" + twice +
                  "{{ ns.x == y }}"),
            steps);
  EXPECT_EQ(error("{% set ns = namespace(x='ab') %}{% for a in range(14) %}{% set ns.x = ns.x ~ ns.x %}"
                  "{% endfor %}{% for a in range(999) %}{% if ns.x.strip(ns.x) %}{% endif %}{% endfor %}"),
            steps);
  EXPECT_EQ(error("{% set ns = namespace(x='ab') %}{% for a in range(14) %}{% set ns.x = ns.x ~ ns.x %}"
                  "{% endfor %}{% for a in range(999) %}{% if ns.x < ns.x ~ 'c' %}{% endif %}{% endfor %}"),
            steps);
  const auto row = [](size_t n, const std::string &part, const std::string &end = "") {
    std::string all;
    for (size_t i = 0; i < n; ++i)
      all += part;
    return all + end;
  };
  EXPECT_EQ(error("{{ " + row(200, "(", "a") + row(200, ")", " }}")),
            "line 1: expected nesting of at most 100, got '('");
  const std::string words = "line 1: expected at most 1000 words and signs in a tag";
  for (const char *part : {" + a", " and a", " if a", " | f", " is f", ".a", "[0]", "()", " == a"})
    EXPECT_EQ(error("{{ a" + row(10000, part, " }}")), words) << part;
  EXPECT_EQ(error("{{ 1" + row(197, " + 1", " }}")), "");
  EXPECT_EQ(error("{{ 1" + row(197, " if 1", " }}")), "");
  EXPECT_EQ(error("{% macro f() %}{{ g(1" + row(150, " + 1") + ") }}{% endmacro %}" + "{% macro g(a) %}{{ a" +
                  row(99, " + 1") + " }}{% endmacro %}{{ 1" + row(99, " + f()", " }}")),
            "line 1: expected blocks, expressions and calls nested at most 200 deep");
  std::string blocks;
  for (int i = 0; i < 10000; ++i)
    blocks += "{% if a %}";
  EXPECT_EQ(error(blocks), "line 1: expected nesting of at most 100, got 'a'");
  std::string elifs = "{% if a %}";
  for (int i = 0; i < 10000; ++i)
    elifs += "{% elif a %}";
  EXPECT_NE(error(elifs), "");
}

} // namespace
} // namespace bitnet::runtime
