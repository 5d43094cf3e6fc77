// Packed bytes against the layouts' own formulas, on small matrices whose values can be followed by hand.
#include "codegen/reference/scalar_math.h"
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <set>

using namespace bitnet;
using namespace bitnet::compiler;

namespace {

/// Deterministic weights: trit (r * 7 + c * 3 + seed) % 3 - 1; dense value (r - c) / 8.
class Weights final : public WeightSource {
public:
  int32_t rows = 24, cols = 32, groupCols = 0;
  float dense00 = 0;
  llvm::Expected<import::TernaryMatrix> ternary(const std::string &name) const override {
    import::TernaryMatrix m{rows, cols, groupCols, {}, { name == "a" ? 0.5f : 0.25f }};
    if (groupCols) {
      m.scales.clear();
      for (int32_t i = 0; i < rows * (cols / groupCols); ++i)
        m.scales.push_back(scale(name, i));
    }
    for (int32_t r = 0; r < rows; ++r)
      for (int32_t c = 0; c < cols; ++c)
        m.trits.push_back(trit(name, r, c));
    return m;
  }
  llvm::Expected<import::DenseTensor> dense(const std::string &, int32_t begin, int32_t end) const override {
    end = std::min(end, rows);
    import::DenseTensor d{end - begin, cols, {}};
    for (int32_t r = begin; r < end; ++r)
      for (int32_t c = 0; c < cols; ++c)
        d.values.push_back(r == 0 && c == 0 ? dense00 : value(r, c));
    return d;
  }
  static int8_t trit(const std::string &name, int32_t r, int32_t c) {
    return int8_t((r * 7 + c * 3 + name[0]) % 3 - 1);
  }
  /// Of group i, counted over all rows.
  static float scale(const std::string &name, int32_t i) { return float(name[0] * 1000 + i); }
  static float value(int32_t r, int32_t c) { return float(r - c) / 8; }
};

Constant constant(Packing p, std::vector<std::string> names, int32_t rows, int32_t cols) {
  Constant c;
  c.packing = p;
  c.names = std::move(names);
  c.rows = rows;
  c.cols = cols;
  return c;
}

std::vector<uint8_t> pack(const Constant &c, const WeightSource &w) {
  llvm::Expected<std::vector<uint8_t>> bytes = packConstant(c, w);
  EXPECT_TRUE(bool(bytes));
  return bytes ? *bytes : std::vector<uint8_t>();
}

TEST(PackT2, StripesSpanConcatenatedMatrices) {
  const Weights w; // two matrices of 24 rows: the second stripe holds rows of both
  const std::vector<uint8_t> bytes = pack(constant(Packing::t2, {"a", "b"}, 48, 32), w);
  for (int32_t r = 0; r < 48; ++r)
    for (int32_t c = 0; c < 32; ++c)
      ASSERT_EQ(int((bytes[format::t2_byte(48, 32, r, c)] >> format::t2_shift(c)) & 3) - 1,
                Weights::trit(r < 24 ? "a" : "b", r % 24, c))
          << r << "," << c;
}

/// 32 inputs: the second line has three places of inputs, the codes of the others are 0.
TEST(PackT3, HoldsEveryWeightAndNothingBeyond) {
  const Weights w;
  const std::vector<uint8_t> bytes = pack(constant(Packing::t3, {"a", "b"}, 48, 32), w);
  for (int32_t r = 0; r < 48; ++r) {
    for (int32_t c = 0; c < 32; ++c)
      ASSERT_EQ(format::t3_code(bytes[format::t3_byte(48, 32, r, c)], format::t3_place(c)) - 1,
                Weights::trit(r < 24 ? "a" : "b", r % 24, c))
          << r << "," << c;
    for (int32_t c = 32; c < 40; ++c)
      ASSERT_EQ(format::t3_code(bytes[format::t3_byte(48, 32, r, c)], format::t3_place(c)), 0)
          << r << "," << c;
  }
}

TEST(PackT3, EveryByteHoldsItsFiveCodes) {
  for (int32_t v = 0; v < 243; ++v) {
    const int32_t code[] = {v / 81, v / 27 % 3, v / 9 % 3, v / 3 % 3, v % 3};
    const uint8_t byte = format::t3_encode(code[0], code[1], code[2], code[3], code[4]);
    for (int32_t place = 0; place < 5; ++place)
      EXPECT_EQ(format::t3_code(byte, place), code[place]) << v << " at " << place;
  }
}

/// The code of a weight, from the five lines that its triple lies in.
int t5Code(const std::vector<uint8_t> &bytes, int32_t n, int32_t k, int32_t r, int32_t c) {
  int32_t triple = 0;
  for (int b = 0; b < format::kT5Lines; ++b)
    triple |= (bytes[format::t5_byte(n, k, r, c) + size_t(b) * 64] >> format::t5_shift(c) & 1) << b;
  return format::t5_code(triple, format::t5_place(c));
}

/// 112 inputs: the second block has one of its six parts, the codes of the others are 0.
TEST(PackT5, HoldsEveryWeightAndNothingBeyond) {
  Weights w;
  w.cols = 112;
  const std::vector<uint8_t> bytes = pack(constant(Packing::t5, {"a", "b"}, 48, 112), w);
  for (int32_t r = 0; r < 48; ++r) {
    for (int32_t c = 0; c < 112; ++c)
      ASSERT_EQ(t5Code(bytes, 48, 112, r, c) - 1, Weights::trit(r < 24 ? "a" : "b", r % 24, c))
          << r << "," << c;
    for (int32_t c = 112; c < 192; ++c)
      ASSERT_EQ(t5Code(bytes, 48, 112, r, c), 0) << r << "," << c;
  }
}

TEST(PackT5, EveryTripleHoldsItsThreeCodes) {
  std::set<uint8_t> triples;
  for (int32_t v = 0; v < 27; ++v) {
    const int32_t code[] = {v / 9, v / 3 % 3, v % 3};
    const uint8_t triple = format::t5_encode(code[0], code[1], code[2]);
    EXPECT_LT(triple, 32);
    EXPECT_TRUE(triples.insert(triple).second) << v;
    for (int32_t place = 0; place < 3; ++place)
      EXPECT_EQ(format::t5_code(triple, place), code[place]) << v << " at " << place;
  }
}

/// Each weight by itself: another code in its place (found by the layouts' functions) is noticed, the right
/// one not.
TEST(PackProof, NoticesEachWrongWeight) {
  Weights w;
  w.rows = 256, w.cols = 256;
  const import::TernaryMatrix m = cantFail(w.ternary("a"));
  const int8_t *trits = m.trits.data();
  std::vector<uint8_t> t2(64 * 16), t3(size_t(format::t3_lines(256)) * 64);
  packT2Stripe(trits, 16, 256, t2.data());
  packT3Stripe(trits, 16, 256, t3.data());
  std::vector<uint8_t> t5(size_t(format::t5_lines(256)) * 64);
  packT5Stripe(trits, 16, 256, t5.data());
  std::vector<uint8_t> u2 = pack(constant(Packing::u2, {"a"}, 256, 256), w),
                       d2 = pack(constant(Packing::d2, {"a"}, 256, 256), w);
  const auto sound = [&] {
    return t2StripeHolds(trits, 16, 256, t2.data()) && t3StripeHolds(trits, 16, 256, t3.data()) &&
           t5StripeHolds(trits, 16, 256, t5.data()) && u2RowHolds(trits, 256, u2.data()) &&
           d2ColumnsHold(trits, 256, 256, kD2Columns, d2.data());
  };
  ASSERT_TRUE(sound());
  const auto noticed = [](uint8_t &byte, int shift, auto holds) {
    const uint8_t right = byte;
    const int code = right >> shift & 3;
    byte = uint8_t((right & ~(3 << shift)) | ((code + 1) % 3) << shift);
    const bool wrong = !holds();
    byte = right;
    return wrong;
  };
  for (int32_t c = 0; c < 256; ++c) {
    for (int32_t r = 0; r < 16; ++r) {
      ASSERT_TRUE(noticed(t2[format::t2_byte(16, 256, r, c)], format::t2_shift(c),
                          [&] { return t2StripeHolds(trits, 16, 256, t2.data()); }))
          << r << "," << c;
      uint8_t &byte = t3[format::t3_byte(16, 256, r, c)];
      const uint8_t right = byte;
      int32_t code[5];
      for (int32_t place = 0; place < 5; ++place)
        code[place] = format::t3_code(right, place);
      code[format::t3_place(c)] = (code[format::t3_place(c)] + 1) % 3;
      byte = format::t3_encode(code[0], code[1], code[2], code[3], code[4]);
      ASSERT_FALSE(t3StripeHolds(trits, 16, 256, t3.data())) << r << "," << c;
      for (int b = 0; b < format::kT5Lines; ++b) { // each bit of the weight's triple, and so illegal ones too
        uint8_t &bits = t5[format::t5_byte(16, 256, r, c) + size_t(b) * 64];
        bits = uint8_t(bits ^ 1 << format::t5_shift(c));
        ASSERT_FALSE(t5StripeHolds(trits, 16, 256, t5.data())) << r << "," << c << ", bit " << b;
        bits = uint8_t(bits ^ 1 << format::t5_shift(c));
      }
      byte = right;
    }
    ASSERT_TRUE(noticed(u2[format::u2_byte(256, 0, c)], format::u2_shift(c), [&] {
      return u2RowHolds(trits, 256, u2.data());
    })) << c;
    for (int32_t k = 0; k < kD2Columns; ++k)
      ASSERT_TRUE(noticed(d2[format::d2_byte(256, c, k)], format::d2_shift(c),
                          [&] { return d2ColumnsHold(trits, 256, 256, kD2Columns, d2.data()); }))
          << c << "," << k;
  }
  EXPECT_TRUE(sound());
}

TEST(PackT2, PadRowsAreZeroWeights) {
  const Weights w;
  const std::vector<uint8_t> bytes = pack(constant(Packing::t2, {"a"}, 32, 32), w);
  for (int32_t r = 24; r < 32; ++r)
    for (int32_t c = 0; c < 32; ++c)
      ASSERT_EQ((bytes[format::t2_byte(32, 32, r, c)] >> format::t2_shift(c)) & 3, 1);
}

TEST(PackT2, SaysWhatTheColumnsShouldBe) {
  const Weights w;
  auto bytes = packConstant(constant(Packing::t2, {"a"}, 32, 64), w);
  ASSERT_FALSE(bool(bytes));
  EXPECT_EQ(llvm::toString(bytes.takeError()), "packing 'a': expected 64 columns, got 32");
}

/// Also read back without the layout's formulas: byte i of line l holds inputs 64 apart.
TEST(PackU2, ARowIsConsecutiveBytes) {
  Weights w;
  w.rows = 16, w.cols = 512;
  const std::vector<uint8_t> bytes = pack(constant(Packing::u2, {"a"}, 16, 512), w);
  for (int32_t r = 0; r < 16; ++r)
    for (int32_t c = 0; c < 512; ++c) {
      ASSERT_EQ(int(bytes[format::u2_byte(512, r, c)] >> format::u2_shift(c) & 3) - 1,
                Weights::trit("a", r, c));
      ASSERT_EQ(int(bytes[size_t(r * 128 + c / 256 * 64 + c % 64)] >> (c % 256 / 64 * 2) & 3) - 1,
                Weights::trit("a", r, c));
    }
}

TEST(PackD2, AColumnIsConsecutiveBytes) {
  Weights w;
  w.rows = 512, w.cols = 80; // more columns than a piece, and a piece that is not full
  const std::vector<uint8_t> bytes = pack(constant(Packing::d2, {"a"}, 512, 80), w);
  for (int32_t r = 0; r < 512; ++r)
    for (int32_t c = 0; c < 80; ++c) {
      ASSERT_EQ(int(bytes[format::d2_byte(512, r, c)] >> format::d2_shift(r) & 3) - 1,
                Weights::trit("a", r, c));
      const int32_t lane = r % 16, stripe = r % 256 / 16, byte = lane / 4 * 16 + stripe / 4 * 4 + lane % 4;
      ASSERT_EQ(int(bytes[size_t(c * 128 + r / 256 * 64 + byte)] >> (stripe % 4 * 2) & 3) - 1,
                Weights::trit("a", r, c));
    }
}

TEST(PackU2, SaysWhatTheSizesShouldBe) {
  const Weights w;
  auto bytes = packConstant(constant(Packing::u2, {"a"}, 32, 256), w);
  ASSERT_FALSE(bool(bytes));
  EXPECT_EQ(llvm::toString(bytes.takeError()), "packing 'a': expected 32 x 256, got 24 x 32");
}

TEST(PackRowScale, FollowsTheRowsOfEachMatrix) {
  const Weights w;
  const std::vector<uint8_t> bytes = pack(constant(Packing::rowScale, {"a", "b"}, 48, 1), w);
  const float *scales = reinterpret_cast<const float *>(bytes.data());
  EXPECT_EQ(scales[23], 0.5f);
  EXPECT_EQ(scales[24], 0.25f);
}

TEST(PackGroupScale, FollowsTheGroupsOfEachMatrix) {
  Weights w;
  w.groupCols = 16;
  const std::vector<uint8_t> bytes = pack(constant(Packing::groupScale, {"a", "b"}, 64, 2), w);
  const float *scales = reinterpret_cast<const float *>(bytes.data());
  for (int32_t r = 0; r < 64; ++r)
    for (int32_t g = 0; g < 2; ++g)
      EXPECT_EQ(scales[format::group_scale_index(64, 2, r, g)], r < 24 ? Weights::scale("a", r * 2 + g)
                                                                : r < 48
                                                                    ? Weights::scale("b", (r - 24) * 2 + g)
                                                                    : 0.0f) // rows of padding
          << r << " " << g;
}

TEST(PackGroupScale, TakesCoarserScales) {
  Weights w;
  w.cols = 64, w.groupCols = 32;
  std::vector<uint8_t> bytes = pack(constant(Packing::groupScale, {"a"}, 32, 4), w);
  const float *scales = reinterpret_cast<const float *>(bytes.data());
  EXPECT_EQ(scales[format::group_scale_index(32, 4, 5, 1)], Weights::scale("a", 10));
  EXPECT_EQ(scales[format::group_scale_index(32, 4, 5, 2)], Weights::scale("a", 11));
  w.groupCols = 0;
  bytes = pack(constant(Packing::groupScale, {"a"}, 32, 4), w);
  EXPECT_EQ(reinterpret_cast<const float *>(bytes.data())[format::group_scale_index(32, 4, 23, 3)], 0.5f);
}

TEST(PackGroupScale, RefusesFinerScales) {
  Weights w;
  w.groupCols = 16;
  auto bytes = packConstant(constant(Packing::rowScale, {"a"}, 32, 32), w);
  ASSERT_FALSE(bool(bytes));
  EXPECT_EQ(llvm::toString(bytes.takeError()), "'a': expected scales of 1 groups of columns, got those of 2");
}

TEST(PackF16, RowsFollowEachOther) {
  const Weights w;
  const std::vector<uint8_t> bytes = pack(constant(Packing::f16, {"e"}, 32, 32), w);
  const uint16_t *h = reinterpret_cast<const uint16_t *>(bytes.data());
  EXPECT_EQ(codegen::f16_to_f32(h[format::f16_index(32, 17, 5)]), Weights::value(17, 5));
  EXPECT_EQ(codegen::f16_to_f32(h[format::f16_index(32, 30, 5)]), 0.0f); // pad row
}

TEST(PackF16, RefusesNaN) {
  Weights w;
  w.dense00 = std::numeric_limits<float>::quiet_NaN();
  auto bytes = packConstant(constant(Packing::f16, {"e"}, 32, 32), w);
  ASSERT_FALSE(bool(bytes));
  EXPECT_EQ(llvm::toString(bytes.takeError()), "tensor 'e': expected finite values, got nan in rows 0..31");
}

/// Every weight is within half a step of what the screen says, and the largest are there with what is kept of
/// them.
TEST(PackScreen, CodesAreHalfAStepOffAtMost) {
  Weights w;
  w.cols = 64;
  w.dense00 = 100;
  const std::vector<uint8_t> bytes = pack(constant(Packing::screen, {"e"}, 32, 64), w);
  const format::ScreenLayout layout = format::screen_layout(32, 64);
  ASSERT_EQ(bytes.size(), layout.bytes);
  const auto *scales = reinterpret_cast<const float *>(bytes.data() + layout.row_scale);
  const auto *norms = reinterpret_cast<const float *>(bytes.data() + layout.norms);
  const auto *rest_norms = reinterpret_cast<const float *>(bytes.data() + layout.rest_norms);
  const auto *outliers = reinterpret_cast<const uint32_t *>(bytes.data() + layout.outliers);
  const auto *dither = reinterpret_cast<const float *>(bytes.data() + layout.dither);
  for (int32_t r = 0; r < 24; ++r) {
    double squares = 0, rest_squares = 0;
    std::vector<float> values(64), sizes(64), rests(64);
    for (int32_t c = 0; c < 64; ++c) {
      values[size_t(c)] = r == 0 && c == 0 ? 100 : Weights::value(r, c);
      sizes[size_t(c)] = std::fabs(values[size_t(c)]);
      squares += double(values[size_t(c)]) * values[size_t(c)];
    }
    EXPECT_GE(norms[r], std::sqrt(squares));
    EXPECT_LT(norms[r], std::sqrt(squares) * 1.00001);
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
    EXPECT_NEAR(scales[r], sizes[format::kScreenOutliers] / 7.5, scales[r] * 1e-6); // no more than is needed
    for (int32_t j = 0; j < format::kScreenOutliers; ++j) {
      const uint32_t word = outliers[format::outlier_index(r, j)], bits = word & 0xffff0000;
      std::memcpy(&rests[word & 0xffff], &bits, sizeof bits);
      EXPECT_GE(std::fabs(values[word & 0xffff]), sizes[format::kScreenOutliers - 1]) << r << " " << j;
    }
    for (int32_t c = 0; c < 64; ++c) {
      const int code = (bytes[format::q4_byte(32, 64, r, c)] >> format::q4_shift(c) & 15) - 8;
      const float rest = rests[size_t(c)];
      rest_squares += double(rest) * rest;
      const double error = double(scales[r]) * (code + double(dither[c])) + rest - values[size_t(c)];
      EXPECT_LE(std::fabs(error), rest != 0 ? std::fabs(rest) / 256 : scales[r] * 0.5000001) << r << "," << c;
    }
    EXPECT_GE(rest_norms[r], std::sqrt(rest_squares));
    EXPECT_LT(rest_norms[r], std::sqrt(rest_squares) * 1.00001 + 1e-30);
  }
}

TEST(PackScreen, DitherIsSpreadOverTheUnitInterval) {
  Weights w;
  w.rows = 16, w.cols = 2560;
  const std::vector<uint8_t> bytes = pack(constant(Packing::screen, {"e"}, 16, 2560), w);
  const auto *dither = reinterpret_cast<const float *>(bytes.data() + format::screen_layout(16, 2560).dither);
  int tenths[10] = {};
  for (int32_t c = 0; c < 2560; ++c) {
    ASSERT_TRUE(dither[c] > 0 && dither[c] < 1);
    ++tenths[int(dither[c] * 10)];
  }
  for (const int n : tenths)
    EXPECT_NEAR(n, 256, 6 * 15.2); // 6 sigma of a binomial
}

TEST(PackS8, RowMaximumIsExactly127) {
  const Weights w;
  const std::vector<uint8_t> q = pack(constant(Packing::s8, {"e"}, 32, 32), w);
  const std::vector<uint8_t> s = pack(constant(Packing::s8Scale, {"e"}, 32, 1), w);
  const float *scale = reinterpret_cast<const float *>(s.data());
  for (int32_t r = 0; r < 24; ++r) {
    int top = 0;
    for (int32_t c = 0; c < 32; ++c) {
      const int value = int(q[format::s8_byte(32, 32, r, c)]) - 128;
      top = std::max(top, std::abs(value));
      EXPECT_NEAR(float(value) * scale[r], Weights::value(r, c) * (r || c), scale[r] * 0.5001f)
          << r << "," << c;
    }
    EXPECT_EQ(top, 127) << r;
  }
}

TEST(PackRope, FirstRowsAreKnownAngles) {
  Constant c = constant(Packing::ropeCos, {}, 3, 2);
  c.theta = 10000;
  const Weights w;
  const std::vector<uint8_t> bytes = pack(c, w);
  const float *table = reinterpret_cast<const float *>(bytes.data());
  EXPECT_EQ(table[0], 1.0f);
  EXPECT_EQ(table[2], float(std::cos(1.0)));
  EXPECT_EQ(table[5], float(std::cos(2 * 0.01)));
}

} // namespace
