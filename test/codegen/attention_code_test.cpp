// Guards on the machine code of attention's inner loops: the dot products of each variant, nothing spilled or
// gathered in them, one load of K or V for all query heads of a group.
#include "test/codegen/assembly_loops.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

/// The inner loops over a whole tile.
std::vector<Instructions> loops_of(const std::string &kernel, const char *pattern) {
  return assembly_of(kernel).loops_with(pattern, 8);
}

void expect_in_registers(const std::vector<Instructions> &loops, const std::string &what) {
  for (const Instructions &loop : loops) {
    EXPECT_EQ(count(loop, "(Spill|Reload)"), 0u) << what;
    EXPECT_EQ(count(loop, "^v?(pgather|gather|pinsrb|pextrb)"), 0u) << what;
  }
}

std::string spec(const char *op, const char *cpu) {
  return std::string(op) + " heads=20 kv_heads=5 head_dim=128 rows=0 cpu=" + cpu;
}

/// q·k: 4 lines of 16 positions, 4 heads, 16 sums. p·v: 2 lines of 16 values, 4 heads in 2 planes, 16 sums.
/// No line is loaded for less than all heads.
TEST(AttentionCode, Int8DecodeLoopsAreDotProductsInRegisters) {
  const std::vector<Instructions> loops = loops_of(spec("attention_chunk_q8", "avx512vnni"), "^vpdpbusd\t");
  ASSERT_EQ(loops.size(), 2u);
  for (size_t values : {0, 1}) {
    EXPECT_EQ(count(loops[values], "^vpdpbusd\t"), 16u);
    EXPECT_EQ(count(loops[values], "^vmovdqu"), values ? 2u : 4u);
    EXPECT_EQ(count(loops[values], "^vpbroadcastd"), values ? 8u : 4u);
    EXPECT_LE(loops[values].size(), 48u);
  }
  expect_in_registers(loops, "vnni");
}

/// One row asks for as many lines of the next pass as it uses: of K in q·k (32 steps of 4 tiles) and in the
/// exponentials (64 vectors), of V in p·v (16 steps of 4 blocks of a few vectors). Rows that share a pass do
/// not.
TEST(AttentionCode, Int8DecodeAsksForTheNextLines) {
  for (const char *cpu : {"avx512", "avx512vnni"}) {
    const std::string code = spec("attention_chunk_q8", cpu);
    const std::vector<Instructions> dots = loops_of(code, "^(vpdpbusd|vpmaddwd)\t"),
                                    exps = loops_of(code, "^vmulps\t");
    ASSERT_EQ(dots.size(), 2u) << cpu;
    EXPECT_EQ(128 * count(dots[0], "^prefetcht1\t") + 64 * count(exps.at(0), "^prefetcht1\t"), 512u) << cpu;
    EXPECT_EQ(count(dots[1], "^prefetcht1\t"), count(dots[1], "^vmovdqu")) << cpu;
  }
  const std::vector<Instructions> dots = loops_of(spec("attention_q8", "avx512vnni"), "^vpdpbusd\t");
  ASSERT_EQ(dots.size(), 4u);
  for (size_t i : {0, 1, 2, 3}) // of four rows, and of one
    EXPECT_EQ(count(dots[i], "^prefetcht1\t"), i < 2 ? 0u : 2u);
}

TEST(AttentionCode, Int8TileLoopsAreDotProductsInRegisters) {
  const std::vector<Instructions> loops = loops_of(spec("attention_q8", "avx512vnni"), "^vpdpbusd\t");
  EXPECT_EQ(loops.size(), 4u); // of four rows, and of one
  expect_in_registers(loops, "vnni tiles");
}

TEST(AttentionCode, Int8LoopsAreWordDotsWithoutVnni) {
  for (const char *cpu : {"avx2", "avx512"}) {
    const std::vector<Instructions> loops = loops_of(spec("attention_chunk_q8", cpu), "^vpmaddwd\t");
    EXPECT_EQ(loops.size(), 2u) << cpu;
    for (const Instructions &loop : loops)
      EXPECT_EQ(count(loop, "^v?(pgather|gather|pinsrb|pextrb)"), 0u) << cpu;
  }
}

/// Both planes of a word, for all heads: more than there are registers for. Not more than a load in four
/// dots.
TEST(AttentionCode, Int8WordLoopsSpillLittle) {
  for (const char *cpu : {"avx2", "avx512"})
    for (const Instructions &loop : loops_of(spec("attention_chunk_q8", cpu), "^vpmaddwd\t"))
      EXPECT_LE(2 * count(loop, "(Spill|Reload)"), count(loop, "^vpmaddwd\t")) << cpu;
}

/// A head's chunks are merged once, in registers: no state of other heads beside it, which took memory.
TEST(AttentionCode, MergesOneHeadAtATime) {
  for (const char *cpu : {"avx2", "avx512vnni"})
    EXPECT_EQ(count(assembly_of(spec("attention_merge", cpu)).all, "memset"), 0u) << cpu;
}

/// 512 steps over K, or 128 over a block of 256 lines, and 512 over V for two heads, of 1024 lines each.
TEST(AttentionCode, F16DecodeAsksForTheNextLines) {
  size_t asking = 0;
  for (const Instructions &loop : loops_of(spec("attention_chunk", "avx512vnni"), "^vaddps\t"))
    if (count(loop, "^vcvtph2ps\t")) {
      ++asking;
      EXPECT_EQ(count(loop, "^prefetcht1\t"), 2u);
    }
  EXPECT_EQ(asking, 3u);
}

TEST(AttentionCode, F16LoopsMultiplyAndAddInRegisters) {
  for (const char *op : {"attention_chunk", "attention"}) {
    const std::vector<Instructions> loops = loops_of(spec(op, "avx512vnni"), "^vaddps\t");
    size_t dots = 0;
    for (const Instructions &loop : loops)
      if (count(loop, "^vmulps\t") >= 16 && count(loop, "^vaddps\t") >= 16) {
        ++dots;
        expect_in_registers({loop}, op);
      }
    EXPECT_GE(dots, 2u) << op;
  }
}

/// Rows of one sequence: a conversion in these loops costs as much as six multiply-adds, so K and V are
/// converted before, once for all queries of the tile. One line of either for 16 queries, or in 16 registers,
/// two of K for 4 and one of V for 8.
TEST(AttentionCode, F16TilesMultiplyAndAddWhatIsConverted) {
  for (const char *cpu : {"avx2", "avx512", "avx512vnni"}) {
    const bool wide = cpu != std::string("avx2");
    const size_t each = wide ? 16 : 8;
    std::vector<Instructions> loops;
    for (const Instructions &loop : loops_of(spec("attention", cpu), "^vaddps\t"))
      if (count(loop, "^vmulps\t") == each && count(loop, "^vaddps\t") == each &&
          count(loop, "^vcvtph2ps\t") == 0)
        loops.push_back(loop);
    EXPECT_EQ(loops.size(), 2u) << cpu;
    expect_in_registers(loops, cpu);
    for (const Instructions &loop : loops) // the rest moves the sums of a loop that may run no time
      EXPECT_LE(loop.size(), 4 * each) << cpu;
  }
}

} // namespace
} // namespace bitnet::codegen
