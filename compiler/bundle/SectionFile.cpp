// See SectionFile.h. POSIX calls, since pwrite from several threads is what packing wants.
#include "compiler/bundle/SectionFile.h"
#include "compiler/bundle/ForEachIndex.h"
#include "runtime/format/checksum.h"
#include "runtime/format/layouts.h"
#include "llvm/Support/Signals.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

using namespace llvm;

namespace bitnet::compiler {
namespace {
Error ioError(const std::string &path, const char *what) {
  return createStringError("%s: cannot %s: %s", path.c_str(), what, std::strerror(errno));
}
} // namespace

Expected<SectionFile> SectionFile::create(const std::string &finalPath) {
  SectionFile file;
  file.finalPath_ = finalPath;
  file.path_ = finalPath + ".tmp" + std::to_string(getpid());
  file.fd_ = open(file.path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file.fd_ < 0)
    return ioError(file.path_, "create");
  sys::RemoveFileOnSignal(file.path_);
  return file;
}

SectionFile::SectionFile(SectionFile &&other) noexcept
    : finalPath_(std::move(other.finalPath_)), path_(std::move(other.path_)), fd_(other.fd_),
      size_(other.size_) {
  other.fd_ = -1;
}

SectionFile::~SectionFile() {
  if (fd_ < 0)
    return;
  close(fd_);
  unlink(path_.c_str());
  sys::DontRemoveFileOnSignal(path_);
}

uint64_t SectionFile::reserve(uint64_t size) {
  const uint64_t offset = (size_ + format::kSectionAlign - 1) / format::kSectionAlign * format::kSectionAlign;
  size_ = offset + size;
  return offset;
}

Error SectionFile::fill(uint64_t offset, uint64_t size, int jobs) {
  constexpr uint64_t kHugePage = uint64_t(2) << 20;
  const std::vector<uint8_t> zeros(kHugePage);
  const uint64_t first = offset / kHugePage, end = offset + size;
  return forEachIndex(jobs, size_t((end + kHugePage - 1) / kHugePage - first), [&](size_t i) {
    const uint64_t from = std::max(offset, (first + i) * kHugePage);
    return write(from, zeros.data(), size_t(std::min(end, (first + i + 1) * kHugePage) - from));
  });
}

Error SectionFile::write(uint64_t offset, const void *bytes, size_t size) {
  const char *p = static_cast<const char *>(bytes);
  while (size) {
    const ssize_t n = pwrite(fd_, p, size, off_t(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return ioError(path_, "write");
    p += n, offset += uint64_t(n), size -= size_t(n);
  }
  return Error::success();
}

Expected<uint64_t> SectionFile::checksum(uint64_t offset, uint64_t size, int jobs) {
  if (ftruncate(fd_, off_t(size_)) != 0) // so that trailing padding exists
    return ioError(path_, "extend");
  std::vector<uint64_t> sums(format::checksum_chunks(size));
  Error e = forEachIndex(jobs, sums.size(), [&](size_t i) -> Error {
    const uint64_t at = uint64_t(i) * format::kChecksumChunk;
    std::vector<uint8_t> chunk(size_t(std::min<uint64_t>(format::kChecksumChunk, size - at)));
    if (Error error = read(offset + at, chunk.data(), chunk.size()))
      return error;
    sums[i] = format::bytes_checksum(chunk.data(), chunk.size());
    return Error::success();
  });
  if (e)
    return e;
  return format::combine_checksums(sums.data(), sums.size());
}

Error SectionFile::read(uint64_t offset, uint8_t *bytes, size_t size) {
  while (size) {
    const ssize_t n = pread(fd_, bytes, size, off_t(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return ioError(path_, "read back");
    bytes += n, offset += uint64_t(n), size -= size_t(n);
  }
  return Error::success();
}

Error SectionFile::commit() {
  if (ftruncate(fd_, off_t(size_)) != 0)
    return ioError(path_, "extend");
  if (fsync(fd_) != 0)
    return ioError(path_, "sync");
  if (rename(path_.c_str(), finalPath_.c_str()) != 0)
    return ioError(finalPath_, "rename to");
  sys::DontRemoveFileOnSignal(path_);
  close(fd_);
  fd_ = -1;
  return Error::success();
}

} // namespace bitnet::compiler
