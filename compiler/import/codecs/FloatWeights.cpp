// f32, f16 and bf16: dense tensors, and weights that are ternary as they stand (AlreadyTernary.cpp) or are
// made so (AbsMean.cpp).
#include "compiler/import/Codec.h"
#include <cmath>

namespace bitnet::import {
namespace {

/// Where a float tensor that is not ternary leaves the magnitude that most of its weights have, how often and
/// how far.
Fault notTernary(FloatType type, const Encoded &in) {
  const size_t width = floatBytes(type), n = in.nBytes / width;
  float most = 0; // the one that more than half have, if there is one (vote of Boyer and Moore)
  size_t votes = 0;
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(widen(type, in.bytes + i * width));
    if (!std::isfinite(magnitude))
      return {i * width, "expected finite weights, got " + std::to_string(magnitude)};
    if (magnitude == 0)
      continue;
    if (votes == 0)
      most = magnitude;
    votes = magnitude == most ? votes + 1 : votes - 1;
  }
  size_t others = 0, first = 0;
  float farthest = most;
  for (size_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(widen(type, in.bytes + i * width));
    if (magnitude == 0 || magnitude == most)
      continue;
    if (others++ == 0)
      first = i;
    if (std::fabs(magnitude - most) > std::fabs(farthest - most))
      farthest = magnitude;
  }
  return {first * width, "expected every |weight| to be 0 or one value, got " + std::to_string(others) +
                             " of " + std::to_string(n) + " other than 0 and " + std::to_string(most) +
                             ", the farthest " + std::to_string(farthest) +
                             "; not a ternary model, or latent weights (--set ternarize=absmean)"};
}

template <FloatType kType>
Decoded decode(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) {
  if (settings.ternarize != Ternarize::always &&
      decodeAlreadyTernary(kType, in.bytes, out.rows, out.cols, out))
    return std::nullopt;
  if (settings.ternarize == Ternarize::refuse)
    return notTernary(kType, in);
  return decodeAbsMean(kType, settings.absMean, in.bytes, out.rows, out.cols, out);
}

template <FloatType kType>
Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  std::vector<float> row(size_t(matrix.cols));
  for (int32_t r = 0; r < matrix.rows; ++r) {
    const size_t first = size_t(r) * row.size();
    for (int32_t c = 0; c < matrix.cols; ++c)
      row[size_t(c)] = float(matrix.trits[first + size_t(c)]) * scaleAt(matrix, r, c);
    narrowRow(kType, row.data(), row.size(), &out[first * floatBytes(kType)]);
  }
  return std::nullopt;
}

template <FloatType kType> Decoded dequantize(const Encoded &in, size_t n, float *out) {
  widenRow(kType, in.bytes, n, out);
  for (size_t i = 0; i < n; ++i)
    if (!std::isfinite(out[i]))
      return Fault{i * floatBytes(kType), "expected a finite value, got " + std::to_string(out[i])};
  return std::nullopt;
}

template <FloatType kType> constexpr Codec floatCodec(const char *name) {
  Codec codec = {name, {1, floatBytes(kType)}, Codec::Scales::group};
  codec.decode = decode<kType>;
  codec.encode = encode<kType>;
  codec.dequantize = dequantize<kType>;
  codec.floats = kType;
  return codec;
}

} // namespace

extern const Codec kF32 = floatCodec<FloatType::f32>("f32");
extern const Codec kF16 = floatCodec<FloatType::f16>("f16");
extern const Codec kBF16 = floatCodec<FloatType::bf16>("bf16");

} // namespace bitnet::import
