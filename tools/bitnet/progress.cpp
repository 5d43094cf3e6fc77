#include "tools/bitnet/progress.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace bitnet::tools {
namespace {
constexpr std::chrono::milliseconds kBarInterval{200}, kLineInterval{5000};
constexpr uint64_t kBarWidth = 30;
} // namespace

Progress::Progress(std::string label, std::string unit, uint64_t total)
    : label_(std::move(label)), unit_(std::move(unit)), total_(std::max<uint64_t>(total, 1)),
      terminal_(isatty(STDERR_FILENO)), last_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (drawn_ && terminal_)
    std::fputs("\r\033[K", stderr);
}

void Progress::update(uint64_t done, const std::string &note) {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (terminal_ ? kBarInterval : kLineInterval))
    return;
  last_ = now;
  drawn_ = true;
  const auto counted = static_cast<unsigned long long>(done), total = static_cast<unsigned long long>(total_);
  if (terminal_) {
    const std::string bar(std::min(kBarWidth, done * kBarWidth / total_), '#');
    std::fprintf(stderr, "\r\033[K%s [%-*s] %llu/%llu %s %s", label_.c_str(), static_cast<int>(kBarWidth),
                 bar.c_str(), counted, total, unit_.c_str(), note.c_str());
  } else {
    std::fprintf(stderr, "%s: %llu/%llu %s %s\n", label_.c_str(), counted, total, unit_.c_str(),
                 note.c_str());
  }
  std::fflush(stderr);
}

} // namespace bitnet::tools
