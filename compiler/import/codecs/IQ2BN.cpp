// IQ2_BN (type 135 of ik_llama.cpp): a row is an f32 scale, then 16 bytes for each 64 weights: element 16g+p
// is the code t+1 in bits 2g of byte p. IQ2_BN_R4 (335): four rows together, their four scales, then 64 bytes
// for each 64 columns: column 16l+4q+i of row k is in bits 2q of byte 16l+4k+i.
#include "compiler/import/codecs/Refusals.h"
#include <cstring>

namespace bitnet::import {
namespace {

/// Byte and shift of column c of a block of 64 columns by kRows rows.
struct Place {
  size_t byte;
  unsigned shift;
};
template <size_t kRows> Place placeOf(size_t k, size_t c) {
  if constexpr (kRows == 1)
    return {c % 16, unsigned(2 * (c / 16))};
  return {c / 16 * 16 + 4 * k + c % 4, unsigned(2 * (c / 4 % 4))};
}

constexpr size_t kColumns = 64;

template <size_t kRows> Decoded decode(const Encoded &in, const CodecSettings &, TernaryMatrix &out) {
  const size_t rows = size_t(out.rows), cols = size_t(out.cols), stripe = in.nBytes / (rows / kRows);
  const size_t head = kRows * sizeof(float), block = kRows * kColumns / 4;
  out.trits.resize(rows * cols);
  out.scales.resize(rows);
  for (size_t r = 0; r < rows; ++r) {
    const size_t at = r / kRows * stripe, k = r % kRows;
    std::memcpy(&out.scales[r], in.bytes + at + k * sizeof(float), sizeof(float));
    if (Decoded fault = refuseNotFinite(out.scales[r], at + k * sizeof(float)))
      return fault;
    if (k == 0)
      if (Decoded fault = refuseCode3(in.bytes + at + head, stripe - head, at + head))
        return fault;
    for (size_t c = 0; c < cols; ++c) {
      const Place place = placeOf<kRows>(k, c % kColumns);
      const uint8_t byte = in.bytes[at + head + c / kColumns * block + place.byte];
      out.trits[r * cols + c] = int8_t((byte >> place.shift & 3) - 1);
    }
  }
  return std::nullopt;
}

template <size_t kRows>
Decoded encode(const TernaryMatrix &matrix, const CodecSettings &, std::vector<uint8_t> &out) {
  const size_t rows = size_t(matrix.rows), cols = size_t(matrix.cols), stripe = out.size() / (rows / kRows);
  const size_t head = kRows * sizeof(float), block = kRows * kColumns / 4;
  for (size_t r = 0; r < rows; ++r) {
    const size_t k = r % kRows;
    uint8_t *at = &out[r / kRows * stripe];
    const float scale = scaleAt(matrix, int64_t(r), 0);
    std::memcpy(at + k * sizeof(float), &scale, sizeof scale);
    for (size_t c = 0; c < cols; ++c) {
      const Place place = placeOf<kRows>(k, c % kColumns);
      uint8_t &byte = at[head + c / kColumns * block + place.byte];
      byte = uint8_t(byte | (matrix.trits[r * cols + c] + 1) << place.shift);
    }
  }
  return std::nullopt;
}

template <size_t kRows> constexpr Codec codecOf(const char *name) {
  const Blocks blocks = {kColumns, kRows * kColumns / 4, kRows, kRows * sizeof(float)};
  return {name, blocks, Codec::Scales::row, decode<kRows>, encode<kRows>};
}

} // namespace

extern const Codec kIQ2BN = codecOf<1>("iq2_bn");
extern const Codec kIQ2BNR4 = codecOf<4>("iq2_bn_r4");

} // namespace bitnet::import
