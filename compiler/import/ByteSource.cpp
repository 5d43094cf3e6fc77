// Files by pread; see the header for why not by mmap.
#include "compiler/import/ByteSource.h"
#include "compiler/import/ImportError.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace bitnet::import {
namespace {

class FileSource final : public ByteSource {
public:
  FileSource(std::string name, uint64_t size, int fd) : ByteSource(std::move(name), size), fd_(fd) {}
  ~FileSource() override { ::close(fd_); }

  Error read(uint64_t offset, void *out, size_t n) const override {
    if (offset > size_ || n > size_ - offset)
      return failure(name_ + ": byte " + Twine(offset) + ": expected " + Twine(n) +
                     " bytes, got the end of the file");
    auto *to = static_cast<char *>(out);
    while (n > 0) {
      ssize_t got = ::pread(fd_, to, std::min<size_t>(n, size_t(1) << 30), off_t(offset));
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        return failure(name_ + ": byte " + Twine(offset) + ": cannot read: " + std::strerror(errno));
      if (got == 0)
        return failure(name_ + ": byte " + Twine(offset) +
                       ": the file became shorter while it was being read");
      to += got;
      offset += uint64_t(got);
      n -= size_t(got);
    }
    return Error::success();
  }

private:
  int fd_;
};

class MemorySource final : public ByteSource {
public:
  MemorySource(std::string name, std::string bytes)
      : ByteSource(std::move(name), bytes.size()), bytes_(std::move(bytes)) {}

  Error read(uint64_t offset, void *out, size_t n) const override {
    if (offset > size_ || n > size_ - offset)
      return failure(name_ + ": byte " + Twine(offset) + ": expected " + Twine(n) +
                     " bytes, got the end of the file");
    if (n > 0)
      std::memcpy(out, bytes_.data() + offset, n);
    return Error::success();
  }

private:
  std::string bytes_;
};

} // namespace

Expected<std::shared_ptr<ByteSource>> openFile(const std::string &path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer before fstat could refuse it.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return failure(path + ": cannot open: " + std::strerror(errno));
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return failure(path + ": expected a regular file");
  }
  return std::make_shared<FileSource>(path, uint64_t(info.st_size), fd);
}

std::shared_ptr<ByteSource> bytesInMemory(std::string name, std::string bytes) {
  return std::make_shared<MemorySource>(std::move(name), std::move(bytes));
}

Expected<std::string> readWhole(const std::string &path, uint64_t limit) {
  Expected<std::shared_ptr<ByteSource>> file = openFile(path);
  if (!file)
    return file.takeError();
  if ((*file)->size() > limit)
    return failure(path + ": expected at most " + Twine(limit) + " bytes, got " + Twine((*file)->size()));
  std::string text(size_t((*file)->size()), '\0');
  if (Error error = (*file)->read(0, text.data(), text.size()))
    return error;
  return text;
}

} // namespace bitnet::import
