// The variant table. A feature belongs here as soon as any instruction of the variant's kernels needs it; the
// guard in test/codegen assembles every kernel with exactly these features allowed.
#include "runtime/format/cpu_variants.h"
#include <string.h>

namespace bitnet::format {
namespace {
constexpr const char *kFeatureNames[] = {
    "sse4.1",   "avx",        "f16c",       "fma",        "avx2",        "bmi1",         "bmi2",
    "lzcnt",    "movbe",      "popcnt",     "avx512f",    "avx512cd",    "avx512dq",     "avx512bw",
    "avx512vl", "avx512ifma", "avx512vbmi", "avx512vnni", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq",
    "gfni",     "vaes",       "vpclmulqdq"};
static_assert(sizeof(kFeatureNames) / sizeof(*kFeatureNames) == size_t(CpuFeature::count), "one name each");

constexpr uint64_t up_to(CpuFeature last) { return (bit(last) << 1) - 1; }
constexpr CpuVariantInfo kVariants[] = {
    {"portable", "portable", 0, 0},
    {"avx2", "avx2", up_to(CpuFeature::popcnt), 1},
    {"avx512", "avx512", up_to(CpuFeature::avx512vl), 2},
    {"avx512vnni", "avx512", up_to(CpuFeature::vpclmulqdq), 3},
};
static_assert(sizeof(kVariants) / sizeof(*kVariants) == size_t(CpuVariant::count), "one row each");

} // namespace

const char *cpu_feature_name(CpuFeature f) { return f < CpuFeature::count ? kFeatureNames[size_t(f)] : "?"; }
const CpuVariantInfo &cpu_variant(CpuVariant v) { return kVariants[size_t(v)]; }
CpuVariant cpu_variant_from_name(const char *name) {
  for (size_t i = 0; i < size_t(CpuVariant::count); ++i)
    if (strcmp(kVariants[i].name, name) == 0)
      return CpuVariant(i);
  return CpuVariant::count;
}
} // namespace bitnet::format
