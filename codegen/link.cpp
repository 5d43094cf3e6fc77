// The link step: kernel objects become one position-independent image, so that neither a system linker nor
// dlopen is needed, at compile time or at load. Layout of an image, from offset 0:
//   code of every object | memset/memcpy/memmove if used | pad to 4096 | read-only data, relocated data, GOT
//   slots
// PC-relative references are resolved here; what needs an absolute address becomes a fixup that the loader
// applies before it write-protects the image. Unwind tables, notes and debug sections are dropped.
#include "codegen/compile.h"
#include "codegen/elf_object.h"
#include <cstring>
#include <elf.h>
#include <map>

namespace bitnet::codegen {
namespace {

// What a compiler may call for struct copies and zero fills. Kernels use them for small buffers only, so the
// string instructions are fast enough. System V ABI: rdi, rsi, rdx in; rax out.
constexpr uint8_t kMemcpy[] = {0x48, 0x89, 0xf8,  // mov rax, rdi
                               0x48, 0x89, 0xd1,  // mov rcx, rdx
                               0xf3, 0xa4,        // rep movsb
                               0xc3};             // ret
constexpr uint8_t kMemset[] = {0x49, 0x89, 0xf8,  // mov r8, rdi
                               0x89, 0xf0,        // mov eax, esi
                               0x48, 0x89, 0xd1,  // mov rcx, rdx
                               0xf3, 0xaa,        // rep stosb
                               0x4c, 0x89, 0xc0,  // mov rax, r8
                               0xc3};             // ret
constexpr uint8_t kMemmove[] = {0x48, 0x89, 0xf8, //  0 mov rax, rdi
                                0x48, 0x89, 0xd1, //  3 mov rcx, rdx
                                0x49, 0x89, 0xf8, //  6 mov r8, rdi
                                0x49, 0x29, 0xf0, //  9 sub r8, rsi
                                0x49, 0x39, 0xd0, // 12 cmp r8, rdx     dst - src < n (unsigned): the end of
                                0x72, 0x03,       // 15 jb 20           src would be overwritten first
                                0xf3, 0xa4,       // 17 rep movsb
                                0xc3,             // 19 ret
                                0x48, 0x8d, 0x74, 0x16, 0xff, // 20 lea rsi, [rsi+rdx-1]
                                0x48, 0x8d, 0x7c, 0x17, 0xff, // 25 lea rdi, [rdi+rdx-1]
                                0xfd,                         // 30 std
                                0xf3, 0xa4,                   // 31 rep movsb
                                0xfc,                         // 33 cld
                                0xc3};                        // 34 ret
struct Builtin {
  std::string_view name;
  const uint8_t *code;
  size_t size;
};
constexpr Builtin kBuiltins[] = {{"memcpy", kMemcpy, sizeof kMemcpy},
                                 {"memmove", kMemmove, sizeof kMemmove},
                                 {"memset", kMemset, sizeof kMemset}};

/// Far more than any model's kernels; keeps every sum of offsets far from overflow.
constexpr uint64_t kMaxImage = uint64_t(256) << 20;
constexpr uint64_t kCodeAlign = 4096; ///< code and data are protected by page
constexpr uint64_t kNowhere = ~uint64_t(0);

enum class Part { dropped, code, read_only, writable };
Part part_of(const ElfSection &s) {
  if (!(s.flags & SHF_ALLOC) || s.size == 0 || s.type == SHT_NOTE || s.name.substr(0, 9) == ".eh_frame")
    return Part::dropped;
  if (s.flags & SHF_EXECINSTR)
    return Part::code;
  const bool relro =
      s.name.substr(0, 12) == ".data.rel.ro"; // written only by fixups, before the image is protected
  return (s.flags & (SHF_WRITE | SHF_TLS)) && !relro ? Part::writable : Part::read_only;
}

class Linker {
public:
  Linker(KernelImage *image, std::string *error) : image_(image), error_(error) {}

  bool link(const std::vector<std::string> &files, const std::vector<std::string> &entries) {
    for (const std::string &file : files) {
      objects_.emplace_back();
      if (!parse_elf(file, &objects_.back(), error_))
        return false;
      addresses_.emplace_back(objects_.back().sections.size(), kNowhere);
    }
    if (!collect_definitions() || !place(Part::code))
      return false;
    place_builtins();
    align(kCodeAlign);
    image_->ro_offset = image_->bytes.size();
    return place(Part::read_only) && relocate() && find_entries(entries);
  }

private:
  struct Definition {
    size_t object, symbol;
  };

  bool fail(const std::string &what) const {
    *error_ = "link: " + what;
    return false;
  }

  void align(uint64_t a) { image_->bytes.resize((image_->bytes.size() + a - 1) / a * a); }

  bool collect_definitions() {
    for (size_t o = 0; o < objects_.size(); ++o)
      for (size_t i = 0; i < objects_[o].symbols.size(); ++i) {
        const ElfSymbol &s = objects_[o].symbols[i];
        if (s.local || s.section == ElfSymbol::kUndefined)
          continue;
        auto [at, is_new] = definitions_.insert({s.name, {o, i}});
        if (is_new || s.weak)
          continue;
        const Definition first = at->second;
        if (!objects_[first.object].symbols[first.symbol].weak)
          return fail("symbol '" + std::string(s.name) + "' is defined twice");
        at->second = {o, i};
      }
    return true;
  }

  bool place(Part part) {
    for (size_t o = 0; o < objects_.size(); ++o)
      for (size_t i = 0; i < objects_[o].sections.size(); ++i) {
        const ElfSection &s = objects_[o].sections[i];
        if (part_of(s) == Part::writable)
          return fail("section '" + std::string(s.name) + "': kernels must not have writable data");
        if (part_of(s) != part)
          continue;
        if (s.bytes.size() != s.size)
          return fail("section '" + std::string(s.name) + "' has no bytes in the file");
        align(s.align);
        const uint64_t at = image_->bytes.size();
        if (at + s.size > kMaxImage)
          return fail("the image is larger than " + std::to_string(kMaxImage) + " bytes");
        addresses_[o][i] = at;
        image_->bytes.insert(image_->bytes.end(), s.bytes.begin(), s.bytes.end());
      }
    return true;
  }

  /// Appends each memory function that some object asks for and none defines.
  void place_builtins() {
    for (const Builtin &b : kBuiltins) {
      bool wanted = false;
      for (const ElfObject &o : objects_)
        for (const ElfSymbol &s : o.symbols)
          wanted |= s.section == ElfSymbol::kUndefined && s.name == b.name;
      if (!wanted || definitions_.count(b.name))
        continue;
      align(16);
      builtins_[b.name] = image_->bytes.size();
      image_->bytes.insert(image_->bytes.end(), b.code, b.code + b.size);
    }
  }

  /// Offset of a symbol in the image; kNowhere if it is in a dropped section.
  uint64_t defined_at(const Definition &d) const {
    const ElfSymbol &s = objects_[d.object].symbols[d.symbol];
    const uint64_t section = addresses_[d.object][s.section];
    return section == kNowhere ? kNowhere : section + s.value;
  }

  bool resolve(size_t object, uint32_t symbol, uint64_t *address) const {
    const ElfSymbol &s = objects_[object].symbols[symbol];
    Definition d{object, symbol};
    if (s.section == ElfSymbol::kUndefined) {
      if (auto builtin = builtins_.find(s.name); builtin != builtins_.end()) {
        *address = builtin->second;
        return true;
      }
      auto found = definitions_.find(s.name);
      if (found == definitions_.end())
        return fail("undefined symbol '" + std::string(s.name) + "'");
      d = found->second;
    }
    *address = defined_at(d);
    return *address != kNowhere ||
           fail("reference to '" + std::string(s.name) + "' in a section that is not loaded");
  }

  /// The image's own table of addresses, one slot a target, for code that loads them through the GOT.
  uint64_t got_slot(uint64_t target) {
    auto [slot, is_new] = got_.insert({target, 0});
    if (is_new) {
      align(8);
      slot->second = image_->bytes.size();
      image_->bytes.resize(slot->second + 8);
      image_->fixups.push_back({slot->second, target});
    }
    return slot->second;
  }

  bool relocate() {
    for (size_t o = 0; o < objects_.size(); ++o)
      for (size_t i = 0; i < objects_[o].sections.size(); ++i)
        if (addresses_[o][i] != kNowhere)
          for (const ElfRelocation &r : objects_[o].sections[i].relocations)
            if (!apply(o, objects_[o].sections[i], addresses_[o][i], r))
              return false;
    return true;
  }

  bool apply(size_t object, const ElfSection &section, uint64_t section_at, const ElfRelocation &r) {
    const uint64_t width = r.type == R_X86_64_64 ? 8 : 4;
    if (r.offset > section.size || width > section.size - r.offset)
      return fail("section '" + std::string(section.name) + "': relocation outside the section");
    if (r.addend < -int64_t(kMaxImage) || r.addend > int64_t(kMaxImage))
      return fail("section '" + std::string(section.name) + "': relocation addend out of range");
    uint64_t target;
    if (r.type != R_X86_64_NONE && !resolve(object, r.symbol, &target))
      return false;
    const uint64_t at = section_at + r.offset;
    switch (r.type) {
    case R_X86_64_NONE:
      return true;
    case R_X86_64_64: {
      const int64_t to = int64_t(target) + r.addend;
      if (to < 0 || uint64_t(to) > image_->bytes.size())
        return fail("section '" + std::string(section.name) + "': address outside the image");
      image_->fixups.push_back({at, uint64_t(to)});
      return true;
    }
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX:
      target = got_slot(target);
      [[fallthrough]];
    case R_X86_64_PC32:
    case R_X86_64_PLT32: {
      // Both ends and the addend are below 2^28 in size, so the difference fits.
      const auto distance = int32_t(int64_t(target) + r.addend - int64_t(at));
      std::memcpy(image_->bytes.data() + at, &distance, sizeof distance);
      return true;
    }
    default:
      return fail("section '" + std::string(section.name) + "': relocation type " + std::to_string(r.type) +
                  " is not known");
    }
  }

  bool find_entries(const std::vector<std::string> &entries) {
    for (const std::string &name : entries) {
      auto found = definitions_.find(name);
      if (found == definitions_.end())
        return fail("undefined symbol '" + name + "'");
      const uint64_t at = defined_at(found->second);
      if (at >= image_->ro_offset)
        return fail("symbol '" + name + "' is not code");
      image_->entries.push_back(at);
    }
    return true;
  }

  KernelImage *image_;
  std::string *error_;
  std::vector<ElfObject> objects_;
  std::vector<std::vector<uint64_t>> addresses_; ///< [object][section]: offset in the image, or kNowhere
  std::map<std::string_view, Definition> definitions_;
  std::map<std::string_view, uint64_t> builtins_;
  std::map<uint64_t, uint64_t> got_; ///< target → slot
};

} // namespace

bool link_image(const std::vector<std::string> &objects, const std::vector<std::string> &symbols,
                KernelImage *image, std::string *error) {
  *image = KernelImage();
  return Linker(image, error).link(objects, symbols);
}

} // namespace bitnet::codegen
