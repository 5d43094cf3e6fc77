// The regular expressions that cut text into pieces before byte-pair encoding: Llama 3's, and how one is
// written for PCRE2. What a bundle holds is the PCRE2 form, and a rank file opened without a bundle must
// split alike, so importer and runtime share this. Matching is runtime/tokenizer/splitter.h.
#pragma once
#include <string>
#include <string_view>

namespace bitnet::format {

/// As Hugging Face and tiktoken write it.
inline constexpr char kLlama3SplitPattern[] =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

/// From the dialect of such files (Oniguruma, Rust's regex) to PCRE2: \s is Unicode White_Space there, in
/// PCRE2 it has U+180E too. Not checked: PCRE2 says what it has against a pattern.
std::string to_pcre2(std::string_view pattern);

} // namespace bitnet::format
