// What ambiguous type numbers mean by the sizes of their tensors, and models in several GGUF files.
#include "compiler/import/Gguf.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include <filesystem>
#include <unistd.h>

using namespace bitnet::import;
namespace fs = std::filesystem;

namespace {

struct Written {
  uint32_t type;
  std::vector<uint64_t> dims;
  uint64_t bytes;
};

/// A file of tensors t0, t1, ... and what its reader says: "t0 q2_0, t1 tl2" or the error.
std::string meaningsOf(const std::vector<Written> &tensors, const GgufTypeChoice &chosen = {},
                       const std::string &arch = "qwen3", bool scalesApart = false, uint32_t alignment = 32) {
  GgufWriter writer;
  writer.alignment = alignment;
  writer.u32("general.alignment", alignment);
  writer.text("general.architecture", arch);
  if (scalesApart)
    writer.tensor("t0.weight_scale", {1}, 0, floats(1, 1));
  for (size_t i = 0; i < tensors.size(); ++i)
    writer.tensor("t" + std::to_string(i), tensors[i].dims, tensors[i].type,
                  std::string(size_t(tensors[i].bytes), 'x'));
  llvm::Expected<GgufFile> file = GgufFile::read({bytesInMemory("x.gguf", writer.finish())}, nullptr, chosen);
  if (!file)
    return llvm::toString(file.takeError());
  std::string text;
  for (const GgufTensor &tensor : file->tensors())
    if (tensor.typeId != 0)
      text += (text.empty() ? "" : ", ") + tensor.name + " " + tensor.type->name;
  for (const Decision &decision : file->decisions())
    EXPECT_EQ(decision.what.rfind("type ", 0), 0u) << decision.what;
  return text;
}

constexpr uint64_t kTL2Bytes = (512 - 256) * 96 / 3 * 5 / 8 + 256 * 96 / 2 * 4 / 8; // of 96 rows of 512

// Sizes by section 2.1 of the format notes: 18 bytes a block of 64, 34 bytes a block of 128, the formula of
// tl2; each number as mainline, microsoft's forks, ik_llama.cpp and PrismML use it.
TEST(GgufTypes, AreToldBySize) {
  EXPECT_EQ(meaningsOf({{42, {512, 96}, 512 * 96 / 64 * 18}}), "t0 q2_0");
  EXPECT_EQ(meaningsOf({{42, {512, 96}, 512 * 96 / 128 * 34}}), "t0 pq2_0");
  EXPECT_EQ(meaningsOf({{42, {512, 96}, kTL2Bytes}}), "t0 tl2");
  EXPECT_EQ(meaningsOf({{39, {512, 96}, 512 * 96 / 32 * 17}}), "t0 mxfp4");
  EXPECT_EQ(meaningsOf({{39, {512, 96}, kTL2Bytes}}), "t0 tl2");
  EXPECT_EQ(meaningsOf({{40, {512, 96}, 512 * 96 / 64 * 36}}), "t0 nvfp4");
  EXPECT_EQ(meaningsOf({{40, {512, 96}, 512 * 96 / 32 * 6}}), "t0 q1_0_g32");
  EXPECT_EQ(meaningsOf({{41, {512, 96}, 512 * 96 / 128 * 18}}), "t0 q1_0");
  EXPECT_EQ(meaningsOf({{41, {512, 96}, 512 * 96 / 4}}), "t0 tl1");
  EXPECT_EQ(meaningsOf({{38, {512, 96}, 512 * 96 / 4}, {38, {512, 96}, 512 * 96 / 4}}), "t0 tl1, t1 tl1");
  EXPECT_EQ(meaningsOf({{38, {512, 96}, 512 * 96 / 4 + 32}}), "t0 tl1"); // by the C quantizer
  EXPECT_EQ(meaningsOf({{36, {512, 96}, 512 * 96 / 4 + 32}}), "t0 i2_s");
  EXPECT_EQ(meaningsOf({{142, {512, 96}, 512 * 96 / 128 * 34}}), "t0 pq2_0");
  EXPECT_EQ(meaningsOf({{143, {512, 96}, 512 * 96 / 128 * 28}}), "t0 ptq1_0");
  EXPECT_EQ(meaningsOf({{134, {512, 96}, 96 * (2 + 512 / 64 * 13)},
                        {135, {512, 96}, 96 * (4 + 512 / 64 * 16)},
                        {335, {512, 96}, 96 * (4 + 512 / 64 * 16)}}),
            "t0 iq1_bn, t1 iq2_bn, t2 iq2_bn_r4");
}

TEST(GgufTypes, AreToldOverTheWholeFile) {
  // 128 weights have 36 or 34 bytes, which end alike after padding; a larger tensor decides for both.
  const std::vector<Written> small = {{42, {128}, 36}};
  EXPECT_EQ(
      meaningsOf(small),
      "x.gguf: type 42: expected one encoding that has the sizes of all 1 tensors of this type, got q2_0 "
      "and pq2_0 (tl2 wants a multiple of 32 rows and a multiple of 4 columns, 't0' is [128]); if you know "
      "which it is: "
      "--set ggml_type=42:q2_0 or --set ggml_type=42:pq2_0 or --set ggml_type=42:tl2");
  EXPECT_EQ(meaningsOf({small[0], {42, {512, 96}, 512 * 96 / 128 * 34}}), "t0 pq2_0, t1 pq2_0");
  EXPECT_EQ(meaningsOf({{42, {512, 96}, 512 * 96 / 64 * 18}, small[0]}), "t0 q2_0, t1 q2_0");
  EXPECT_EQ(meaningsOf(small, {{42, ggufMeaning(42, "pq2_0")}}), "t0 pq2_0");
  // Two tensors that want different meanings: none fits both.
  EXPECT_EQ(
      meaningsOf({{42, {512, 96}, 512 * 96 / 64 * 18}, {42, {512, 96}, 512 * 96 / 128 * 34}}),
      "x.gguf: type 42: expected an encoding that has the sizes of all 2 tensors of this type, got none "
      "(q2_0 wants 13824 bytes for 't1', which has 13056 up to the end of the file; pq2_0 wants 13056 "
      "bytes for 't0', which has 13824 up to the next tensor; tl2 wants 11264 bytes for 't0', which has "
      "13824 up to the next tensor); if you know which it is: --set ggml_type=42:q2_0 or --set "
      "ggml_type=42:pq2_0 or --set ggml_type=42:tl2");
}

TEST(GgufTypes, ThatFitNothingAreNotGuessed) {
  // A home-made packer under i2_s's number, with no scale; a block of another size; a gap after the tensor.
  EXPECT_EQ(
      meaningsOf({{36, {128, 4}, 128}, {0, {32}, 128}}),
      "x.gguf: type 36: expected an encoding that has the sizes of all 1 tensors of this type, got none "
      "(i2_s wants 160 bytes for 't0', which has 128 up to the next tensor); the file may be cut off, "
      "or the program that wrote it gave the number to another encoding");
  EXPECT_EQ(
      meaningsOf({{36, {128, 4}, 512 / 32 * 18}}),
      "x.gguf: type 36: expected an encoding that has the sizes of all 1 tensors of this type, got none "
      "(i2_s wants 160 bytes for 't0', which has 288 up to the end of the file); if it is that "
      "nonetheless: --set ggml_type=36:i2_s");
  const std::vector<Written> gap = {{42, {512, 96}, 512 * 96 / 64 * 18 + 64}, {0, {32}, 128}};
  EXPECT_NE(meaningsOf(gap).find("got none"), std::string::npos);
  EXPECT_EQ(meaningsOf(gap, {{42, ggufMeaning(42, "q2_0")}}), "t0 q2_0");
  // The user's word does not make a tensor reach beyond its place.
  EXPECT_EQ(meaningsOf({{36, {128, 4}, 128}, {0, {32}, 128}}, {{36, ggufMeaning(36, "i2_s")}}),
            "x.gguf: tensor 't0': expected 160 bytes of i2_s, got 128 before tensor 't1'");
}

TEST(GgufTypes, ArePreferablyTLOnlyWithScalesApartInItsArchitectures) {
  // 1152 bytes of q1_0 and 2048 of tl1 end alike where tensors begin at multiples of 4096.
  const std::vector<Written> tie = {{41, {256, 32}, 4096}};
  for (const char *arch : {"bitnet", "bitnet-b1.58", "llama"})
    EXPECT_EQ(meaningsOf(tie, {}, arch, true, 4096), "t0 tl1") << arch;
  EXPECT_EQ(meaningsOf(tie, {}, "qwen3", true, 4096), "t0 q1_0");
  EXPECT_EQ(meaningsOf(tie, {}, "bitnet", false, 4096), "t0 q1_0");
}

TEST(GgufTypes, AreDecisions) {
  const std::string bytes =
      GgufWriter().tensor("t", {512, 96}, 42, std::string(512 * 96 / 64 * 18, 'x')).finish();
  for (bool told : {false, true}) {
    GgufTypeChoice chosen;
    if (told)
      chosen[42] = ggufMeaning(42, "q2_0");
    llvm::Expected<GgufFile> file = GgufFile::read({bytesInMemory("x.gguf", bytes)}, nullptr, chosen);
    ASSERT_EQ(errorOf(file), "");
    ASSERT_EQ(file->decisions().size(), 1u);
    const Decision &decision = file->decisions()[0];
    EXPECT_EQ(decision.what + " " + decision.value, "type 42 q2_0");
    EXPECT_EQ(decision.reason, told
                                   ? "set by the user"
                                   : "several programs gave that number to encodings of their own; the sizes "
                                     "of its 1 tensors are those of this one alone");
    EXPECT_EQ(decision.flag, told ? "--set ggml_type=42:q2_0" : "--set ggml_type=42:pq2_0 or 42:tl2");
  }
}

TEST(GgufTypes, WithoutAMeaningAreRefusedByName) {
  EXPECT_EQ(meaningsOf({{37, {32}, 32}}),
            "x.gguf: tensor 't0': expected a type whose size is known, got type 37 (i8_s, which is for "
            "activations and never in files)");
  EXPECT_EQ(meaningsOf({{31, {32}, 32}}),
            "x.gguf: tensor 't0': expected a type whose size is known, got type "
            "31 (q4_0 in interleaved rows, which ggml removed)");
  EXPECT_EQ(meaningsOf({{43, {32}, 32}}),
            "x.gguf: tensor 't0': expected a type whose size is known, got type 43 (unknown)");
}

/// Parts of TinyModel as files of a folder.
class GgufParts : public testing::Test {
protected:
  const fs::path folder_ = fs::path(testing::TempDir()) / ("parts_" + std::to_string(getpid()));
  std::vector<std::string> parts_ = TinyModel().finishParts(3);
  std::unique_ptr<Checkpoint> checkpoint_;

  void SetUp() override { fs::create_directories(folder_ / "model"); }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string partName(size_t i, size_t n = 3) {
    return "m-0000" + std::to_string(i) + "-of-0000" + std::to_string(n) + ".gguf";
  }
  std::string pathOf(const std::string &name) const { return (folder_ / "model" / name).string(); }
  void writeParts() {
    for (size_t i = 0; i < parts_.size(); ++i)
      spill(pathOf(partName(i + 1)), parts_[i]);
  }
  std::string open(const std::string &path) {
    checkpoint_.reset();
    llvm::Expected<std::unique_ptr<Checkpoint>> opened = openCheckpoint(path, ImportOptions());
    if (opened) {
      checkpoint_ = std::move(*opened);
      return "";
    }
    std::string error = llvm::toString(opened.takeError()), where = (folder_ / "model").string();
    expectOneLine(error);
    for (size_t at; (at = error.find(where)) != std::string::npos;)
      error.replace(at, where.size(), "F");
    return error;
  }
};

TEST_F(GgufParts, AreOneModelWhicheverIsNamed) {
  spill(pathOf("whole.gguf"), TinyModel().finish());
  ASSERT_EQ(open(pathOf("whole.gguf")), "");
  std::unique_ptr<Checkpoint> whole = std::move(checkpoint_);
  fs::remove(pathOf("whole.gguf"));
  writeParts();
  for (const std::string &path :
       {pathOf(partName(1)), pathOf(partName(2)), pathOf(partName(3)), pathOf("")}) {
    ASSERT_EQ(open(path), "") << path;
    EXPECT_EQ(checkpoint_->source(), "gguf v3, 3 parts, 13 tensors, f32 ternary");
    for (const char *name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
      std::string tensor = "blk.0." + std::string(name) + ".weight";
      llvm::Expected<TernaryMatrix> expected = whole->ternary(tensor), got = checkpoint_->ternary(tensor);
      ASSERT_EQ(errorOf(expected) + errorOf(got), "");
      EXPECT_TRUE(got->trits == expected->trits && got->scales == expected->scales) << name;
    }
  }
}

TEST_F(GgufParts, MustAllBeThere) {
  writeParts();
  fs::remove(pathOf(partName(1)));
  EXPECT_EQ(open(pathOf("")), "F/m-00001-of-00003.gguf: expected this part beside "
                              "'F/m-00002-of-00003.gguf', got no such file; all 3 parts belong into one "
                              "folder");
  writeParts();
  fs::remove(pathOf(partName(2)));
  EXPECT_EQ(open(pathOf(partName(3))), "F/m-00002-of-00003.gguf: expected this part beside "
                                       "'F/m-00003-of-00003.gguf', got no such file; all 3 parts belong into "
                                       "one folder");
  fs::rename(pathOf(partName(1)), pathOf("m.gguf"));
  EXPECT_EQ(
      open(pathOf("m.gguf")),
      "F/m.gguf: key 'split.count': expected a whole model, got one of 3 parts; keep the names that end "
      "in -00001-of-000NN.gguf (at most 512 parts) and all parts in one folder");
}

TEST_F(GgufParts, MustBeTheOnesThatTheirNamesSay) {
  writeParts();
  spill(pathOf(partName(3)), parts_[1]);
  EXPECT_EQ(open(pathOf(partName(1))),
            "F/m-00003-of-00003.gguf: key 'split.no': expected 2, as its name says "
            "(counted from 0), got 1");
  spill(pathOf(partName(3)), TinyModel().finishParts(2)[1]);
  EXPECT_EQ(open(pathOf(partName(1))),
            "F/m-00003-of-00003.gguf: key 'split.count': expected 3, as its name says, got 2");
  spill(pathOf(partName(3)), GgufWriter().finish());
  EXPECT_EQ(open(pathOf(partName(1))),
            "F/m-00003-of-00003.gguf: key 'split.count': expected 3, as its name says, got none");
}

TEST_F(GgufParts, HoldEachTensorOnceAndAllOfThem) {
  auto last = [](const std::string &tensor, int32_t total) {
    return GgufWriter()
        .u16("split.no", 2)
        .u16("split.count", 3)
        .number("split.tensors.count", 5, total)
        .tensor(tensor, {32}, 0, floats(32, 1))
        .finish();
  };
  writeParts();
  spill(pathOf(partName(3)), last("spare", 13));
  EXPECT_EQ(open(pathOf(partName(1))), "F/m-00001-of-00003.gguf: key 'split.tensors.count': expected 10, the "
                                       "tensors of all parts, got 13");
  parts_ = {
      GgufWriter().u16("split.no", 0).u16("split.count", 3).tensor("a", {32}, 0, floats(32, 1)).finish(),
      GgufWriter().u16("split.no", 1).u16("split.count", 3).finish(), last("a", 2)};
  writeParts();
  EXPECT_EQ(open(pathOf(partName(1))), "F/m-00003-of-00003.gguf: tensor 'a': expected it once, got it in "
                                       "F/m-00001-of-00003.gguf too");
}

TEST(GgufPartsInMemory, AreOneFileToTheRuleOfTypesEachWithItsAlignment) {
  auto part = [](uint16_t number, uint32_t alignment) {
    GgufWriter writer;
    writer.alignment = alignment;
    writer.u16("split.no", number).u16("split.count", 2).u32("general.alignment", alignment);
    return writer;
  };
  // The 128 weights of the first part would be q2_0 as well; the second, at its own alignment, decides.
  const std::string small = part(0, 32).tensor("a", {128}, 42, std::string(34, 'x')).finish();
  for (auto [bytes, name] : {std::make_pair(512 * 96 / 128 * 34, "pq2_0"), {512 * 96 / 64 * 18, "q2_0"}}) {
    const std::string large = part(1, 64)
                                  .tensor("b", {512, 96}, 42, std::string(size_t(bytes), 'x'))
                                  .tensor("c", {1}, 0, "1234")
                                  .finish();
    llvm::Expected<GgufFile> file =
        GgufFile::read({bytesInMemory("0.gguf", small), bytesInMemory("1.gguf", large)}, nullptr);
    ASSERT_EQ(errorOf(file), "");
    for (const char *tensor : {"a", "b"})
      EXPECT_STREQ(file->tensor(tensor)->type->name, name) << tensor;
    EXPECT_EQ(file->tensor("b")->file->name(), "1.gguf");
    EXPECT_EQ(file->tensor("c")->offset % 64, 0u);
  }
}

TEST_F(GgufParts, LieInTheFolderOfTheNamedOne) {
  writeParts();
  spill((folder_ / "outside.gguf").string(), parts_[1]);
  fs::remove(pathOf(partName(2)));
  fs::create_symlink("../outside.gguf", pathOf(partName(2)));
  EXPECT_NE(open(pathOf(partName(1)))
                .find("m-00002-of-00003.gguf: expected a file inside its folder, got a "
                      "link to"),
            std::string::npos);
}

TEST(GgufPartNames, HaveFiveDigits) {
  const std::vector<std::string> two = {"a-00001-of-00002.gguf", "a-00002-of-00002.gguf"};
  EXPECT_EQ(ggufSplitNames("a-00001-of-00002.gguf"), two);
  EXPECT_EQ(ggufSplitNames("a-00002-of-00002.gguf"), two);
  for (const char *other :
       {"a.gguf", "a-00003-of-00002.gguf", "a-00000-of-00002.gguf", "a-1-of-2.gguf", "a-00001-of-99999.gguf",
        "a-0000x-of-00002.gguf", "a00001-of-00002.gguf", "a-00001-of-00002.bin", "-of-.gguf", ".gguf", ""})
    EXPECT_TRUE(ggufSplitNames(other).empty()) << other;
}

} // namespace
