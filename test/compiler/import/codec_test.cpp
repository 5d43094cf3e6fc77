// Every encoding against the vectors in data/encodings: bytes decode to the trits and the scales, trits
// encode to the bytes where the form is canonical, and damaged bytes are refused at the right byte.
#include "test/compiler/import/encoding_vectors.h"
#include <cmath>

using namespace bitnet::import;
using nlohmann::json;

namespace {

CodecSettings settingsOf(const json &vector) {
  CodecSettings settings;
  const std::string layout = vector.value("layout", "");
  settings.i2sLayout = layout.rfind("64/16", 0) == 0 ? I2SLayout::blocks64
                       : layout.rfind("1x4", 0) == 0 ? I2SLayout::rows4
                                                     : I2SLayout::blocks128;
  if (vector.contains("BM"))
    settings.tlKernels = {{vector["shape"][0], vector["shape"][1], vector["BM"], vector["BK"], vector["bm"]}};
  return settings;
}

struct File {
  const char *name, *codec;
  bool canonical; ///< trits encode to the bytes
};
const File files[] = {{"i2_s_x86_act", "i2_s", true},
                      {"i2_s_py_converter", "i2_s", true},
                      {"i2_s_arm", "i2_s", true},
                      {"i2_s_x86_row4", "i2_s", true},
                      {"tq1_0", "tq1_0", true},
                      {"tq1_0_all_bytes", "tq1_0", false},
                      {"tq1_0_real_input", "tq1_0", true},
                      {"tq2_0", "tq2_0", true},
                      {"tq2_0_real_input", "tq2_0", true},
                      {"q1_0", "q1_0", true},
                      {"q1_0_all_bytes", "q1_0", true},
                      {"q2_0", "q2_0", true},
                      {"pq2_0", "pq2_0", true},
                      {"ptq1_0", "ptq1_0", true},
                      {"ptq1_0_random_bytes", "ptq1_0", false},
                      {"iq1_bn", "iq1_bn", true},
                      {"iq2_bn", "iq2_bn", true},
                      {"iq2_bn_r4", "iq2_bn_r4", true},
                      {"tl1_128x128_bm32", "tl1", true},
                      {"tl1_64x256_bm64", "tl1", true},
                      {"tl2_64x352", "tl2", true},
                      {"tl2_96x512", "tl2", true},
                      {"hf_packed_u8", "packed u8", true},
                      {"hf_packed_u8_rows3", "packed u8", true},
                      {"hf_packed_u8_rows6", "packed u8", true},
                      {"hf_packed_u8_rows9", "packed u8", true},
                      {"hf_packed_u8_rows10", "packed u8", true},
                      {"ms_gpu_int2_16x32", "int2", true},
                      {"ms_gpu_int2_32x128", "int2", true}};

TEST(Vectors, DecodeToTheirValuesAndEncodeToTheirBytes) {
  for (const File &file : files) {
    LOAD(v, file.name);
    const CodecSettings settings = settingsOf(v.data);
    TernaryMatrix out = v.shape;
    Decoded fault = decode(file.codec, v.bytes, out, settings);
    ASSERT_FALSE(fault) << file.name << ": " << fault->what;
    EXPECT_FALSE(v.trits.empty() && v.decoded.empty()) << file.name;
    if (!v.trits.empty()) {
      EXPECT_EQ(out.trits, v.trits) << file.name;
    }
    if (!v.decoded.empty()) {
      EXPECT_EQ(values(out), v.decoded) << file.name;
    }
    if (v.data.contains("row_scale")) {
      EXPECT_EQ(out.scales, v.data["row_scale"].get<std::vector<float>>()) << file.name;
    }
    if (v.data.contains("scale") && codec(file.codec).scales != Codec::Scales::none) {
      EXPECT_EQ(out.scales, std::vector<float>{v.data["scale"].get<float>()}) << file.name;
    }
    if (!file.canonical)
      continue;
    std::vector<uint8_t> bytes = encode(file.codec, out, settings), expected = v.bytes;
    ASSERT_EQ(bytes.size(), expected.size()) << file.name;
    if (file.codec == std::string("i2_s")) // 28 bytes after the scale are undefined
      bytes.resize(bytes.size() - 28), expected.resize(bytes.size());
    EXPECT_EQ(bytes, expected) << file.name;
  }
}

/// Every byte value, or random ones: a block with a code 3 is refused at its first, the others decode.
TEST(Vectors, OfEveryByteRefuseCode3) {
  const std::tuple<const char *, const char *, size_t, size_t> tables[] = {
      {"tq2_0_all_bytes", "tq2_0", 0, 64},
      {"q2_0_all_bytes", "q2_0", 2, 16},
      {"pq2_0_random_bytes", "pq2_0", 2, 32}};
  for (auto [name, encoding, codesAt, codes] : tables) {
    LOAD(v, name);
    const size_t rows = size_t(v.shape.rows), cols = size_t(v.shape.cols), rowBytes = v.bytes.size() / rows;
    ASSERT_EQ(rowBytes, codec(encoding).blocks.bytes);
    for (size_t r = 0; r < rows; ++r) {
      const std::vector<uint8_t> bytes(v.bytes.begin() + long(r * rowBytes),
                                       v.bytes.begin() + long((r + 1) * rowBytes));
      size_t bad = codesAt;
      while (bad < codesAt + codes && (bytes[bad] & bytes[bad] >> 1 & 0x55) == 0)
        ++bad;
      TernaryMatrix row;
      row.rows = 1;
      row.cols = int32_t(cols);
      Decoded fault = decode(encoding, bytes, row);
      if (bad < codesAt + codes) {
        expectFault(fault, bad, "block 0: expected 2-bit codes 0..2, got 3 in byte 0x");
        continue;
      }
      ASSERT_FALSE(fault) << name << ": " << fault->what;
      EXPECT_EQ(values(row), std::vector<float>(v.decoded.begin() + long(r * cols),
                                                v.decoded.begin() + long((r + 1) * cols)));
    }
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
    m.scales = {1};
    const std::vector<uint8_t> expected = fromHex(c["packed_hex"]);
    EXPECT_EQ(encode("int2", m), expected) << m.rows << " x " << m.cols;
    TernaryMatrix out = m;
    Decoded fault = decode("int2", expected, out);
    ASSERT_FALSE(fault) << fault->what;
    EXPECT_EQ(out.trits, m.trits) << m.rows << " x " << m.cols;
  }
}

/// What every codec refuses alike: a byte too few or too many, no rows, rows that are no whole blocks.
TEST(EveryCodec, NeedsTheBytesOfItsShape) {
  for (const Codec *codec : codecs()) {
    if (!codec->decode)
      continue;
    TernaryMatrix m;
    m.rows = 128;
    m.cols = 512;
    const std::optional<uint64_t> right = encodedBytes(*codec, m.rows, m.cols);
    ASSERT_TRUE(right) << codec->name;
    for (uint64_t n : {*right - 1, *right + 1}) {
      const std::vector<uint8_t> bytes(n, 0);
      expectFault(decode(codec->name, bytes, m), 0,
                  "expected " + std::to_string(*right) + " bytes of " + codec->name + ", got " +
                      std::to_string(n));
    }
    EXPECT_FALSE(encodedBytes(*codec, 0, 512)) << codec->name;
    EXPECT_FALSE(encodedBytes(*codec, int64_t(1) << 40, int64_t(1) << 40)) << codec->name;
    if (codec->blocks.cols > 1) {
      m.cols = 512 + codec->blocks.cols / 2;
      expectFault(decode(codec->name, std::vector<uint8_t>(*right), m), 0,
                  std::string("expected ") + codec->name + " of " + blockRule(*codec) + ", got [128, " +
                      std::to_string(m.cols) + "]");
    }
  }
}

/// Scales of blocks: not finite, negative, zero, and of a block without weights.
TEST(ScaledBlocks, RefuseAScaleThatIsNoNumber) {
  const std::pair<const char *, size_t> encodings[] = {
      {"tq1_0", 52}, {"tq2_0", 64}, {"q2_0", 0}, {"pq2_0", 0}, {"ptq1_0", 26}};
  for (auto [name, scaleInBlock] : encodings) {
    TernaryMatrix m = matrix(2, 512), out = m;
    std::vector<uint8_t> bytes = encode(name, m);
    const Blocks &blocks = codec(name).blocks;
    const size_t scaleAt = 3 * blocks.bytes + scaleInBlock;
    for (uint8_t high : {0x7e, 0x7c, 0xfc}) {
      bytes[scaleAt] = 0;
      bytes[scaleAt + 1] = high;
      expectFault(decode(name, bytes, out), scaleAt, "block 3: expected a finite scale, got ");
    }
    bytes[scaleAt + 1] = 0xb4; // -0.25: the trits of this block change their signs
    ASSERT_FALSE(decode(name, bytes, out)) << name;
    EXPECT_EQ(out.scales, m.scales) << name;
    for (int32_t i = 0; i < blocks.cols; ++i)
      ASSERT_EQ(out.trits[size_t(3 * blocks.cols + i)], -m.trits[size_t(3 * blocks.cols + i)]) << name;
    bytes[scaleAt + 1] = 0; // a block of zeros, whose scale does not count
    ASSERT_FALSE(decode(name, bytes, out)) << name;
    EXPECT_EQ(out.scales, m.scales) << name;
    EXPECT_EQ(out.trits[size_t(3 * blocks.cols)], 0) << name;
  }
}

TEST(ScaledBlocks, KeepScalesThatDiffer) {
  TernaryMatrix m = matrix(2, 512), out = m;
  m.groupCols = 256;
  m.scales = {0.25f, 0.5f, 0.75f, 0.25f};
  for (const char *name : {"f16", "tq1_0", "tq2_0", "q2_0", "pq2_0", "ptq1_0"}) {
    ASSERT_FALSE(decode(name, encode(name, m), out)) << name;
    EXPECT_EQ(out.groupCols, 256) << name;
    EXPECT_EQ(out.scales, m.scales) << name;
    EXPECT_EQ(out.trits, m.trits) << name;
  }
  std::vector<uint8_t> bytes;
  expectFault(encodeTernary(codec("i2_s"), m, {}, bytes), 0, "expected scales that i2_s can hold");
}

TEST(Q1, CannotSayZero) {
  TernaryMatrix m = matrix(1, 128), out = m;
  std::vector<uint8_t> bytes;
  expectFault(encodeTernary(codec("q1_0"), m, {}, bytes), 0, "expected weights without zeros, got ");
  for (int8_t &t : m.trits)
    t = t == 0 ? 1 : t;
  ASSERT_FALSE(decode("q1_0", encode("q1_0", m), out));
  EXPECT_EQ(out.trits, m.trits);
}

TEST(I2S, RefusesCode3AndBadScale) {
  TernaryMatrix m = matrix(2, 128), out = m;
  const std::vector<uint8_t> good = encode("i2_s", m);
  std::vector<uint8_t> bytes = good;
  bytes[40] |= 3 << 2;
  expectFault(decode("i2_s", bytes, out), 40, "expected 2-bit codes 0..2, got 3");
  bytes = good;
  const float bad = std::nanf("");
  std::memcpy(&bytes[64], &bad, 4);
  expectFault(decode("i2_s", bytes, out), 64, "expected a finite scale, got nan");
}

TEST(I2S, NeedsWholeBlocksOfItsLayout) {
  CodecSettings settings;
  TernaryMatrix m = matrix(2, 96);
  const std::vector<uint8_t> bytes(2 * 24 + 32, 0x55);
  expectFault(decode("i2_s", bytes, m), 0,
              "expected rows of a multiple of 128 (and 4 rows for row4), got [2, 96]");
  settings.i2sLayout = I2SLayout::rows4;
  expectFault(decode("i2_s", bytes, m, settings), 0,
              "expected rows of a multiple of 1 (and 4 rows for row4), got [2, 96]");
}

TEST(I2S, FoldsANegativeScaleIntoTheTrits) {
  TernaryMatrix m = matrix(1, 128), out = m;
  m.scales = {-0.25f};
  ASSERT_FALSE(decode("i2_s", encode("i2_s", m), out));
  EXPECT_EQ(out.scales, std::vector<float>{0.25f});
  for (size_t i = 0; i < out.trits.size(); ++i)
    ASSERT_EQ(out.trits[i], -m.trits[i]);
}

TEST(HfPacked, RefusesCode3ButNotInTheDroppedTail) {
  TernaryMatrix m = matrix(5, 4), out = m; // 8 packed bytes; rows 5, 6 and 7 are padding
  std::vector<uint8_t> bytes = encode("packed u8", m);
  bytes[4] |= 0xc0;
  EXPECT_FALSE(decode("packed u8", bytes, out));
  EXPECT_EQ(out.trits, m.trits);
  bytes[4] |= 0x03;
  expectFault(decode("packed u8", bytes, out), 4, "expected 2-bit codes 0..2, got 3 at row 1, column 0");
}

TEST(GpuInt2, RefusesCode0) {
  TernaryMatrix m = matrix(32, 64), out = m;
  std::vector<uint8_t> bytes = encode("int2", m);
  bytes[77] &= uint8_t(~(3 << 4));
  expectFault(decode("int2", bytes, out), 77, "expected 2-bit codes 1..3, got 0");
}

TEST(GpuInt2, RowSlicesAreMatrices) {
  TernaryMatrix m = matrix(48, 64), out;
  const std::vector<uint8_t> bytes = encode("int2", m);
  out.rows = 16, out.cols = 64;
  ASSERT_FALSE(decode("int2", {bytes.begin() + 2 * 256, bytes.end()}, out));
  EXPECT_TRUE(std::equal(out.trits.begin(), out.trits.end(), m.trits.begin() + 32 * 64));
}

TEST(RowScales, RefuseCode3AndScalesThatAreNoNumbers) {
  TernaryMatrix m = matrix(8, 128), out = m;
  m.scales = {0.25f, 0.5f, 0.25f, 0.25f, 0.25f, 0.25f, 0.75f, 0.25f};
  const std::vector<uint8_t> one = encode("iq1_bn", m), two = encode("iq2_bn", m),
                             four = encode("iq2_bn_r4", m);
  std::vector<uint8_t> bytes = one;
  bytes[6 * 28 + 1] = 0x7c; // f16 at the start of row 6
  expectFault(decode("iq1_bn", bytes, out), 6 * 28, "expected a finite scale, got inf");
  const float bad = std::nanf("");
  bytes = two;
  std::memcpy(&bytes[6 * 36], &bad, 4);
  expectFault(decode("iq2_bn", bytes, out), 6 * 36, "expected a finite scale, got nan");
  bytes = two;
  bytes[6 * 36 + 4 + 17] |= 0x30;
  expectFault(decode("iq2_bn", bytes, out), 6 * 36 + 4 + 17, "expected 2-bit codes 0..2, got 3");
  bytes = four;
  std::memcpy(&bytes[144 + 2 * 4], &bad, 4);
  expectFault(decode("iq2_bn_r4", bytes, out), 144 + 2 * 4, "expected a finite scale, got nan");
  bytes = four;
  bytes[144 + 16 + 77] |= 0xc0;
  expectFault(decode("iq2_bn_r4", bytes, out), 144 + 16 + 77, "expected 2-bit codes 0..2, got 3");
}

TEST(Tl, NeedsItsKernel) {
  TernaryMatrix m = matrix(64, 352);
  const std::vector<uint8_t> bytes(*encodedBytes(codec("tl2"), 64, 352));
  CodecSettings settings;
  settings.tlKernels = {{64, 256, 64, 96, 32}};
  expectFault(decode("tl2", bytes, m, settings), 0,
              "expected the kernel configuration of 64x352, which the file does not hold, got none; "
              "kernel_config.ini of the build that wrote the file has it (m, k, bm, bk, bmm): --set "
              "tl_kernels=64x352:BM/BK/bm");
  settings.tlKernels = {{64, 352, 64, 100, 32}};
  expectFault(decode("tl2", bytes, m, settings), 0,
              "expected bm of 32 that divides BM, BM that divides the rows, BK that is a multiple of 24 and "
              "leaves a multiple of 32 of the 256 or more columns, got 64x352:64/100/32 (--set tl_kernels)");
  settings.tlKernels = {{64, 352, 64, 64, 32}};
  expectFault(decode("tl1", std::vector<uint8_t>(64 * 352 / 4), m, settings), 0,
              "expected bm of 16, 32 or 64 that divides BM, BM that divides the rows, BK that divides the "
              "columns and is a multiple of 256 / bm, got 64x352:64/64/32 (--set tl_kernels)");
}

TEST(Tl, RefusesCodesThatNothingWrites) {
  TernaryMatrix m = matrix(32, 320), out = m;
  CodecSettings settings;
  settings.tlKernels = {{32, 320, 32, 96, 32}}; // 288 columns in triples, 32 in pairs
  const std::vector<uint8_t> good = encode("tl2", m, settings);
  std::vector<uint8_t> bytes = good;
  bytes[5] |= 0xe0;
  expectFault(decode("tl2", bytes, out, settings), 5, "expected codes 0..13, got 1");
  const size_t signs = 32 * 288 / 6, pairs = signs + 32 * 288 / 24;
  bytes = good;
  bytes[0] = bytes[32] = bytes[64] = bytes[96] = 0; // the first 24 columns of row 0
  bytes[signs + 1] |= 0x80;
  expectFault(decode("tl2", bytes, out, settings), signs, "expected no sign for three zeros, got one");
  bytes = good;
  bytes[pairs + 40] = 0x19;
  expectFault(decode("tl2", bytes, out, settings), pairs + 40, "expected codes 0..8, got 9");
  settings.tlKernels = {{32, 320, 32, 64, 32}};
  bytes = encode("tl1", m, settings);
  bytes[100] = 0xf0;
  expectFault(decode("tl1", bytes, out, settings), 100, "expected codes 0..8, got 15");
}

Decoded decodeMlx(const std::vector<uint8_t> &codes, const std::vector<float> &scales,
                  const std::vector<float> &biases, TernaryMatrix &out) {
  return decodeTernary(codec("mlx_2bit"), {codes.data(), codes.size(), scales, biases}, {}, out.rows,
                       out.cols, out);
}

/// What mlx's own quantiser makes of a ternary matrix: most groups are not ternary any more.
TEST(Mlx, DecodesToTheValuesOrRefusesThem) {
  LOAD(v, "mlx_affine_2bit_g128");
  const std::vector<uint8_t> codes = fromHex(v.data["weight_u32_hex"]);
  std::vector<float> scales, biases, dense(v.decoded.size());
  for (const json &row : v.data["scales"])
    scales.insert(scales.end(), row.begin(), row.end());
  for (const json &row : v.data["biases"])
    biases.insert(biases.end(), row.begin(), row.end());
  Decoded fault = decodeDense(codec("mlx_2bit"), {codes.data(), codes.size(), scales, biases}, {},
                              v.shape.rows, v.shape.cols, dense.data());
  ASSERT_FALSE(fault) << fault->what;
  EXPECT_EQ(dense, v.decoded);
  TernaryMatrix out = v.shape;
  expectFault(decodeMlx(codes, scales, biases, out), 0,
              "group 0: expected values -a, 0 and a, got 0.500000, 0.000000, -0.250000; not a ternary model");
}

/// Packs of ternary models: bias = -scale; and the same values written with another scale and bias.
TEST(Mlx, DecodesTernaryGroups) {
  TernaryMatrix m = matrix(2, 256), out = m;
  m.groupCols = 128;
  m.scales = {0.25f, 0.5f, 0.75f, 0.25f};
  std::vector<uint8_t> codes = encode("mlx_2bit", m);
  std::vector<float> scales = m.scales, biases = {-0.25f, -0.5f, -0.75f, -0.25f};
  ASSERT_FALSE(decodeMlx(codes, scales, biases, out));
  EXPECT_EQ(out.trits, m.trits);
  EXPECT_EQ(out.scales, m.scales);
  EXPECT_EQ(out.groupCols, 128);
  for (size_t i = 64; i < 96; ++i) // the third group counts down: codes 3, 2, 1 for -a, 0, a
    codes[i] = uint8_t(~codes[i]);
  scales[2] = -0.75f, biases[2] = 1.5f;
  ASSERT_FALSE(decodeMlx(codes, scales, biases, out));
  EXPECT_EQ(out.trits, m.trits);
  EXPECT_EQ(out.scales, m.scales);
  biases[2] = 1.25f;
  expectFault(decodeMlx(codes, scales, biases, out), 64, "group 2: expected values -a, 0 and a, got 0.5");
  biases.pop_back();
  expectFault(decodeMlx(codes, scales, biases, out), 0, "expected as many scales as biases, got 4 and 3");
}

/// One matrix with scales of groups of 64, in forms that are finer than they need to be.
TEST(Coarsest, IsOneFormOfTheSameValues) {
  TernaryMatrix m = matrix(3, 768);
  m.groupCols = 64;
  m.scales.assign(3 * 12, 0.5f);
  m.scales[5] = -0.5f;
  std::fill_n(m.trits.begin() + 7 * 64, 64, int8_t(0));
  m.scales[7] = 3; // scales nothing
  TernaryMatrix whole = m;
  toCoarsest(whole);
  EXPECT_EQ(whole.groupCols, 0);
  EXPECT_EQ(whole.scales, std::vector<float>{0.5f});
  EXPECT_EQ(values(whole), values(m));

  TernaryMatrix rows = m;
  std::fill_n(rows.scales.begin() + 12, 12, 0.75f);
  toCoarsest(rows);
  EXPECT_EQ(rows.groupCols, 0);
  EXPECT_EQ(rows.scales, (std::vector<float>{0.5f, 0.75f, 0.5f}));

  TernaryMatrix groups = m; // of 192 in row 0, of 384 in row 2: 192 suits both
  std::fill_n(groups.scales.begin(), 3, 0.25f);
  std::fill_n(groups.scales.begin() + 24, 6, 0.25f);
  const std::vector<float> expected = values(groups);
  toCoarsest(groups);
  EXPECT_EQ(groups.groupCols, 192);
  EXPECT_EQ(groups.scales.size(), size_t(3 * 4));
  EXPECT_EQ(values(groups), expected);

  TernaryMatrix zeros = m;
  std::fill(zeros.trits.begin(), zeros.trits.end(), int8_t(0));
  toCoarsest(zeros);
  EXPECT_EQ(zeros.scales, std::vector<float>{0});
}

} // namespace
