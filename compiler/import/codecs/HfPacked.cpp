// The packed form of transformers' BitNet integration: U8 [ceil(rows/4), cols], byte (i, j) holds in bits 2k,
// 2k+1 the code t+1 of row i + k*ceil(rows/4): rows that share a byte are strided, not adjacent. Where rows
// is not a multiple of 4 the tail holds code 0 and is dropped. Code 3 is not a trit: refused, except in the
// dropped tail. The scale is a tensor of its own.
#include "compiler/import/Codec.h"

namespace bitnet::import {

namespace {

uint64_t size(int64_t rows, int64_t cols) { return uint64_t((rows + 3) / 4) * uint64_t(cols); }

Decoded decode(const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
  size_t cols = size_t(out.cols), stride = size_t((int64_t(out.rows) + 3) / 4);
  out.scales.assign(1, 1.0f);
  out.trits.resize(size_t(out.rows) * cols);
  for (size_t r = 0; r < size_t(out.rows); ++r) {
    const uint8_t *from = in.bytes + r % stride * cols;
    int8_t *to = out.trits.data() + r * cols;
    unsigned shift = unsigned(2 * (r / stride));
    int8_t largest = -1;
    for (size_t c = 0; c < cols; ++c) {
      to[c] = int8_t((from[c] >> shift & 3) - 1);
      largest = to[c] > largest ? to[c] : largest;
    }
    if (largest > 1)
      for (size_t c = 0; c < cols; ++c)
        if (to[c] > 1)
          return Fault{r % stride * cols + c, "expected 2-bit codes 0..2, got 3 at row " + std::to_string(r) +
                                                  ", column " + std::to_string(c)};
  }
  return std::nullopt;
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  size_t cols = size_t(matrix.cols), stride = size_t((int64_t(matrix.rows) + 3) / 4);
  for (size_t r = 0; r < size_t(matrix.rows); ++r) {
    const int8_t *from = matrix.trits.data() + r * cols;
    uint8_t *to = out.data() + r % stride * cols;
    for (size_t c = 0; c < cols; ++c)
      to[c] = uint8_t(to[c] | (from[c] + 1) << 2 * (r / stride));
  }
  return std::nullopt;
}

constexpr Codec codec() {
  Codec codec = {"packed u8", {}, Codec::Scales::none, decode, encode};
  codec.size = size;
  codec.whole = true; // rows that share a byte are far apart
  return codec;
}

} // namespace

extern const Codec kHfPacked = codec();

} // namespace bitnet::import
