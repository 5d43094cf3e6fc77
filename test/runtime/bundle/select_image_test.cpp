// Choice of the image by CPU features, and the texts a user sees when there is none.
#include "runtime/bundle/select_image.h"
#include "runtime/cpu/cpu.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

uint64_t features_of(CpuVariant v) { return format::cpu_variant(v).features; }

Bundle built_for(std::initializer_list<CpuVariant> variants) {
  Bundle bundle;
  for (CpuVariant v : variants) {
    Image image{};
    image.variant = v;
    image.features = features_of(v);
    bundle.images.push_back(image);
  }
  return bundle;
}

TEST(SelectImage, TakesTheBestThatTheCpuRuns) {
  const Bundle bundle =
      built_for({CpuVariant::avx2, CpuVariant::avx512vnni, CpuVariant::portable, CpuVariant::avx512});
  EXPECT_EQ(*select_image(bundle, 0, ""), 2u);
  EXPECT_EQ(*select_image(bundle, features_of(CpuVariant::avx2), ""), 0u);
  EXPECT_EQ(*select_image(bundle, features_of(CpuVariant::avx512), ""), 3u);
  EXPECT_EQ(*select_image(bundle, features_of(CpuVariant::avx512vnni), ""), 1u);
  const uint64_t no_gfni = features_of(CpuVariant::avx512vnni) & ~format::bit(format::CpuFeature::gfni);
  EXPECT_EQ(*select_image(bundle, no_gfni, ""), 3u) << "one missing feature rules a variant out";
}

TEST(SelectImage, ObeysAForcedVariant) {
  const Bundle bundle = built_for({CpuVariant::portable, CpuVariant::avx2});
  EXPECT_EQ(*select_image(bundle, features_of(CpuVariant::avx2), "portable"), 0u);
}

TEST(SelectImage, SaysWhatToDo) {
  const auto error = [](const Bundle &bundle, uint64_t features, const char *forced) {
    return select_image(bundle, features, forced).status().message();
  };
  EXPECT_EQ(error(built_for({CpuVariant::avx512vnni}), features_of(CpuVariant::avx2), ""),
            "built for avx512vnni; this CPU has avx2; rebuild with --target=avx2");
  EXPECT_EQ(error(built_for({CpuVariant::avx2}), features_of(CpuVariant::avx512vnni), "avx512vnni"),
            "built for avx2; avx512vnni was asked for; rebuild with --target=avx512");
  EXPECT_EQ(error(built_for({CpuVariant::avx2}), 0, "avx2"),
            "avx2 was asked for; this CPU has portable; ask for that or for none");
  EXPECT_EQ(error(built_for({CpuVariant::avx2}), 0, "sse9"),
            "cpu variant: expected one of portable, avx2, avx512, avx512vnni, got 'sse9'");
}

#if defined(__GNUC__) && defined(__x86_64__)
// gcc's own detection knows of the operating system's state, too.
TEST(Cpu, AgreesWithTheCompilersDetection) {
  __builtin_cpu_init();
  const auto has = [](format::CpuFeature f) { return (cpu::features() & format::bit(f)) != 0; };
  EXPECT_EQ(has(format::CpuFeature::sse41), __builtin_cpu_supports("sse4.1") != 0);
  EXPECT_EQ(has(format::CpuFeature::avx2), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has(format::CpuFeature::fma), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(has(format::CpuFeature::bmi2), __builtin_cpu_supports("bmi2") != 0);
  EXPECT_EQ(has(format::CpuFeature::avx512f), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(has(format::CpuFeature::avx512vl), __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(has(format::CpuFeature::avx512vbmi), __builtin_cpu_supports("avx512vbmi") != 0);
  EXPECT_EQ(has(format::CpuFeature::avx512vnni), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(has(format::CpuFeature::gfni), __builtin_cpu_supports("gfni") != 0);
  EXPECT_EQ(has(format::CpuFeature::vpclmulqdq), __builtin_cpu_supports("vpclmulqdq") != 0);
}
#endif

TEST(Cpu, HasAtLeastOneCpu) { EXPECT_GE(cpu::available_cpus(), 1); }

} // namespace
} // namespace bitnet::runtime
