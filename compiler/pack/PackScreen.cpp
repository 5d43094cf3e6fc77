// The screen of an exact head (runtime/format/layouts.h, ScreenLayout): 4 bits of every weight, and a bound
// on what they leave out that holds with near certainty for any input that was chosen without knowing the
// dither.
//
// A row w (the f16 values of the head) is taken apart: its kScreenOutliers largest weights v are kept as they
// are; the rest u = w - v is coded with a step s = max|u| / 7.5 and one dither d in (0, 1)^k, drawn once,
// shared by all rows:
//   code = round(u/s - d) in -8..7     u~ = s * (code + d)     e = u - u~
// Whatever u/s is, e/s is uniform in [-1/2, 1/2) over the draw of d (subtractive dither: L. Schuchman,
// "Dither signals and their effect on quantization noise", IEEE Trans. Commun. Tech. 12, 1964), and
// independent from one column to the next. How the runtime turns that into a bound is said in
// runtime/exec/exact_head.h.
#include "codegen/reference/scalar_math.h"
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"
#include "runtime/format/rounding.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace llvm;

namespace bitnet::compiler {
namespace {

/// The dither: odd multiples of 2^-24 in (0, 1), exact in f32. SplitMix64 from a fixed seed, so that the same
/// model always gives the same bytes.
std::vector<float> dither(int32_t k) {
  std::vector<float> d(size_t(k), 0.0f);
  uint64_t state = 0x7472697465726e61;
  for (float &x : d) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    x = float(2 * (z >> 41) + 1) * 0x1p-24f;
  }
  return d;
}

/// Codes one row after the other into a screen's parts.
class RowCoder {
public:
  RowCoder(int32_t k, const std::vector<float> &dither)
      : k_(k), n_outliers_(std::min(k, format::kScreenOutliers)), dither_(dither), w_(size_t(k)),
        order_(size_t(k)) {}

  /// The row is number `row` of its stripe; codes: the stripe's bytes, outliers: its words, both zero at
  /// first.
  void code(const float *values, int32_t row, uint8_t *codes, uint32_t *outliers, float *row_scale,
            float *norm) {
    double squares = 0;
    for (int32_t i = 0; i < k_; ++i) {
      bits_ = codegen::f32_to_f16_saturated(values[i]); // the head's own values
      w_[size_t(i)] = codegen::f16_to_f32(bits_);
      squares += double(w_[size_t(i)]) * double(w_[size_t(i)]);
    }
    *norm = format::round_up(std::sqrt(squares) * (1 + 1e-9));
    std::iota(order_.begin(), order_.end(), 0);
    // Of equals the first, so that the bytes depend on the weights only.
    std::nth_element(order_.begin(), order_.begin() + (n_outliers_ - 1), order_.end(),
                     [&](int32_t a, int32_t b) {
                       const float x = std::fabs(w_[size_t(a)]), y = std::fabs(w_[size_t(b)]);
                       return x != y ? x > y : a < b;
                     });
    std::sort(order_.begin(), order_.begin() + n_outliers_);
    for (int32_t j = 0; j < n_outliers_; ++j) {
      float &value = w_[size_t(order_[size_t(j)])];
      outliers[format::outlier_index(row, j)] =
          uint32_t(order_[size_t(j)]) | uint32_t(codegen::f32_to_f16_saturated(value)) << 16;
      value = 0;
    }
    float top = 0;
    for (const float w : w_)
      top = std::max(top, std::fabs(w));
    *row_scale = format::round_up(double(top) / 7.5);
    const double inverse = *row_scale > 0 ? 1 / double(*row_scale) : 0;
    for (int32_t i = 0; i < k_; ++i) {
      // In [-8, 7] but for the rounding of `inverse` at the very ends.
      const double code = format::nearest(double(w_[size_t(i)]) * inverse - double(dither_[size_t(i)]));
      const int stored = int(std::clamp(code, -8.0, 7.0)) + 8;
      codes[format::q4_byte(format::kRowTile, k_, row, i)] |= uint8_t(stored << format::q4_shift(i));
    }
  }

private:
  const int32_t k_, n_outliers_;
  const std::vector<float> &dither_;
  std::vector<float> w_;
  std::vector<int32_t> order_;
  uint16_t bits_ = 0;
};

} // namespace

Error packScreen(const Constant &c, const WeightSource &weights, const Sink &sink) {
  const std::vector<float> d = dither(c.cols);
  RowCoder coder(c.cols, d);
  std::vector<float> rowScales, norms;
  std::vector<uint32_t> outliers(size_t(c.rows) * format::kScreenOutliers, 0);
  StreamSink stripes(c.rows, format::q4_lines(c.cols), sink);
  std::vector<uint8_t> codes(size_t(c.cols) * format::kRowTile / 2);
  if (Error e = forEachStripe(c, weights, [&](const float *values, int32_t firstRow) {
        std::fill(codes.begin(), codes.end(), uint8_t(0));
        for (int32_t r = 0; r < format::kRowTile; ++r) {
          float scale, norm;
          coder.code(values + size_t(r) * c.cols, r, codes.data(),
                     &outliers[format::outlier_index(firstRow, 0)], &scale, &norm);
          rowScales.push_back(scale);
          norms.push_back(norm);
        }
        return stripes.stripe(codes.data());
      }))
    return e;
  const auto put = [&](const auto &values) {
    return sink(reinterpret_cast<const uint8_t *>(values.data()), values.size() * sizeof values[0]);
  };
  if (Error e = put(rowScales))
    return e;
  if (Error e = put(norms))
    return e;
  if (Error e = put(outliers))
    return e;
  return put(d);
}

} // namespace bitnet::compiler
