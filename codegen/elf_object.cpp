// See elf_object.h. Structures are copied out of the bytes before use: nothing in a file is promised to be
// aligned.
#include "codegen/elf_object.h"
#include <cstring>
#include <elf.h>

namespace bitnet::codegen {
namespace {

struct Reader {
  std::string_view bytes;
  std::string *error;

  bool fail(const std::string &what) const {
    *error = "object file: " + what;
    return false;
  }
  bool holds(uint64_t offset, uint64_t size) const {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  }

  /// Copies entry `i` of a table at `offset`; the caller has checked that the table lies inside.
  template <typename T> T entry(uint64_t offset, uint64_t i) const {
    T t;
    std::memcpy(&t, bytes.data() + offset + i * sizeof(T), sizeof(T));
    return t;
  }
};

/// A NUL-terminated string in a string table section.
bool string_at(std::string_view table, uint64_t offset, std::string_view *out) {
  if (offset >= table.size())
    return false;
  const size_t end = table.find('\0', offset);
  if (end == std::string_view::npos)
    return false;
  *out = table.substr(offset, end - offset);
  return true;
}

bool read_sections(const Reader &in, const Elf64_Ehdr &head, std::vector<Elf64_Shdr> *headers,
                   ElfObject *object) {
  if (head.e_shentsize != sizeof(Elf64_Shdr) ||
      !in.holds(head.e_shoff, uint64_t(head.e_shnum) * sizeof(Elf64_Shdr)))
    return in.fail("section table outside the file");
  for (uint32_t i = 0; i < head.e_shnum; ++i) {
    const auto h = in.entry<Elf64_Shdr>(head.e_shoff, i);
    ElfSection s;
    s.type = h.sh_type;
    s.flags = h.sh_flags;
    s.size = h.sh_size;
    s.align = h.sh_addralign ? h.sh_addralign : 1;
    if ((s.align & (s.align - 1)) != 0 || s.align > 4096)
      return in.fail("section " + std::to_string(i) + ": alignment " + std::to_string(s.align) +
                     ": expected a power of two up to 4096");
    if (h.sh_type != SHT_NOBITS && h.sh_type != SHT_NULL) {
      if (!in.holds(h.sh_offset, h.sh_size))
        return in.fail("section " + std::to_string(i) + " outside the file");
      s.bytes = in.bytes.substr(h.sh_offset, h.sh_size);
    }
    headers->push_back(h);
    object->sections.push_back(std::move(s));
  }
  if (head.e_shstrndx >= head.e_shnum)
    return in.fail("no section names");
  for (uint32_t i = 0; i < head.e_shnum; ++i)
    if (!string_at(object->sections[head.e_shstrndx].bytes, (*headers)[i].sh_name, &object->sections[i].name))
      return in.fail("section " + std::to_string(i) + ": name outside its table");
  return true;
}

bool read_symbols(const Reader &in, const Elf64_Shdr &h, ElfObject *object) {
  if (h.sh_link >= object->sections.size() || h.sh_entsize != sizeof(Elf64_Sym))
    return in.fail("malformed symbol table");
  const std::string_view names = object->sections[h.sh_link].bytes;
  for (uint64_t i = 0; i < h.sh_size / sizeof(Elf64_Sym); ++i) {
    const auto e = in.entry<Elf64_Sym>(h.sh_offset, i);
    ElfSymbol s;
    s.local = ELF64_ST_BIND(e.st_info) == STB_LOCAL;
    s.weak = ELF64_ST_BIND(e.st_info) == STB_WEAK;
    s.value = e.st_value;
    if (i > 0 && !string_at(names, e.st_name, &s.name))
      return in.fail("symbol " + std::to_string(i) + ": name outside its table");
    const bool is_file_name = ELF64_ST_TYPE(e.st_info) == STT_FILE;
    if (e.st_shndx != SHN_UNDEF && !is_file_name) {
      // Absolute and common symbols, and section numbers past 65279, do not occur in kernels.
      if (e.st_shndx >= object->sections.size())
        return in.fail("symbol '" + std::string(s.name) + "': section " + std::to_string(e.st_shndx) +
                       " of " + std::to_string(object->sections.size()));
      s.section = e.st_shndx;
      if (s.value > object->sections[s.section].size)
        return in.fail("symbol '" + std::string(s.name) + "' outside its section");
    }
    object->symbols.push_back(s);
  }
  return true;
}

bool read_relocations(const Reader &in, const Elf64_Shdr &h, ElfObject *object) {
  if (h.sh_info >= object->sections.size() || h.sh_entsize != sizeof(Elf64_Rela))
    return in.fail("malformed relocation table");
  ElfSection &section = object->sections[h.sh_info];
  for (uint64_t i = 0; i < h.sh_size / sizeof(Elf64_Rela); ++i) {
    const auto e = in.entry<Elf64_Rela>(h.sh_offset, i);
    ElfRelocation r{e.r_offset, uint32_t(ELF64_R_TYPE(e.r_info)), uint32_t(ELF64_R_SYM(e.r_info)),
                    e.r_addend};
    if (r.symbol >= object->symbols.size())
      return in.fail("relocation of symbol " + std::to_string(r.symbol) + " of " +
                     std::to_string(object->symbols.size()));
    section.relocations.push_back(r);
  }
  return true;
}

} // namespace

bool parse_elf(std::string_view bytes, ElfObject *object, std::string *error) {
  const Reader in{bytes, error};
  if (!in.holds(0, sizeof(Elf64_Ehdr)))
    return in.fail("expected an ELF file, got " + std::to_string(bytes.size()) + " bytes");
  const auto head = in.entry<Elf64_Ehdr>(0, 0);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
      head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_type != ET_REL || head.e_machine != EM_X86_64)
    return in.fail("expected a relocatable ELF64 file for x86-64");

  std::vector<Elf64_Shdr> headers;
  if (!read_sections(in, head, &headers, object))
    return false;
  bool have_symbols = false;
  for (const Elf64_Shdr &h : headers)
    if (h.sh_type == SHT_SYMTAB) {
      if (have_symbols)
        return in.fail("two symbol tables");
      have_symbols = true;
      if (!read_symbols(in, h, object))
        return false;
    }
  for (const Elf64_Shdr &h : headers)
    if (h.sh_type == SHT_RELA && !read_relocations(in, h, object))
      return false;
  return true;
}

} // namespace bitnet::codegen
