// The int2 form of microsoft/BitNet's gpu folder: codes t+2 (1, 2, 3) in tiles of 16 rows by 32 columns, 128
// bytes each, one row of tiles after the other. A tile is 32 words of 16 codes that lie side by side in a
// row; byte m of a word holds the columns m, m+4, m+8 and m+12 of them, low bits first. The words of a tile
// go over 8 rows, then the two halves of the columns, then the other 8 rows. Sixteen rows are 16 * cols / 4
// bytes without a gap, so a slice of rows that begins at a multiple of 16 is such a matrix again. Code 0 is
// not a trit: refused. Scales are a tensor of their own.
#include "compiler/import/Codec.h"

namespace bitnet::import {
namespace {

constexpr size_t kTileRows = 16, kTileCols = 32, kTileBytes = 128, kWord = 16;

/// Calls word(first byte, row, first column) for each word of a matrix of whole tiles.
template <typename Fn> void forEachWord(size_t rows, size_t cols, Fn word) {
  size_t at = 0;
  for (size_t row = 0; row < rows; row += kTileRows)
    for (size_t col = 0; col < cols; col += kTileCols, at += kTileBytes)
      for (size_t w = 0; w < kTileBytes / 4; ++w)
        word(at + 4 * w, row + w / 16 * 8 + w % 8, col + w / 8 % 2 * kWord);
}

Decoded decode(const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
  for (size_t i = 0; i < in.nBytes; ++i)
    if (((in.bytes[i] | in.bytes[i] >> 1) & 0x55) != 0x55)
      return Fault{i, "expected 2-bit codes 1..3, got 0"};
  size_t cols = size_t(out.cols);
  out.scales.assign(1, 1.0f);
  out.trits.resize(size_t(out.rows) * cols);
  forEachWord(size_t(out.rows), cols, [&](size_t at, size_t row, size_t col) {
    int8_t *to = out.trits.data() + row * cols + col;
    for (size_t i = 0; i < kWord; ++i)
      to[i] = int8_t((in.bytes[at + i % 4] >> 2 * (i / 4) & 3) - 2);
  });
  return std::nullopt;
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  size_t cols = size_t(matrix.cols);
  forEachWord(size_t(matrix.rows), cols, [&](size_t at, size_t row, size_t col) {
    const int8_t *from = matrix.trits.data() + row * cols + col;
    for (size_t i = 0; i < kWord; ++i)
      out[at + i % 4] = uint8_t(out[at + i % 4] | (from[i] + 2) << 2 * (i / 4));
  });
  return std::nullopt;
}

} // namespace

extern const Codec kGpuInt2 = {
    "int2", {kTileCols, kTileBytes, kTileRows}, Codec::Scales::none, decode, encode};

} // namespace bitnet::import
