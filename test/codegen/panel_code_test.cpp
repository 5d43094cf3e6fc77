// Guards on the machine code of the panel's inner loop (generators/linear_panel.cpp): nothing in it but dot
// products, loads of codes and broadcasts of activations, one of each where it is needed.
#include "codegen/compile.h"
#include <gtest/gtest.h>
#include <regex>
#include <sstream>

namespace bitnet::codegen {
namespace {

/// Instructions of the innermost loop around the first one that starts with `mnemonic`.
std::vector<std::string> loop_around(const std::string &kernel, const std::string &mnemonic) {
  std::string error, assembly;
  const std::optional<KernelSpec> spec = parse_kernel_spec(kernel, &error);
  EXPECT_TRUE(spec && compile_kernel(*spec, Emit::assembly, &assembly, &error)) << error;
  std::vector<std::string> loop;
  std::string label;
  bool inside = false;
  std::istringstream lines(assembly);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(".LBB", 0) == 0 && !inside) {
      label = line.substr(0, line.find(':'));
      loop.clear();
    }
    if (line.size() < 2 || line[0] != '\t' || line[1] == '.')
      continue;
    loop.push_back(line.substr(1));
    inside |= loop.back().rfind(mnemonic + "\t", 0) == 0;
    if (inside && loop.back()[0] == 'j')
      return std::regex_search(loop.back(), std::regex(label + "$")) ? loop : std::vector<std::string>{};
  }
  return {};
}

size_t count(const std::vector<std::string> &instructions, const char *pattern) {
  size_t n = 0;
  for (const std::string &i : instructions)
    n += std::regex_search(i, std::regex(pattern));
  return n;
}

/// Vector instructions of the loop, each kind counted, and no access to the frame but the panel's.
void expect_only(const std::vector<std::string> &loop, size_t dots, size_t adds, size_t broadcasts,
                 size_t loads) {
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
  expect_only(loop_around(GetParam() + " rows=0 cpu=avx512vnni", "vpdpbusd"), 64, 0, 32, 8);
}

/// One step of four inputs: 2 stripes x 8 tokens of 512 bits, 1 stripe x 4 tokens of 256.
TEST_P(PanelLoop, IsPairDotsAndSumsWithoutVnni) {
  expect_only(loop_around(GetParam() + " rows=0 cpu=avx512", "vpaddw"), 16, 16, 8, 2);
  expect_only(loop_around(GetParam() + " rows=0 cpu=avx2", "vpaddw"), 8, 8, 4, 2);
}

INSTANTIATE_TEST_SUITE_P(Shapes, PanelLoop,
                         testing::Values("linear_t2 n=3840 k=2560 add=0", "linear_t2 n=2560 k=6912 add=1",
                                         "linear_t3 n=3840 k=2560 add=0", "linear_t3 n=2560 k=6912 add=1"),
                         [](const auto &info) { return "case" + std::to_string(info.index); });

} // namespace
} // namespace bitnet::codegen
