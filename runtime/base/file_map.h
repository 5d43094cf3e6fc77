// Read-only mappings of files, and private memory straight from the kernel. Not a general allocator: for the
// few large areas of a model (weights) and a session (arena, caches), which must be page-aligned, zeroed and
// paid for only when touched.
#pragma once
#include "runtime/base/status.h"
#include <cstddef>
#include <cstdint>

namespace bitnet::runtime {

/// Owns one mmap area; moves, does not copy. Unmapped at the end of its life.
class Mapping {
public:
  Mapping() = default;
  Mapping(void *data, size_t size) : data_(static_cast<uint8_t *>(data)), size_(size) {}
  Mapping(Mapping &&other) noexcept;
  Mapping &operator=(Mapping &&other) noexcept;
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;
  ~Mapping();
  uint8_t *data() const { return data_; }
  size_t size() const { return size_; }

private:
  uint8_t *data_ = nullptr;
  size_t size_ = 0;
};

/// Maps a regular file read-only. The file must not be truncated while it is mapped (replace it by renaming).
Result<Mapping> map_file(const char *path);

/// Zeroed, private, writable memory in huge pages where the system gives them. size 0 gives an empty mapping.
Result<Mapping> map_memory(size_t size, const char *what);

} // namespace bitnet::runtime
