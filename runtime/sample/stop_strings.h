// Finds stop strings in text that arrives in parts. Text that could still become a stop string is held back;
// everything else is let through at once.
#pragma once
#include "runtime/base/status.h"
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::runtime {

/// Used by one thread at a time.
class StopStrings {
public:
  /// Each string must be non-empty, well-formed UTF-8.
  static Result<StopStrings> create(std::vector<std::string> strings);

  /// Adds text; appends to *out what is certain not to belong to a stop string. True: a stop string was
  /// found, its beginning was the end of *out, and nothing may be added any more.
  bool append(std::string_view text, std::string *out);
  /// The text ends here: appends what was held back.
  void finish(std::string *out);

private:
  std::vector<std::string> strings_;
  std::string held_;
};

} // namespace bitnet::runtime
