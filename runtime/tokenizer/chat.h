// Renders a conversation by a model's chat template (Jinja): the part of the language that chat templates
// use (template_syntax.h), rendered as the real engine would, byte for byte. What goes beyond it is refused,
// never guessed.
#pragma once
#include "runtime/base/status.h"
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::runtime {

struct ChatMessage {
  std::string_view role, content;
};

/// Texts of special tokens, which templates call bos_token and so on; empty = none.
struct ChatTokens {
  std::string_view bos, eos, pad;
};

/// One more variable of the template. A value of true, false, none or an integer is that, any other a text.
struct TemplateArgument {
  std::string_view name, value;
};

/// The result is for encode with parse_special and without add_special; special tokens that a message spells
/// out are part of it, as with any template.
Result<std::string> render_chat(std::string_view chat_template, const ChatTokens &tokens,
                                const ChatMessage *messages, size_t n_messages, bool add_generation_prompt,
                                const std::vector<TemplateArgument> &arguments = {});

} // namespace bitnet::runtime
