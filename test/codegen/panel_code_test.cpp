// Guards on the machine code of the panel's inner loop (generators/linear_panel.cpp): nothing in it but dot
// products, loads of codes and broadcasts of activations, one of each where it is needed.
#include "test/codegen/assembly_loops.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

/// Vector instructions of the loop, each kind counted, and no access to the frame but the panel's.
void expect_only(const Instructions &loop, size_t dots, size_t adds, size_t broadcasts, size_t loads) {
  EXPECT_EQ(count(loop, "^(vpdpbusd|vpmaddubsw)\t"), dots);
  EXPECT_EQ(count(loop, "^vpaddw\t"), adds);
  EXPECT_EQ(count(loop, "^vpbroadcastd\t.*\\(|\\{1to16\\}"), broadcasts);
  EXPECT_EQ(count(loop, "^vmovdqa(64)?\t.*\\("), loads);
  EXPECT_EQ(count(loop, "^v"), dots + adds + broadcasts + loads);
  EXPECT_EQ(count(loop, "Spill|Reload"), 0u);
  EXPECT_LE(loop.size(), dots + adds + broadcasts + loads + 14) << "scalar instructions";
}

class PanelLoop : public testing::TestWithParam<std::string> {};

/// 2 stripes x 8 tokens, four steps of four inputs.
TEST_P(PanelLoop, IsDotProductsOnly) {
  expect_only(assembly_of(GetParam() + " rows=0 cpu=avx512vnni").hottest_loop("^vpdpbusd\t"), 64, 0, 32, 8);
}

/// One step of four inputs: 2 stripes x 8 tokens of 512 bits, 1 stripe x 4 tokens of 256.
TEST_P(PanelLoop, IsPairDotsAndSumsWithoutVnni) {
  expect_only(assembly_of(GetParam() + " rows=0 cpu=avx512").hottest_loop("^vpaddw\t"), 16, 16, 8, 2);
  expect_only(assembly_of(GetParam() + " rows=0 cpu=avx2").hottest_loop("^vpaddw\t"), 8, 8, 4, 2);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PanelLoop,
    testing::Values("linear_t2 n=3840 k=2560 epilogue=none", "linear_t2 n=2560 k=6912 epilogue=residual",
                    "linear_t2 n=3840 k=2560 epilogue=none group=128",
                    "linear_t2 n=2560 k=6912 epilogue=residual group=64",
                    "linear_t3 n=3840 k=2560 epilogue=none", "linear_t3 n=2560 k=6912 epilogue=residual",
                    "linear_t5 n=3840 k=2560 epilogue=none", "linear_t5 n=2560 k=6912 epilogue=residual"),
    [](const auto &info) { return "case" + std::to_string(info.index); });

} // namespace
} // namespace bitnet::codegen
