// Scales of TQ1_0 and TQ2_0 blocks; the digits are the codecs' own.
#include "compiler/import/TqBlocks.h"
#include <algorithm>
#include <cmath>

namespace bitnet::import {

constexpr size_t kBlock = 256;

Decoded decodeTqBlocks(const TqFormat &format, const uint8_t *bytes, size_t nBytes, TernaryMatrix &out) {
  size_t n = size_t(out.rows) * size_t(out.cols);
  if (out.cols % kBlock != 0 || nBytes != n / kBlock * format.bytes)
    return Fault{0, "expected [" + std::to_string(out.rows) + ", " + std::to_string(out.cols) + "] of " +
                        format.name + " with rows of a multiple of 256 in " +
                        std::to_string(n / kBlock * format.bytes) + " bytes, got " + std::to_string(nBytes)};
  out.trits.resize(n);
  float scale = 0; // of the first block that has one
  size_t scaleBlock = 0;
  for (size_t block = 0; block < n / kBlock; ++block) {
    const uint8_t *from = bytes + block * format.bytes;
    int8_t *to = out.trits.data() + block * kBlock;
    if (format.hasCode3)
      for (unsigned i = 0; i < format.scaleAt; ++i)
        if (from[i] & from[i] >> 1 & 0x55)
          return Fault{block * format.bytes + i,
                       "block " + std::to_string(block) + ": expected 2-bit codes 0..2, got 3"};
    float d = widen(FloatType::f16, from + format.scaleAt);
    if (!std::isfinite(d))
      return Fault{block * format.bytes + format.scaleAt,
                   "block " + std::to_string(block) + ": expected a finite scale, got " + std::to_string(d)};
    format.decode(from, to);
    if (d == 0)
      std::fill(to, to + kBlock, int8_t(0));
    else if (d < 0)
      std::transform(to, to + kBlock, to, [](int8_t t) { return int8_t(-t); });
    if (d == 0 || std::all_of(to, to + kBlock, [](int8_t t) { return t == 0; }))
      continue;
    d = std::fabs(d);
    if (scale != 0 && d != scale)
      return Fault{block * format.bytes + format.scaleAt,
                   "block " + std::to_string(block) + ": expected the scale " + std::to_string(scale) +
                       " of block " + std::to_string(scaleBlock) + ", got " + std::to_string(d) +
                       "; scales that differ inside a tensor are not supported"};
    if (scale == 0) {
      scale = d;
      scaleBlock = block;
    }
  }
  out.scales.assign(1, scale);
  return std::nullopt;
}

void encodeTqBlocks(const TqFormat &format, const TernaryMatrix &matrix, std::vector<uint8_t> &out) {
  size_t blocks = matrix.trits.size() / kBlock;
  out.assign(blocks * format.bytes, 0);
  const float none = 0;
  for (size_t block = 0; block < blocks; ++block) {
    const int8_t *from = matrix.trits.data() + block * kBlock;
    uint8_t *to = out.data() + block * format.bytes;
    format.encode(from, to);
    bool zero = std::all_of(from, from + kBlock, [](int8_t t) { return t == 0; });
    narrowRow(FloatType::f16, zero ? &none : &matrix.scales[0], 1, to + format.scaleAt);
  }
}

void foldSign(TernaryMatrix &matrix) {
  float &scale = matrix.scales[0];
  if (scale > 0)
    return;
  int8_t factor = scale < 0 ? -1 : 0;
  for (int8_t &t : matrix.trits)
    t = int8_t(t * factor);
  scale = std::fabs(scale);
}

} // namespace bitnet::import
