// How errors of the importer are made: one line, `where: what: expected X, got Y; the way out`, whatever
// bytes the file put into a name.
#pragma once
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>

namespace bitnet::import {

inline llvm::Error failure(const llvm::Twine &text) {
  return llvm::make_error<llvm::StringError>(text.str(), llvm::inconvertibleErrorCode());
}

struct QuoteName {
  std::string operator()(llvm::StringRef name) const {
    static const char digits[] = "0123456789abcdef";
    std::string text = "'";
    for (unsigned char c : name.take_front(80))
      if (c >= 0x20 && c < 0x7f)
        text += char(c);
      else
        text += {'\\', 'x', digits[c >> 4], digits[c & 15]};
    return text + (name.size() > 80 ? "...'" : "'");
  }
};
/// A name from a file as it may stand in a message: in quotes, control and non-ASCII bytes as \xNN, at most 80 bytes.
/// An object, because a call quoted(std::string) of a function would find std::quoted too.
inline constexpr QuoteName quoted;

} // namespace bitnet::import
