// The innermost loops of a kernel's machine code, and what is in them, for guards on generated code.
#pragma once
#include <string>
#include <vector>

namespace bitnet::codegen {

/// Instructions, each from its mnemonic to the end of LLVM's comment.
using Instructions = std::vector<std::string>;

/// What moves the elements of a vector one by one.
constexpr const char *kMovedOneByOne = "^v?(p?gather|pinsr|pextr|insertps)";

/// Instructions that the pattern is found in.
size_t count(const Instructions &instructions, const char *pattern);

struct Assembly {
  Instructions all;
  std::vector<Instructions> loops; ///< from a label to the jump back to it, without another label between

  /// The loops in which the pattern is found at least so many times.
  std::vector<Instructions> loops_with(const char *pattern, size_t least = 1) const;
  /// The loop in which it is found most often; empty if in none.
  Instructions hottest_loop(const char *pattern) const;
};

/// A kernel by the text form of its spec; empty, and a failure of the test, where it cannot be compiled.
Assembly assembly_of(const std::string &kernel);

} // namespace bitnet::codegen
