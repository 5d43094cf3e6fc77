// See Progress.h.
#include "compiler/driver/Progress.h"
#include <cstdio>
#include <unistd.h>

namespace bitnet::compiler {
using Clock = std::chrono::steady_clock;

Progress::Progress(std::string what) : what_(std::move(what)), terminal_(isatty(2)), last_(Clock::now()) {}

Progress::~Progress() {
  if (drawn_ && terminal_)
    std::fputs("\r\x1b[K", stderr);
}

void Progress::update(uint64_t done, uint64_t total) {
  const auto period = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  const auto now = Clock::now();
  if (!total || now - last_ < period)
    return;
  last_ = now;
  drawn_ = true;
  const int percent = int(100.0 * double(done) / double(total));
  if (!terminal_) {
    std::fprintf(stderr, "%s: %d%%\n", what_.c_str(), percent);
    return;
  }
  const int width = 30, full = percent * width / 100;
  std::fprintf(stderr, "\r%s [%.*s%*s] %3d%%", what_.c_str(), full, "##############################",
               width - full, "", percent);
  std::fflush(stderr);
}

} // namespace bitnet::compiler
