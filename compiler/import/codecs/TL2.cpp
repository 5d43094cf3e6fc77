// TL2 (ggml type 39 of bitnet.cpp): the columns up to a multiple of BK as triples 9a + 3b + c, whose
// magnitude is a nibble and whose sign is a bit elsewhere; the columns that are left as pairs. Three parts,
// each over tiles of BM rows, stripes of 32 rows and columns (TlTiles.h): a byte of two triples for each of
// 32 rows; 16 bits of signs, of 8 triples in the rows l and 16 + l, for each l of 16; a byte of two pairs for
// each of 32 rows. In the parts of nibbles the 32 rows go in the order of kLanes. Zeros fill up to the size
// that ggml computes as if 256 columns were pairs.
#include "compiler/import/codecs/TlTiles.h"
#include <algorithm>

namespace bitnet::import {
namespace {

constexpr int kStripe = 32;
constexpr int kLanes[4] = {0, 16, 8, 24}; // first row of each eight

const char *const kRule =
    "bm of 32 that divides BM, BM that divides the rows, BK that is a multiple of 24 and "
    "leaves a multiple of 32 of the 256 or more columns";

bool fits(const TlKernel &k) {
  return k.stripe == kStripe && k.tileRows % kStripe == 0 && k.rows % k.tileRows == 0 &&
         k.tileCols % 24 == 0 && k.cols >= 256 && k.cols % k.tileCols % 32 == 0 &&
         k.cols % k.tileCols <= 256; // else the parts would not fit
}

/// In whole numbers, each step rounded down, as the converter and ggml compute it.
uint64_t size(int64_t rows, int64_t cols) {
  return uint64_t(std::max<int64_t>(0, cols - 256) * rows / 3 * 5 / 8 + 256 * rows / 2 * 4 / 8);
}

/// Columns [begin, end) in tiles of `tileCols`: calls step(first row of a stripe, column) for every `step`
/// columns of a stripe.
template <typename Fn>
Decoded forEachStep(const TlKernel &k, int begin, int end, int tileCols, int step, Fn call) {
  for (int tileRow = 0; tileRow < k.rows; tileRow += k.tileRows)
    for (int tileCol = begin; tileCol < end; tileCol += tileCols)
      for (int row = tileRow; row < tileRow + k.tileRows; row += kStripe)
        for (int col = tileCol; col < tileCol + tileCols; col += step)
          if (Decoded fault = call(size_t(row), size_t(col)))
            return fault;
  return std::nullopt;
}

/// Calls triples(at, row, col) for each byte of the first part, signs(at, row, col) for each 16 bits of the
/// second, pairs(at, row, col) for each byte of the third.
template <typename Triples, typename Signs, typename Pairs>
Decoded walk(const TlKernel &k, Triples triples, Signs signs, Pairs pairs) {
  const int threes = k.cols - k.cols % k.tileCols;
  size_t at = 0;
  auto lanes = [&](auto &byte) {
    return [&](size_t row, size_t col) -> Decoded {
      for (size_t i = 0; i < kStripe; ++i, ++at)
        if (Decoded fault = byte(at, row + size_t(kLanes[i / 8]) + i % 8, col))
          return fault;
      return std::nullopt;
    };
  };
  if (Decoded fault = forEachStep(k, 0, threes, k.tileCols, 6, lanes(triples)))
    return fault;
  if (Decoded fault = forEachStep(k, 0, threes, k.tileCols, 24, [&](size_t row, size_t col) -> Decoded {
        for (size_t l = 0; l < 16; ++l, at += 2)
          if (Decoded fault = signs(at, row + l, col))
            return fault;
        return std::nullopt;
      }))
    return fault;
  return forEachStep(k, threes, k.cols, 32, 4, lanes(pairs));
}

Decoded checkKernel(const TernaryMatrix &matrix, const CodecSettings &settings, const TlKernel *&kernel) {
  kernel = tlKernelFor(matrix.rows, matrix.cols, settings);
  if (!kernel)
    return Fault{0, noTlKernels({{matrix.rows, matrix.cols}})};
  if (!fits(*kernel))
    return badTlKernel(*kernel, kRule);
  return std::nullopt;
}

/// Of 8 triples in the rows `row` and row + 16: the bit of triple q in half h.
constexpr unsigned signBit(size_t q, size_t h) { return unsigned(15 - (2 * q + h)); }

Decoded decode(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) {
  const TlKernel *kernel = nullptr;
  if (Decoded fault = checkKernel(out, settings, kernel))
    return fault;
  const size_t cols = size_t(out.cols);
  out.scales.assign(1, 1.0f);
  out.trits.resize(size_t(out.rows) * cols);
  auto nibbles = [&](size_t at) { return std::pair(uint8_t(in.bytes[at] >> 4), uint8_t(in.bytes[at] & 15)); };
  auto triples = [&](size_t at, size_t row, size_t col) -> Decoded {
    auto [first, second] = nibbles(at);
    int8_t *trits = &out.trits[row * cols + col];
    for (int magnitude : {first, second}) {
      if (magnitude > 13)
        return badTlCode(at, 13, magnitude);
      for (int place : {9, 3, 1}) // of the value + 13, base-3 digits t + 1
        *trits++ = int8_t((magnitude + 13) / place % 3 - 1);
    }
    return std::nullopt;
  };
  auto signs = [&](size_t at, size_t row, size_t col) -> Decoded {
    const unsigned bits = unsigned(in.bytes[at] | in.bytes[at + 1] << 8);
    for (size_t q = 0; q < 8; ++q)
      for (size_t h = 0; h < 2; ++h) {
        if (!(bits >> signBit(q, h) & 1))
          continue;
        int8_t *trits = &out.trits[(row + 16 * h) * cols + col + 3 * q];
        if (!trits[0] && !trits[1] && !trits[2])
          return Fault{at, "expected no sign for three zeros, got one; a damaged file, or another kernel "
                           "configuration than the one that wrote it"};
        for (int i = 0; i < 3; ++i)
          trits[i] = int8_t(-trits[i]);
      }
    return std::nullopt;
  };
  auto pairs = [&](size_t at, size_t row, size_t col) -> Decoded {
    auto [first, second] = nibbles(at);
    int8_t *trits = &out.trits[row * cols + col];
    if (!pairTrits(first, trits) || !pairTrits(second, trits + 2))
      return badTlCode(at, 8, std::max(first, second));
    return std::nullopt;
  };
  return walk(*kernel, triples, signs, pairs);
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &settings, std::vector<uint8_t> &out) {
  const TlKernel *kernel = nullptr;
  if (Decoded fault = checkKernel(matrix, settings, kernel))
    return fault;
  const size_t cols = size_t(matrix.cols);
  auto triple = [&](size_t row, size_t col) {
    const int8_t *trits = &matrix.trits[row * cols + col];
    return 9 * trits[0] + 3 * trits[1] + trits[2];
  };
  auto triples = [&](size_t at, size_t row, size_t col) -> Decoded {
    out[at] = uint8_t(std::abs(triple(row, col)) << 4 | std::abs(triple(row, col + 3)));
    return std::nullopt;
  };
  auto signs = [&](size_t at, size_t row, size_t col) -> Decoded {
    unsigned bits = 0;
    for (size_t q = 0; q < 8; ++q)
      for (size_t h = 0; h < 2; ++h)
        bits |= unsigned(triple(row + 16 * h, col + 3 * q) < 0) << signBit(q, h);
    out[at] = uint8_t(bits);
    out[at + 1] = uint8_t(bits >> 8);
    return std::nullopt;
  };
  auto pairs = [&](size_t at, size_t row, size_t col) -> Decoded {
    const int8_t *trits = &matrix.trits[row * cols + col];
    out[at] = uint8_t(pairCode(trits) << 4 | pairCode(trits + 2));
    return std::nullopt;
  };
  return walk(*kernel, triples, signs, pairs);
}

constexpr Codec codec() {
  Codec codec = {"tl2", {4, 0, 32}, Codec::Scales::none, decode, encode};
  codec.size = size;
  codec.whole = true; // tiles
  codec.caution = kTlCaution;
  return codec;
}

} // namespace

extern const Codec kTL2 = codec();

} // namespace bitnet::import
