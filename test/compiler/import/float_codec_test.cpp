// Float tensors: halves, weights that are ternary as they stand, and latent weights against transformers'
// own results.
#include "test/compiler/import/encoding_vectors.h"
#include <cmath>
#include <cstdlib>

using namespace bitnet::import;

namespace {

const uint8_t *bytesOf(const std::vector<float> &values) {
  return reinterpret_cast<const uint8_t *>(values.data());
}

TEST(AbsMean, IsWeightQuant) {
  const std::pair<const char *, FloatType> files[] = {{"absmean_float32", FloatType::f32},
                                                      {"absmean_bfloat16", FloatType::bf16},
                                                      {"absmean_float16", FloatType::f16}};
  for (auto [file, type] : files) {
    LOAD(v, file);
    std::vector<float> input = floatsFromHex(v.data["input_f32_hex"]);
    std::vector<uint8_t> bytes(input.size() * floatBytes(type));
    narrowRow(type, input.data(), input.size(), bytes.data());
    TernaryMatrix out = v.shape;
    Decoded fault = decodeAbsMean(type, AbsMean::wide, bytes.data(), out.rows, out.cols, out);
    ASSERT_FALSE(fault) << fault->what;
    EXPECT_EQ(out.trits, v.trits) << file;
    EXPECT_EQ(values(out), v.decoded) << file;
  }
}

TEST(AbsMean, RoundsTiesToEven) {
  LOAD(v, "absmean_ties");
  std::vector<float> input = floatsFromHex(v.data["input_f32_hex"]);
  TernaryMatrix out = v.shape;
  Decoded fault = decodeAbsMean(FloatType::f32, AbsMean::wide, bytesOf(input), out.rows, out.cols, out);
  ASSERT_FALSE(fault) << fault->what;
  EXPECT_EQ(out.trits, v.trits);
}

TEST(AbsMean, RefusesInfinity) {
  std::vector<float> weights(32, 0.5f);
  weights[20] = INFINITY;
  TernaryMatrix out = matrix(2, 16);
  expectFault(decodeAbsMean(FloatType::f32, AbsMean::wide, bytesOf(weights), out.rows, out.cols, out), 80,
              "expected finite weights, got inf");
}

TEST(AlreadyTernary, IsExact) {
  TernaryMatrix m = matrix(3, 16), out = m;
  std::vector<float> weights = values(m);
  ASSERT_TRUE(decodeAlreadyTernary(FloatType::f32, bytesOf(weights), out.rows, out.cols, out));
  toCoarsest(out);
  EXPECT_EQ(out.trits, m.trits);
  EXPECT_EQ(out.scales, m.scales);
  for (float other : {std::nextafter(0.25f, 1.0f), std::nanf(""), INFINITY}) {
    weights[40] = other;
    EXPECT_FALSE(decodeAlreadyTernary(FloatType::f32, bytesOf(weights), out.rows, out.cols, out)) << other;
  }
}

/// Scales of rows, of shards of columns (a third of a row), of groups: each found in its coarsest form.
TEST(AlreadyTernary, FindsScalesOfRowsShardsAndGroups) {
  for (int32_t group : {0, 768 / 3, 128, 64, 32}) {
    TernaryMatrix m = matrix(4, 768), out = m;
    m.groupCols = group;
    m.scales.clear();
    for (int32_t i = 0; i < 4 * (group ? 768 / group : 1); ++i)
      m.scales.push_back(float(i % 7 + 1) * 0.0625f);
    std::vector<float> weights = values(m);
    ASSERT_TRUE(decodeAlreadyTernary(FloatType::f32, bytesOf(weights), out.rows, out.cols, out)) << group;
    toCoarsest(out);
    EXPECT_EQ(out.groupCols, group);
    EXPECT_EQ(out.trits, m.trits) << group;
    EXPECT_EQ(out.scales, m.scales) << group;
  }
}

TEST(AlreadyTernary, TakesNoGroupsBelow32Columns) {
  TernaryMatrix m = matrix(1, 64), out = m;
  m.groupCols = 16;
  m.scales = {0.25f, 0.5f, 0.25f, 0.75f};
  EXPECT_FALSE(decodeAlreadyTernary(FloatType::f32, bytesOf(values(m)), out.rows, out.cols, out));
}

/// Against gguf-py (test/data/dense_blocks.py).
TEST(DenseBlocks, AreWhatGgufReads) {
  const char *root = std::getenv("BITNET_SOURCE_DIR");
  ASSERT_TRUE(root);
  const nlohmann::json file =
      nlohmann::json::parse(slurp(std::string(root) + "/test/data/dense_blocks.json"));
  EXPECT_EQ(file.size(), 3u);
  for (const auto &[name, vector] : file.items()) {
    const std::vector<float> expected = floatsFromHex(vector["decoded_f32_hex"]);
    std::vector<uint8_t> bytes = fromHex(vector["bytes_hex"]);
    std::vector<float> out(expected.size());
    auto decode = [&] {
      return decodeDense(codec(name), {bytes.data(), bytes.size()}, {}, vector["shape"][0],
                         vector["shape"][1], out.data());
    };
    Decoded fault = decode();
    ASSERT_FALSE(fault) << name << ": " << fault->what;
    EXPECT_EQ(out, expected) << name;
    const Blocks &blocks = codec(name).blocks;
    const size_t scaleAt = blocks.bytes + (name == "q6_k" ? 208 : 0);
    bytes[scaleAt + 1] = 0xff;
    expectFault(decode(), scaleAt, "expected a finite scale, got ");
    bytes.pop_back();
    expectFault(decode(), 0,
                "expected " + std::to_string(bytes.size() + 1) + " bytes of " + name + ", got " +
                    std::to_string(bytes.size()));
  }
}

TEST(DenseBlocks, OfTernaryWeightsAreTritTimesScale) {
  TernaryMatrix m = matrix(4, 256);
  m.groupCols = 64;
  for (int32_t i = 0; i < 4 * 4; ++i)
    m.scales.resize(size_t(i + 1), 0.125f * float(i % 5 + 1));
  for (const char *name : {"f16", "q2_0"}) {
    const std::vector<uint8_t> bytes = encode(name, m);
    std::vector<float> out(4 * 256);
    ASSERT_FALSE(decodeDense(codec(name), {bytes.data(), bytes.size()}, {}, 4, 256, out.data()));
    EXPECT_EQ(out, values(m)) << name;
  }
}

TEST(FloatCodec, SaysWhatIsNotTernary) {
  CodecSettings settings;
  settings.ternarize = Ternarize::refuse;
  std::vector<float> weights(32, 0.5f);
  weights[20] = 0.25f;
  TernaryMatrix out;
  expectFault(
      decodeTernary(codec("f32"), {bytesOf(weights), 128}, settings, 2, 16, out), 80,
      "expected every |weight| to be 0 or one value, got 1 of 32 other than 0 and 0.500000, the farthest "
      "0.250000; not a ternary model, or latent weights (--set ternarize=absmean)");
}

TEST(Floats, EveryHalfSurvivesTheRoundTrip) {
  for (FloatType type : {FloatType::f16, FloatType::bf16})
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      uint16_t half = uint16_t(bits), back = 0;
      float wide = widen(type, reinterpret_cast<const uint8_t *>(&half));
      if (std::isnan(wide))
        continue;
      narrowRow(type, &wide, 1, reinterpret_cast<uint8_t *>(&back));
      ASSERT_EQ(back, half);
    }
}

TEST(Floats, WidenHalvesExactly) {
  const std::pair<uint16_t, float> cases[] = {
      {0x0001, 0x1p-24f}, {0x03ff, 1023 * 0x1p-24f}, {0x0400, 0x1p-14f}, {0x3c01, 1 + 0x1p-10f},
      {0x7bff, 65504.0f}, {0xfc00, -INFINITY},       {0x8000, -0.0f}};
  for (auto [half, value] : cases) {
    float wide = widen(FloatType::f16, reinterpret_cast<const uint8_t *>(&half));
    EXPECT_EQ(wide, value);
    EXPECT_EQ(std::signbit(wide), std::signbit(value));
  }
  const uint16_t nan = 0x7e01;
  EXPECT_TRUE(std::isnan(widen(FloatType::f16, reinterpret_cast<const uint8_t *>(&nan))));
}

TEST(Floats, RoundToNearestEven) {
  EXPECT_EQ(roundTo(FloatType::f16, 1.0f + 0x1p-11f), 1.0f);               // a tie, down to even
  EXPECT_EQ(roundTo(FloatType::f16, 1.0f + 3 * 0x1p-11f), 1.0f + 0x1p-9f); // a tie, up to even
  EXPECT_EQ(roundTo(FloatType::f16, 1.5f * 0x1p-24f), 0x1p-23f);           // subnormal tie, up to even
  EXPECT_EQ(roundTo(FloatType::f16, 65519.0f), 65504.0f);
  EXPECT_EQ(roundTo(FloatType::f16, 65520.0f), INFINITY);
  EXPECT_EQ(roundTo(FloatType::bf16, 1.0f + 0x1p-8f), 1.0f);
  EXPECT_EQ(roundTo(FloatType::bf16, 1.0f + 3 * 0x1p-8f), 1.0f + 0x1p-6f);
}

} // namespace
