// Renders a conversation for a model whose chat template is one of the known ones
// (runtime/format/chat_templates.h), byte for byte as Jinja would. It is no template engine: another template
// is refused, never guessed.
#pragma once
#include "runtime/base/status.h"
#include <string>
#include <string_view>

namespace bitnet::runtime {

struct ChatMessage {
  std::string_view role, content;
};

/// bos: text of the BOS token (the templates' bos_token). The result is for encode with parse_special and
/// without add_special; special tokens that a message spells out are part of it, as with any template.
Result<std::string> render_chat(std::string_view chat_template, std::string_view bos,
                                const ChatMessage *messages, size_t n_messages, bool add_generation_prompt);

/// The template without what does not change its meaning: blanks inside tags, line ends that the engine's
/// settings (trim_blocks, lstrip_blocks, as transformers sets them) or '-' signs remove, escapes in texts.
std::string normalize_template(std::string_view source);

} // namespace bitnet::runtime
