// TQ1_0 (ggml type 34): 256 weights in 54 bytes, five base-3 digits a byte: qs[48], qh[4], f16 d. Digit n of
// a byte b is
// (((b*3^n) mod 256)*3)>>8, so every byte decodes; an encoder writes ceil(q*256/243) with the first digit
// most significant. Element i is digit i/32 of qs[i%32] below 160, digit (i-160)/16 of qs[32+(i-160)%16]
// below 240, else digit (i-240)/4 of qh[(i-240)%4].
#include "compiler/import/Codec.h"
#include "compiler/import/TqBlocks.h"

namespace bitnet::import {
namespace {

constexpr int kScaleAt = 52;

/// `digits` digits of `width` bytes, digit-major: the first `width` elements are digit 0 of each byte.
void decodeDigits(const uint8_t *bytes, int width, int digits, int8_t *out) {
  uint8_t power = 1;
  for (int n = 0; n < digits; ++n, power = uint8_t(power * 3))
    for (int p = 0; p < width; ++p)
      *out++ = int8_t((uint8_t(bytes[p] * power) * 3 >> 8) - 1);
}

void decodeBlock(const uint8_t *bytes, int8_t *out) {
  decodeDigits(bytes, 32, 5, out);
  decodeDigits(bytes + 32, 16, 5, out + 160);
  decodeDigits(bytes + 48, 4, 4, out + 240);
}

void encodeDigits(const int8_t *trits, int width, int digits, uint8_t *out) {
  for (int p = 0; p < width; ++p) {
    int q = 0;
    for (int n = 0; n < 5; ++n)
      q = q * 3 + (n < digits ? trits[n * width + p] + 1 : 0);
    out[p] = uint8_t((q * 256 + 242) / 243);
  }
}

void encodeBlock(const int8_t *trits, uint8_t *out) {
  encodeDigits(trits, 32, 5, out);
  encodeDigits(trits + 160, 16, 5, out + 32);
  encodeDigits(trits + 240, 4, 4, out + 48);
}

constexpr TqFormat kTQ1 = {"tq1_0", 54, kScaleAt, decodeBlock, encodeBlock, /*hasCode3=*/false};

} // namespace

uint64_t tq1Bytes(int64_t rows, int64_t cols) { return uint64_t(rows) * uint64_t(cols) / 256 * kTQ1.bytes; }
Decoded decodeTQ1(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out) {
  return decodeTqBlocks(kTQ1, bytes, nBytes, out);
}
void encodeTQ1(const TernaryMatrix &matrix, std::vector<uint8_t> &out) { encodeTqBlocks(kTQ1, matrix, out); }

} // namespace bitnet::import
