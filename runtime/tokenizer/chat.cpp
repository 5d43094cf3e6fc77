// See chat.h.
#include "runtime/tokenizer/chat.h"
#include "runtime/format/quoted.h"
#include "runtime/tokenizer/template_render.h"

#include <algorithm>
#include <cctype>
#include <charconv>

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

TemplateValue value_of(std::string_view text) {
  if (text == "true" || text == "True" || text == "false" || text == "False")
    return TemplateValue::of_truth(text.size() == 4);
  if (text == "none" || text == "None")
    return TemplateValue::of_none();
  int64_t number = 0;
  const char *end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  return read.ec == std::errc() && read.ptr == end ? TemplateValue::of(number)
                                                   : TemplateValue(std::string(text));
}

bool holds_word(std::string_view source, std::string_view word) {
  const auto in_word = [&](size_t at) {
    return at < source.size() && (std::isalnum(static_cast<uint8_t>(source[at])) || source[at] == '_');
  };
  for (size_t at = 0; (at = source.find(word, at)) != std::string_view::npos; ++at)
    if (!in_word(at - 1) && !in_word(at + word.size()))
      return true;
  return false;
}

/// Jinja takes a misspelt name in silence.
Status add_arguments(std::string_view chat_template, const std::vector<TemplateArgument> &arguments,
                     TemplateValue::Map *variables) {
  for (const TemplateArgument &one : arguments) {
    const auto same = std::find_if(variables->begin(), variables->end(),
                                   [&](const auto &known) { return known.first == one.name; });
    if (same != variables->end() || one.name.empty() || !holds_word(chat_template, one.name))
      return invalid_argument("variable " + format::quoted(one.name) + ": expected " +
                              (same != variables->end()
                                   ? "another name, this one is set"
                                   : "one that the template reads, got none of this name"));
    variables->emplace_back(one.name, value_of(one.value));
  }
  return {};
}

} // namespace

Result<std::string> render_chat(std::string_view chat_template, const ChatTokens &tokens,
                                const ChatMessage *messages, size_t n_messages, bool add_generation_prompt,
                                const std::vector<TemplateArgument> &arguments) {
  if (chat_template.empty())
    return unsupported("chat template: the model has none; give the text as a prompt");
  TemplateValue::Map names = variables(tokens, messages, n_messages, add_generation_prompt);
  Status failed = add_arguments(chat_template, arguments, &names);
  if (!failed.ok())
    return std::move(failed).in("chat template");
  auto steps = parse_template(chat_template);
  if (steps.ok()) {
    auto text = render_template(*steps, std::move(names));
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
