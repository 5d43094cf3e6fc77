// Asking for memory ahead of its use. Halide has a schedule directive for that, but on x86 it only ever makes
// prefetchnta: into the first-level cache, past the second. As many lines as one thread has to have under way
// to read at the memory's speed are too many for it (int8 attention: no gain, where prefetcht1 halves the
// time).
#pragma once
#include <Halide.h>

namespace bitnet::codegen {

constexpr int kFetchBytes = 64; ///< a cache line

/// `value`, after asking for bytes [64 * line, 64 * line + 64) of `buffer` to come into the second-level
/// cache. Any line will do: nothing is read. Not to be vectorized: make it the value of a Func that is
/// computed at a loop.
Halide::Expr fetching(const Halide::ImageParam &buffer, Halide::Expr line, Halide::Expr value);

} // namespace bitnet::codegen
