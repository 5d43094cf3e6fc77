// bitnetc: compiles a ternary checkpoint into a .bnx bundle. Everything is in compiler/driver; this turns its
// errors into text and exit statuses.
#include "compiler/driver/Check.h"
#include "compiler/driver/Compile.h"
#include "compiler/driver/FrontEnd.h"
#include "llvm/Support/raw_ostream.h"

using namespace bitnet::compiler;

int main(int argc, char **argv) {
  llvm::Expected<Options> options = parseOptions({argv + 1, argv + argc});
  if (!options) {
    llvm::errs() << "error: " << llvm::toString(options.takeError()) << "\n";
    return 2;
  }
  if (options->help || options->version || options->listTargets) {
    llvm::outs() << (options->help      ? helpText()
                     : options->version ? std::string("bitnetc " BITNET_VERSION "\n")
                                        : targetsText());
    return 0;
  }
  if (options->command == Command::check)
    return check(*options) ? 0 : 1;
  if (llvm::Error e = compile(*options)) {
    for (const std::string &message : messagesOf(std::move(e)))
      llvm::errs() << "error: " << message << "\n";
    return 1;
  }
  return 0;
}
