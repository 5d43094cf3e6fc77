// Q2_0 (ggml type 42): 64 weights in 18 bytes, f16 d and 16 bytes of 2-bit codes t+1, element i in bits
// 2(i%4) of byte i/4. PQ2_0 (type 142 of Prism's fork, and 42 in its older files): the same with 128 weights
// in 34 bytes. Code 3 would mean +2d: refused. PQ2_0 is written after the fork's published description; no
// file of the original was there to check against.
#include "compiler/import/codecs/ScaledBlocks.h"

namespace bitnet::import {
namespace {

template <int kWeights> void decodeBlock(const uint8_t *block, int8_t *trits) {
  for (int i = 0; i < kWeights; ++i)
    trits[i] = int8_t((block[2 + i / 4] >> 2 * (i % 4) & 3) - 1);
}

template <int kWeights> void encodeBlock(const int8_t *trits, uint8_t *block) {
  for (int i = 0; i < kWeights; ++i)
    block[2 + i / 4] = uint8_t(block[2 + i / 4] | (trits[i] + 1) << 2 * (i % 4));
}

template <int kWeights>
constexpr ScaledBlocks kFormat = {
    kWeights, 2 + kWeights / 4, 0, decodeBlock<kWeights>, encodeBlock<kWeights>, /*codesAt=*/2, kWeights / 4};

} // namespace

extern const Codec kQ2 = codecOf<kFormat<64>>("q2_0");
extern const Codec kPQ2 = unseen(codecOf<kFormat<128>>("pq2_0"));

} // namespace bitnet::import
