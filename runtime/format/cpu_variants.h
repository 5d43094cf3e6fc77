// CPU variants: for each, the instruction-set features that its kernels may use, best variant last.
// One table: codegen turns a row into a Halide target, the bundle records the feature bits, the runtime asks CPUID.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bitnet::format {

/// Feature bits. Part of the bundle format: append only.
enum class CpuFeature : uint8_t {
  sse41, avx, f16c, fma, avx2, bmi1, bmi2, lzcnt, movbe, popcnt, // x86-64-v3
  avx512f, avx512cd, avx512dq, avx512bw, avx512vl,               // x86-64-v4
  avx512ifma, avx512vbmi, avx512vnni, avx512vbmi2, avx512bitalg, avx512vpopcntdq, gfni, vaes, vpclmulqdq, // Ice Lake, Zen 4
  count
};
const char *cpu_feature_name(CpuFeature f);
constexpr uint64_t bit(CpuFeature f) { return uint64_t(1) << uint8_t(f); }

/// The numbers are part of the bundle format: append only.
enum class CpuVariant : uint8_t { portable = 0, avx2 = 1, avx512 = 2, avx512vnni = 3, count = 4 };
struct CpuVariantInfo {
  const char *name;   ///< as in kernel names and BITNET_CPU
  const char *target; ///< the --target family that builds it
  uint64_t features;  ///< all must be present
  int32_t rank;       ///< the runtime picks the highest rank that the CPU has
};
const CpuVariantInfo &cpu_variant(CpuVariant v);
/// Returns CpuVariant::count for an unknown name.
CpuVariant cpu_variant_from_name(const char *name);

} // namespace bitnet::format
