// How a name or text from a file stands in an error message: in quotes, on one line, whatever its bytes are.
#pragma once
#include <string>
#include <string_view>

namespace bitnet::format {

/// Control and non-ASCII bytes as \xNN, at most 80 bytes.
inline std::string quoted(std::string_view name) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "'";
  for (const unsigned char c : name.substr(0, 80))
    if (c >= 0x20 && c < 0x7f)
      text += static_cast<char>(c);
    else
      text += {'\\', 'x', kDigits[c >> 4], kDigits[c & 15]};
  return text + (name.size() > 80 ? "...'" : "'");
}

} // namespace bitnet::format
