// Guards on the machine code of the head (generators/screen.cpp, linear_f16.cpp): the inner loops hold as
// many dot products, conversions and loads as their tiles ask for and nothing else, all in registers.
#include "test/codegen/assembly_loops.h"
#include <gtest/gtest.h>
#include <ostream>

namespace bitnet::codegen {
namespace {

/// A kernel's loop with this mnemonic, and how many instructions of a kind it holds.
struct Loop {
  const char *kernel, *mnemonic;
  struct Part {
    const char *pattern;
    size_t n;
  };
  std::vector<Part> parts;
  size_t others; ///< instructions at most beside these: addresses, counting, the jump
  bool spills = false;
  size_t of = 1, which = 0; ///< there are so many such loops; this one is meant
};
void PrintTo(const Loop &loop, std::ostream *out) { *out << loop.kernel; }

class HeadCode : public testing::TestWithParam<Loop> {};
TEST_P(HeadCode, HoldsWhatTheTileAsksFor) {
  const Loop &expected = GetParam();
  const std::string kernel = expected.kernel;
  const std::vector<Instructions> loops = assembly_of(kernel).loops_with(expected.mnemonic);
  ASSERT_EQ(loops.size(), expected.of) << kernel;
  const Instructions &loop = loops[expected.which];
  size_t known = 0;
  for (const auto &[pattern, n] : expected.parts) {
    EXPECT_EQ(count(loop, pattern), n) << kernel << ": " << pattern;
    known += n;
  }
  EXPECT_LE(loop.size(), known + expected.others) << kernel;
  EXPECT_EQ(count(loop, kMovedOneByOne), 0u) << kernel;
  if (!expected.spills) {
    EXPECT_EQ(count(loop, "Spill|Reload"), 0u) << kernel;
  }
}

constexpr const char *kDot4 = "^vpdpbusd\t", *kPairDot = "^vpmaddubsw\t", *kPairSum = "^vpaddsw\t",
                     *kWordDot = "^v?pmaddwd\t", *kSum = "^v?paddd\t", *kMask = "^v?pand[dq]?\t",
                     *kShift = "^v?(gf2p8affineqb|psrlw)\t", *kAhead = "^prefetcht1\t",
                     *kBroadcast = "^vpbroadcastd\t[^%]*\\((?!%r[si]p)",
                     *kCodes = "^vmovdqa(64)?\t[^%]*\\((?!%r[si]p)"; // from memory, not the stack

/// 8 columns of the tile's stripes: a line of codes is loaded, masked and shifted (with vpdpbusd left where
/// the codes stand) once for all tokens.
INSTANTIATE_TEST_SUITE_P(
    Screen, HeadCode,
    testing::Values(
        // 1 token: 4 stripes, 2 halves of the input, 2 codes a byte.
        Loop{"screen_q4 n=128256 k=2560 rows=1 cpu=avx512vnni",
             kDot4,
             {{kDot4, 16}, {kMask, 8}, {kShift, 0}, {kCodes, 4}, {kAhead, 0}, {kBroadcast, 4}},
             3},
        Loop{"screen_q4 n=128256 k=2560 rows=1 cpu=avx512",
             kPairDot,
             {{kPairDot, 16},
              {kPairSum, 8},
              {kWordDot, 8},
              {kSum, 8},
              {kMask, 8},
              {kShift, 4},
              {kCodes, 4},
              {kBroadcast, 4}},
             3},
        // 16 registers do not hold the sums, the masks and what is on its way.
        Loop{"screen_q4 n=128256 k=2560 rows=1 cpu=avx2",
             kPairDot,
             {{kPairDot, 16},
              {kPairSum, 8},
              {kWordDot, 8},
              {kSum, 8},
              {kMask, 8},
              {kShift, 4},
              {kCodes, 4},
              {kBroadcast, 4}},
             20,
             true},
        Loop{"screen_q4 n=128256 k=2560 rows=1 cpu=portable",
             kWordDot,
             {{kWordDot, 32}, {kSum, 32}, {kMask, 12}, {kShift, 12}},
             64,
             true},
        // The low halves of more tokens: 2 stripes x 4 tokens; 1 stripe x 8 tokens.
        Loop{"screen_q4 n=128256 k=2560 rows=4 cpu=avx512vnni",
             kDot4,
             {{kDot4, 16}, {kMask, 4}, {kShift, 0}, {kCodes, 2}, {kAhead, 2}, {kBroadcast, 8}},
             9,
             false,
             2},
        Loop{"screen_q4 n=128256 k=2560 rows=0 cpu=avx512vnni",
             kDot4,
             {{kDot4, 16}, {kMask, 2}, {kShift, 0}, {kCodes, 1}, {kAhead, 1}, {kBroadcast, 0}},
             19,
             false,
             2},
        // Without vpdpbusd products are added in pairs, those of both codes, and the pairs.
        Loop{"screen_q4 n=128256 k=2560 rows=0 cpu=avx512",
             kPairDot,
             {{kPairDot, 32},
              {kPairSum, 16},
              {kWordDot, 16},
              {kSum, 16},
              {kMask, 4},
              {kShift, 2},
              {kCodes, 2},
              {kBroadcast, 16}},
             10,
             false,
             2},
        Loop{"screen_q4 n=128256 k=2560 rows=0 cpu=avx2",
             kPairDot,
             {{kPairDot, 16},
              {kPairSum, 8},
              {kWordDot, 8},
              {kSum, 8},
              {kMask, 4},
              {kShift, 2},
              {kCodes, 2},
              {kBroadcast, 8}},
             11,
             true,
             2},
        // High halves: each token has its own lines.
        Loop{"screen_q4 n=128256 k=2560 rows=4 cpu=avx512vnni",
             kDot4,
             {{kDot4, 16}, {kMask, 16}, {kShift, 0}, {kCodes, 8}, {kAhead, 0}, {kBroadcast, 8}},
             24,
             true,
             2,
             1},
        Loop{"screen_q4 n=128256 k=2560 rows=0 cpu=avx512vnni",
             kDot4,
             {{kDot4, 16}, {kMask, 16}, {kShift, 0}, {kCodes, 8}, {kAhead, 0}, {kBroadcast, 0}},
             47,
             true,
             2,
             1}),
    [](const auto &info) { return "case" + std::to_string(info.index); });

constexpr const char *kConvert = "^vcvtph2ps\t", *kMultiply = "^v?mulps\t", *kAdd = "^v?addps\t",
                     *kLoad = "^v?movups\t[^%]*\\((?!%r[si]p)";

/// A row's 16 inputs: a weight is converted once for all tokens, a product and a sum each.
INSTANTIATE_TEST_SUITE_P(
    F16Rows, HeadCode,
    testing::Values(
        Loop{"linear_f16 n=128256 k=2560 rows=1 cpu=avx512vnni",
             kConvert,
             {{kConvert, 2}, {kMultiply, 2}, {kAdd, 2}, {kLoad, 1}},
             3},
        Loop{"linear_f16 n=128256 k=2560 rows=4 cpu=avx512vnni",
             kConvert,
             {{kConvert, 4}, {kMultiply, 16}, {kAdd, 16}, {kLoad, 4}},
             3},
        Loop{"linear_f16 n=128256 k=2560 rows=0 cpu=avx512vnni",
             kConvert,
             {{kConvert, 4}, {kMultiply, 16}, {kAdd, 16}, {kLoad, 4}},
             3},
        Loop{"linear_f16 n=128256 k=2560 rows=1 cpu=avx512",
             kConvert,
             {{kConvert, 2}, {kMultiply, 2}, {kAdd, 2}, {kLoad, 1}},
             3},
        Loop{"linear_f16 n=128256 k=2560 rows=1 cpu=avx2",
             kConvert,
             {{kConvert, 4}, {kMultiply, 4}, {kAdd, 4}, {kLoad, 2}},
             3},
        Loop{"linear_f16 n=128256 k=2560 rows=0 cpu=avx2",
             kConvert,
             {{kConvert, 2}, {kMultiply, 8}, {kAdd, 8}},
             6},
        Loop{"linear_f16 n=128256 k=2560 rows=1 cpu=portable", // a conversion is a product
             kMultiply,
             {{kMultiply, 16}, {kAdd, 8}},
             84,
             true},
        Loop{"rescore_f16 n=128256 k=2560 rows=0 cpu=avx512vnni",
             kConvert,
             {{kConvert, 4}, {kMultiply, 4}, {kAdd, 4}, {kLoad, 1}},
             3},
        Loop{"rescore_f16 n=128256 k=2560 rows=0 cpu=avx512",
             kConvert,
             {{kConvert, 4}, {kMultiply, 4}, {kAdd, 4}, {kLoad, 1}},
             3},
        Loop{"rescore_f16 n=128256 k=2560 rows=0 cpu=avx2",
             kConvert,
             {{kConvert, 2}, {kMultiply, 2}, {kAdd, 2}},
             4},
        Loop{"rescore_f16 n=128256 k=2560 rows=0 cpu=portable", kMultiply, {{kMultiply, 8}, {kAdd, 4}}, 36}),
    [](const auto &info) { return "case" + std::to_string(info.index); });

} // namespace
} // namespace bitnet::codegen
