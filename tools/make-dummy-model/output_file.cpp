#include "tools/make-dummy-model/output_file.h"
#include "tools/bitnet/arguments.h"
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace bitnet::dummy {

OutputFile::OutputFile(std::string path)
    : path_(std::move(path)), temporary_(path_ + ".part" + std::to_string(getpid())),
      file_(std::fopen(temporary_.c_str(), "wb")) {
  if (!file_)
    throw tools::Failure(path_ + ": cannot write: " + std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (file_) {
    std::fclose(file_);
    std::remove(temporary_.c_str());
  }
}

void OutputFile::write(const void *bytes, size_t n) {
  if (n > 0 && std::fwrite(bytes, 1, n, file_) != n)
    throw tools::Failure(path_ + ": cannot write: " + std::strerror(errno));
  size_ += n;
}

void OutputFile::pad_to(uint64_t multiple) {
  write(std::string(size_t((multiple - size_ % multiple) % multiple), '\0'));
}

void OutputFile::finish() {
  bool closed = std::fclose(file_) == 0;
  file_ = nullptr;
  if (!closed || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    std::string reason = std::strerror(errno);
    std::remove(temporary_.c_str());
    throw tools::Failure(path_ + ": cannot write: " + reason);
  }
}

} // namespace bitnet::dummy
