// Q4_0 (ggml type 2), dense: 32 values in 18 bytes, f16 d and 16 bytes of codes; value i is d * (code - 8),
// the code in the low nibble of byte i below 16, else in the high nibble of byte i - 16.
#include "compiler/import/codecs/Refusals.h"

namespace bitnet::import {
namespace {

Decoded dequantize(const Encoded &in, size_t n, float *out) {
  for (size_t block = 0; block < n / 32; ++block, out += 32) {
    const uint8_t *from = in.bytes + 18 * block;
    const float d = widen(FloatType::f16, from);
    if (Decoded fault = refuseNotFinite(d, 18 * block))
      return fault;
    for (size_t i = 0; i < 16; ++i) {
      out[i] = d * float((from[2 + i] & 15) - 8);
      out[16 + i] = d * float((from[2 + i] >> 4) - 8);
    }
  }
  return std::nullopt;
}

} // namespace

extern const Codec kQ4 = {"q4_0", {32, 18}, Codec::Scales::group, nullptr, nullptr, dequantize};

} // namespace bitnet::import
