// Runs a fuzz target without libFuzzer:
// `target [--rounds N] [--seed S] [--max-seconds T] [--write-seeds FOLDER] [file ...]`.
// With files it runs each of them once (to replay a crash); --write-seeds only writes the seeds as files, the
// corpus that libFuzzer begins with; without either, it runs the seeds as they are, then N
// mutations of them. The mutations depend on S only, so a failing round can be repeated; it is named before
// the process dies.
#include "test/fuzz/fuzz_target.h"
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <unistd.h>

namespace {

using Random = std::mt19937_64;

uint64_t below(Random &random, uint64_t bound) { return bound ? random() % bound : 0; }

/// Numbers that readers tend to get wrong, written over 1, 2, 4 or 8 bytes.
uint64_t awkwardNumber(Random &random) {
  static const uint64_t numbers[] = {0,          1,          0x7f,       0x80,       0xff,       0x7fff,
                                     0xffff,     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 61,
                                     1ull << 62, 1ull << 63, ~0ull,      ~0ull - 7};
  return numbers[below(random, std::size(numbers))];
}

void mutateOnce(std::string &bytes, const std::string &other, Random &random) {
  // Half of the changes fall into the first 4 KiB: most formats have their header there, and payloads are
  // long.
  size_t at = below(random, bytes.size() + 1);
  if (below(random, 2))
    at %= 4096;
  switch (below(random, 8)) {
  case 0: // one bit
    if (at < bytes.size())
      bytes[at] = char(bytes[at] ^ (1 << below(random, 8)));
    return;
  case 1: // one byte
    if (at < bytes.size())
      bytes[at] = char(random());
    return;
  case 2: { // an awkward number
    uint64_t number = awkwardNumber(random);
    size_t width = size_t(1) << below(random, 4);
    if (at + width <= bytes.size())
      std::memcpy(&bytes[at], &number, width);
    return;
  }
  case 3: // cut off
    bytes.resize(at);
    return;
  case 4: // remove a piece
    bytes.erase(at, below(random, 32));
    return;
  case 5: // insert random bytes
    bytes.insert(at, size_t(below(random, 16)), char(random()));
    return;
  case 6: { // repeat a piece of itself
    std::string piece = bytes.substr(at, below(random, 64));
    bytes.insert(below(random, bytes.size() + 1), piece);
    return;
  }
  default: { // splice with another seed
    size_t from = below(random, other.size() + 1);
    bytes = bytes.substr(0, at) + other.substr(from, 4096);
  }
  }
}

// Read by the signal handler: which input was being run.
volatile uint64_t runningRound = 0;
volatile uint64_t usedSeed = 0;

void nameRoundAndDie(int signal) {
  char text[128];
  int n =
      std::snprintf(text, sizeof text, "fuzz: died in round %llu of seed %llu\n",
                    static_cast<unsigned long long>(runningRound), static_cast<unsigned long long>(usedSeed));
  if (n > 0 && write(STDERR_FILENO, text, size_t(n)) < 0)
    _exit(1);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

int run(const std::string &bytes) {
  // A copy of exactly this size, so that a sanitizer sees a read past the end.
  std::vector<uint8_t> input(bytes.begin(), bytes.end());
  return LLVMFuzzerTestOneInput(input.data(), input.size());
}

/// One file a seed: FOLDER/0, FOLDER/1, ...
int writeSeeds(const std::string &folder) {
  const std::vector<std::string> seeds = bitnet::fuzz::seeds();
  for (size_t i = 0; i < seeds.size(); ++i) {
    const std::string path = folder + "/" + std::to_string(i);
    std::ofstream out(path, std::ios::binary);
    if (!(out << seeds[i]).flush()) {
      std::fprintf(stderr, "fuzz: %s: cannot write\n", path.c_str());
      return 1;
    }
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  uint64_t rounds = 1000, seed = 1;
  double maxSeconds = 60; // a slow machine gives up rounds rather than the whole suite's time
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    bool hasValue = i + 1 < argc;
    if (word == "--rounds" && hasValue)
      rounds = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--seed" && hasValue)
      seed = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--max-seconds" && hasValue)
      maxSeconds = std::strtod(argv[++i], nullptr);
    else if (word == "--write-seeds" && hasValue)
      return writeSeeds(argv[++i]);
    else
      files.push_back(word);
  }
  for (const std::string &file : files) {
    std::ifstream in(file, std::ios::binary);
    std::printf("fuzz: %s\n", file.c_str());
    run(std::string(std::istreambuf_iterator<char>(in), {}));
  }
  if (!files.empty())
    return 0;

  usedSeed = seed;
  for (int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, nameRoundAndDie);
  std::vector<std::string> seeds = bitnet::fuzz::seeds();
  if (seeds.empty()) {
    std::fprintf(stderr, "fuzz: the target has no seeds\n");
    return 1;
  }
  for (const std::string &bytes : seeds)
    run(bytes);
  auto start = std::chrono::steady_clock::now();
  uint64_t done = 0;
  for (; done < rounds; ++done) {
    runningRound = done;
    Random random(seed * 1000003 + done); // each round on its own, so that one can be repeated alone
    std::string bytes = seeds[below(random, seeds.size())];
    const std::string &other = seeds[below(random, seeds.size())];
    for (uint64_t n = 1 + below(random, 6); n > 0; --n)
      mutateOnce(bytes, other, random);
    run(bytes);
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > maxSeconds)
      break;
  }
  std::printf("fuzz: %zu seeds, %llu rounds\n", seeds.size(), static_cast<unsigned long long>(done));
  return 0;
}
