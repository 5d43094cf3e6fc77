// A temporary file that becomes the bundle: page-aligned sections written at known offsets, by several
// threads, and a rename at the end. Removed when it is not committed, also when a signal kills the process.
#pragma once
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>

namespace bitnet::compiler {

class SectionFile {
public:
  static llvm::Expected<SectionFile> create(const std::string &finalPath);
  SectionFile(SectionFile &&other) noexcept;
  ~SectionFile();

  /// Reserves `size` bytes at the next section boundary; returns the offset.
  uint64_t reserve(uint64_t size);
  /// Before anything is written to a large reserved range: fills it with zeros, `jobs` threads taking 2 MiB
  /// at a time. What the page cache gets in pieces of a huge page it keeps in huge pages, on file systems
  /// that can (ext4 since Linux 6.16, XFS); small writes leave small pages, and whoever maps the bundle then
  /// pays 0.13 µs for each 4 KiB (half of the load time) and more TLB misses for ever.
  llvm::Error fill(uint64_t offset, uint64_t size, int jobs);
  /// Thread-safe; the range must have been reserved.
  llvm::Error write(uint64_t offset, const void *bytes, size_t size);
  /// bundle.fbs's section checksum of a range that has been written, by `jobs` threads that read it back a
  /// chunk each (a mapping of it would count as memory in use, all of the weights).
  llvm::Expected<uint64_t> checksum(uint64_t offset, uint64_t size, int jobs);
  uint64_t size() const { return size_; }
  llvm::Error commit();

private:
  SectionFile() = default;
  llvm::Error read(uint64_t offset, uint8_t *bytes, size_t size);

  std::string finalPath_, path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

} // namespace bitnet::compiler
