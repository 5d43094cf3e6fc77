// The bundle under construction: what is written is there, and in the pages that make mapping it cheap.
#include "compiler/bundle/SectionFile.h"
#include "test/runtime/section_checksum.h"
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace llvm;

namespace bitnet::compiler {
namespace {

constexpr size_t kMiB = size_t(1) << 20;

std::string inFolder(const char *name) { return testing::TempDir() + name; }

/// KiB of the file that a fresh mapping of it holds in huge pages.
size_t hugeKiB(const std::string &path, size_t size) {
  const int fd = open(path.c_str(), O_RDONLY);
  auto *map = static_cast<volatile uint8_t *>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0));
  close(fd);
  for (size_t at = 0; at < size; at += 4096)
    (void)map[at];
  std::ifstream smaps("/proc/self/smaps");
  bool ours = false;
  size_t found = 0;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find(" r--p ") != std::string::npos)
      ours = line.find(path) != std::string::npos;
    if (ours && line.rfind("FilePmdMapped:", 0) == 0)
      found = std::stoul(line.substr(14));
  }
  munmap(const_cast<uint8_t *>(map), size);
  return found;
}

/// Whether the file system here keeps in huge pages what was written so.
bool keepsHugePages() {
  const std::string path = inFolder("huge-pages-probe");
  const std::vector<char> bytes(4 * kMiB, 1);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const bool written = pwrite(fd, bytes.data(), 2 * kMiB, 0) == ssize_t(2 * kMiB) &&
                       pwrite(fd, bytes.data(), 2 * kMiB, 2 * kMiB) == ssize_t(2 * kMiB);
  close(fd);
  const size_t huge = hugeKiB(path, bytes.size());
  unlink(path.c_str());
  return written && huge == 4096;
}

struct Written {
  std::string path;
  std::vector<uint8_t> bytes; // of the section
  uint64_t at = 0;
};

/// A section of 9 MiB and a bit, filled, then written from both ends in small pieces.
Written writeSection(const char *name) {
  Written w{inFolder(name), std::vector<uint8_t>(9 * kMiB + 12345), 0};
  for (size_t i = 0; i < w.bytes.size(); ++i)
    w.bytes[i] = uint8_t(i * 2654435761u >> 13);
  SectionFile file = cantFail(SectionFile::create(w.path));
  file.reserve(64);
  w.at = file.reserve(w.bytes.size());
  cantFail(file.fill(w.at, w.bytes.size(), 2));
  constexpr size_t kPiece = 10240;
  for (size_t at = w.bytes.size() / 2; at < w.bytes.size(); at += kPiece)
    cantFail(file.write(w.at + at, w.bytes.data() + at, std::min(kPiece, w.bytes.size() - at)));
  cantFail(file.write(w.at, w.bytes.data(), w.bytes.size() / 2));
  EXPECT_EQ(cantFail(file.checksum(w.at, w.bytes.size(), 2)),
            test::section_checksum(w.bytes.data(), w.bytes.size()));
  cantFail(file.commit());
  return w;
}

TEST(SectionFile, HoldsWhatWasWrittenOverTheFill) {
  const Written w = writeSection("section.bnx");
  std::ifstream in(w.path, std::ios::binary);
  const std::vector<char> all{std::istreambuf_iterator<char>(in), {}};
  ASSERT_EQ(all.size(), w.at + w.bytes.size());
  EXPECT_TRUE(std::equal(w.bytes.begin(), w.bytes.end(), all.begin() + ptrdiff_t(w.at),
                         [](uint8_t a, char b) { return a == uint8_t(b); }));
  EXPECT_EQ(std::count(all.begin(), all.begin() + ptrdiff_t(w.at), 0), ptrdiff_t(w.at))
      << "the fill starts at the section";
  unlink(w.path.c_str());
}

// Red without fill(): small writes give small pages.
TEST(SectionFile, IsMappedInHugePages) {
  if (!keepsHugePages())
    GTEST_SKIP() << "this file system does not keep huge pages";
  const Written w = writeSection("huge.bnx");
  EXPECT_GE(hugeKiB(w.path, w.at + w.bytes.size()), 3 * 2048u);
  unlink(w.path.c_str());
}

} // namespace
} // namespace bitnet::compiler
