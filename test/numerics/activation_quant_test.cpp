// The quantiser's definition (codegen/reference) against transformers' own results: ../shared/data/encodings/
// act_quant_hf_f32.json, made by BitLinear.activation_quant in float32, ties and a zero row included.
#include "codegen/reference/twins.h"
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>

using namespace bitnet;

namespace {

std::vector<float> floatsFromHex(const std::string &hex) {
  std::vector<float> out(hex.size() / 8);
  for (size_t i = 0; i < out.size(); ++i) {
    uint8_t bytes[4];
    for (size_t b = 0; b < 4; ++b)
      bytes[b] = uint8_t(std::stoul(hex.substr(i * 8 + b * 2, 2), nullptr, 16));
    std::memcpy(&out[i], bytes, 4);
  }
  return out;
}

format::Buffer buffer(void *data, format::Dim *dims, int32_t rank) {
  format::Buffer b{};
  b.host = static_cast<uint8_t *>(data);
  b.dimensions = rank;
  b.dim = dims;
  return b;
}

TEST(ActivationQuant, EqualsTransformersInFloat32) {
  const char *shared = std::getenv("BITNET_SHARED_DATA");
  std::ifstream file(std::string(shared ? shared : "") + "/encodings/act_quant_hf_f32.json");
  if (!file)
    GTEST_SKIP() << "../shared/data/encodings is not here";
  const auto vector = nlohmann::json::parse(file);
  const int32_t rows = vector["shape"][0], width = vector["shape"][1];
  std::vector<float> x = floatsFromHex(vector["input_f32_hex"]);
  const std::vector<float> scale = floatsFromHex(vector["scale_f32_hex"]);
  ASSERT_EQ(x.size(), size_t(rows * width));

  std::vector<int8_t> q(x.size());
  std::vector<float> s(static_cast<size_t>(rows));
  std::vector<int32_t> sum(static_cast<size_t>(rows));
  format::Dim matrix[2] = {{0, width, 1, 0}, {0, rows, width, 0}}, vectorDim[1] = {{0, rows, 1, 0}};
  format::Buffer buffers[] = {buffer(x.data(), matrix, 2), buffer(q.data(), matrix, 2), buffer(s.data(), vectorDim, 1),
                              buffer(sum.data(), vectorDim, 1)};
  int32_t n = rows, begin = 0, end = rows;
  void *args[] = {&buffers[0], &buffers[1], &buffers[2], &buffers[3], &n, &begin, &end};
  format::OpDims dims;
  dims.k = width;
  ASSERT_EQ(codegen::run_twin(format::Op::quantize, dims, args), 0);

  for (int32_t r = 0; r < rows; ++r) {
    EXPECT_EQ(s[size_t(r)], scale[size_t(r)]) << "row " << r;
    int32_t expectedSum = 0;
    for (int32_t c = 0; c < width; ++c) {
      const int expected = vector["int8"][size_t(r)][size_t(c)];
      EXPECT_EQ(q[size_t(r * width + c)], expected) << "row " << r << " column " << c;
      expectedSum += expected;
    }
    EXPECT_EQ(sum[size_t(r)], expectedSum) << "row " << r;
  }
}

} // namespace
