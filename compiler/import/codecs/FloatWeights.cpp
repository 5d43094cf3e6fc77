// f32, f16 and bf16: dense tensors, and weights that are ternary as they stand (AlreadyTernary.cpp) or are
// made so (AbsMean.cpp).
#include "compiler/import/Codec.h"
#include <cmath>

namespace bitnet::import {
namespace {

/// Two magnitudes of a float tensor that is not ternary, for the message.
std::string notTernary(FloatType type, const Encoded &in) {
  float first = 0;
  for (size_t at = 0; at < in.nBytes; at += floatBytes(type)) {
    float magnitude = std::fabs(widen(type, in.bytes + at));
    if (magnitude != 0 && first == 0)
      first = magnitude;
    else if (magnitude != 0 && magnitude != first)
      return "expected every |weight| to be 0 or one value, got " + std::to_string(first) + " and " +
             std::to_string(magnitude) + "; not a ternary model, or latent weights (--set ternarize=absmean)";
  }
  return "expected finite weights";
}

template <FloatType kType>
Decoded decode(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) {
  if (settings.ternarize != Ternarize::always && decodeAlreadyTernary(kType, in.bytes, out))
    return std::nullopt;
  if (settings.ternarize == Ternarize::refuse)
    return Fault{0, notTernary(kType, in)};
  return decodeAbsMean(kType, settings.absMean, in.bytes, out);
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
