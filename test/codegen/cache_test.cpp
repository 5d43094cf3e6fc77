// The kernel cache: a kernel is compiled once, a damaged entry is compiled again, and nothing else lands in
// the folder.
#include "codegen/compile.h"
#include <chrono>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

namespace fs = std::filesystem;

class KernelCache : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/bitnet-kernel-cache-XXXXXX";
    folder = mkdtemp(name);
    spec = *parse_kernel_spec("linear_s8 n=16 k=16 rows=1 cpu=portable", &error);
  }
  void TearDown() override { fs::remove_all(folder); }

  /// Whether the kernel came from the cache.
  bool hit() {
    bool from_cache = false;
    EXPECT_TRUE(compile_kernel_cached(spec, folder, &object, &from_cache, &error)) << error;
    return from_cache;
  }
  /// The only file of the folder.
  fs::path entry() const {
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
    return *fs::directory_iterator(folder);
  }

  std::string folder, object, error;
  KernelSpec spec;
};

TEST_F(KernelCache, ReturnsTheSameObject) {
  EXPECT_FALSE(hit());
  const std::string compiled = object;
  EXPECT_TRUE(hit());
  EXPECT_EQ(object, compiled);
}

TEST_F(KernelCache, CompilesAgainWhenAByteIsWrongOrMissing) {
  EXPECT_FALSE(hit());
  const std::string good = object;
  const auto size = fs::file_size(entry());
  std::fstream(entry(), std::ios::in | std::ios::out | std::ios::binary).seekp(std::streamoff(size / 2))
      << '\xff';
  EXPECT_FALSE(hit());
  EXPECT_EQ(object, good);
  EXPECT_TRUE(hit());
  fs::resize_file(entry(), size - 1);
  EXPECT_FALSE(hit());
  EXPECT_EQ(object, good);
  fs::resize_file(entry(), 0);
  EXPECT_FALSE(hit());
}

TEST_F(KernelCache, WorksWithoutAFolder) {
  folder.clear();
  EXPECT_FALSE(hit());
  EXPECT_FALSE(hit());
  folder = "/proc/no-such-folder";
  EXPECT_FALSE(hit());
  EXPECT_FALSE(object.empty());
  folder.clear();
}

TEST_F(KernelCache, ReportsAnIllegalSpec) {
  spec.rows = 3;
  bool from_cache = true;
  EXPECT_FALSE(compile_kernel_cached(spec, folder, &object, &from_cache, &error));
  EXPECT_FALSE(from_cache);
  EXPECT_EQ(error, "kernel 'linear_s8 n=16 k=16 rows=3 cpu=portable': rows: expected 1, 2, 4, 8, 0, got 3");
}

TEST_F(KernelCache, ForgetsWhatWasUsedLongestAgo) {
  EXPECT_FALSE(hit());
  const fs::path kept = entry();
  const auto now = fs::file_time_type::clock::now();
  const auto make = [&](const char *name, std::chrono::hours age) {
    std::ofstream(fs::path(folder) / name) << std::string(100, 'x');
    fs::last_write_time(fs::path(folder) / name, now - age);
  };
  make("a-0.o", std::chrono::hours(3));
  make("b-0.o", std::chrono::hours(2));
  make("c-0.o.Ab12Cd", std::chrono::hours(2)); // left by an interrupted run
  make("d-0.o.Ab12Cd", std::chrono::hours(0)); // of a run that goes on
  make("tiles-0.txt", std::chrono::hours(9));  // not a kernel
  fs::last_write_time(kept, now - std::chrono::hours(4));
  EXPECT_TRUE(hit()) << "and is now the last one used";
  trim_kernel_cache(folder, fs::file_size(kept) + 150);
  const auto there = [&](const char *name) { return fs::exists(fs::path(folder) / name); };
  EXPECT_FALSE(there("a-0.o"));
  EXPECT_TRUE(there("b-0.o"));
  EXPECT_TRUE(fs::exists(kept));
  EXPECT_FALSE(there("c-0.o.Ab12Cd"));
  EXPECT_TRUE(there("d-0.o.Ab12Cd"));
  EXPECT_TRUE(there("tiles-0.txt"));
  trim_kernel_cache(folder + "/nowhere", 0);
}

} // namespace
} // namespace bitnet::codegen
