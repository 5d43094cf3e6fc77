// I2_S (ggml type 36 of microsoft/BitNet): 2-bit codes t+1, then one f32 scale and 28 bytes that nobody
// defines. Canonical order, 128 elements b of a row in 32 bytes: element 128b+32g+p is in bits 6-2g of byte
// 32b+p. The two other orders exist under the same type number with nothing in the file to tell them apart;
// they are read and written on request. Code 3 means 0 to one reader and +2 to another: refused.
#include "compiler/import/codecs/Refusals.h"
#include <cstring>

namespace bitnet::import {
namespace {

constexpr uint32_t kTail = 32;

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

Decoded checkShape(I2SLayout layout, const TernaryMatrix &m) {
  const int multiple = layout == I2SLayout::blocks128 ? 128 : layout == I2SLayout::blocks64 ? 64 : 1;
  if (m.cols % multiple == 0 && (layout != I2SLayout::rows4 || m.rows % 4 == 0))
    return std::nullopt;
  return Fault{0, "expected rows of a multiple of " + std::to_string(multiple) +
                      " (and 4 rows for row4), got [" + std::to_string(m.rows) + ", " +
                      std::to_string(m.cols) + "]"};
}

Decoded decode(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) {
  const I2SLayout layout = settings.i2sLayout;
  if (Decoded fault = checkShape(layout, out))
    return fault;
  const size_t n = in.nBytes - kTail;
  if (Decoded fault = refuseCode3(in.bytes, n, 0))
    return fault;
  float scale;
  std::memcpy(&scale, in.bytes + n, sizeof scale);
  if (Decoded fault = refuseNotFinite(scale, n))
    return fault;
  out.scales.assign(1, scale);
  out.trits.resize(size_t(out.rows) * size_t(out.cols));
  if (layout == I2SLayout::blocks128) {
    decodeBlocks128(in.bytes, n, out.trits.data());
    return std::nullopt;
  }
  for (int64_t r = 0, i = 0; r < out.rows; ++r)
    for (int64_t c = 0; c < out.cols; ++c, ++i) {
      Place place = placeOf(layout, out.cols, r, c);
      out.trits[size_t(i)] = int8_t((in.bytes[place.byte] >> place.shift & 3) - 1);
    }
  return std::nullopt;
}

void encodeBlocks128(const int8_t *t, size_t nBytes, uint8_t *out) {
  for (size_t block = 0; block < nBytes / 32; ++block, t += 128, out += 32)
    for (int p = 0; p < 32; ++p)
      out[p] = uint8_t((t[p] + 1) << 6 | (t[32 + p] + 1) << 4 | (t[64 + p] + 1) << 2 | (t[96 + p] + 1));
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &settings, std::vector<uint8_t> &out) {
  const I2SLayout layout = settings.i2sLayout;
  if (Decoded fault = checkShape(layout, matrix))
    return fault;
  std::memcpy(&out[out.size() - kTail], &matrix.scales[0], sizeof(float));
  if (layout == I2SLayout::blocks128) {
    encodeBlocks128(matrix.trits.data(), out.size() - kTail, out.data());
    return std::nullopt;
  }
  for (int64_t r = 0, i = 0; r < matrix.rows; ++r)
    for (int64_t c = 0; c < matrix.cols; ++c, ++i) {
      Place place = placeOf(layout, matrix.cols, r, c);
      out[place.byte] = uint8_t(out[place.byte] | (matrix.trits[size_t(i)] + 1) << place.shift);
    }
  return std::nullopt;
}

constexpr Codec codec() {
  Codec codec = {"i2_s", {4, 1, 1, 0, kTail}, Codec::Scales::matrix, decode, encode};
  codec.whole = true; // the scale lies after the last row
  return codec;
}

} // namespace

extern const Codec kI2S = codec();

} // namespace bitnet::import
