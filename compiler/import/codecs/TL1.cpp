// TL1 (ggml type 38 of bitnet.cpp): a byte is four neighbouring columns as two pairs. Over the tiles of BM
// rows and BK columns, stripes of bm rows, and by = 256 / bm columns, the bytes go over 16 rows, then four
// columns at a time, then the next 16 rows (TlTiles.h).
#include "compiler/import/codecs/TlTiles.h"

namespace bitnet::import {
namespace {

const char *const kRule = "bm of 16, 32 or 64 that divides BM, BM that divides the rows, BK that divides the "
                          "columns and is a multiple of 256 / bm";

bool fits(const TlKernel &k) {
  return (k.stripe == 16 || k.stripe == 32 || k.stripe == 64) && k.tileRows % k.stripe == 0 &&
         k.rows % k.tileRows == 0 && k.cols % k.tileCols == 0 && k.tileCols % (256 / k.stripe) == 0;
}

/// Calls byte(at, row, first of four columns) until it returns a fault.
template <typename Fn> Decoded forEachByte(const TlKernel &k, Fn byte) {
  const int by = 256 / k.stripe;
  size_t at = 0;
  for (int tileRow = 0; tileRow < k.rows; tileRow += k.tileRows)
    for (int tileCol = 0; tileCol < k.cols; tileCol += k.tileCols)
      for (int stripe = 0; stripe < k.tileRows; stripe += k.stripe)
        for (int col = tileCol; col < tileCol + k.tileCols; col += by)
          for (int r = 0; r < k.stripe; r += 16)
            for (int c = 0; c < by; c += 4)
              for (int lane = 0; lane < 16; ++lane, ++at)
                if (Decoded fault = byte(at, size_t(tileRow + stripe + r + lane), size_t(col + c)))
                  return fault;
  return std::nullopt;
}

Decoded decode(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) {
  const TlKernel *kernel = tlKernelFor(out.rows, out.cols, settings);
  if (!kernel)
    return Fault{0, noTlKernels({{out.rows, out.cols}})};
  if (!fits(*kernel))
    return badTlKernel(*kernel, kRule);
  out.scales.assign(1, 1.0f);
  out.trits.resize(4 * in.nBytes);
  return forEachByte(*kernel, [&](size_t at, size_t row, size_t col) -> Decoded {
    int8_t *trits = &out.trits[row * size_t(out.cols) + col];
    for (const uint8_t code : {uint8_t(in.bytes[at] >> 4), uint8_t(in.bytes[at] & 15)}) {
      if (!pairTrits(code, trits))
        return badTlCode(at, 8, code);
      trits += 2;
    }
    return std::nullopt;
  });
}

Decoded encode(const TernaryMatrix &matrix, const CodecSettings &settings, std::vector<uint8_t> &out) {
  const TlKernel *kernel = tlKernelFor(matrix.rows, matrix.cols, settings);
  if (!kernel)
    return Fault{0, noTlKernels({{matrix.rows, matrix.cols}})};
  if (!fits(*kernel))
    return badTlKernel(*kernel, kRule);
  return forEachByte(*kernel, [&](size_t at, size_t row, size_t col) -> Decoded {
    const int8_t *trits = &matrix.trits[row * size_t(matrix.cols) + col];
    out[at] = uint8_t(pairCode(trits) << 4 | pairCode(trits + 2));
    return std::nullopt;
  });
}

constexpr Codec codec() {
  Codec codec = {"tl1", {4, 16, 16}, Codec::Scales::none, decode, encode};
  codec.whole = true; // tiles
  codec.caution = kTlCaution;
  return codec;
}

} // namespace

extern const Codec kTL1 = codec();

} // namespace bitnet::import
