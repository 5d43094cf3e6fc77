// Reading a kernel's argument list (kernel_ops.h, Signature) from plain C++: pointers to rows and the range
// of work units. For the scalar twins only; compiled kernels address their buffers themselves.
#pragma once
#include "runtime/format/kernel_ops.h"

namespace bitnet::codegen {

struct TwinArgs {
  void *const *args;
  int32_t n_buffers;

  TwinArgs(format::Op op, const format::OpDims &dims, void *const *args)
      : args(args), n_buffers(format::signature(op, dims).n_args) {}

  int32_t rows() const { return scalar(0); }
  int32_t begin() const { return scalar(1); } ///< work units [begin, end)
  int32_t end() const { return scalar(2); }

  const format::Buffer &buffer(int32_t i) const { return *static_cast<const format::Buffer *>(args[i]); }
  /// First element of a dense argument.
  template <class T> T *data(int32_t i) const { return reinterpret_cast<T *>(buffer(i).host); }
  /// First element of row r: the outermost dimension may have any stride.
  template <class T> T *row(int32_t i, int32_t r) const {
    const format::Buffer &b = buffer(i);
    return data<T>(i) + int64_t(r) * b.dim[b.dimensions - 1].stride;
  }

private:
  int32_t scalar(int32_t i) const { return *static_cast<const int32_t *>(args[n_buffers + i]); }
};

} // namespace bitnet::codegen
