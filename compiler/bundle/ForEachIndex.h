// Independent pieces of work, numbered, shared by several threads.
#pragma once
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include <cstddef>
#include <cstdint>

namespace bitnet::compiler {

/// Calls work(i) once for each i in [0, count), in order of starting, from at most `jobs` threads, this one
/// among them; fewer where there is less to do or the system gives fewer. After a failure no new piece
/// starts; returns the first.
llvm::Error forEachIndex(int jobs, size_t count, llvm::function_ref<llvm::Error(size_t)> work);

/// As above, for pieces that take bytesOf(i) bytes of memory each: one starts only while all that are at work
/// take at most `most` together, or alone.
llvm::Error forEachIndex(int jobs, size_t count, llvm::function_ref<llvm::Error(size_t)> work,
                         llvm::function_ref<uint64_t(size_t)> bytesOf, uint64_t most);

} // namespace bitnet::compiler
