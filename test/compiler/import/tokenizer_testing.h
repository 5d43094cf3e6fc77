// What the tokenizer tests share: an imported tokenizer, loaded by the runtime as it would be from a bundle.
#pragma once
#include "compiler/import/TokenizerImport.h"
#include "runtime/tokenizer/tokenizer.h"
#include "test/compiler/import/import_testing.h"
#include <nlohmann/json.hpp>

namespace bitnet::import {

/// nullptr after a failed expectation.
inline std::unique_ptr<runtime::Tokenizer> loadImported(llvm::Expected<ImportedTokenizer> imported) {
  if (!imported) {
    ADD_FAILURE() << llvm::toString(imported.takeError());
    return nullptr;
  }
  auto tokenizer = runtime::Tokenizer::load(imported->bytes.data(), imported->bytes.size());
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status().message();
    return nullptr;
  }
  return std::move(*tokenizer);
}

inline std::vector<int32_t> encode(const runtime::Tokenizer &tokenizer, const std::string &text,
                                   bool addSpecial = false, bool parseSpecial = false) {
  auto ids = tokenizer.encode(text, addSpecial, parseSpecial);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

} // namespace bitnet::import
