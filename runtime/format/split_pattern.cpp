#include "runtime/format/split_pattern.h"

namespace bitnet::format {

std::string to_pcre2(std::string_view pattern) {
  std::string translated;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      translated += pattern[i];
      continue;
    }
    ++i;
    if (pattern[i] == 's')
      translated += "\\p{wspace}";
    else if (pattern[i] == 'S')
      translated += "\\P{wspace}";
    else
      translated += {'\\', pattern[i]};
  }
  return translated;
}

} // namespace bitnet::format
