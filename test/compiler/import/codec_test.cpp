// Every encoding against the vectors in data/encodings, which the original programs wrote: bytes decode to
// the trits and the scale, trits encode to the bytes where the form is canonical, and damaged bytes are
// refused at the right byte.
#include "compiler/import/Codec.h"
#include "test/compiler/import/import_testing.h"
#include <cmath>
#include <nlohmann/json.hpp>

using namespace bitnet::import;
using nlohmann::json;

namespace {

std::vector<uint8_t> fromHex(const std::string &hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(uint8_t(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<float> floatsFromHex(const std::string &hex) {
  std::vector<uint8_t> bytes = fromHex(hex);
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// A vector file: bytes, shape, and what they mean as trits or as floats.
struct Vector {
  json data;
  TernaryMatrix shape; // rows and cols only
  std::vector<uint8_t> bytes;
  std::vector<int8_t> trits;

  explicit Vector(const std::string &path) : data(json::parse(slurp(path))) {
    if (data.contains("shape")) {
      shape.rows = data["shape"][0];
      shape.cols = data["shape"][1];
    }
    bytes = fromHex(data.value("bytes_hex", ""));
    if (data.contains("trits"))
      for (const std::string row : data["trits"])
        for (char c : row)
          trits.push_back(int8_t((c == '+') - (c == '-')));
  }
  std::vector<float> decoded() const { return floatsFromHex(data.value("decoded_f32_hex", "")); }
};

std::vector<float> values(const TernaryMatrix &m) {
  std::vector<float> out;
  for (int8_t t : m.trits)
    out.push_back(float(t) * m.scales[0]);
  return out;
}

class Vectors : public testing::Test {
protected:
  std::optional<Vector> load(const std::string &name) {
    std::string path = sharedData("encodings/" + name + ".json");
    if (path.empty())
      return std::nullopt;
    return Vector(path);
  }
};
#define LOAD(variable, name)                                                                                 \
  std::optional<Vector> variable##Loaded = load(name);                                                       \
  if (!variable##Loaded)                                                                                     \
    GTEST_SKIP() << "shared test data not found (BITNET_SHARED_DATA)";                                       \
  Vector &variable = *variable##Loaded

void expectFault(const Decoded &fault, uint64_t at, const std::string &part) {
  ASSERT_TRUE(fault.has_value()) << "expected: " << part;
  EXPECT_EQ(fault->at, at) << fault->what;
  EXPECT_NE(fault->what.find(part), std::string::npos) << fault->what;
}

TEST_F(Vectors, I2SDecodesInEveryByteOrder) {
  const std::pair<const char *, I2SLayout> files[] = {{"i2_s_x86_act", I2SLayout::blocks128},
                                                      {"i2_s_py_converter", I2SLayout::blocks128},
                                                      {"i2_s_arm", I2SLayout::blocks64},
                                                      {"i2_s_x86_row4", I2SLayout::rows4}};
  for (auto [file, layout] : files) {
    LOAD(v, file);
    TernaryMatrix out = v.shape;
    Decoded fault = decodeI2S(v.bytes.data(), v.bytes.size(), layout, out);
    ASSERT_FALSE(fault) << file << ": " << fault->what;
    EXPECT_EQ(out.trits, v.trits) << file;
    EXPECT_EQ(out.scales, std::vector<float>{v.data["scale"].get<float>()}) << file;
  }
}

TEST_F(Vectors, I2SEncodesToTheSameBytes) {
  LOAD(v, "i2_s_x86_act");
  TernaryMatrix m = v.shape;
  m.trits = v.trits;
  m.scales = {v.data["scale"].get<float>()};
  std::vector<uint8_t> bytes;
  encodeI2S(m, bytes);
  size_t defined = m.trits.size() / 4 + 4; // the rest of the tail is undefined
  ASSERT_EQ(bytes.size(), v.bytes.size());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + long(defined), v.bytes.begin()));
}

TEST_F(Vectors, TQDecodesAndEncodes) {
  for (bool one : {true, false}) {
    LOAD(v, one ? "tq1_0" : "tq2_0");
    // Each row of the vector has its own scale: three matrices of one row.
    size_t rowBytes = v.bytes.size() / size_t(v.shape.rows);
    std::vector<float> decoded = v.decoded();
    for (int32_t r = 0; r < v.shape.rows; ++r) {
      TernaryMatrix row;
      row.rows = 1;
      row.cols = 256; // and each block perhaps another one
      for (int32_t b = 0; b < v.shape.cols / 256; ++b) {
        const uint8_t *bytes = v.bytes.data() + r * rowBytes + size_t(b) * (one ? 54 : 66);
        Decoded fault = one ? decodeTQ1(bytes, 54, row) : decodeTQ2(bytes, 66, row);
        ASSERT_FALSE(fault) << fault->what;
        size_t at = size_t(r) * size_t(v.shape.cols) + size_t(b) * 256;
        EXPECT_TRUE(std::equal(row.trits.begin(), row.trits.end(), v.trits.begin() + long(at)));
        std::vector<float> got = values(row);
        EXPECT_TRUE(std::equal(got.begin(), got.end(), decoded.begin() + long(at)));
        std::vector<uint8_t> again;
        one ? encodeTQ1(row, again) : encodeTQ2(row, again);
        EXPECT_TRUE(std::equal(again.begin(), again.end(), bytes));
      }
    }
  }
}

TEST_F(Vectors, TQ1DecodesEveryByte) {
  LOAD(v, "tq1_0_all_bytes");
  std::vector<float> decoded = v.decoded();
  for (int32_t r = 0; r < v.shape.rows; ++r) {
    TernaryMatrix row;
    row.rows = 1;
    row.cols = 256;
    Decoded fault = decodeTQ1(v.bytes.data() + size_t(r) * 54, 54, row);
    ASSERT_FALSE(fault) << fault->what;
    std::vector<float> got = values(row);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), decoded.begin() + r * 256)) << "row " << r;
  }
}

TEST(TQ2, RefusesCode3) {
  TernaryMatrix row;
  row.rows = 1;
  row.cols = 256;
  std::vector<uint8_t> bytes(66, 0x55);
  bytes[65] = 0x3c;
  bytes[17] = 0x75;
  expectFault(decodeTQ2(bytes.data(), bytes.size(), row), 17, "expected 2-bit codes 0..2, got 3");
}

TEST_F(Vectors, HfPackedDecodesAndEncodes) {
  for (const char *file : {"hf_packed_u8", "hf_packed_u8_rows3", "hf_packed_u8_rows6", "hf_packed_u8_rows9",
                           "hf_packed_u8_rows10"}) {
    LOAD(v, file);
    TernaryMatrix out = v.shape;
    Decoded fault = decodeHfPacked(v.bytes.data(), v.bytes.size(), out);
    ASSERT_FALSE(fault) << file << ": " << fault->what;
    EXPECT_EQ(out.trits, v.trits) << file;
    std::vector<uint8_t> again;
    encodeHfPacked(out, again);
    EXPECT_EQ(again, v.bytes) << file;
  }
}

TEST_F(Vectors, GpuInt2DecodesAndEncodes) {
  for (const char *file : {"ms_gpu_int2_16x32", "ms_gpu_int2_32x128"}) {
    LOAD(v, file);
    TernaryMatrix out = v.shape;
    Decoded fault = decodeGpuInt2(v.bytes.data(), v.bytes.size(), out);
    ASSERT_FALSE(fault) << file << ": " << fault->what;
    EXPECT_EQ(out.trits, v.trits) << file;
    std::vector<uint8_t> again;
    encodeGpuInt2(out, again);
    EXPECT_EQ(again, v.bytes) << file;
  }
}

TEST(GpuInt2, PacksAsTheOriginal) {
  std::string path = sharedData("ms_gpu/int2-pack-cases.json");
  SKIP_WITHOUT(path);
  const json file = json::parse(slurp(path));
  EXPECT_FALSE(file["cases"].empty());
  for (const json &c : file["cases"]) {
    TernaryMatrix m;
    m.rows = c["N"];
    m.cols = c["K"];
    m.trits = c["weight"].get<std::vector<int8_t>>();
    std::vector<uint8_t> expected = fromHex(c["packed_hex"]), bytes;
    encodeGpuInt2(m, bytes);
    EXPECT_EQ(bytes, expected) << m.rows << " x " << m.cols;
    TernaryMatrix out = m;
    Decoded fault = decodeGpuInt2(expected.data(), expected.size(), out);
    ASSERT_FALSE(fault) << fault->what;
    EXPECT_EQ(out.trits, m.trits) << m.rows << " x " << m.cols;
  }
}

TEST_F(Vectors, AbsMeanIsWeightQuant) {
  const std::pair<const char *, FloatType> files[] = {{"absmean_float32", FloatType::f32},
                                                      {"absmean_bfloat16", FloatType::bf16},
                                                      {"absmean_float16", FloatType::f16}};
  for (auto [file, type] : files) {
    LOAD(v, file);
    std::vector<float> input = floatsFromHex(v.data["input_f32_hex"]);
    std::vector<uint8_t> bytes(input.size() * floatBytes(type));
    narrowRow(type, input.data(), input.size(), bytes.data());
    TernaryMatrix out = v.shape;
    Decoded fault = decodeAbsMean(type, AbsMean::wide, bytes.data(), bytes.size(), out);
    ASSERT_FALSE(fault) << fault->what;
    EXPECT_EQ(out.trits, v.trits) << file;
    EXPECT_EQ(values(out), v.decoded()) << file;
  }
}

TEST_F(Vectors, AbsMeanRoundsTiesToEven) {
  LOAD(v, "absmean_ties");
  std::vector<float> input = floatsFromHex(v.data["input_f32_hex"]);
  TernaryMatrix out = v.shape;
  Decoded fault = decodeAbsMean(FloatType::f32, AbsMean::wide, reinterpret_cast<uint8_t *>(input.data()),
                                input.size() * 4, out);
  ASSERT_FALSE(fault) << fault->what;
  EXPECT_EQ(out.trits, v.trits);
}

TernaryMatrix matrix(int32_t rows, int32_t cols) {
  TernaryMatrix m;
  m.rows = rows;
  m.cols = cols;
  for (int32_t i = 0; i < rows * cols; ++i)
    m.trits.push_back(int8_t((i * 7 + i / 5) % 3 - 1));
  m.scales = {0.25f};
  return m;
}

TEST(I2S, RefusesWrongSizeCode3AndBadScale) {
  TernaryMatrix m = matrix(2, 128), out = m;
  std::vector<uint8_t> good, bytes;
  encodeI2S(m, good);
  expectFault(decodeI2S(good.data(), good.size() - 1, I2SLayout::blocks128, out), 0,
              "expected 96 bytes of i2_s, got 95");
  bytes = good;
  bytes[40] |= 3 << 2;
  expectFault(decodeI2S(bytes.data(), bytes.size(), I2SLayout::blocks128, out), 40,
              "expected 2-bit codes 0..2, got 3");
  bytes = good;
  const float bad = std::nanf("");
  std::memcpy(&bytes[64], &bad, 4);
  expectFault(decodeI2S(bytes.data(), bytes.size(), I2SLayout::blocks128, out), 64,
              "expected a finite scale");
}

TEST(I2S, FoldsANegativeScaleIntoTheTrits) {
  TernaryMatrix m = matrix(1, 128), out = m;
  m.scales = {-0.25f};
  std::vector<uint8_t> bytes;
  encodeI2S(m, bytes);
  ASSERT_FALSE(decodeI2S(bytes.data(), bytes.size(), I2SLayout::blocks128, out));
  EXPECT_EQ(out.scales, std::vector<float>{0.25f});
  for (size_t i = 0; i < out.trits.size(); ++i)
    ASSERT_EQ(out.trits[i], -m.trits[i]);
}

TEST(TQ, RefusesScalesThatDifferOrAreNotFinite) {
  TernaryMatrix m = matrix(1, 768), out = m;
  std::vector<uint8_t> good, bytes;
  encodeTQ2(m, good);
  bytes = good;
  bytes[2 * 66 + 65] ^= 4; // exponent of the third scale
  expectFault(decodeTQ2(bytes.data(), bytes.size(), out), 2 * 66 + 64,
              "block 2: expected the scale 0.250000 of block 0, got 0.125000");
  bytes = good;
  bytes[66 + 64] = 0;
  bytes[66 + 65] = 0x7c;
  expectFault(decodeTQ2(bytes.data(), bytes.size(), out), 66 + 64,
              "block 1: expected a finite scale, got inf");
  expectFault(decodeTQ1(good.data(), good.size(), out), 0, "162 bytes, got 198");
}

TEST(TQ, TakesABlockOfZerosWithAnyScale) {
  TernaryMatrix m = matrix(1, 512), out = m;
  std::fill(m.trits.begin(), m.trits.begin() + 256, int8_t(0));
  std::vector<uint8_t> bytes;
  encodeTQ1(m, bytes);
  ASSERT_FALSE(decodeTQ1(bytes.data(), bytes.size(), out));
  EXPECT_EQ(out.trits, m.trits);
  EXPECT_EQ(out.scales, m.scales);
}

TEST(HfPacked, RefusesCode3ButNotInTheDroppedTail) {
  TernaryMatrix m = matrix(5, 4), out = m; // 8 packed bytes; rows 5, 6 and 7 are padding
  std::vector<uint8_t> bytes;
  encodeHfPacked(m, bytes);
  bytes[4] |= 0xc0;
  EXPECT_FALSE(decodeHfPacked(bytes.data(), bytes.size(), out));
  EXPECT_EQ(out.trits, m.trits);
  bytes[4] |= 0x03;
  expectFault(decodeHfPacked(bytes.data(), bytes.size(), out), 4,
              "expected 2-bit codes 0..2, got 3 at row 1, column 0");
}

TEST(GpuInt2, RefusesCode0AndPartsOfTiles) {
  TernaryMatrix m = matrix(32, 64), out = m;
  std::vector<uint8_t> bytes;
  encodeGpuInt2(m, bytes);
  bytes[77] &= uint8_t(~(3 << 4));
  expectFault(decodeGpuInt2(bytes.data(), bytes.size(), out), 77, "expected 2-bit codes 1..3, got 0");
  expectFault(decodeGpuInt2(bytes.data(), 511, out), 0, "expected 512 bytes of int2 codes, got 511");
  out.rows = 8, out.cols = 256;
  expectFault(decodeGpuInt2(bytes.data(), bytes.size(), out), 0,
              "expected tiles of 16 rows and 32 columns, got [8, 256]");
}

TEST(GpuInt2, RowSlicesAreMatrices) {
  TernaryMatrix m = matrix(48, 64), out;
  std::vector<uint8_t> bytes;
  encodeGpuInt2(m, bytes);
  out.rows = 16, out.cols = 64;
  ASSERT_FALSE(decodeGpuInt2(bytes.data() + gpuInt2Bytes(32, 64), gpuInt2Bytes(16, 64), out));
  EXPECT_TRUE(std::equal(out.trits.begin(), out.trits.end(), m.trits.begin() + 32 * 64));
}

TEST(AlreadyTernary, IsExact) {
  TernaryMatrix m = matrix(3, 16), out = m;
  std::vector<float> weights = values(m);
  auto *bytes = reinterpret_cast<uint8_t *>(weights.data());
  ASSERT_TRUE(decodeAlreadyTernary(FloatType::f32, bytes, weights.size() * 4, out));
  EXPECT_EQ(out.trits, m.trits);
  EXPECT_EQ(out.scales, m.scales);
  weights[40] = std::nextafter(0.25f, 1.0f);
  EXPECT_FALSE(decodeAlreadyTernary(FloatType::f32, bytes, weights.size() * 4, out));
  weights[40] = std::nanf("");
  EXPECT_FALSE(decodeAlreadyTernary(FloatType::f32, bytes, weights.size() * 4, out));
}

TEST(AbsMean, RefusesNaN) {
  std::vector<float> weights(32, 0.5f);
  weights[20] = INFINITY;
  TernaryMatrix out = matrix(2, 16);
  expectFault(
      decodeAbsMean(FloatType::f32, AbsMean::wide, reinterpret_cast<uint8_t *>(weights.data()), 128, out), 80,
      "expected finite weights, got inf");
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
