// Tokenizers without a model. Files of other kinds (tokenizer.json, SentencePiece, GGUF) are the compiler's
// to read: it writes them as the second kind below (bitnetc --emit=tokenizer).
#pragma once
#include "runtime/tokenizer/tokenizer.h"

namespace bitnet::runtime {

/// Opens a bundle's tokenizer section (nothing else of the bundle is read but its index), a serialized
/// tokenizer (runtime/format/tokenizer.fbs), or a tiktoken rank file, told apart by their content. Errors
/// name the file.
Result<std::unique_ptr<Tokenizer>> open_tokenizer(const std::string &path);

} // namespace bitnet::runtime
