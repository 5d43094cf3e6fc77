// Guards on the machine code of attention's inner loops: the dot products of each variant, nothing spilled or
// gathered in them, one load of K or V for all query heads of a group.
#include "codegen/compile.h"
#include <gtest/gtest.h>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace bitnet::codegen {
namespace {

using Loop = std::vector<std::string>;

std::string assembly(const std::string &text) {
  std::string error, out;
  const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
  EXPECT_TRUE(spec && compile_kernel(*spec, Emit::assembly, &out, &error)) << error;
  return out;
}

size_t count(const Loop &loop, const char *pattern) {
  const std::regex regex(pattern);
  size_t n = 0;
  for (const std::string &line : loop)
    n += std::regex_search(line, regex);
  return n;
}

/// The innermost loops in which `pattern` is found at least 8 times: from a label to the jump back to it,
/// with no other label between.
std::vector<Loop> loops_of(const std::string &assembly, const char *pattern) {
  std::vector<Loop> found;
  std::istringstream lines(assembly);
  std::string label;
  Loop body;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(".LBB", 0) == 0) {
      label = line.substr(0, line.find(':'));
      body.clear();
    } else if (line.size() > 1 && line[0] == '\t' && line[1] != '.') {
      body.push_back(line.substr(1));
      const bool jumps = line[1] == 'j' && line.size() > label.size() && !label.empty() &&
                         line.substr(line.size() - label.size() - 1) == "\t" + label;
      if (jumps && count(body, pattern) >= 8)
        found.push_back(body);
    }
  }
  return found;
}

void expect_in_registers(const std::vector<Loop> &loops, const std::string &what) {
  for (const Loop &loop : loops) {
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
  const std::vector<Loop> loops = loops_of(assembly(spec("attention_chunk_q8", "avx512vnni")), "^vpdpbusd\t");
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
    const std::string code = assembly(spec("attention_chunk_q8", cpu));
    const std::vector<Loop> dots = loops_of(code, "^(vpdpbusd|vpmaddwd)\t"),
                            exps = loops_of(code, "^vmulps\t");
    ASSERT_EQ(dots.size(), 2u) << cpu;
    EXPECT_EQ(128 * count(dots[0], "^prefetcht1\t") + 64 * count(exps.at(0), "^prefetcht1\t"), 512u) << cpu;
    EXPECT_EQ(count(dots[1], "^prefetcht1\t"), count(dots[1], "^vmovdqu")) << cpu;
  }
  const std::vector<Loop> dots = loops_of(assembly(spec("attention_q8", "avx512vnni")), "^vpdpbusd\t");
  ASSERT_EQ(dots.size(), 4u);
  for (size_t i : {0, 1, 2, 3}) // of four rows, and of one
    EXPECT_EQ(count(dots[i], "^prefetcht1\t"), i < 2 ? 0u : 2u);
}

TEST(AttentionCode, Int8TileLoopsAreDotProductsInRegisters) {
  const std::vector<Loop> loops = loops_of(assembly(spec("attention_q8", "avx512vnni")), "^vpdpbusd\t");
  EXPECT_EQ(loops.size(), 4u); // of four rows, and of one
  expect_in_registers(loops, "vnni tiles");
}

TEST(AttentionCode, Int8LoopsAreWordDotsWithoutVnni) {
  for (const char *cpu : {"avx2", "avx512"}) {
    const std::vector<Loop> loops = loops_of(assembly(spec("attention_chunk_q8", cpu)), "^vpmaddwd\t");
    EXPECT_EQ(loops.size(), 2u) << cpu;
    for (const Loop &loop : loops)
      EXPECT_EQ(count(loop, "^v?(pgather|gather|pinsrb|pextrb)"), 0u) << cpu;
  }
}

/// Both planes of a word, for all heads: more than there are registers for. Not more than a load in four
/// dots.
TEST(AttentionCode, Int8WordLoopsSpillLittle) {
  for (const char *cpu : {"avx2", "avx512"})
    for (const Loop &loop : loops_of(assembly(spec("attention_chunk_q8", cpu)), "^vpmaddwd\t"))
      EXPECT_LE(2 * count(loop, "(Spill|Reload)"), count(loop, "^vpmaddwd\t")) << cpu;
}

/// 512 steps over K, and over V for two heads, of 1024 lines each.
TEST(AttentionCode, F16DecodeAsksForTheNextLines) {
  size_t asking = 0;
  for (const Loop &loop : loops_of(assembly(spec("attention_chunk", "avx512vnni")), "^vaddps\t"))
    if (count(loop, "^vcvtph2ps\t")) {
      ++asking;
      EXPECT_EQ(count(loop, "^prefetcht1\t"), 2u);
    }
  EXPECT_EQ(asking, 2u);
}

TEST(AttentionCode, F16LoopsMultiplyAndAddInRegisters) {
  for (const char *op : {"attention_chunk", "attention"}) {
    const std::vector<Loop> loops = loops_of(assembly(spec(op, "avx512vnni")), "^vaddps\t");
    size_t dots = 0;
    for (const Loop &loop : loops)
      if (count(loop, "^vmulps\t") >= 16 && count(loop, "^vaddps\t") >= 16) {
        ++dots;
        expect_in_registers({loop}, op);
      }
    EXPECT_GE(dots, 2u) << op;
  }
}

} // namespace
} // namespace bitnet::codegen
