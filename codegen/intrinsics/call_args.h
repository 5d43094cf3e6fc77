// Reading a kernel's argument list (runtime/format/kernel_ops.h, Signature) without a library. Here and in
// the other headers of the folder everything is inline: a kernel's object must not need another one.
#pragma once
#include "runtime/format/kernel_ops.h"

namespace bitnet::intrinsics {

struct CallArgs {
  void *const *args;
  int n_buffers;

  const format::Buffer &buffer(int i) const { return *static_cast<const format::Buffer *>(args[i]); }
  int32_t extent(int i, int d) const { return buffer(i).dim[d].extent; }
  template <class T> T *data(int i) const { return reinterpret_cast<T *>(buffer(i).host); }
  /// First element of row r: rows may have any stride.
  template <class T> T *row(int i, int32_t r) const {
    const format::Buffer &b = buffer(i);
    return data<T>(i) + int64_t(r) * b.dim[b.dimensions - 1].stride;
  }
  int32_t rows() const { return scalar(0); }
  int32_t begin() const { return scalar(1); } ///< work units [begin, end)
  int32_t end() const { return scalar(2); }

private:
  int32_t scalar(int i) const { return *static_cast<const int32_t *>(args[n_buffers + i]); }
};

/// A sum that lies where a result of this kernel will: the memory is the result's (f32), or the kernel's own.
typedef int32_t __attribute__((may_alias)) Sum;

} // namespace bitnet::intrinsics
