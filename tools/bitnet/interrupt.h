// Ctrl-C as a request to end cleanly. SIGINT is taken by a waiting thread, not by a signal handler, so that
// it may call bitnet_generation_cancel. The second Ctrl-C, or one while there is nothing to cancel, ends the
// program at once.
#pragma once
#include "runtime/api/bitnet.h"

namespace bitnet::tools {

constexpr int kExitInterrupted = 130; // 128 + SIGINT, what a shell reports

/// Make it before the session, so that the session's threads inherit the blocked signal. One per process.
class Interrupt {
public:
  Interrupt();
  /// From now on Ctrl-C cancels this generation; it must be alive until leave().
  void enter(bitnet_generation *generation);
  void leave();
};

} // namespace bitnet::tools
