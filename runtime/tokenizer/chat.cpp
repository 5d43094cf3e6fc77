// See chat.h.
#include "runtime/tokenizer/chat.h"
#include "runtime/tokenizer/template_render.h"

namespace bitnet::runtime {
namespace {

/// The variables that transformers gives a template.
TemplateValue::Map variables(const ChatTokens &tokens, const ChatMessage *messages, size_t n_messages,
                             bool add_generation_prompt) {
  TemplateValue::List all;
  all.reserve(n_messages);
  for (size_t i = 0; i < n_messages; ++i)
    all.push_back(TemplateValue::of_map(
        {{"role", std::string(messages[i].role)}, {"content", std::string(messages[i].content)}}));
  return {{"messages", std::move(all)},
          {"add_generation_prompt", TemplateValue::of_truth(add_generation_prompt)},
          {"tools", TemplateValue::of_none()},
          {"documents", TemplateValue::of_none()},
          {"bos_token", std::string(tokens.bos)},
          {"eos_token", std::string(tokens.eos)},
          {"pad_token", std::string(tokens.pad)}};
}

} // namespace

Result<std::string> render_chat(std::string_view chat_template, const ChatTokens &tokens,
                                const ChatMessage *messages, size_t n_messages, bool add_generation_prompt) {
  if (chat_template.empty())
    return unsupported("chat template: the model has none; give the text as a prompt");
  Status failed;
  auto steps = parse_template(chat_template);
  if (steps.ok()) {
    auto text = render_template(*steps, variables(tokens, messages, n_messages, add_generation_prompt));
    if (text.ok())
      return text;
    failed = std::move(text).status();
  } else {
    failed = std::move(steps).status();
  }
  if (failed.code() == StatusCode::unsupported)
    failed = unsupported(
        failed.message() +
        "; render it with a Jinja engine (the Python package does) and give the text as a prompt");
  return std::move(failed).in("chat template");
}

} // namespace bitnet::runtime
