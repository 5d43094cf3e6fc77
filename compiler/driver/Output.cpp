// See Output.h.
#include "compiler/driver/Output.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace bitnet::compiler {

Error writeFile(const std::string &path, const std::string &bytes) {
  Error e = writeToOutput(path, [&](raw_ostream &out) {
    out << bytes;
    return Error::success();
  });
  return e ? createStringError("%s: cannot write: %s", path.c_str(), toString(std::move(e)).c_str())
           : Error::success();
}

Error writeText(const std::string &path, const std::string &text) {
  if (!path.empty() && path != "-")
    return writeFile(path, text);
  outs() << text;
  outs().flush();
  return Error::success();
}

} // namespace bitnet::compiler
