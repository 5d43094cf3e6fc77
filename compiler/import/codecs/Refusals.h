// What codecs refuse alike: of codes t + 1 of 2 bits, four in a byte, the 3, since readers differ in what it
// means (0, +2 scales); and scales that are no numbers.
#pragma once
#include "compiler/import/Codec.h"
#include <cmath>

namespace bitnet::import {

/// A code 3 in n bytes; `at` is that of the first byte in its tensor.
inline Decoded refuseCode3(const uint8_t *bytes, size_t n, uint64_t at) {
  for (size_t i = 0; i < n; ++i)
    if (bytes[i] & bytes[i] >> 1 & 0x55)
      return Fault{at + i, "expected 2-bit codes 0..2, got 3 in byte 0x" +
                               std::string(1, "0123456789abcdef"[bytes[i] >> 4]) +
                               "0123456789abcdef"[bytes[i] & 15]};
  return std::nullopt;
}

inline Decoded refuseNotFinite(float scale, uint64_t at) {
  if (std::isfinite(scale))
    return std::nullopt;
  return Fault{at, "expected a finite scale, got " + std::to_string(scale)};
}

} // namespace bitnet::import
