// Finding the tiles of a matrix among those that the user gave, and what to say if there are none.
#include "compiler/import/codecs/TlTiles.h"

namespace bitnet::import {
namespace {

std::string shape(int32_t rows, int32_t cols) { return std::to_string(rows) + "x" + std::to_string(cols); }

} // namespace

const TlKernel *tlKernelFor(int32_t rows, int32_t cols, const CodecSettings &settings) {
  for (const TlKernel &kernel : settings.tlKernels)
    if (kernel.rows == rows && kernel.cols == cols)
      return &kernel;
  return nullptr;
}

std::string noTlKernels(llvm::ArrayRef<std::pair<int32_t, int32_t>> shapes) {
  std::string of, flag;
  for (const auto &[rows, cols] : shapes) {
    of += (of.empty() ? "" : ", ") + shape(rows, cols);
    flag += (flag.empty() ? "" : ",") + shape(rows, cols) + ":BM/BK/bm";
  }
  return "expected the kernel configuration of " + of +
         ", which the file does not hold, got none; kernel_config.ini of the build that wrote the file has "
         "it (m, k, bm, bk, bmm): --set tl_kernels=" +
         flag;
}

Decoded badTlKernel(const TlKernel &k, const char *rule) {
  return Fault{0, std::string("expected ") + rule + ", got " + shape(k.rows, k.cols) + ":" +
                      std::to_string(k.tileRows) + "/" + std::to_string(k.tileCols) + "/" +
                      std::to_string(k.stripe) + " (--set tl_kernels)"};
}

} // namespace bitnet::import
