// mmap and what can go wrong with it.
#include "runtime/base/file_map.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bitnet::runtime {

Mapping::Mapping(Mapping &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
Mapping &Mapping::operator=(Mapping &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
Mapping::~Mapping() {
  if (data_)
    munmap(data_, size_);
}

namespace {
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0)
      close(fd);
  }
};
} // namespace

Result<Mapping> map_file(const char *path) {
  const auto fail = [&](const char *what) {
    return not_found(std::string(path) + ": " + what + ": " + strerror(errno));
  };
  // O_NONBLOCK: opening a FIFO by mistake must not hang.
  const Descriptor file{open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0)
    return fail("cannot open");
  struct stat info;
  if (fstat(file.fd, &info) != 0)
    return fail("cannot stat");
  if (!S_ISREG(info.st_mode))
    return not_found(std::string(path) + ": expected a regular file");
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0)
    return bad_bundle(std::string(path) + ": the file is empty");
  void *data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED)
    return fail("cannot map");
  // Reading it in takes huge pages then, where the file system has them. What is in the page cache already
  // stays as it is: in huge pages if it was written so, as the compiler writes weights.
  madvise(data, size, MADV_HUGEPAGE);
  return Mapping(data, size);
}

Result<Mapping> map_memory(size_t size, const char *what) {
  if (size == 0)
    return Mapping();
  void *data =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return out_of_memory(std::string(what) + ": cannot get " + std::to_string(size) + " bytes");
  madvise(data, size, MADV_HUGEPAGE); // an advice: without huge pages everything works, some percent slower
  return Mapping(data, size);
}

} // namespace bitnet::runtime
