// Reads an ELF64 x86-64 relocatable object into plain tables. For the linker next door (link.cpp) only: no
// archives, no other machine, no debug information. The bytes may come from a damaged cache file, so every
// offset, size and index is checked here; who gets an ElfObject may use its numbers without asking again.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::codegen {

struct ElfRelocation {
  uint64_t offset; ///< in the section
  uint32_t type;   ///< R_X86_64_*
  uint32_t symbol; ///< < ElfObject::symbols.size()
  int64_t addend;
};

struct ElfSection {
  std::string_view name;
  uint32_t type = 0; ///< SHT_*
  uint64_t flags = 0;
  uint64_t size = 0;
  uint64_t align = 1;     ///< power of two, at most 4096
  std::string_view bytes; ///< `size` bytes; empty for SHT_NOBITS
  std::vector<ElfRelocation> relocations;
};

struct ElfSymbol {
  static constexpr uint32_t kUndefined = ~0u;
  std::string_view name;
  bool local = false, weak = false;
  uint32_t section = kUndefined; ///< < ElfObject::sections.size(), or kUndefined
  uint64_t value = 0;            ///< offset in the section, at most its size
};

/// Views point into the bytes given to parse_elf.
struct ElfObject {
  std::vector<ElfSection> sections;
  std::vector<ElfSymbol> symbols;
};

/// On failure returns false and sets *error to one line.
bool parse_elf(std::string_view bytes, ElfObject *object, std::string *error);

} // namespace bitnet::codegen
