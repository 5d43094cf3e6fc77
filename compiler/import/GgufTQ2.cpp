// TQ2_0 (ggml type 35): 256 weights in 66 bytes, four 2-bit codes t+1 a byte: qs[64], f16 d. Element i of
// half h = i/128, r = i%128 is in bits 2*(r/32) of byte 32h + r%32. Code 3 would mean +2d, which is not
// ternary: refused.
#include "compiler/import/Codec.h"
#include "compiler/import/TqBlocks.h"

namespace bitnet::import {
namespace {

void decodeBlock(const uint8_t *bytes, int8_t *out) {
  for (int half = 0; half < 2; ++half, bytes += 32, out += 128)
    for (int p = 0; p < 32; ++p)
      for (int g = 0; g < 4; ++g)
        out[32 * g + p] = int8_t((bytes[p] >> 2 * g & 3) - 1);
}

void encodeBlock(const int8_t *trits, uint8_t *out) {
  for (int half = 0; half < 2; ++half, trits += 128, out += 32)
    for (int p = 0; p < 32; ++p)
      out[p] = uint8_t((trits[p] + 1) | (trits[32 + p] + 1) << 2 | (trits[64 + p] + 1) << 4 |
                       (trits[96 + p] + 1) << 6);
}

constexpr TqFormat kTQ2 = {"tq2_0", 66, 64, decodeBlock, encodeBlock, /*hasCode3=*/true};

} // namespace

uint64_t tq2Bytes(int64_t rows, int64_t cols) { return uint64_t(rows) * uint64_t(cols) / 256 * kTQ2.bytes; }
Decoded decodeTQ2(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out) {
  return decodeTqBlocks(kTQ2, bytes, nBytes, out);
}
void encodeTQ2(const TernaryMatrix &matrix, std::vector<uint8_t> &out) { encodeTqBlocks(kTQ2, matrix, out); }

} // namespace bitnet::import
