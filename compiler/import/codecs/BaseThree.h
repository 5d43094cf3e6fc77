// Five base-3 digits t + 1 in a byte: digit n is (((b * 3^n) mod 256) * 3) >> 8, most significant first, so
// every byte decodes; an encoder writes ceil(q * 256 / 243). Elements lie digit by digit: the first `width`
// elements are digit 0 of each of `width` bytes.
#pragma once
#include <cstdint>

namespace bitnet::import {

inline int8_t tritOf(uint8_t byte, uint8_t power) { return int8_t((uint8_t(byte * power) * 3 >> 8) - 1); }

/// q: five digits, 0..242.
inline uint8_t byteOfDigits(int q) { return uint8_t((q * 256 + 242) / 243); }

inline void decodeDigits(const uint8_t *bytes, int width, int digits, int8_t *trits) {
  uint8_t power = 1;
  for (int n = 0; n < digits; ++n, power = uint8_t(power * 3))
    for (int p = 0; p < width; ++p)
      *trits++ = tritOf(bytes[p], power);
}

inline void encodeDigits(const int8_t *trits, int width, int digits, uint8_t *bytes) {
  for (int p = 0; p < width; ++p) {
    int q = 0;
    for (int n = 0; n < 5; ++n)
      q = q * 3 + (n < digits ? trits[n * width + p] + 1 : 0);
    bytes[p] = byteOfDigits(q);
  }
}

} // namespace bitnet::import
