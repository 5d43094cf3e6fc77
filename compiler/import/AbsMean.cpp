// Latent weights to ternary ones, by the arithmetic of transformers' WeightQuant ("online" checkpoints):
//   s = 1 / max(mean|W|, 1e-5) in f32;  t = clamp(round_half_even(f32(w * s)), -1, 1);  weight = t / s, cast
//   to the dtype of the checkpoint.
// So the scale is f32(1/s) rounded to the stored type: what the model multiplies by when it runs in that
// type, and what the packed form of the same model stores as weight_scale. The mean is taken over exact f64
// sums and rounded once, since the reference's f32 sum depends on its own order in the last bits. Tools that
// do it all in bf16 differ near |w*s| = 0.5.
#include "compiler/import/Codec.h"
#include <algorithm>
#include <cmath>

namespace bitnet::import {

Decoded decodeAbsMean(FloatType type, const uint8_t *bytes, size_t nBytes, TernaryMatrix &out) {
  size_t n = size_t(out.rows) * size_t(out.cols), cols = size_t(out.cols), width = floatBytes(type);
  if (nBytes != n * width)
    return Fault{0, "expected " + std::to_string(n * width) + " bytes, got " + std::to_string(nBytes)};
  std::vector<float> row(cols);
  double sum = 0;
  for (size_t r = 0; r < size_t(out.rows); ++r) {
    widenRow(type, bytes + r * cols * width, cols, row.data());
    double rowSum = 0; // f32 values of like size: 29 spare bits hold the sum of 2^20 of them without error
    for (float w : row)
      rowSum += std::fabs(double(w));
    if (!std::isfinite(rowSum)) {
      size_t c = size_t(std::find_if(row.begin(), row.end(), [](float w) { return !std::isfinite(w); }) -
                        row.begin());
      return Fault{(r * cols + c) * width, "expected finite weights, got " + std::to_string(row[c])};
    }
    sum += rowSum;
  }
  float mean = float(sum / double(n));
  float s = 1.0f / std::max(mean, 1e-5f);
  out.trits.resize(n);
  for (size_t r = 0; r < size_t(out.rows); ++r) {
    widenRow(type, bytes + r * cols * width, cols, row.data());
    for (size_t c = 0; c < cols; ++c) {
      // Rounding half to even and clamping to [-1, 1]: |x| <= 0.5 gives 0.
      float x = row[c] * s;
      out.trits[r * cols + c] = int8_t((x > 0.5f) - (x < -0.5f));
    }
  }
  out.scales.assign(1, roundTo(type, 1.0f / s));
  return std::nullopt;
}

} // namespace bitnet::import
