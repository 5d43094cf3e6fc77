// Progress on stderr: a bar that is redrawn on a terminal, a plain line every ten seconds otherwise.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace bitnet::compiler {

class Progress {
public:
  /// `what` names the stage, e.g. "packing weights".
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress &) = delete;
  void update(uint64_t done, uint64_t total);

private:
  std::string what_;
  bool terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

} // namespace bitnet::compiler
