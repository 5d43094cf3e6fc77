// A file that is complete under its name or not there: written beside it, renamed at the end, removed on
// failure.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace bitnet::dummy {

class OutputFile {
public:
  explicit OutputFile(std::string path); ///< throws tools::Failure, as all of it
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  void write(const void *bytes, size_t n);
  void write(const std::string &bytes) { write(bytes.data(), bytes.size()); }
  void pad_to(uint64_t multiple); ///< zeros
  uint64_t size() const { return size_; }
  void finish();

private:
  std::string path_, temporary_;
  std::FILE *file_;
  uint64_t size_ = 0;
};

} // namespace bitnet::dummy
