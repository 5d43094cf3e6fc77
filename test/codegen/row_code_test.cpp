// Guards on the machine code of what works on rows between the matrices: norms with quantisation, rope, the
// cache's writes. Their loops are vectors of the variant's width, in registers, without a division, and
// nothing but the cache's scattered bytes is moved one by one.
#include "test/codegen/assembly_loops.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

const char *const kKernels[] = {
    "norm_quant k=2560 eps=1e-05 rows=0",
    "gate_norm_quant k=6912 act=relu2 eps=1e-05 rows=0",
    "rope heads=25 head_dim=128 context=4096 rows=0",
    "kv_append kv_heads=5 head_dim=128 rows=0",
    "kv_append_q8 kv_heads=5 head_dim=128 rows=0",
};

Assembly assembly_for(const std::string &cpu, const char *kernel) {
  return assembly_of(std::string(kernel) + " cpu=" + cpu);
}

class RowLoops : public testing::TestWithParam<const char *> {};

TEST_P(RowLoops, AreWholeVectorsInRegisters) {
  const bool registers_are_few = std::string(GetParam()) == "portable";
  for (const char *kernel : kKernels)
    for (const Instructions &loop : assembly_for(GetParam(), kernel).loops) {
      EXPECT_EQ(count(loop, "^v?(mul|add|sub|max|min|cmp[a-z]*|and|sqrt)s[sd]\t"), 0u) << kernel;
      EXPECT_EQ(count(loop, "^v?(div|sqrt|p?gather)"), 0u) << kernel;
      if (!registers_are_few) {
        EXPECT_EQ(count(loop, "Spill|Reload"), 0u) << kernel;
      }
    }
}
INSTANTIATE_TEST_SUITE_P(EveryVariant, RowLoops, testing::Values("portable", "avx2", "avx512", "avx512vnni"));

/// With 512 bits: squares in four sums of 16 lanes; the largest magnitude in four; 16 values to int8 at once;
/// the sum of those. (With a gate, first what the others read.)
TEST(RowCode, NormQuantIsOneLoopAStage) {
  for (const char *cpu : {"avx512", "avx512vnni"})
    for (const bool gate : {false, true}) {
      const std::vector<Instructions> loops = assembly_for(cpu, kKernels[gate]).loops;
      ASSERT_EQ(loops.size(), gate ? 5u : 4u) << cpu;
      if (gate) {
        EXPECT_EQ(count(loops[0], "^vmaxps\t.*zmm"), 1u) << cpu;
        EXPECT_EQ(count(loops[0], "^vmulps\t.*zmm"), 2u) << cpu;
      }
      const Instructions *stage = &loops[gate];
      EXPECT_EQ(count(stage[0], "^vmulps\t.*zmm"), 4u) << cpu;
      EXPECT_EQ(count(stage[0], "^vaddps\t.*zmm"), 4u) << cpu;
      EXPECT_EQ(count(stage[1], "^vmulps\t.*zmm"), 8u) << cpu;
      EXPECT_EQ(count(stage[1], "^vmaxps\t.*zmm"), 4u) << cpu;
      EXPECT_EQ(count(stage[2], "^vpmovdb\t%zmm[^(]*\\("), 1u) << cpu;
      EXPECT_LE(stage[2].size(), 10u) << cpu;
      EXPECT_EQ(count(stage[3], "^vpmovsxbd\t.*zmm"), 1u) << cpu;
      EXPECT_LE(stage[3].size(), 5u) << cpu;
    }
}

/// Both halves of a head, cosines and sines: 4 loads, 4 products, 2 stores.
TEST(RowCode, RopeTurnsAVectorOfPairsAtOnce) {
  for (const char *cpu : {"avx512", "avx512vnni"}) {
    const std::vector<Instructions> loops = assembly_for(cpu, kKernels[2]).loops_with("^vmulps\t.*zmm");
    ASSERT_EQ(loops.size(), 1u) << cpu;
    EXPECT_EQ(count(loops[0], "^vmulps\t.*zmm"), 4u) << cpu;
    EXPECT_EQ(count(loops[0], "^vmov[au]ps\t[^%]*\\("), 4u) << cpu;
    EXPECT_EQ(count(loops[0], "^vmov[au]ps\t%zmm[^(]*\\("), 2u) << cpu;
    EXPECT_LE(loops[0].size(), 15u) << cpu;
  }
}

/// A position's values of K stand apart in the cache: 16 of a vector are stored one by one. V's are a vector.
TEST(RowCode, AppendStoresOneByOneOnlyWhatStandsApart) {
  for (const char *cpu : {"avx512", "avx512vnni"}) {
    const Assembly f16 = assembly_for(cpu, kKernels[3]), q8 = assembly_for(cpu, kKernels[4]);
    ASSERT_EQ(f16.loops.size(), 2u) << cpu;
    EXPECT_EQ(count(f16.loops[0], "^vpextrw\t.*\\("), 16u) << cpu;
    EXPECT_EQ(count(f16.loops[1], "^vpmovdw\t%zmm[^(]*\\("), 1u) << cpu;
    EXPECT_EQ(count(f16.all, kMovedOneByOne), 16u) << cpu;
    // K by fours, V by rows of four positions.
    const std::vector<Instructions> stores = q8.loops_with("^vpextrb\t.*\\(");
    ASSERT_EQ(stores.size(), 2u) << cpu;
    for (const Instructions &loop : stores)
      EXPECT_EQ(count(loop, "^vpextrb\t.*\\("), 16u) << cpu;
    EXPECT_EQ(count(q8.all, kMovedOneByOne),
              count(stores[0], kMovedOneByOne) + count(stores[1], kMovedOneByOne))
        << cpu;
  }
}

} // namespace
} // namespace bitnet::codegen
