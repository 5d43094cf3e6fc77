// How errors of the importer are made: one line, `where: what: expected X, got Y; the way out`, whatever
// bytes the file put into a name.
#pragma once
#include "runtime/format/quoted.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>

namespace bitnet::import {

inline llvm::Error failure(const llvm::Twine &text) {
  return llvm::make_error<llvm::StringError>(text.str(), llvm::inconvertibleErrorCode());
}

struct QuoteName {
  std::string operator()(llvm::StringRef name) const { return format::quoted({name.data(), name.size()}); }
};
/// format::quoted (runtime/format/quoted.h).
/// An object, because a call quoted(std::string) of a function would find std::quoted too.
inline constexpr QuoteName quoted;

} // namespace bitnet::import
