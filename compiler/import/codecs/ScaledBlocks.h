// Encodings of blocks of neighbouring columns, each with its own f16 scale: TQ1_0, TQ2_0, Q1_0, Q2_0, PQ2_0,
// PTQ1_0. How digits lie in a block is the codec's own. The sign of a scale goes into the trits, and a scale
// of 0 makes them zero (toCoarsest).
#pragma once
#include "compiler/import/Codec.h"

namespace bitnet::import {

struct ScaledBlocks {
  int32_t cols;
  uint32_t bytes;   ///< of a block
  uint32_t scaleAt; ///< byte of the f16 scale in a block
  void (*decode)(const uint8_t *block, int8_t *trits);
  void (*encode)(const int8_t *trits, uint8_t *block); ///< without the scale
  uint32_t codesAt = 0, codesBytes = 0;                ///< 2-bit codes, of which 3 is refused
  bool zeros = true;                                   ///< there is a code for 0
};

Decoded decodeScaledBlocks(const ScaledBlocks &format, const Encoded &in, TernaryMatrix &out);
bool oneScale(const ScaledBlocks &format, const Encoded &in);
/// A block of zeros gets the scale 0, as in ggml, which takes the largest weight.
Decoded encodeScaledBlocks(const ScaledBlocks &format, const TernaryMatrix &matrix,
                           std::vector<uint8_t> &out);

template <const ScaledBlocks &kFormat> constexpr Codec codecOf(const char *name) {
  Codec codec = {name, {kFormat.cols, kFormat.bytes}, Codec::Scales::group};
  codec.decode = [](const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
    return decodeScaledBlocks(kFormat, in, out);
  };
  codec.encode = [](const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
    return encodeScaledBlocks(kFormat, matrix, out);
  };
  codec.oneScale = [](const Encoded &in) { return oneScale(kFormat, in); };
  return codec;
}

/// Of an encoding that was written after a description alone.
constexpr Codec unseen(Codec codec) {
  codec.caution = "its bytes are read by the published description of the format; no file of the original "
                  "program was there to check against";
  return codec;
}

} // namespace bitnet::import
