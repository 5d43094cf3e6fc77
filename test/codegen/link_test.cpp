// The linker on objects that gcc made: the image runs, and what cannot be linked is refused by name.
#include "codegen/compile.h"
#include "runtime/bundle/image.h"
#include <cstring>
#include <elf.h>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <random>

namespace bitnet::codegen {
namespace {

std::string object(const char *name) {
  // LINK_OBJECTS: the object files, separated by ','
  std::string list = LINK_OBJECTS;
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string path = list.substr(at, end - at);
    if (path.find(std::string("/") + name + ".c") != std::string::npos) {
      std::ifstream in(path, std::ios::binary);
      return {std::istreambuf_iterator<char>(in), {}};
    }
    at = end + 1;
  }
  ADD_FAILURE() << "no object " << name;
  return {};
}

/// Links functions.c and other.c and loads the image.
class Linked : public testing::Test {
protected:
  void link(const std::vector<std::string> &symbols) {
    std::string error;
    ASSERT_TRUE(link_image({object("functions"), object("other")}, symbols, &image_, &error)) << error;
    runtime::Image view{};
    view.bytes = {image_.bytes.data(), image_.bytes.size()};
    view.ro_offset = image_.ro_offset;
    for (const auto &f : image_.fixups)
      view.fixups.push_back({f.at, f.target});
    auto loaded = runtime::load_image(view);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    loaded_ = std::move(*loaded);
  }
  template <typename F> F *entry(size_t i) {
    return reinterpret_cast<F *>(reinterpret_cast<void *>(loaded_.function(image_.entries[i])));
  }
  KernelImage image_;
  runtime::LoadedImage loaded_;
};

TEST_F(Linked, CallsAcrossObjects) {
  ASSERT_NO_FATAL_FAILURE(link({"calls_other_object", "add_seven"}));
  EXPECT_EQ(entry<int(int)>(0)(5), 24);
  EXPECT_EQ(entry<int(int)>(1)(5), 12);
}

TEST_F(Linked, ReadsConstantsDirectlyThroughTheGotAndThroughPointers) {
  ASSERT_NO_FATAL_FAILURE(link({"reads_constant", "reads_through_got", "reads_pointer"}));
  EXPECT_EQ(entry<int(int)>(0)(6), 77);
  EXPECT_EQ(entry<int(int)>(1)(2), 7);
  EXPECT_STREQ(entry<const char *(int)>(2)(1), "one");
  EXPECT_STREQ(entry<const char *(int)>(2)(2), "two");
}

TEST_F(Linked, BringsMemoryFunctions) {
  ASSERT_NO_FATAL_FAILURE(link({"copy", "move", "fill"}));
  auto *copy = entry<void *(void *, const void *, size_t)>(0),
       *move = entry<void *(void *, const void *, size_t)>(1);
  auto *fill = entry<void *(void *, int, size_t)>(2);
  char a[16] = "0123456789", b[16] = {};
  EXPECT_EQ(copy(b, a, 11), b);
  EXPECT_STREQ(b, "0123456789");
  EXPECT_EQ(move(a + 2, a, 8), a + 2); // overlapping, to higher addresses
  EXPECT_STREQ(a, "0101234567");
  EXPECT_EQ(move(a, a + 2, 9), a); // and to lower ones
  EXPECT_STREQ(a, "01234567");
  EXPECT_EQ(fill(b, 'x', 3), b);
  EXPECT_STREQ(b, "xxx3456789");
}

TEST_F(Linked, PutsCodeBeforeOnePageBorder) {
  ASSERT_NO_FATAL_FAILURE(link({"reads_constant"}));
  EXPECT_EQ(image_.ro_offset % 4096, 0u);
  EXPECT_LT(image_.entries[0], image_.ro_offset);
  for (const auto &f : image_.fixups) {
    EXPECT_GE(f.at, image_.ro_offset);
    EXPECT_LE(f.at + 8, image_.bytes.size());
    EXPECT_LE(f.target, image_.bytes.size());
  }
}

TEST_F(Linked, IsDeterministic) {
  KernelImage a, b;
  std::string error;
  ASSERT_TRUE(link_image({object("functions"), object("other")}, {"copy"}, &a, &error)) << error;
  ASSERT_TRUE(link_image({object("functions"), object("other")}, {"copy"}, &b, &error)) << error;
  EXPECT_EQ(a.bytes, b.bytes);
}

std::string link_error(const std::vector<std::string> &objects,
                       const std::vector<std::string> &symbols = {}) {
  KernelImage image;
  std::string error;
  EXPECT_FALSE(link_image(objects, symbols, &image, &error));
  return error;
}

TEST(LinkErrors, NameTheSymbolOrSection) {
  EXPECT_EQ(link_error({object("functions")}), "link: undefined symbol 'add_seven'");
  EXPECT_EQ(link_error({object("other")}, {"nothing"}), "link: undefined symbol 'nothing'");
  EXPECT_EQ(link_error({object("other")}, {"shared_table"}), "link: symbol 'shared_table' is not code");
  EXPECT_NE(link_error({object("other"), object("other")}).find("' is defined twice"), std::string::npos);
  EXPECT_EQ(link_error({object("writable")}), "link: section '.data': kernels must not have writable data");
  EXPECT_EQ(link_error({"\x7f"
                        "ELF"}),
            "object file: expected an ELF file, got 4 bytes");
}

TEST(LinkErrors, TellTheNumberOfAnUnknownRelocation) {
  std::string file = object("functions");
  Elf64_Ehdr head;
  std::memcpy(&head, file.data(), sizeof head);
  for (int i = 0; i < head.e_shnum; ++i) {
    Elf64_Shdr h;
    std::memcpy(&h, file.data() + head.e_shoff + i * sizeof h, sizeof h);
    if (h.sh_type == SHT_RELA) {
      const uint32_t type = R_X86_64_TPOFF32;
      std::memcpy(file.data() + h.sh_offset + offsetof(Elf64_Rela, r_info), &type, sizeof type);
      break;
    }
  }
  EXPECT_EQ(link_error({file, object("other")}), "link: section '.text': relocation type 23 is not known");
}

// Objects come from a cache folder: cut and damaged ones must give an error or an image, never a crash (run
// under asan).
TEST(LinkErrors, SurvivesDamage) {
  const std::string good = object("functions"), other = object("other");
  KernelImage image;
  std::string error;
  for (size_t n = 0; n < good.size(); n += 1 + good.size() / 300)
    EXPECT_FALSE(link_image({good.substr(0, n), other}, {"copy"}, &image, &error)) << "cut at " << n;
  std::mt19937 random(20261123);
  for (int round = 0; round < 3000; ++round) {
    std::string bad = good;
    for (int i = 0; i < 1 + round % 4; ++i)
      bad[random() % bad.size()] = char(random());
    error.clear();
    (void)link_image({bad, other}, {"copy"}, &image, &error);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

} // namespace
} // namespace bitnet::codegen
