#include "runtime/format/rank_file.h"
#include "runtime/format/quoted.h"

#include <algorithm>
#include <charconv>

namespace bitnet::format {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos)
    return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// Value of a base64 digit, or -1.
int digit(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/// Strict base64 with padding.
bool decode_base64(std::string_view text, std::string *bytes) {
  bytes->clear();
  if (text.empty() || text.size() % 4 != 0)
    return false;
  const size_t padding = text.substr(text.size() - 2) == "==" ? 2 : text.back() == '=' ? 1 : 0;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 4; ++j) {
      const bool padded = j >= text.size() - padding;
      const int value = padded ? 0 : digit(text[j]);
      if (value < 0)
        return false;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    for (int shift = 16; shift >= 0; shift -= 8)
      *bytes += static_cast<char>(group >> shift);
  }
  bytes->resize(bytes->size() - padding);
  return true;
}

struct Line {
  std::string_view base64, rank;
};

/// Divided at the first space.
Line divided(std::string_view line) {
  const size_t space = line.find(' ');
  return {line.substr(0, space), space == line.npos ? std::string_view() : line.substr(space + 1)};
}

bool parse_rank(std::string_view text, int64_t max_tokens, int64_t *rank) {
  const char *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *rank);
  return error == std::errc() && stop == end && *rank >= 0 && *rank < max_tokens;
}

} // namespace

bool looks_like_rank_file(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n\v\f\r");
  if (begin == text.npos)
    return false;
  text.remove_prefix(begin);
  const Line line = divided(trimmed(text.substr(0, text.find('\n'))));
  return !line.base64.empty() && line.base64.size() % 4 == 0 && !line.rank.empty() &&
         std::all_of(line.rank.begin(), line.rank.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         std::all_of(line.base64.begin(), line.base64.end(),
                     [](char c) { return c == '=' || digit(c) >= 0; });
}

bool parse_rank_file(std::string_view text, int64_t max_tokens, std::vector<std::string> *tokens,
                     std::string *error) {
  tokens->clear();
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    ++number;
    if (line.empty())
      continue;
    const Line parts = divided(line);
    std::string bytes;
    int64_t rank = 0;
    if (!decode_base64(parts.base64, &bytes) || !parse_rank(parts.rank, max_tokens, &rank)) {
      *error = "line " + std::to_string(number) + ": expected 'base64 rank', got " + quoted(line);
      return false;
    }
    if (static_cast<size_t>(rank) >= tokens->size())
      tokens->resize(static_cast<size_t>(rank) + 1);
    if (!(*tokens)[rank].empty()) {
      *error = "line " + std::to_string(number) + ": rank " + std::to_string(rank) + " is there twice";
      return false;
    }
    (*tokens)[rank] = std::move(bytes);
  }
  if (tokens->empty()) {
    *error = "expected lines of 'base64 rank', got none";
    return false;
  }
  for (size_t rank = 0; rank < tokens->size(); ++rank)
    if ((*tokens)[rank].empty()) {
      *error = "expected ranks 0 to " + std::to_string(tokens->size() - 1) + ", got none for " +
               std::to_string(rank);
      return false;
    }
  return true;
}

std::vector<std::string> llama3_special_names() {
  std::vector<std::string> names{"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto reserve = [&](int n) {
    for (int i = 0; i < n; ++i)
      names.push_back("<|reserved_special_token_" + std::to_string(reserved++) + "|>");
  };
  reserve(4);
  names.insert(names.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  reserve(1);
  names.push_back("<|eot_id|>");
  reserve(kLlama3Specials - static_cast<int>(names.size()));
  return names;
}

} // namespace bitnet::format
