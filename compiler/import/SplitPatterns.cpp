// Split patterns of the known pre-tokenizers, in one table, and the check of their PCRE2 form.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include "runtime/format/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr char kQwen2[] =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr char kQwen35[] =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr char kGpt2[] = R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";

/// llama.cpp's form of it, which the passes below have.
constexpr char kGpt2Pass[] = R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))re";

struct Row {
  const char *name;
  PreTokenizer pre;
};
constexpr Row kRows[] = {
    {"llama-bpe", {{format::kLlama3SplitPattern}, true, false, true}},
    {"llama3", {{format::kLlama3SplitPattern}, true, false, true}},
    {"llama-v3", {{format::kLlama3SplitPattern}, true, false, true}},
    {"falcon3", {{format::kLlama3SplitPattern}, true, false, true}},
    {"falcon_e", {{format::kLlama3SplitPattern}, true, false, true}},
    {"qwen2", {{kQwen2}, false, true, false}},
    {"qwen35", {{kQwen35}, false, true, false}},
    {"gpt-2", {{kGpt2}, false, false, false}},
    {"olmo", {{kGpt2}, false, false, false}},
    {"falcon", {{R"([\p{P}$+<=>^~|`]+)", kGpt2Pass, "[0-9][0-9][0-9]"}, false, false, false}},
    {"default", {{R"([\p{P}$+<=>^~|]+)", kGpt2Pass, R"(\p{N}+)", "[0-9][0-9][0-9]"}, false, false, false}},
};

} // namespace

const PreTokenizer *findPreTokenizer(const std::string &name) {
  for (const Row &row : kRows)
    if (name == row.name)
      return &row.pre;
  return nullptr;
}

std::string preTokenizerNames() {
  std::string names;
  for (const Row &row : kRows)
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

Expected<std::vector<std::string>> toPcre2(const PreTokenizer &pre, const std::string &where) {
  std::vector<std::string> splits;
  for (const char *pattern : pre.patterns)
    if (pattern) {
      Expected<std::string> split = toPcre2(pattern, where);
      if (!split)
        return split.takeError();
      splits.push_back(std::move(*split));
    }
  return splits;
}

Expected<std::string> toPcre2(const std::string &pattern, const std::string &where) {
  std::string translated = format::to_pcre2(pattern);
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code *compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, nullptr);
  if (!compiled) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(code, text, sizeof text);
    return failure(where + ": split pattern " + quoted(pattern) +
                   ": expected a regular expression, got: " + reinterpret_cast<const char *>(text));
  }
  pcre2_code_free(compiled);
  return translated;
}

} // namespace bitnet::import
