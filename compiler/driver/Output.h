// Small files and text of the driver: to stdout, or to a temporary file that is renamed.
#pragma once
#include "llvm/Support/Error.h"
#include <string>

namespace bitnet::compiler {

llvm::Error writeFile(const std::string &path, const std::string &bytes);
/// To stdout when path is empty or "-".
llvm::Error writeText(const std::string &path, const std::string &text);

} // namespace bitnet::compiler
