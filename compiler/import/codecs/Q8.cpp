// Q8_0 (ggml type 8), dense: 32 values in 34 bytes, f16 d and 32 int8; value = d * q.
#include "compiler/import/codecs/Refusals.h"

namespace bitnet::import {
namespace {

Decoded dequantize(const Encoded &in, size_t n, float *out) {
  for (size_t block = 0; block < n / 32; ++block) {
    const uint8_t *from = in.bytes + 34 * block;
    const float d = widen(FloatType::f16, from);
    if (Decoded fault = refuseNotFinite(d, 34 * block))
      return fault;
    for (size_t i = 0; i < 32; ++i)
      *out++ = d * float(int8_t(from[2 + i]));
  }
  return std::nullopt;
}

} // namespace

extern const Codec kQ8 = {"q8_0", {32, 34}, Codec::Scales::group, nullptr, nullptr, dequantize};

} // namespace bitnet::import
