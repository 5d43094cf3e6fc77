// See template_value.h.
#include "runtime/tokenizer/template_value.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {

using Value = TemplateValue;

bool is_true(const Value &value) {
  switch (value.kind) {
  case Value::undefined:
  case Value::none:
    return false;
  case Value::truth:
  case Value::integer:
    return value.number != 0;
  case Value::text:
    return !value.str().empty();
  case Value::list:
    return !value.items().empty();
  case Value::map:
    return !value.entries().empty();
  case Value::name_space:
  case Value::macro:
    break;
  }
  return true;
}

bool is_equal(const Value &a, const Value &b, uint64_t *left) {
  if (*left == 0)
    return false;
  --*left;
  if (a.is_number() && b.is_number())
    return a.number == b.number;
  if (a.kind != b.kind)
    return false;
  switch (a.kind) {
  case Value::text:
    if (a.str().size() != b.str().size())
      return false;
    *left -= std::min<uint64_t>(*left, a.str().size() / 64);
    return a.str() == b.str();
  case Value::list:
    return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                      [left](const Value &one, const Value &other) { return is_equal(one, other, left); });
  case Value::map: // the order does not count
    return a.entries().size() == b.entries().size() &&
           std::all_of(a.entries().begin(), a.entries().end(), [&](const auto &entry) {
             *left -= std::min<uint64_t>(*left, b.entries().size() / 16);
             const Value *other = b.entry(entry.first);
             return other && is_equal(entry.second, *other, left);
           });
  case Value::name_space:
    return &a.entries() == &b.entries();
  case Value::macro:
    return a.macro_step == b.macro_step;
  default:
    return true;
  }
}

const char *kind_name(Value::Kind kind) {
  static constexpr const char *kNames[] = {"something undefined", "none",        "true or false",
                                           "an integer",          "a text",      "a list",
                                           "a dictionary",        "a namespace", "a macro"};
  return kNames[kind];
}

std::vector<size_t> character_starts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size();) {
    starts.push_back(at);
    const Utf8Char c = decode_utf8_char(text.substr(at));
    at += c.code_point < 0 ? 1 : c.size;
  }
  starts.push_back(text.size());
  return starts;
}

std::string_view strip_text(std::string_view text, bool front, bool back,
                            const std::string_view *characters) {
  const std::vector<size_t> starts = character_starts(characters ? *characters : std::string_view());
  const auto strips = [&](std::string_view c) {
    if (characters) {
      for (size_t i = 0; i + 1 < starts.size(); ++i)
        if (characters->substr(starts[i], starts[i + 1] - starts[i]) == c)
          return true;
      return false;
    }
    const int32_t code = decode_utf8_char(c).code_point;
    return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
  };
  while (front && !text.empty()) {
    const Utf8Char c = decode_utf8_char(text);
    const size_t size = c.code_point < 0 ? 1 : c.size;
    if (!strips(text.substr(0, size)))
      break;
    text.remove_prefix(size);
  }
  while (back && !text.empty()) {
    size_t size = 1; // the last character: the longest end of at most 4 bytes that is one
    for (size_t longer = 2; longer <= 4 && longer <= text.size(); ++longer) {
      const Utf8Char c = decode_utf8_char(text.substr(text.size() - longer));
      if (c.code_point >= 0 && c.size == longer)
        size = longer;
    }
    if (!strips(text.substr(text.size() - size)))
      break;
    text.remove_suffix(size);
  }
  return text;
}

} // namespace bitnet::runtime
