#include "runtime/tokenizer/newer_characters.h"
#include "runtime/tokenizer/newer_characters_table.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace bitnet::runtime {
namespace {

bool is_newer(uint32_t code) {
  const auto *after = std::upper_bound(std::begin(kNewerCharacters), std::end(kNewerCharacters), code,
                                       [](uint32_t c, const NewerCharacters &row) { return c < row.first; });
  return after != std::begin(kNewerCharacters) && code <= (after - 1)->last;
}

/// Which blocks of 256 code points hold newer characters: few, and none that everyday text is full of.
struct Blocks {
  bool has[0x1100] = {};
  constexpr Blocks() {
    for (const NewerCharacters &row : kNewerCharacters)
      for (uint32_t block = row.first >> 8; block <= row.last >> 8; ++block)
        has[block] = true;
  }
};
constexpr Blocks kBlocks;
static_assert(kNewerCharacters[0].first >= 0x800, "ASCII and 2-byte characters are passed over");

bool in_category(const NewerCharacters &row, std::string_view category) {
  return std::string_view(row.category).substr(0, category.size()) == category;
}

std::string code_point(uint32_t code) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string digits;
  for (; code > 0; code >>= 4)
    digits.insert(digits.begin(), kDigits[code & 15]);
  return "\\x{" + digits + "}";
}

/// The newer characters of a general category ("L", "Lu") as ranges of a class.
std::string newer_ranges(std::string_view category) {
  std::string ranges;
  for (const auto *row = std::begin(kNewerCharacters); row != std::end(kNewerCharacters); ++row) {
    if (!in_category(*row, category))
      continue;
    const uint32_t first = row->first;
    while (row + 1 != std::end(kNewerCharacters) && row[1].first == row->last + 1 &&
           in_category(row[1], category))
      ++row;
    ranges += code_point(first);
    if (row->last > first)
      ranges += "-" + code_point(row->last);
  }
  return ranges;
}

/// The category of a property ("p{Lu}", "PL") at the start of `text`, and its length; 0: none.
size_t category_at(std::string_view text, std::string_view *category) {
  if (text.size() < 2 || (text[0] != 'p' && text[0] != 'P'))
    return 0;
  if (text[1] != '{') {
    *category = text.substr(1, 1);
    return 2;
  }
  const size_t end = text.find('}');
  if (end == text.npos || end < 3 || end > 4)
    return 0;
  *category = text.substr(2, end - 2);
  return end + 1;
}

} // namespace

bool has_newer_characters(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    for (uint64_t eight; at + 8 <= text.size(); at += 8) {
      std::memcpy(&eight, text.data() + at, 8);
      if (eight & 0x8080808080808080)
        break;
    }
    if (at == text.size())
      break;
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i])); };
    const size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
    if (size == 3 && kBlocks.has[(byte(0) & 15) << 4 | (byte(1) & 63) >> 2] &&
        is_newer((byte(0) & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63)))
      return true;
    if (size == 4 && kBlocks.has[(byte(0) & 7) << 10 | (byte(1) & 63) << 4 | (byte(2) & 63) >> 2] &&
        is_newer((byte(0) & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63)))
      return true;
    at += size;
  }
  return false;
}

std::string with_newer_characters(std::string_view pattern) {
  std::string extended;
  size_t class_start = 0; // where a ']' would be a member; 0: outside of a class
  for (size_t i = 0, size; i < pattern.size(); i += size) {
    const std::string_view rest = pattern.substr(i);
    size = 1;
    if (rest[0] == '\\') {
      std::string_view category;
      const size_t property = category_at(rest.substr(1), &category);
      size = std::min<size_t>(rest.size(), property ? property + 1 : 2);
      const bool negative = rest.size() > 1 && rest[1] == 'P';
      const std::string ranges = property ? newer_ranges(category) : "";
      if (!ranges.empty() && !(negative && class_start)) {
        extended += class_start ? "" : negative ? "[^" : "[";
        extended += "\\p";
        extended += rest.substr(2, size - 2);
        extended += ranges;
        extended += class_start ? "" : "]";
        continue;
      }
    } else if (class_start && rest.substr(0, 2) == "[:") { // [:alpha:]
      const size_t end = rest.find(":]", 2);
      size = end == rest.npos ? 1 : end + 2;
    } else if (!class_start && rest[0] == '[') {
      class_start = i + (rest.substr(1, 1) == "^" ? 2 : 1);
    } else if (class_start && rest[0] == ']' && i > class_start) {
      class_start = 0;
    }
    extended += rest.substr(0, size);
  }
  return extended;
}

} // namespace bitnet::runtime
