// Q1_0 (ggml type 41): 128 weights in 18 bytes: f16 d, 16 bytes of signs, bit i%8 of byte i/8: 1 is +d, 0 is
// -d. Binary: a ternary matrix without zeros.
#include "compiler/import/codecs/ScaledBlocks.h"

namespace bitnet::import {
namespace {

void decodeBlock(const uint8_t *block, int8_t *trits) {
  for (int i = 0; i < 128; ++i)
    trits[i] = int8_t(2 * (block[2 + i / 8] >> i % 8 & 1) - 1);
}

void encodeBlock(const int8_t *trits, uint8_t *block) {
  for (int i = 0; i < 128; ++i)
    block[2 + i / 8] = uint8_t(block[2 + i / 8] | (trits[i] > 0) << i % 8);
}

constexpr ScaledBlocks kFormat = {
    128, 18, 0, decodeBlock, encodeBlock, /*codesAt=*/0, /*codesBytes=*/0, /*zeros=*/false};

} // namespace

extern const Codec kQ1 = codecOf<kFormat>("q1_0");

} // namespace bitnet::import
