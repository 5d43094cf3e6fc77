// The one chat template that is known to be wrong in published files.
#include "compiler/import/TokenizerImport.h"

namespace bitnet::import {
namespace {

/// BitNet b1.58 2B-4T, as in its Hugging Face repository: "User: ...<|eot_id|>Assistant: ".
constexpr char kBitNetTemplate[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | "
    "capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = "
    "bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'Assistant: ' }}{% endif %}";

} // namespace

std::string correctChatTemplate(const std::string &source, std::vector<Decision> &decisions) {
  if (source.find("BITNETAssistant") == std::string::npos)
    return source;
  decisions.push_back(
      {"chat template", "the form of the model's Hugging Face repository",
       "the file's own writes 'BITNETAssistant: ' and ends the user's turn with EOS, a conversion mistake",
       "chat_template"});
  return kBitNetTemplate;
}

} // namespace bitnet::import
