// I2_S (ggml type 36 of microsoft/BitNet): 2-bit codes t+1, then one f32 scale and 28 bytes that nobody
// defines. Canonical order, 128 elements b of a row in 32 bytes: element 128b+32g+p is in bits 6-2g of byte
// 32b+p. The two other orders exist under the same type number with nothing in the file to tell them apart;
// they are decoded on request and never written. Code 3 means 0 to one reader and +2 to another: refused.
#include "compiler/import/Codec.h"
#include <cmath>
#include <cstring>

namespace bitnet::import {
namespace {

constexpr uint64_t kTail = 32;

/// Byte index and shift of element (row, col).
struct Place {
  uint64_t byte;
  unsigned shift;
};
Place placeOf(I2SLayout layout, int64_t cols, int64_t row, int64_t col) {
  if (layout == I2SLayout::rows4)
    return {uint64_t(row / 4 * cols + col), unsigned(6 - 2 * (row % 4))};
  int64_t width = layout == I2SLayout::blocks128 ? 32 : 16;
  int64_t element = row * cols + col, block = element / (4 * width), within = element % (4 * width);
  return {uint64_t(block * width + within % width), unsigned(6 - 2 * (within / width))};
}

/// The canonical order, a block of 32 bytes at a time.
void decodeBlocks128(const uint8_t *bytes, size_t nBytes, int8_t *out) {
  for (size_t block = 0; block < nBytes / 32; ++block, bytes += 32, out += 128)
    for (int p = 0; p < 32; ++p) {
      uint8_t b = bytes[p];
      out[p] = int8_t((b >> 6) - 1);
      out[32 + p] = int8_t((b >> 4 & 3) - 1);
      out[64 + p] = int8_t((b >> 2 & 3) - 1);
      out[96 + p] = int8_t((b & 3) - 1);
    }
}

} // namespace

uint64_t i2sBytes(int64_t rows, int64_t cols) { return uint64_t(rows) * uint64_t(cols) / 4 + kTail; }

Decoded decodeI2S(const uint8_t *bytes, size_t nBytes, I2SLayout layout, TernaryMatrix &out) {
  if (nBytes != i2sBytes(out.rows, out.cols))
    return Fault{0, "expected " + std::to_string(i2sBytes(out.rows, out.cols)) + " bytes of i2_s, got " +
                        std::to_string(nBytes)};
  int multiple = layout == I2SLayout::blocks128 ? 128 : layout == I2SLayout::blocks64 ? 64 : 1;
  if (out.cols % multiple != 0 || (layout == I2SLayout::rows4 && out.rows % 4 != 0))
    return Fault{0, "expected rows of a multiple of " + std::to_string(multiple) +
                        " (and 4 rows for row4), got [" + std::to_string(out.rows) + ", " +
                        std::to_string(out.cols) + "]"};
  size_t n = nBytes - kTail;
  for (size_t i = 0; i < n; ++i)
    if (bytes[i] & bytes[i] >> 1 & 0x55)
      return Fault{i, "expected 2-bit codes 0..2, got 3 in byte 0x" +
                          std::string(1, "0123456789abcdef"[bytes[i] >> 4]) +
                          "0123456789abcdef"[bytes[i] & 15]};
  float scale;
  std::memcpy(&scale, bytes + n, sizeof scale);
  if (!std::isfinite(scale))
    return Fault{n, "expected a finite scale, got " + std::to_string(scale)};
  out.scales.assign(1, scale);
  out.trits.resize(size_t(out.rows) * size_t(out.cols));
  if (layout == I2SLayout::blocks128) {
    decodeBlocks128(bytes, n, out.trits.data());
  } else {
    for (int64_t r = 0, i = 0; r < out.rows; ++r)
      for (int64_t c = 0; c < out.cols; ++c, ++i) {
        Place place = placeOf(layout, out.cols, r, c);
        out.trits[size_t(i)] = int8_t((bytes[place.byte] >> place.shift & 3) - 1);
      }
  }
  foldSign(out);
  return std::nullopt;
}

void encodeI2S(const TernaryMatrix &matrix, std::vector<uint8_t> &out) {
  out.assign(i2sBytes(matrix.rows, matrix.cols), 0);
  const int8_t *t = matrix.trits.data();
  for (size_t block = 0; block < matrix.trits.size() / 128; ++block, t += 128)
    for (int p = 0; p < 32; ++p)
      out[32 * block + p] =
          uint8_t((t[p] + 1) << 6 | (t[32 + p] + 1) << 4 | (t[64 + p] + 1) << 2 | (t[96 + p] + 1));
  std::memcpy(&out[matrix.trits.size() / 4], &matrix.scales[0], sizeof(float));
}

} // namespace bitnet::import
