// Pieces of a SentencePiece vocabulary as text: U+2581 stands for a space, "<0xNN>" for a byte.
#pragma once
#include <string>
#include <string_view>

namespace bitnet::runtime {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81"; // U+2581

inline std::string with_spaces(std::string_view piece) {
  std::string text;
  for (size_t at = 0; at < piece.size();) {
    if (piece.substr(at, kSpaceMark.size()) == kSpaceMark) {
      text += ' ';
      at += kSpaceMark.size();
    } else {
      text += piece[at++];
    }
  }
  return text;
}

/// Appends `text` with a mark for each space.
inline void append_with_marks(std::string_view text, std::string *marked) {
  for (const char c : text)
    if (c == ' ')
      marked->append(kSpaceMark);
    else
      marked->push_back(c);
}

/// Value of a byte piece "<0xNN>"; -1 if it is none.
inline int byte_value(std::string_view piece) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>')
    return -1;
  const int high = digit(piece[3]), low = digit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

} // namespace bitnet::runtime
