// See utf8.h.
#include "runtime/tokenizer/utf8.h"

#include <cstdlib>
#include <cstring>
#include <utf8proc.h>

namespace bitnet::runtime {

Utf8Char decode_utf8_char(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80)
    return {first, 1, false};
  // Length and the range of the second byte (Unicode table 3-7): it excludes overlong forms, surrogates and >
  // U+10FFFF.
  uint8_t size, low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0)
      low = 0xA0;
    if (first == 0xED)
      high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0)
      low = 0x90;
    if (first == 0xF4)
      high = 0x8F;
  } else {
    return {-1, 1, false};
  }
  int32_t code_point = first & (0xFF >> (size + 1));
  for (uint8_t i = 1; i < size; ++i) {
    if (i == text.size())
      return {-1, i, true};
    if (byte(i) < low || byte(i) > high)
      return {-1, i, false};
    code_point = code_point << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code_point, size, false};
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    // Eight ASCII bytes at a time: most text is.
    uint64_t word;
    if (text.size() - at >= sizeof word) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if (!(word & 0x8080808080808080u)) {
        at += sizeof word;
        continue;
      }
    }
    const Utf8Char c = decode_utf8_char(text.substr(at));
    if (c.code_point < 0)
      return at;
    at += c.size;
  }
  return at;
}

bool is_white_space(int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word_character(int32_t code_point) {
  switch (utf8proc_category(code_point)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default: // Join_Control, and the symbols that are Alphabetic: letters in circles and squares
    return code_point == 0x200C || code_point == 0x200D || (code_point >= 0x24B6 && code_point <= 0x24E9) ||
           (code_point >= 0x1F130 && code_point <= 0x1F149) ||
           (code_point >= 0x1F150 && code_point <= 0x1F169) ||
           (code_point >= 0x1F170 && code_point <= 0x1F189);
  }
}

bool normalize_nfc(std::string_view text, std::string *out) {
  bool ascii = true;
  for (const char c : text)
    ascii &= static_cast<uint8_t>(c) < 0x80;
  if (ascii) {
    out->assign(text);
    return true;
  }
  utf8proc_uint8_t *normalized = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t *>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &normalized, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (size < 0)
    return false;
  out->assign(reinterpret_cast<const char *>(normalized), static_cast<size_t>(size));
  std::free(normalized);
  return true;
}

void Utf8Stream::put(std::string_view bytes, bool last, std::string *out) {
  while (!bytes.empty()) {
    const size_t valid = valid_utf8_prefix(bytes);
    out->append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty())
      break;
    const Utf8Char c = decode_utf8_char(bytes);
    if (c.truncated && !last) {
      n_held_ = static_cast<uint8_t>(bytes.size()); // ≤ 3: a truncated character
      std::memcpy(held_, bytes.data(), n_held_);
      return;
    }
    out->append("\xEF\xBF\xBD");
    bytes.remove_prefix(c.size);
  }
}

void Utf8Stream::append(std::string_view bytes, std::string *out) {
  if (n_held_ == 0)
    return put(bytes, false, out);
  // Complete the held character byte by byte, so that nothing needs to be joined; then go on with the rest.
  while (n_held_ > 0 && !bytes.empty()) {
    char joined[4];
    std::memcpy(joined, held_, n_held_);
    joined[n_held_] = bytes.front();
    const std::string_view candidate(joined, n_held_ + 1u);
    const Utf8Char c = decode_utf8_char(candidate);
    if (c.code_point < 0 &&
        !c.truncated) { // the held bytes are a maximal subpart; the new byte starts afresh
      out->append("\xEF\xBF\xBD");
      n_held_ = 0;
      break;
    }
    bytes.remove_prefix(1);
    n_held_ = 0;
    put(candidate, false, out);
  }
  put(bytes, false, out);
}

void Utf8Stream::finish(std::string *out) {
  const std::string_view held(held_, n_held_);
  n_held_ = 0;
  put(held, true, out);
}

} // namespace bitnet::runtime
