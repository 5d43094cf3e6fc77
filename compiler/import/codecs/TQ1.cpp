// TQ1_0 (ggml type 34): 256 weights in 54 bytes, five base-3 digits a byte: qs[48], qh[4], f16 d. Element i
// is digit i/32 of qs[i%32] below 160, digit (i-160)/16 of qs[32+(i-160)%16] below 240, else digit (i-240)/4
// of qh[(i-240)%4].
#include "compiler/import/codecs/BaseThree.h"
#include "compiler/import/codecs/ScaledBlocks.h"

namespace bitnet::import {
namespace {

void decodeBlock(const uint8_t *bytes, int8_t *trits) {
  decodeDigits(bytes, 32, 5, trits);
  decodeDigits(bytes + 32, 16, 5, trits + 160);
  decodeDigits(bytes + 48, 4, 4, trits + 240);
}

void encodeBlock(const int8_t *trits, uint8_t *bytes) {
  encodeDigits(trits, 32, 5, bytes);
  encodeDigits(trits + 160, 16, 5, bytes + 32);
  encodeDigits(trits + 240, 4, 4, bytes + 48);
}

constexpr ScaledBlocks kFormat = {256, 54, 52, decodeBlock, encodeBlock};

} // namespace

extern const Codec kTQ1 = codecOf<kFormat>("tq1_0");

} // namespace bitnet::import
