// What TL1 and TL2 share (types 38 and 39 of bitnet.cpp's fork of ggml): bytes in the order in which a kernel
// reads them that was generated for one shape of matrix on one kind of device. The file does not hold the
// sizes of its tiles (kernel_config.ini of the build that wrote it does), and nothing in the bytes tells
// right ones from wrong ones for certain. A byte is two codes of neighbouring columns, the first in the high
// nibble. Scales are tensors of their own.
#pragma once
#include "compiler/import/Codec.h"

namespace bitnet::import {

/// The kernel for a matrix, if `settings` has one whose tiles fill it: `stripes` rows of a tile (bm) are
/// a multiple of 16, tiles (BM, BK) divide rows and columns as the encoding wants.
const TlKernel *tlKernelFor(int32_t rows, int32_t cols, const CodecSettings &settings);
/// What to say if there is none for matrices of these rows and columns.
std::string noTlKernels(llvm::ArrayRef<std::pair<int32_t, int32_t>> shapes);
Decoded badTlKernel(const TlKernel &kernel, const char *rule);

/// 3 * a + b + 4 of two trits, 0..8.
inline uint8_t pairCode(const int8_t *trits) { return uint8_t(3 * trits[0] + trits[1] + 4); }
/// False: no such code.
inline bool pairTrits(uint8_t code, int8_t *trits) {
  trits[0] = int8_t(code / 3 - 1);
  trits[1] = int8_t(code % 3 - 1);
  return code <= 8;
}

inline Decoded badTlCode(uint64_t at, int most, int got) {
  return Fault{at, "expected codes 0.." + std::to_string(most) + ", got " + std::to_string(got) +
                       "; a damaged file, or another kernel configuration than the one that wrote it"};
}

inline constexpr const char *kTlCaution =
    "its weights are in the order of kernels made for one device, which nothing in the file confirms; a file "
    "converted from the Hugging Face checkpoint has no such doubt";

} // namespace bitnet::import
