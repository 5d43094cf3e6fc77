// IQ1_BN (type 134 of ik_llama.cpp): a row is an f16 scale, then 13 bytes for each 64 weights: ql[12] and
// extra, base-3 digits as in BaseThree.h but the first the least significant. Of a group g of 16, element
// 5k+j is digit j of ql[3g+k] and element 15 is digit g of extra.
#include "compiler/import/codecs/BaseThree.h"
#include "compiler/import/codecs/Refusals.h"

namespace bitnet::import {
namespace {

constexpr uint32_t kHead = 2, kBlock = 13;
constexpr uint8_t kPower[5] = {81, 27, 9, 3, 1}; // of digit j, counted from the least significant

void decodeBlock(const uint8_t *bytes, int8_t *trits) {
  for (int g = 0; g < 4; ++g, trits += 16) {
    for (int i = 0; i < 15; ++i)
      trits[i] = tritOf(bytes[3 * g + i / 5], kPower[i % 5]);
    trits[15] = tritOf(bytes[12], kPower[g]);
  }
}

void encodeBlock(const int8_t *trits, uint8_t *bytes) {
  int digits[kBlock] = {}; // 81 is the place value of the last digit, and 3^j that of digit j
  for (int g = 3; g >= 0; --g)
    digits[12] = digits[12] * 3 + trits[16 * g + 15] + 1;
  for (int b = 0; b < 12; ++b)
    for (int j = 4; j >= 0; --j)
      digits[b] = digits[b] * 3 + trits[16 * (b / 3) + 5 * (b % 3) + j] + 1;
  for (uint32_t b = 0; b < kBlock; ++b)
    bytes[b] = byteOfDigits(digits[b]);
}

Decoded decode(const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
  const size_t rows = size_t(out.rows), cols = size_t(out.cols), rowBytes = in.nBytes / rows;
  out.trits.resize(rows * cols);
  out.scales.resize(rows);
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t *row = in.bytes + r * rowBytes;
    out.scales[r] = widen(FloatType::f16, row);
    if (Decoded fault = refuseNotFinite(out.scales[r], r * rowBytes))
      return fault;
    for (size_t block = 0; block < cols / 64; ++block)
      decodeBlock(row + kHead + block * kBlock, &out.trits[r * cols + block * 64]);
  }
  return std::nullopt;
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  const size_t rows = size_t(matrix.rows), cols = size_t(matrix.cols), rowBytes = out.size() / rows;
  for (size_t r = 0; r < rows; ++r) {
    uint8_t *row = &out[r * rowBytes];
    const float scale = scaleAt(matrix, int64_t(r), 0);
    narrowRow(FloatType::f16, &scale, 1, row);
    for (size_t block = 0; block < cols / 64; ++block)
      encodeBlock(&matrix.trits[r * cols + block * 64], row + kHead + block * kBlock);
  }
  return std::nullopt;
}

} // namespace

extern const Codec kIQ1BN = {"iq1_bn", {64, kBlock, 1, kHead}, Codec::Scales::row, decode, encode};

} // namespace bitnet::import
