#include "tools/bitnet/interrupt.h"

#include <csignal>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace bitnet::tools {
namespace {

// Process-wide, as signals are; the waiting thread outlives every Interrupt.
std::mutex mutex;
bitnet_generation *current = nullptr;
bool was_requested = false;

void waitForInterrupts(sigset_t signals) {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0)
      continue;
    std::lock_guard<std::mutex> lock(mutex);
    if (!current || was_requested)
      _exit(kExitInterrupted);
    was_requested = true;
    bitnet_generation_cancel(current);
  }
}

} // namespace

Interrupt::Interrupt() {
  struct sigaction action {};
  sigaction(SIGINT, nullptr, &action);
  if (action.sa_handler == SIG_IGN) // started in the background by a shell: Ctrl-C is not meant for us
    return;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(waitForInterrupts, signals).detach();
}

void Interrupt::enter(bitnet_generation *generation) {
  std::lock_guard<std::mutex> lock(mutex);
  current = generation;
}

void Interrupt::leave() {
  std::lock_guard<std::mutex> lock(mutex);
  current = nullptr;
}

} // namespace bitnet::tools
