// A tiktoken rank file ("base64 rank" lines) as Llama 3 uses it: ids are ranks, there are no merges, and 256
// special tokens follow the last rank. The importer puts such a vocabulary into a bundle, the runtime opens
// it without a model; both must get the same tokens, so reading it stands here. Serializing is theirs.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::format {

/// Is the first line base64, a space and a number?
bool looks_like_rank_file(std::string_view text);

/// The bytes of each token in the order of ranks: every rank from 0 on exactly once, none empty. On a mistake
/// false, and *error says which line or rank ("line 3: expected 'base64 rank', got ..."), to come after the
/// file's name. Ranks must be below `max_tokens`.
bool parse_rank_file(std::string_view text, int64_t max_tokens, std::vector<std::string> *tokens,
                     std::string *error);

/// Llama 3's special tokens, as offsets from the number of ranks.
constexpr int32_t kLlama3Specials = 256;
constexpr int32_t kLlama3BeginOfText = 0, kLlama3EndOfText = 1, kLlama3EndOfTurn = 9;
constexpr int32_t kLlama3Pad =
    kLlama3Specials - 1; ///< the last reserved one, as Microsoft's tokenizer has it
/// Their names in that order.
std::vector<std::string> llama3_special_names();

} // namespace bitnet::format
