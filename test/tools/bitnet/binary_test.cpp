// What the shipped runtime consists of: no compiler inside, and quick to start.
#include "test/tools/program.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <regex>

using namespace bitnet::test;

namespace {

/// Symbols and needed libraries of a program or shared library that belong to LLVM, MLIR or Halide.
std::string compilerParts(const std::string &path) {
  const Ran symbols = run({"nm", "-C", path}), dynamic = run({"nm", "-CD", path}),
            needed = run({"readelf", "-dW", path});
  EXPECT_EQ(symbols.code, 0) << symbols.err;
  EXPECT_EQ(dynamic.code, 0) << dynamic.err;
  EXPECT_EQ(needed.code, 0) << needed.err;
  static const std::regex foreign(
      "\\b(llvm|mlir|Halide)::|\\b(LLVM|mlir|halide_)[A-Za-z_]|lib(LLVM|MLIR|Halide)");
  std::string found;
  const std::string all = symbols.out + dynamic.out + needed.out;
  for (std::sregex_iterator it(all.begin(), all.end(), foreign), end; it != end; ++it)
    found += it->str() + "\n";
  return found;
}

TEST(BitnetBinary, ProgramContainsNoCompiler) { EXPECT_EQ(compilerParts(binary("bitnet")), ""); }

TEST(BitnetBinary, RuntimeLibraryContainsNoCompiler) {
  EXPECT_EQ(compilerParts(environment("BITNET_BIN_DIR") + "/../lib/libbitnet_runtime.so"), "");
}

TEST(BitnetBinary, TheCheckFindsTheCompilerInBitnetc) {
  if (access(binary("bitnetc").c_str(), X_OK) != 0)
    GTEST_SKIP() << "bitnetc is not built";
  EXPECT_NE(compilerParts(binary("bitnetc")), "");
}

TEST(BitnetBinary, HelpTakesLessThan20Milliseconds) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers start slowly";
#endif
  // Seconds, the best of ten, since other tests run beside this one; and those of a program that does
  // nothing, which tell a slow machine: about 1 ms where the help takes 3.
  double help = 60, nothing = 60;
  const auto time = [](double &best, const std::vector<std::string> &command) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run(command).code, 0);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  };
  for (int i = 0; i < 10; ++i) {
    time(nothing, {"/bin/true"});
    time(help, {binary("bitnet"), "--help"});
  }
  EXPECT_LT(help, std::max(0.020, 15 * nothing));
}

} // namespace
