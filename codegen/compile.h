// KernelSpec → machine code. The only face of codegen that the compiler sees besides KernelSpec; hides Halide and its
// exceptions.
#pragma once
#include "codegen/spec/kernel_spec.h"
#include <cstdint>
#include <string>
#include <vector>

namespace bitnet::codegen {

enum class Emit { object, assembly, stmt };

/// Compiles one kernel. Object: ELF relocatable bytes with one global function symbol(spec) of type KernelFn and no
/// undefined symbol but memset/memcpy. Returns false and sets *error (one line) on failure. Thread-safe.
bool compile_kernel(const KernelSpec &spec, Emit what, std::string *bytes, std::string *error);

/// Same for objects, through the cache folder (empty = no cache): key = to_string(spec) + a version of the generators.
/// Entries are written to a temporary file and renamed; a damaged entry is recompiled.
bool compile_kernel_cached(const KernelSpec &spec, const std::string &cache_dir, std::string *object, bool *hit,
                           std::string *error);

/// What decides a kernel's bytes beside its spec: part of every cache entry's name.
const char *generators_version();
/// Removes what was used longest ago until the folder's kernels take at most `max_bytes`, and what interrupted runs left.
void trim_kernel_cache(const std::string &cache_dir, uint64_t max_bytes);

/// A position-independent image of many kernels (see codegen/link.cpp); as stored in a bundle's code section.
struct KernelImage {
  std::vector<uint8_t> bytes;
  uint64_t ro_offset = 0;                             ///< [0, ro_offset) code, the rest read-only data; 4096-aligned
  struct Fixup { uint64_t at, target; };
  std::vector<Fixup> fixups;                          ///< *(u64*)(base + at) = base + target
  std::vector<uint64_t> entries;                      ///< offset of each requested symbol, in order
};
/// Links ELF64 x86-64 relocatable objects into one image. Fails (one line) on an unknown relocation, a duplicate or
/// undefined symbol other than memset/memcpy/memmove (which the image brings along), or writable data.
bool link_image(const std::vector<std::string> &objects, const std::vector<std::string> &symbols, KernelImage *image,
                std::string *error);

} // namespace bitnet::codegen
