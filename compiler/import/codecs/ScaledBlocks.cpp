// The walk over blocks and their scales.
#include "compiler/import/codecs/ScaledBlocks.h"
#include "compiler/import/codecs/Refusals.h"
#include <algorithm>

namespace bitnet::import {
namespace {

Decoded inBlock(size_t block, Decoded fault) {
  if (fault)
    fault->what = "block " + std::to_string(block) + ": " + fault->what;
  return fault;
}

} // namespace

Decoded decodeScaledBlocks(const ScaledBlocks &format, const Encoded &in, TernaryMatrix &out) {
  const size_t cols = size_t(format.cols), blocks = in.nBytes / format.bytes;
  out.groupCols = format.cols;
  out.trits.resize(blocks * cols);
  out.scales.resize(blocks);
  for (size_t block = 0; block < blocks; ++block) {
    const size_t at = block * format.bytes;
    const uint8_t *from = in.bytes + at;
    if (Decoded fault = refuseCode3(from + format.codesAt, format.codesBytes, at + format.codesAt))
      return inBlock(block, fault);
    const float scale = widen(FloatType::f16, from + format.scaleAt);
    if (Decoded fault = refuseNotFinite(scale, at + format.scaleAt))
      return inBlock(block, fault);
    format.decode(from, &out.trits[block * cols]);
    out.scales[block] = scale;
  }
  return std::nullopt;
}

bool oneScale(const ScaledBlocks &format, const Encoded &in) {
  const uint8_t *first = in.bytes + format.scaleAt;
  for (size_t at = format.scaleAt; at + 2 <= in.nBytes; at += format.bytes)
    if (in.bytes[at] != first[0] || in.bytes[at + 1] != first[1])
      return false;
  return true;
}

Decoded encodeScaledBlocks(const ScaledBlocks &format, const TernaryMatrix &matrix,
                           std::vector<uint8_t> &out) {
  const size_t cols = size_t(format.cols), blocks = matrix.trits.size() / cols;
  if (matrix.groupCols % format.cols != 0)
    return Fault{0, "expected scales of groups of a multiple of " + std::to_string(format.cols) +
                        " columns, got " + std::to_string(matrix.groupCols)};
  for (size_t block = 0; block < blocks; ++block) {
    const int8_t *from = &matrix.trits[block * cols];
    uint8_t *to = &out[block * format.bytes];
    const auto zeros = std::count(from, from + cols, int8_t(0));
    if (!format.zeros && zeros > 0)
      return Fault{0, "expected weights without zeros, got " + std::to_string(zeros) + " in block " +
                          std::to_string(block)};
    const int64_t first = int64_t(block * cols);
    const float scale = size_t(zeros) == cols ? 0 : scaleAt(matrix, first / matrix.cols, first % matrix.cols);
    format.encode(from, to);
    narrowRow(FloatType::f16, &scale, 1, to + format.scaleAt);
  }
  return std::nullopt;
}

} // namespace bitnet::import
