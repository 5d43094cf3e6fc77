// PTQ1_0 (type 143 of Prism's fork of ggml): 128 weights in 28 bytes, base-3 digits as in TQ1_0: qs[24],
// qh[2], f16 d last. Element i is digit i/16 of qs[i%16] below 80, digit (i-80)/8 of qs[16+(i-80)%8] below
// 120, else digit (i-120)/2 of qh[(i-120)%2]. Written after the fork's published description; no file of the
// original was there to check against.
#include "compiler/import/codecs/BaseThree.h"
#include "compiler/import/codecs/ScaledBlocks.h"

namespace bitnet::import {
namespace {

void decodeBlock(const uint8_t *bytes, int8_t *trits) {
  decodeDigits(bytes, 16, 5, trits);
  decodeDigits(bytes + 16, 8, 5, trits + 80);
  decodeDigits(bytes + 24, 2, 4, trits + 120);
}

void encodeBlock(const int8_t *trits, uint8_t *bytes) {
  encodeDigits(trits, 16, 5, bytes);
  encodeDigits(trits + 80, 8, 5, bytes + 16);
  encodeDigits(trits + 120, 2, 4, bytes + 24);
}

constexpr ScaledBlocks kFormat = {128, 28, 26, decodeBlock, encodeBlock};

} // namespace

extern const Codec kPTQ1 = unseen(codecOf<kFormat>("ptq1_0"));

} // namespace bitnet::import
