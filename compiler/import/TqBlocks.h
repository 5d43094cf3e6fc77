// What TQ1_0 and TQ2_0 share: blocks of 256 weights, each with its own f16 scale. A TernaryMatrix has one
// scale, so all blocks that hold a nonzero weight must agree; a sign of the scale is folded into the trits of
// its block.
#pragma once
#include "compiler/import/Codec.h"

namespace bitnet::import {

struct TqFormat {
  const char *name;
  unsigned bytes;   ///< of a block
  unsigned scaleAt; ///< byte of the f16 scale in a block
  void (*decode)(const uint8_t *block, int8_t *trits);
  void (*encode)(const int8_t *trits, uint8_t *block); ///< without the scale
  bool hasCode3;                                       ///< 2-bit codes before scaleAt, of which 3 is refused
};

Decoded decodeTqBlocks(const TqFormat &format, const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
void encodeTqBlocks(const TqFormat &format, const TernaryMatrix &matrix, std::vector<uint8_t> &out);

} // namespace bitnet::import
