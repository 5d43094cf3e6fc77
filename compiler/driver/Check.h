// `bitnetc check`: reads all of a checkpoint and says what it is, what was decided for it, and everything
// that is wrong with it.
#pragma once
#include "compiler/driver/Options.h"

namespace bitnet::compiler {

/// Prints the report to stdout, as JSON with --json. True if the checkpoint would compile.
bool check(const Options &options);

} // namespace bitnet::compiler
