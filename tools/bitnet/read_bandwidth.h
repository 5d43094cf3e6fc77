// How fast this machine reads memory: the limit of decoding, which reads every weight once per token. The
// limit is the fastest of several access patterns: one stream, two far apart, and 8 or 16 stripes of rows
// side by side as the ternary kernels read.
#pragma once
#include <cstddef>

namespace bitnet::tools {

/// Memory to read: larger than any cache, so that nothing of it survives from one measurement to the next.
class ReadBandwidth {
public:
  ReadBandwidth(); // maps and fills the memory; throws Failure if there is not enough
  ~ReadBandwidth();
  ReadBandwidth(const ReadBandwidth &) = delete;
  ReadBandwidth &operator=(const ReadBandwidth &) = delete;

  /// Reads everything once in each pattern with `threads` threads, each its own part; bytes per second of the
  /// fastest.
  double measure(int threads) const;

private:
  std::byte *memory_ = nullptr;
  size_t n_bytes_ = 0;
};

} // namespace bitnet::tools
