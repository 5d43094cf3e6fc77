#include "tools/bitnet/read_bandwidth.h"

#include "tools/bitnet/arguments.h"
#include "tools/bitnet/timed_threads.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace bitnet::tools {
namespace {

constexpr size_t kLine = 64;
// Rows of 10 KiB: what a 2-bit matrix of width 2560 gives the kernels 16 of at a time.
constexpr size_t kStripeBytes = 10 * 1024;
constexpr size_t kHugePage = size_t(2) << 20;

typedef uint64_t Line __attribute__((vector_size(kLine)));

/// xor of all lines of the whole blocks of `Stripes` stripes, one line of each stripe in turn, asking for the
/// line `Ahead` bytes further on (0: the CPU's own prefetching only). Inlined into a function for each vector
/// width.
template <size_t Stripes, size_t Ahead>
__attribute__((always_inline)) inline uint64_t readBlocks(const std::byte *memory, size_t n_bytes,
                                                          size_t stripe_bytes) {
  const size_t block_bytes = Stripes * stripe_bytes;
  Line sum[4] = {}; // independent chains; more would not fit the registers without AVX-512
  for (size_t block = 0; block + block_bytes <= n_bytes; block += block_bytes)
    for (size_t i = 0; i < stripe_bytes; i += kLine)
#pragma GCC unroll 16
      for (size_t stripe = 0; stripe < Stripes; ++stripe) {
        const std::byte *line = memory + block + stripe * stripe_bytes + i;
        if (Ahead > 0)
          __builtin_prefetch(line + Ahead); // past the end, too: it cannot fault
        sum[stripe % 4] ^= *reinterpret_cast<const Line *>(line);
      }
  const Line all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
  uint64_t folded = 0;
  for (size_t i = 0; i < kLine / sizeof(uint64_t); ++i)
    folded ^= all[i];
  return folded;
}

template <size_t Stripes, size_t Ahead>
uint64_t readBaseline(const std::byte *memory, size_t n_bytes, size_t stripe_bytes) {
  return readBlocks<Stripes, Ahead>(memory, n_bytes, stripe_bytes);
}
#if defined(__x86_64__)
template <size_t Stripes, size_t Ahead>
__attribute__((target("avx2"))) uint64_t readAvx2(const std::byte *memory, size_t n_bytes,
                                                  size_t stripe_bytes) {
  return readBlocks<Stripes, Ahead>(memory, n_bytes, stripe_bytes);
}
template <size_t Stripes, size_t Ahead>
__attribute__((target("avx512f"))) uint64_t readAvx512(const std::byte *memory, size_t n_bytes,
                                                       size_t stripe_bytes) {
  return readBlocks<Stripes, Ahead>(memory, n_bytes, stripe_bytes);
}
#endif

using Reader = uint64_t (*)(const std::byte *, size_t, size_t);
template <size_t Stripes, size_t Ahead = 0> Reader widestReader() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return readAvx512<Stripes, Ahead>;
  if (__builtin_cpu_supports("avx2"))
    return readAvx2<Stripes, Ahead>;
#endif
  return readBaseline<Stripes, Ahead>;
}

/// Bytes per second when `threads` threads each read their own `share` bytes with `reader`.
double timeReader(Reader reader, const std::byte *memory, size_t share, size_t stripe_bytes, int threads) {
  std::atomic<uint64_t> sink{0}; // keeps the reads
  const double seconds = secondsTogether(
      threads, [&](int i) { sink.fetch_xor(reader(memory + i * share, share, stripe_bytes)); });
  return static_cast<double>(share) * threads / seconds;
}

size_t memorySize() {
  size_t n_bytes = size_t(512) << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (cache > 0)
    n_bytes = std::max(n_bytes, 2 * static_cast<size_t>(cache)); // all of the socket's, more than a core uses
#endif
  return (n_bytes + kHugePage - 1) / kHugePage * kHugePage;
}

} // namespace

ReadBandwidth::ReadBandwidth() : n_bytes_(memorySize()) {
  void *mapped =
      mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    throw Failure("--limits: expected " + std::to_string(n_bytes_ >> 20) +
                  " MiB of memory to read, got none");
  memory_ = static_cast<std::byte *>(mapped);
#if defined(MADV_HUGEPAGE)
  madvise(memory_, n_bytes_, MADV_HUGEPAGE);
#endif
  std::memset(memory_, 1, n_bytes_); // untouched pages would all be the same zero page
}

ReadBandwidth::~ReadBandwidth() { munmap(memory_, n_bytes_); }

double ReadBandwidth::measure(int threads) const {
  constexpr size_t kLargestBlock = 16 * kStripeBytes;
  const size_t share = n_bytes_ / threads / kLargestBlock * kLargestBlock;
  double best = 0;
  // Which pattern is fastest differs between CPUs and hours. Ice Lake: 8 to 16 stripes, by 40 %. Zen 4: two
  // streams far apart, or one with the prefetching that it lacks across pages, by 5 % over 16 stripes.
  const struct {
    Reader reader;
    size_t stripe_bytes;
  } patterns[] = {{widestReader<1>(), share},
                  {widestReader<1, 4096>(), share},
                  {widestReader<2>(), share / 2},
                  {widestReader<8>(), kStripeBytes},
                  {widestReader<16>(), kStripeBytes}};
  for (const auto &[reader, stripe_bytes] : patterns)
    best = std::max(best, timeReader(reader, memory_, share, stripe_bytes, threads));
  return best;
}

} // namespace bitnet::tools
