// Q6_K (ggml type 14), dense: 256 values in 210 bytes: ql[128], qh[64], scales[16] (i8), f16 d; value = d *
// scale[i / 16] * (code - 32). Code i of half h = i / 128, r = i % 128 has its low 4 bits in byte 64h + r %
// 64 of ql (high nibble: r >= 64) and its high 2 bits at bit 2 * (r / 32) of byte 32h + r % 32 of qh.
#include "compiler/import/codecs/Refusals.h"

namespace bitnet::import {
namespace {

constexpr size_t kValues = 256, kBytes = 210, kHighAt = 128, kScalesAt = 192, kScaleAt = 208;

Decoded dequantize(const Encoded &in, size_t n, float *out) {
  for (size_t block = 0; block < n / kValues; ++block) {
    const uint8_t *from = in.bytes + kBytes * block;
    const float d = widen(FloatType::f16, from + kScaleAt);
    if (Decoded fault = refuseNotFinite(d, kBytes * block + kScaleAt))
      return fault;
    for (size_t i = 0; i < kValues; ++i) {
      const size_t h = i / 128, r = i % 128;
      const int low = from[64 * h + r % 64] >> (r < 64 ? 0 : 4) & 15;
      const int high = from[kHighAt + 32 * h + r % 32] >> 2 * (r / 32) & 3;
      // The two factors of the scale first: the order of ggml, which rounds d * scale to f32.
      const float scale = d * float(int8_t(from[kScalesAt + i / 16]));
      *out++ = scale * float((low | high << 4) - 32);
    }
  }
  return std::nullopt;
}

} // namespace

extern const Codec kQ6K = {"q6_k", {kValues, kBytes}, Codec::Scales::group, nullptr, nullptr, dequantize};

} // namespace bitnet::import
