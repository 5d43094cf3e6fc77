// The screen of an exact head (runtime/format/layouts.h, ScreenLayout): 4 bits of every weight, and a bound
// on what they leave out that holds with near certainty for any input that was chosen without knowing the
// dither.
//
// A row w (the f16 values of the head) is coded with one dither d in (0, 1)^k, drawn once, shared by all
// rows, and a step s = max|w| / 7.5, the maximum being over all but its kScreenOutliers largest weights:
//   code = round(w/s - d), at least -8 and at most 7     w~ = s * (code + d)     e = w - w~
// Whatever w/s is, e/s is uniform in [-1/2, 1/2) over the draw of d (subtractive dither: L. Schuchman,
// "Dither signals and their effect on quantization noise", IEEE Trans. Commun. Tech. 12, 1964), and
// independent from one column to the next. Not so for the largest weights, whose codes may be at an end:
// their e are kept, rounded to the upper half of a float, and so is the norm of them. How the runtime turns
// all that into bounds is said in runtime/exec/exact_head.h.
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
std::vector<float> dither(int32_t n) {
  std::vector<float> d(size_t(n), 0.0f);
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

/// The bits of the nearest float whose low half is 0. x is far from the largest.
uint32_t upper_half(float x) {
  const uint32_t bits = codegen::float_bits(x);
  return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
}

/// Codes one row after the other into a screen's parts.
class RowCoder {
public:
  RowCoder(int32_t k, const std::vector<float> &dither)
      : k_(k), n_outliers_(std::min(k, format::kScreenOutliers)), dither_(dither), w_(size_t(k)),
        codes_(size_t(k)), order_(size_t(k)) {}

  struct OfRow {
    float scale, norm, rest_norm;
  };
  /// The row is number `row` of its stripe; codes: the stripe's bytes, zero at first. outliers: the row's.
  OfRow code(const float *values, int32_t row, uint8_t *codes, uint32_t *outliers) {
    double squares = 0;
    for (int32_t i = 0; i < k_; ++i) {
      w_[size_t(i)] = codegen::f16_to_f32(codegen::f32_to_f16_saturated(values[i])); // the head's own values
      squares += double(w_[size_t(i)]) * double(w_[size_t(i)]);
    }
    std::iota(order_.begin(), order_.end(), 0);
    // Of equals the first, so that the bytes depend on the weights only.
    std::nth_element(order_.begin(), order_.begin() + (n_outliers_ - 1), order_.end(),
                     [&](int32_t a, int32_t b) {
                       const float x = std::fabs(w_[size_t(a)]), y = std::fabs(w_[size_t(b)]);
                       return x != y ? x > y : a < b;
                     });
    std::sort(order_.begin(), order_.begin() + n_outliers_);
    float top = 0;
    for (auto i = order_.begin() + n_outliers_; i < order_.end(); ++i)
      top = std::max(top, std::fabs(w_[size_t(*i)]));
    const float scale = format::round_up(double(top) / 7.5);
    const double inverse = scale > 0 ? 1 / double(scale) : 0;
    for (int32_t i = 0; i < k_; ++i) {
      // Of all but the outliers in [-8, 7] but for the rounding of `inverse` at the very ends.
      const double code = format::nearest(double(w_[size_t(i)]) * inverse - double(dither_[size_t(i)]));
      codes_[size_t(i)] = std::clamp(code, -8.0, 7.0);
      codes[format::q4_byte(format::kRowTile, k_, row, i)] |= uint8_t(int(codes_[size_t(i)]) + 8)
                                                              << format::q4_shift(i);
    }
    double rest_squares = 0;
    for (int32_t j = 0; j < n_outliers_; ++j) {
      const auto i = size_t(order_[size_t(j)]);
      const auto rest = float(double(w_[i]) - double(scale) * (codes_[i] + double(dither_[i])));
      const uint32_t kept = upper_half(rest);
      const float value = codegen::float_from_bits(kept);
      rest_squares += double(value) * double(value);
      outliers[j] = uint32_t(i) | kept;
    }
    return {scale, format::round_up(std::sqrt(squares) * (1 + 1e-9)),
            format::round_up(std::sqrt(rest_squares) * (1 + 1e-9))};
  }

private:
  const int32_t k_, n_outliers_;
  const std::vector<float> &dither_;
  std::vector<float> w_;
  std::vector<double> codes_;
  std::vector<int32_t> order_;
};

} // namespace

Error packScreen(const Constant &c, const WeightSource &weights, const Sink &sink) {
  const std::vector<float> d = dither(2 * c.cols); // the second half is the runtime's
  RowCoder coder(c.cols, d);
  std::vector<float> rowScales, norms, restNorms;
  std::vector<uint32_t> outliers(size_t(c.rows) * format::kScreenOutliers, 0);
  StreamSink stripes(c.rows, format::q4_lines(c.cols), sink);
  std::vector<uint8_t> codes(size_t(c.cols) * format::kRowTile / 2);
  if (Error e = forEachStripe(c, weights, [&](const float *values, int32_t firstRow) {
        std::fill(codes.begin(), codes.end(), uint8_t(0));
        for (int32_t r = 0; r < format::kRowTile; ++r) {
          const RowCoder::OfRow row = coder.code(values + size_t(r) * c.cols, r, codes.data(),
                                                 &outliers[format::outlier_index(firstRow + r, 0)]);
          rowScales.push_back(row.scale);
          norms.push_back(row.norm);
          restNorms.push_back(row.rest_norm);
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
  if (Error e = put(restNorms))
    return e;
  if (Error e = put(outliers))
    return e;
  return put(d);
}

} // namespace bitnet::compiler
