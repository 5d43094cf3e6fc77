// Puts a kernel image into executable memory.
#pragma once
#include "runtime/base/file_map.h"
#include "runtime/bundle/bundle.h"

namespace bitnet::runtime {

/// Owns the memory that the kernels run from; functions taken from it die with it.
class LoadedImage {
public:
  LoadedImage() = default;
  /// The function at `entry` (one of Image::entries).
  format::KernelFn function(uint64_t entry) const {
    return reinterpret_cast<format::KernelFn>(reinterpret_cast<uintptr_t>(memory_.data()) + entry);
  }

private:
  friend Result<LoadedImage> load_image(const Image &image);
  Mapping memory_;
};

/// Copies, applies the fixups, then protects: code read+execute, data read. The image must be valid
/// (bundle.h).
Result<LoadedImage> load_image(const Image &image);

} // namespace bitnet::runtime
