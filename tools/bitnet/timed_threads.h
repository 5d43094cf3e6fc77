// Stop watch around the same work in several threads that start together: what the machine's limits are
// measured with. Not a pool; nothing here is on a model's path.
#pragma once
#include <functional>

namespace bitnet::tools {

/// Seconds from the moment at which all `threads` threads begin work(0) .. work(threads - 1) until the last
/// one is done. Starting them is not counted.
double secondsTogether(int threads, const std::function<void(int)> &work);

} // namespace bitnet::tools
