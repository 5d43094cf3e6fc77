// Bytes of a checkpoint file, read by position. Reads go through pread and never through a mapping: a file
// that shrinks while it is being read gives an error, not SIGBUS, and the compiler touches each byte once
// anyway.
#pragma once
#include "llvm/Support/Error.h"
#include <cstdint>
#include <memory>
#include <string>

namespace bitnet::import {

/// Immutable once made; read() may be called from any thread.
class ByteSource {
public:
  virtual ~ByteSource() = default;
  /// How messages call it: the path as the user gave it.
  const std::string &name() const { return name_; }
  uint64_t size() const { return size_; }
  /// Exactly `n` bytes from `offset` into `out`, or an error.
  virtual llvm::Error read(uint64_t offset, void *out, size_t n) const = 0;

protected:
  ByteSource(std::string name, uint64_t size) : name_(std::move(name)), size_(size) {}
  std::string name_;
  uint64_t size_;
};

/// A regular file; anything else (a folder, a pipe, a device) is an error.
llvm::Expected<std::shared_ptr<ByteSource>> openFile(const std::string &path);

/// For tests and fuzz targets.
std::shared_ptr<ByteSource> bytesInMemory(std::string name, std::string bytes);

/// A whole small file, at most `limit` bytes.
llvm::Expected<std::string> readWhole(const std::string &path, uint64_t limit);

} // namespace bitnet::import
