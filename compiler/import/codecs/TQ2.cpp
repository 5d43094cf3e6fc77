// TQ2_0 (ggml type 35): 256 weights in 66 bytes, four 2-bit codes t+1 a byte: qs[64], f16 d. Element i of
// half h = i/128, r = i%128 is in bits 2*(r/32) of byte 32h + r%32. Code 3 would mean +2d, which is not
// ternary: refused.
#include "compiler/import/codecs/ScaledBlocks.h"

namespace bitnet::import {
namespace {

void decodeBlock(const uint8_t *bytes, int8_t *trits) {
  for (int half = 0; half < 2; ++half, bytes += 32, trits += 128)
    for (int p = 0; p < 32; ++p)
      for (int g = 0; g < 4; ++g)
        trits[32 * g + p] = int8_t((bytes[p] >> 2 * g & 3) - 1);
}

void encodeBlock(const int8_t *trits, uint8_t *bytes) {
  for (int half = 0; half < 2; ++half, trits += 128, bytes += 32)
    for (int p = 0; p < 32; ++p)
      bytes[p] = uint8_t((trits[p] + 1) | (trits[32 + p] + 1) << 2 | (trits[64 + p] + 1) << 4 |
                         (trits[96 + p] + 1) << 6);
}

constexpr ScaledBlocks kFormat = {256, 66, 64, decodeBlock, encodeBlock, /*codesAt=*/0, /*codesBytes=*/64};

} // namespace

extern const Codec kTQ2 = codecOf<kFormat>("tq2_0");

} // namespace bitnet::import
