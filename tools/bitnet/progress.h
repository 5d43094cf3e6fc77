// Shows on standard error how far long work is: a bar on a terminal, a line every few seconds elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace bitnet::tools {

class Progress {
public:
  /// unit: what is counted ("windows"). Nothing is shown for work that ends within the first interval.
  Progress(std::string label, std::string unit, uint64_t total);
  ~Progress(); // takes the bar off the terminal
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// note: a short text after the counts, e.g. the value so far.
  void update(uint64_t done, const std::string &note = "");

private:
  const std::string label_, unit_;
  const uint64_t total_;
  const bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

} // namespace bitnet::tools
