// The container readers on hostile files: data/gguf_malformed and data/safetensors_malformed (one fault each,
// with the verdict of the reference readers), truncations, and the messages a user meets.
#include "compiler/import/Gguf.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/SafeTensors.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include <filesystem>
#include <set>
#include <unistd.h>

using namespace bitnet::import;
namespace fs = std::filesystem;

namespace {

std::string readGguf(const std::string &bytes, std::string name = "x.gguf") {
  llvm::Expected<GgufFile> file = GgufFile::read(bytesInMemory(std::move(name), bytes), nullptr);
  return errorOf(file);
}

std::string readSafeTensors(const std::string &bytes) {
  llvm::Expected<SafeTensorsFile> file = SafeTensorsFile::read(bytesInMemory("x.safetensors", bytes));
  return errorOf(file);
}

/// Runs `read` over all files of a folder and compares who is accepted with `accepted`, by file stem.
void expectVerdicts(const std::string &folder, const std::string &extension,
                    const std::set<std::string> &accepted, std::string (*read)(const std::string &)) {
  size_t files = 0;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != extension)
      continue;
    ++files;
    std::string stem = entry.path().stem().string(), error = read(slurp(entry.path().string()));
    if (accepted.count(stem))
      EXPECT_EQ(error, "") << stem;
    else
      expectOneLine(error);
    EXPECT_EQ(error.empty(), accepted.count(stem) != 0) << stem << ": " << error;
  }
  EXPECT_GE(files, accepted.size());
}

TEST(GgufMalformed, IsRefusedWithOneLineUnlessLegal) {
  std::string folder = sharedData("gguf_malformed");
  SKIP_WITHOUT(folder);
  // Legal containers, some of which are not models. Tables out of order and holes are accepted, as gguf-py
  // does. ggml also takes dimensions of zero and products that wrap (dim_zero*, dims_ovf_*,
  // nbytes_near_max_i8): refused here.
  expectVerdicts(folder, ".gguf",
                 {"ok_minimal", "ok_v2", "ok_zero_tensors", "ok_no_kv", "ok_0dim_tensor",
                  "ok_empty_string_value", "ok_empty_array", "ok_bool_2", "ok_align_64", "invalid_utf8_key",
                  "name_63", "align_1", "arch_wrong_type", "off_hole", "off_out_of_order", "tok_scores_u8",
                  "split_count_ffff"},
                 [](const std::string &bytes) { return readGguf(bytes); });
}

TEST(SafeTensorsMalformed, IsRefusedWithOneLineUnlessLegal) {
  std::string folder = sharedData("safetensors_malformed");
  SKIP_WITHOUT(folder);
  // The reference also takes hdr_leading_space, empty_name and shape_zero_then_huge: refused here.
  expectVerdicts(folder, ".safetensors",
                 {"ok_one", "ok_meta", "ok_header_space_padded", "ok_scalar", "ok_empty_tensor",
                  "ok_keys_not_in_offset_order", "ok_no_tensors", "ok_bf16_u8", "ok_misaligned_f32",
                  "meta_null", "f4_even"},
                 readSafeTensors);
}

TEST(GgufTruncated, IsRefusedAtEveryLength) {
  GgufWriter writer;
  writer.text("general.architecture", "bitnet").u32("a", 1).f32("b", 2);
  for (int i = 0; i < 5; ++i)
    writer.tensor("t" + std::to_string(i), {32}, 0, std::string(128, 'x'));
  std::string good = writer.finish();
  ASSERT_EQ(readGguf(good), "");
  for (size_t length = 0; length < good.size(); ++length) {
    std::string error = readGguf(good.substr(0, length));
    expectOneLine(error);
    ASSERT_NE(error, "") << length;
  }
}

TEST(SafeTensorsTruncated, IsRefusedAtEveryLength) {
  std::string path = sharedData("safetensors_malformed/ok_bf16_u8.safetensors");
  SKIP_WITHOUT(path);
  std::string good = slurp(path);
  for (size_t length = 0; length < good.size(); ++length)
    expectOneLine(readSafeTensors(good.substr(0, length)));
}

TEST(Gguf, SaysWhatIsWrong) {
  std::string good = GgufWriter().tensor("t", {32}, 0, std::string(128, 'x')).finish();
  std::string bad = good;
  bad[0] = 'X';
  EXPECT_EQ(readGguf(bad), "x.gguf: byte 0: expected the magic 'GGUF', got 'XGUF'");
  bad = good;
  bad[4] = 1;
  EXPECT_EQ(readGguf(bad),
            "x.gguf: byte 4: expected GGUF version 2 or 3, got 1; version 1 has 32-bit lengths, convert "
            "the model again");
  bad = good;
  bad[4] = 0;
  bad[7] = 3;
  EXPECT_EQ(readGguf(bad), "x.gguf: byte 4: expected a little-endian file, got a big-endian one");
  EXPECT_EQ(readGguf(GgufWriter().tensor("t", {64, 2}, 36, std::string(64, 'x')).finish()),
            "x.gguf: tensor 't': expected rows of a multiple of 128 for i2_s, got 64");
  EXPECT_EQ(readGguf(GgufWriter().tensor("t", {128}, 38, std::string(64, 'x')).finish()),
            "x.gguf: tensor 't': expected f32, f16, bf16, i2_s, tq1_0 or tq2_0, got type 38 (TL1 (made for "
            "one device; "
            "convert from the Hugging Face files instead))");
  EXPECT_EQ(readGguf(GgufWriter().tensor("t", {1024}, 0, std::string(64, 'x')).finish()),
            "x.gguf: tensor 't': expected 4096 bytes of data at offset 0, got a data section of 64 bytes; "
            "the file may be "
            "cut off");
}

TEST(Gguf, TellsI2SFromPackersThatUseItsNumber) {
  // A home-made packer writes n/4 bytes without a scale: the span to the next tensor is too short for the
  // real one.
  std::string bytes = GgufWriter()
                          .tensor("a", {128, 4}, 36, std::string(128, '\x55'))
                          .tensor("b", {32}, 0, std::string(128, 'x'))
                          .finish();
  EXPECT_EQ(readGguf(bytes),
            "x.gguf: tensor 'a': expected 160 bytes of i2_s, got 128 before tensor 'b'; not the i2_s of "
            "microsoft/BitNet");
}

TEST(Gguf, EscapesNamesInMessages) {
  std::string bytes = GgufWriter().tensor("a\n\x1b[31m", {3}, 36, "").finish();
  EXPECT_EQ(readGguf(bytes),
            "x.gguf: tensor 'a\\x0a\\x1b[31m': expected rows of a multiple of 128 for i2_s, got 3");
}

TEST(Gguf, RefusesAnUnalignedOffset) {
  GgufWriter writer;
  writer.tensor("t", {8}, 0, std::string(128, 'x'));
  writer.infos[writer.infos.size() - 8] = 4;
  EXPECT_EQ(readGguf(writer.finish()),
            "x.gguf: tensor 't': expected an offset that is a multiple of 32, got 4");
}

TEST(Gguf, TakesAnArrayForOneNumberIfItsElementsAgree) {
  GgufWriter writer;
  for (uint16_t last : {7, 9}) {
    std::string &to = writer.keys;
    ++writer.nKeys;
    GgufWriter::putString(to, "k" + std::to_string(last));
    GgufWriter::put<uint32_t>(to, 9);
    GgufWriter::put<uint32_t>(to, 2);
    GgufWriter::put<uint64_t>(to, 3);
    for (uint16_t element : {uint16_t(7), uint16_t(7), last})
      GgufWriter::put(to, element);
  }
  llvm::Expected<GgufFile> file = GgufFile::read(bytesInMemory("x.gguf", writer.finish()), nullptr);
  ASSERT_EQ(errorOf(file), "");
  llvm::Expected<std::optional<int64_t>> same = file->integer("k7"), differ = file->integer("k9");
  ASSERT_EQ(errorOf(same), "");
  EXPECT_EQ(*same, 7);
  EXPECT_EQ(errorOf(differ), "x.gguf: key 'k9': expected one value for all layers, got 7 and 9");
}

TEST(SafeTensors, RefusesTwoTensorsOverOnePlace) {
  // As many bytes as the data has, so only their places are wrong.
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  uint64_t length = header.size();
  EXPECT_EQ(
      readSafeTensors(std::string(reinterpret_cast<const char *>(&length), 8) + header + std::string(8, 'x')),
      "x.safetensors: tensor 'b': expected data from byte 4 to at most 8, got 0 to 4; the file may be cut "
      "off");
}

TEST(Gguf, RefusesAValueOfAnotherKind) {
  llvm::Expected<GgufFile> file =
      GgufFile::read(bytesInMemory("x.gguf", GgufWriter().text("a", "b").finish()), nullptr);
  ASSERT_TRUE(bool(file));
  llvm::Expected<std::optional<int64_t>> number = file->integer("a");
  EXPECT_EQ(errorOf(number), "x.gguf: key 'a': expected an integer, got string");
  llvm::Expected<std::vector<float>> floats = file->floats("a");
  EXPECT_EQ(errorOf(floats), "x.gguf: key 'a': expected array of f32, got string");
}

TEST(File, ThatShrinksIsAnError) {
  std::string path = testing::TempDir() + "shrinks_" + std::to_string(getpid());
  spill(path, std::string(1000, 'x'));
  llvm::Expected<std::shared_ptr<ByteSource>> source = openFile(path);
  ASSERT_TRUE(bool(source));
  fs::resize_file(path, 10);
  char buffer[100];
  EXPECT_EQ(llvm::toString((*source)->read(500, buffer, 100)),
            path + ": byte 500: the file became shorter while it was being read");
  fs::remove(path);
}

TEST(File, MustBeRegular) {
  llvm::Expected<std::shared_ptr<ByteSource>> source = openFile("/dev/null");
  EXPECT_EQ(errorOf(source), "/dev/null: expected a regular file");
}

TEST(ShardIndex, TakesPlainFileNamesOnly) {
  auto parse = [](const std::string &file) {
    llvm::Expected<std::map<std::string, std::string>> map =
        parseShardIndex("{\"weight_map\": {\"a\": \"" + file + "\"}}", "index");
    return errorOf(map);
  };
  EXPECT_EQ(parse("model-00001-of-00002.safetensors"), "");
  EXPECT_EQ(parse("../secret"),
            "index: tensor 'a': expected a plain file name in the same folder, got '../secret'");
  for (const char *bad : {"/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "a\\u0000b"})
    EXPECT_NE(parse(bad), "") << bad;
}

TEST(ShardFile, MayNotLeaveTheFolderExceptIntoTheHubCache) {
  fs::path root = fs::path(testing::TempDir()) / ("hub_" + std::to_string(getpid()));
  fs::path snapshot = root / "models--x" / "snapshots" / "abc";
  fs::create_directories(snapshot);
  fs::create_directories(root / "models--x" / "blobs");
  spill((root / "models--x" / "blobs" / "123").string(), "x");
  spill((root / "outside").string(), "x");
  fs::create_symlink("../../blobs/123", snapshot / "good");
  fs::create_symlink("../../../outside", snapshot / "bad");
  llvm::Expected<std::string> good = plainFileIn(snapshot.string(), "good"),
                              bad = plainFileIn(snapshot.string(), "bad");
  EXPECT_EQ(errorOf(good), "");
  EXPECT_NE(errorOf(bad).find("expected a file inside its folder, got a link to"), std::string::npos);
  fs::remove_all(root);
}

TEST(Json, KeepsTheLastOfTwoKeysAndWarns) {
  std::string warning;
  llvm::Expected<nlohmann::json> json =
      parseJson("{\"a\": 1, \"b\": NaN, \"a\": 2, \"c\": [-Infinity, \"NaN\"]}", "c.json",
                [&](const std::string &w) { warning = w; });
  ASSERT_TRUE(bool(json));
  EXPECT_EQ(json->dump(), "{\"a\":2,\"b\":null,\"c\":[null,\"NaN\"]}");
  EXPECT_EQ(warning, "c.json: key 'a' is there twice; the last one counts");
}

TEST(Json, RefusesDepthAndRubbish) {
  for (const std::string &text :
       {std::string(65, '['), std::string("{\"a\": 1} x"), std::string("{\"a\": 1}\0", 9),
        std::string("\xef\xbb\xbf{}"), std::string("")}) {
    llvm::Expected<nlohmann::json> json = parseJson(text, "c.json", nullptr);
    expectOneLine(errorOf(json));
  }
}

} // namespace
