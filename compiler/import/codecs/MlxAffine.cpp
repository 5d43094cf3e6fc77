// The affine 2-bit form of mlx: U32 words of 16 codes, low bits first, and beside them a scale and a bias for
// each group of columns: value = scale * code + bias. Ternary if the values that a group uses are -a, 0 and
// a: packs of ternary models have bias = -scale, but mlx's own quantiser gives others, of which most are not
// (codes 0, 2 and 3 as 2a, 0 and -a). So the values decide, not the codes.
#include "compiler/import/Codec.h"
#include <cmath>

namespace bitnet::import {
namespace {

int codeAt(const uint8_t *bytes, size_t i) { return bytes[i / 4] >> 2 * (i % 4) & 3; }

/// Weights of a group, which `n` weights in all have.
size_t groupOf(const Encoded &in, size_t n) { return in.scales.empty() ? n : n / in.scales.size(); }

/// Trits of the four values a code can have, of which `used` are used; false if they are not -a, 0, a for a
/// number a.
bool tritsOf(const float values[4], const bool used[4], int8_t trits[4], float &scale) {
  scale = 0;
  for (int code = 0; code < 4; ++code)
    if (used[code])
      scale = std::fmax(scale, std::fabs(values[code]));
  for (int code = 0; code < 4; ++code) {
    trits[code] = int8_t((values[code] > 0) - (values[code] < 0));
    if (used[code] && values[code] != 0 && std::fabs(values[code]) != scale)
      return false;
  }
  return std::isfinite(scale);
}

std::string list(const float values[4], const bool used[4]) {
  std::string text;
  for (int code = 0; code < 4; ++code)
    if (used[code])
      text += (text.empty() ? "" : ", ") + std::to_string(values[code]);
  return text;
}

Decoded decode(const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
  const size_t n = size_t(out.rows) * size_t(out.cols), group = groupOf(in, n);
  if (in.scales.size() != in.biases.size() || in.scales.empty())
    return Fault{0, "expected as many scales as biases, got " + std::to_string(in.scales.size()) + " and " +
                        std::to_string(in.biases.size())};
  out.groupCols = group < size_t(out.cols) ? int32_t(group) : 0;
  out.trits.resize(n);
  out.scales.resize(in.scales.size());
  for (size_t g = 0; g < in.scales.size(); ++g) {
    float values[4];
    bool used[4] = {};
    int8_t trits[4];
    for (int code = 0; code < 4; ++code)
      values[code] = in.scales[g] * float(code) + in.biases[g];
    for (size_t i = g * group; i < (g + 1) * group; ++i)
      used[codeAt(in.bytes, i)] = true;
    if (!tritsOf(values, used, trits, out.scales[g]))
      return Fault{g * group / 4, "group " + std::to_string(g) + ": expected values -a, 0 and a, got " +
                                      list(values, used) + "; not a ternary model"};
    for (size_t i = g * group; i < (g + 1) * group; ++i)
      out.trits[i] = trits[codeAt(in.bytes, i)];
  }
  return std::nullopt;
}

/// The codes; scales are the matrix's, and biases their negatives.
Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  for (size_t i = 0; i < matrix.trits.size(); ++i)
    out[i / 4] = uint8_t(out[i / 4] | (matrix.trits[i] + 1) << 2 * (i % 4));
  return std::nullopt;
}

Decoded dequantize(const Encoded &in, size_t n, float *out) {
  const size_t group = groupOf(in, n);
  if (in.scales.size() != in.biases.size() || in.scales.empty())
    return Fault{0, "expected as many scales as biases, got " + std::to_string(in.scales.size()) + " and " +
                        std::to_string(in.biases.size())};
  for (size_t i = 0; i < n; ++i) {
    out[i] = in.scales[i / group] * float(codeAt(in.bytes, i)) + in.biases[i / group];
    if (!std::isfinite(out[i]))
      return Fault{i / 4, "expected a finite value, got " + std::to_string(out[i])};
  }
  return std::nullopt;
}

} // namespace

extern const Codec kMlx2 = {"mlx_2bit", {16, 4}, Codec::Scales::none, decode, encode, dequantize};

} // namespace bitnet::import
