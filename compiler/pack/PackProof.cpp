// The proof of packing: every weight is decoded again from the packed bytes and compared with what was read.
// Written from the text of runtime/format/layouts.h, not from the packers, several weights at a time, since a
// model has thousands of millions (test/compiler/pack holds both against the layouts' own functions).
#include "compiler/pack/PackDetail.h"
#include <cstring>

namespace bitnet::compiler {
namespace {

uint32_t word(const void *at) {
  uint32_t w;
  std::memcpy(&w, at, sizeof w);
  return w;
}

/// Four trits as codes t + 1, without a carry from one byte to the next.
uint32_t codes(const int8_t *trits) {
  const uint32_t w = word(trits);
  return ((w & 0x7f7f7f7fu) + 0x01010101u) ^ (w & 0x80808080u);
}

} // namespace

bool t2StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe) {
  uint32_t wrong = 0;
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t line = 0; line < cols / 16; ++line) {
      const int8_t *t = trits + size_t(r) * size_t(cols) + size_t(line) * 16;
      const uint32_t w = word(stripe + size_t(line) * 64 + size_t(r) * 4);
      for (int p = 0; p < 4; ++p)
        wrong |= (w >> 2 * p & 0x03030303u) ^ codes(t + 4 * p);
    }
  return wrong == 0;
}

bool t3StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe) {
  uint32_t wrong = 0;
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t line = 0; line < format::t3_lines(cols); ++line) {
      const int8_t *t = trits + size_t(r) * size_t(cols) + size_t(line) * 20;
      const uint32_t w = word(stripe + size_t(line) * 64 + size_t(r) * 4);
      uint32_t even = w & 0x00ff00ffu,
               odd = w >> 8 & 0x00ff00ffu; // bytes as words: room for a product with 3
      for (int32_t p = 0; p < 5 && line * 20 + p * 4 < cols; ++p) { // cols % 4 == 0
        even = (even & 0x00ff00ffu) * 3;
        odd = (odd & 0x00ff00ffu) * 3;
        wrong |= ((even >> 8 & 0x00ff00ffu) | (odd & 0xff00ff00u)) ^ codes(t + 4 * p);
      }
    }
  return wrong == 0;
}

bool t5StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe) {
  uint32_t wrong = 0;
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t block = 0; block < format::t5_lines(cols) / 5; ++block) {
      uint32_t w[5]; // the triples' bits, of four inputs side by side
      for (int b = 0; b < 5; ++b)
        w[b] = word(stripe + (size_t(block) * 5 + size_t(b)) * 64 + size_t(r) * 4);
      for (int i = 0; i < 2; ++i)
        for (int p = 0; p < 4; ++p) {
          const auto bit = [&](int b) { return w[b] >> (2 * p + 1 - i) & 0x01010101u; };
          const uint32_t a0 = bit(0), a1 = bit(1), b0 = bit(2), b1 = bit(3), c = bit(4);
          const uint32_t b3 = b0 & b1, a3 = a0 & a1 & ~b3, last2 = a3 | b3;
          const uint32_t low[] = {(a3 & c) | (a0 & ~last2), (b3 & ~a1) | (b0 & ~b3), c & ~last2};
          const uint32_t high[] = {b3 | (a1 & ~last2), (b3 & a0) | (b1 & ~b3), last2};
          wrong |= b3 & (c | (a0 & ~a1)); // not a triple's
          for (int d = 0; d < 3; ++d) {
            const int32_t col = block * 96 + 32 * d + 16 * i + 4 * p;
            wrong |= (low[d] | high[d] << 1) ^
                     (col < cols ? codes(trits + size_t(r) * size_t(cols) + size_t(col)) : 0);
          }
        }
    }
  return wrong == 0;
}

bool u2RowHolds(const int8_t *trits, int32_t cols, const uint8_t *row) {
  int wrong = 0;
  for (int32_t line = 0; line < cols / 256; ++line)
    for (int p = 0; p < 4; ++p)
      for (int i = 0; i < 64; ++i)
        wrong |= (row[line * 64 + i] >> 2 * p & 3) ^ (trits[line * 256 + p * 64 + i] + 1);
  return wrong == 0;
}

bool d2ColumnsHold(const int8_t *trits, int32_t rows, int32_t cols, int32_t n, const uint8_t *columns) {
  int wrong = 0;
  const size_t columnBytes = size_t(rows) / 4;
  uint8_t across[64][kD2Columns]; // one line of each column, the bytes of one place side by side
  for (int32_t line = 0; line < rows / 256; ++line) {
    for (int32_t k = 0; k < n; ++k)
      for (int b = 0; b < 64; ++b)
        across[b][k] = columns[size_t(k) * columnBytes + size_t(line) * 64 + size_t(b)];
    for (int b = 0; b < 64; ++b)
      for (int p = 0; p < 4; ++p) {
        const int32_t row = 256 * line + 64 * (b % 16 / 4) + 16 * p + 4 * (b / 16) + b % 4;
        const int8_t *t = trits + size_t(row) * size_t(cols);
        for (int32_t k = 0; k < n; ++k)
          wrong |= (across[b][k] >> 2 * p & 3) ^ (t[k] + 1);
      }
  }
  return wrong == 0;
}

} // namespace bitnet::compiler
