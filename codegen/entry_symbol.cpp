// The names are chosen so that no string moves: "<symbol>__body_argv" becomes "<symbol>" by ending it early.
#include "codegen/entry_symbol.h"
#include <cstring>
#include <elf.h>

namespace bitnet::codegen {

std::string body_symbol(const std::string &symbol) { return symbol + "__body"; }

bool keep_entry_symbol(const std::string &symbol, std::string *object) {
  char *base = object->data();
  const auto *header = reinterpret_cast<const Elf64_Ehdr *>(base);
  const auto *sections = reinterpret_cast<const Elf64_Shdr *>(base + header->e_shoff);
  const std::string body = body_symbol(symbol), entry = body + "_argv";
  bool found_body = false, found_entry = false;
  for (int s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB)
      continue;
    auto *symbols = reinterpret_cast<Elf64_Sym *>(base + sections[s].sh_offset);
    char *names = base + sections[sections[s].sh_link].sh_offset;
    for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; ++i) {
      char *name = names + symbols[i].st_name;
      if (name == body) {
        symbols[i].st_other = STV_HIDDEN;
        found_body = true;
      } else if (name == entry) {
        name[symbol.size()] = 0;
        found_entry = true;
      }
    }
  }
  return found_body && found_entry;
}

bool rename_symbol(const std::string &from, const std::string &to, std::string *object) {
  const auto header = reinterpret_cast<const Elf64_Ehdr *>(object->data());
  for (int s = 0; s < header->e_shnum; ++s) {
    auto *sections = reinterpret_cast<Elf64_Shdr *>(object->data() + header->e_shoff);
    if (sections[s].sh_type != SHT_SYMTAB)
      continue;
    Elf64_Shdr &strings = sections[sections[s].sh_link];
    auto *symbols = reinterpret_cast<Elf64_Sym *>(object->data() + sections[s].sh_offset);
    for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; ++i) {
      if (object->data() + strings.sh_offset + symbols[i].st_name != from)
        continue;
      // The names move to the end of the object, where there is room for one more.
      const std::string names = object->substr(strings.sh_offset, strings.sh_size) + to + '\0';
      symbols[i].st_name = Elf64_Word(strings.sh_size);
      strings.sh_offset = object->size();
      strings.sh_size = names.size();
      *object += names;
      return true;
    }
  }
  return false;
}

} // namespace bitnet::codegen
