// Letters, numbers and so on that PCRE2's tables may not have yet: PCRE2 10.42 ends with Unicode 14.0, while
// the tokenizers of the models' makers know 16.0 (tiktoken 0.14.0). Not for \w, \d and scripts, which split
// patterns do not use.
#pragma once
#include <string>
#include <string_view>

namespace bitnet::runtime {

/// Has well-formed text a character of Unicode 16.0 that 14.0 has not?
bool has_newer_characters(std::string_view text);

/// A PCRE2 pattern with these characters added to its general categories: \p{L} becomes [\p{L}\x{1c89}-...],
/// likewise \p{Lu}, \pL, and \P{L} outside of a class. On text without newer characters it matches as before,
/// some percent slower.
std::string with_newer_characters(std::string_view pattern);

} // namespace bitnet::runtime
