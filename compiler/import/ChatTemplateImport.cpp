// The one chat template that is known to be wrong in published files.
#include "compiler/import/TokenizerImport.h"
#include "runtime/format/chat_templates.h"

namespace bitnet::import {

std::string correctChatTemplate(const std::string &source, std::vector<Decision> &decisions) {
  if (source.find("BITNETAssistant") == std::string::npos)
    return source;
  decisions.push_back(
      {"chat template", "the form of the model's Hugging Face repository",
       "the file's own writes 'BITNETAssistant: ' and ends the user's turn with EOS, a conversion mistake",
       "chat_template"});
  return format::kChatBitNet;
}

} // namespace bitnet::import
