#include "tools/bitnet/dot_product_peak.h"

#include "tools/bitnet/timed_threads.h"

#include <cstdint>
#include <vector>

namespace bitnet::tools {
namespace {

/// One way to multiply: `run` does `rounds` (1 or more) rounds of kChains instructions that do not wait for
/// each other, each of `macs` multiply-adds.
struct Form {
  const char *instruction;
  int macs;
  void (*run)(int64_t rounds);
};

// Latency 5 (Ice Lake; Zen 4: 4) at 2 instructions a cycle needs 10 chains; with AVX2's 16 registers a
// compiler spills a loop of more than a few, so the loops are written out.
constexpr int kChains = 12;

#if defined(__x86_64__)
#define BITNET_CHAINS(chain)                                                                                 \
  chain("0") chain("1") chain("2") chain("3") chain("4") chain("5") chain("6") chain("7") chain("8")         \
      chain("9") chain("10") chain("11")
#define BITNET_LOOP(chain)                                                                                   \
  asm volatile("pcmpeqd %%xmm14, %%xmm14\n\t"                                                                \
               "pcmpeqd %%xmm15, %%xmm15\n"                                                                  \
               "1:\n\t" BITNET_CHAINS(chain) "dec %0\n\t"                                                    \
                                             "jnz 1b\n\t"                                                    \
               : "+r"(rounds)                                                                                \
               :                                                                                             \
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",    \
                 "xmm11", "xmm12", "xmm14", "xmm15", "cc")

#define BITNET_VPDPBUSD_ZMM(i) "vpdpbusd %%zmm14, %%zmm15, %%zmm" i "\n\t"
void vpdpbusd_zmm(int64_t rounds) {
  BITNET_LOOP(BITNET_VPDPBUSD_ZMM);
  asm volatile("vzeroupper");
}
#define BITNET_VPDPBUSD_YMM(i) "%{evex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" i "\n\t"
void vpdpbusd_ymm(int64_t rounds) {
  BITNET_LOOP(BITNET_VPDPBUSD_YMM);
  asm volatile("vzeroupper");
}
// Pairs of products in 16 bits, added up there: all that ternary weights need between rare widenings.
#define BITNET_VPMADDUBSW_ZMM(i)                                                                             \
  "vpmaddubsw %%zmm14, %%zmm15, %%zmm12\n\tvpaddw %%zmm12, %%zmm" i ", %%zmm" i "\n\t"
void vpmaddubsw_zmm(int64_t rounds) {
  BITNET_LOOP(BITNET_VPMADDUBSW_ZMM);
  asm volatile("vzeroupper");
}
#define BITNET_VPMADDUBSW_YMM(i)                                                                             \
  "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n\tvpaddw %%ymm12, %%ymm" i ", %%ymm" i "\n\t"
void vpmaddubsw_ymm(int64_t rounds) {
  BITNET_LOOP(BITNET_VPMADDUBSW_YMM);
  asm volatile("vzeroupper");
}
#define BITNET_PMADDWD_XMM(i)                                                                                \
  "movdqa %%xmm14, %%xmm12\n\tpmaddwd %%xmm15, %%xmm12\n\tpaddd %%xmm12, %%xmm" i "\n\t"
void pmaddwd_xmm(int64_t rounds) { BITNET_LOOP(BITNET_PMADDWD_XMM); }
#endif

std::vector<Form> formsOf([[maybe_unused]] const std::string &variant) {
#if defined(__x86_64__)
  if (variant == "avx512vnni")
    return {{"vpdpbusd zmm", 64, vpdpbusd_zmm}, {"vpdpbusd ymm", 32, vpdpbusd_ymm}};
  if (variant == "avx512")
    return {{"vpmaddubsw zmm", 64, vpmaddubsw_zmm}, {"vpmaddubsw ymm", 32, vpmaddubsw_ymm}};
  if (variant == "avx2")
    return {{"vpmaddubsw ymm", 32, vpmaddubsw_ymm}};
  if (variant == "portable")
    return {{"pmaddwd xmm", 8, pmaddwd_xmm}};
#endif
  return {};
}

} // namespace

DotProductPeak measureDotProductPeak(const std::string &variant, int threads) {
  DotProductPeak best{0, "no instruction known"};
  for (const Form &form : formsOf(variant)) {
    constexpr int64_t kRounds = 1 << 19; // 6.3 million instructions: some 2 ms
    // Whatever else runs can only make it slower. The first try also raises the voltage for 512-bit
    // registers.
    for (int tries = 0; tries < 4; ++tries) {
      const double seconds = secondsTogether(threads, [&](int) { form.run(kRounds); });
      const double macs = double(kRounds) * kChains * form.macs * threads / seconds;
      if (macs > best.macs_per_second)
        best = {macs, form.instruction};
    }
  }
  return best;
}

} // namespace bitnet::tools
