// See stop_strings.h.
#include "runtime/sample/stop_strings.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {

Result<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  for (size_t i = 0; i < strings.size(); ++i)
    if (strings[i].empty() || valid_utf8_prefix(strings[i]) != strings[i].size())
      return invalid_argument("stop string " + std::to_string(i) + ": expected UTF-8 text, got " +
                              (strings[i].empty() ? "nothing" : "ill-formed bytes"));
  StopStrings result;
  result.strings_ = std::move(strings);
  return result;
}

bool StopStrings::append(std::string_view text, std::string *out) {
  held_ += text;
  size_t found = std::string::npos;
  for (const std::string &stop : strings_)
    found = std::min(found, held_.find(stop));
  if (found != std::string::npos) {
    out->append(held_, 0, found);
    held_.clear();
    return true;
  }
  // Hold back the longest end of the text that begins some stop string.
  size_t hold = 0;
  for (const std::string &stop : strings_)
    for (size_t n = std::min(held_.size(), stop.size() - 1); n > hold; --n)
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0)
        hold = n;
  out->append(held_, 0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return false;
}

void StopStrings::finish(std::string *out) {
  out->append(held_);
  held_.clear();
}

} // namespace bitnet::runtime
