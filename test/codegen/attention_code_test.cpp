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

/// q·k: 4 lines of 16 positions, 4 heads, 16 sums. p·v: 4 lines of 16 values, 2 heads in 2 planes, 16 sums.
TEST(AttentionCode, Int8DecodeLoopsAreDotProductsInRegisters) {
  const std::vector<Loop> loops = loops_of(assembly(spec("attention_chunk_q8", "avx512vnni")), "^vpdpbusd\t");
  ASSERT_EQ(loops.size(), 2u);
  for (const Loop &loop : loops) {
    EXPECT_EQ(count(loop, "^vpdpbusd\t"), 16u);
    EXPECT_EQ(count(loop, "^vmovdqu"), 4u);
    EXPECT_EQ(count(loop, "^vpbroadcastd"), 4u);
  }
  expect_in_registers(loops, "vnni");
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
