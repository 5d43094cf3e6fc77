// The container readers on hostile files: data/gguf_malformed and data/safetensors_malformed (one fault each,
// with the verdict of the reference readers), truncations, and the messages a user meets.
#include "compiler/import/Gguf.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/SafeTensors.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include <filesystem>
#include <map>
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

/// One hostile file and what we make of it: "" where it is legal, else a part of the message.
struct Verdict {
  const char *stem, *says;
};

/// Runs `read` over all files of a folder; each has a verdict.
void expectVerdicts(const std::string &folder, const std::string &extension,
                    const std::vector<Verdict> &verdicts, std::string (*read)(const std::string &)) {
  std::map<std::string, std::string> says;
  for (const Verdict &verdict : verdicts)
    says[verdict.stem] = verdict.says;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != extension)
      continue;
    std::string stem = entry.path().stem().string(), error = read(slurp(entry.path().string()));
    auto verdict = says.find(stem);
    if (verdict == says.end()) {
      ADD_FAILURE() << "no verdict on " << stem << ": " << error;
      continue;
    }
    if (verdict->second.empty()) {
      EXPECT_EQ(error, "") << stem;
    } else {
      expectOneLine(error);
      EXPECT_NE(error.find(verdict->second), std::string::npos) << stem << ": " << error;
    }
    says.erase(verdict);
  }
  for (const auto &[stem, text] : says)
    ADD_FAILURE() << "no file " << stem;
}

TEST(GgufMalformed, IsRefusedWithOneLineUnlessLegal) {
  std::string folder = sharedData("gguf_malformed");
  SKIP_WITHOUT(folder);
  // ggml itself also takes dimensions of zero and products that wrap (dim_zero*, dims_ovf_*,
  // nbytes_near_max_i8), and leaves it to its caller what is wrong with a part of a split model.
  expectVerdicts(
      folder, ".gguf",
      {{"align_1", ""},
       {"arch_wrong_type", ""},
       {"invalid_utf8_key", ""},
       {"name_63", ""},
       {"off_hole", ""},
       {"off_out_of_order", ""},
       {"ok_0dim_tensor", ""},
       {"ok_align_64", ""},
       {"ok_bool_2", ""},
       {"ok_empty_array", ""},
       {"ok_empty_string_value", ""},
       {"ok_minimal", ""},
       {"ok_no_kv", ""},
       {"ok_v2", ""},
       {"ok_zero_tensors", ""},
       {"tok_scores_u8", ""},
       {"align_string", "key 'general.alignment': expected u32, got string"},
       {"align_wrong_type_u64", "key 'general.alignment': expected u32, got u64"},
       {"arr_bad_elem_type", "key 'a': expected a value type of 0..12, got 13"},
       {"arr_n_2p61_str", "key 'a': expected at most 0 elements, got 2305843009213693952"},
       {"arr_n_max", "key 'a': expected at most 0 elements, got 18446744073709551615"},
       {"dim_zero", "expected positive dimensions whose product fits 64 bits, got [0]"},
       {"dim_zero_2d", "expected positive dimensions whose product fits 64 bits, got ["},
       {"dims_ovf_2p31p3",
        "expected positive dimensions whose product fits 64 bits, got [2147483648, 2147483648, 2147483648]"},
       {"dims_ovf_2p32x2p32",
        "expected positive dimensions whose product fits 64 bits, got [4294967296, 4294967296]"},
       {"dims_ovf_2p62x4",
        "expected positive dimensions whose product fits 64 bits, got [4, 4611686018427387904]"},
       {"key_len_max", "a key: expected at most 32 bytes, got 18446744073709551615"},
       {"kv_str_len_2p63", "a string value: expected at most 19 bytes, got 9223372036854775808"},
       {"kv_str_len_max", "a string value: expected at most 19 bytes, got 18446744073709551615"},
       {"kv_type_neg", "key 'a': expected a value type of 0..12, got 4294967295"},
       {"n_dims_5", "tensor 't': expected at most 4 dimensions, got 5"},
       {"n_kv_huge", "byte 16: expected at most 5 keys in a file of this size, got 1099511627776"},
       {"n_kv_neg", "byte 16: expected at most 5 keys in a file of this size, got 9223372036854775808"},
       {"n_tensors_huge", "byte 8: expected at most 2 tensors in a file of this size, got 1099511627776"},
       {"n_tensors_neg",
        "byte 8: expected at most 2 tensors in a file of this size, got 18446744073709551615"},
       {"name_64", "a tensor name: expected at most 63 bytes, got 64"},
       {"nbytes_near_max_i8", "expected at most 2^50 values for i8, got [9223372036854775806]"},
       {"nbytes_ovf_f64_2p61", "expected at most 2^50 values for f64, got [2305843009213693952]"},
       {"nul_in_two_tensor_names", "tensor 0: expected a name without NUL bytes, got 'a\\x00b'"},
       {"off_overlap", "tensor 'a': expected 128 bytes of f32, got 0 before tensor 'b'"},
       {"off_past_end", "tensor 't': expected data at offset 1099511627776, got a data section of 128 bytes"},
       {"split_count_ffff", "key 'split.count': expected a whole model, got one of 65535 parts"},
       {"tensor_dup", "tensor 'a': expected it once, got it twice"},
       {"trunc_kv",
        "byte 8: expected at most 0 tensors in a file of this size, got 1; the file may be cut off"},
       {"trunc_padding", "byte 103: expected tensor data at byte 128, got the end of the file"},
       {"type_142", "pq2_0 wants 34 bytes for 't', which has 128 up to the end of the file"},
       {"type_neg", "expected a type whose size is known, got type 4294967295 (unknown)"},
       {"type_removed_4",
        "expected a type whose size is known, got type 4 (q4_2 or q4_3, which ggml removed)"},
       {"ver_0", "byte 4: expected GGUF version 2 or 3, got 0"},
       {"ver_1", "byte 4: expected GGUF version 2 or 3, got 1; version 1 has 32-bit lengths"}},
      [](const std::string &bytes) { return readGguf(bytes); });
}

TEST(SafeTensorsMalformed, IsRefusedWithOneLineUnlessLegal) {
  std::string folder = sharedData("safetensors_malformed");
  SKIP_WITHOUT(folder);
  // The reference also takes hdr_leading_space, empty_name and shape_zero_then_huge.
  expectVerdicts(
      folder, ".safetensors",
      {{"f4_even", ""},
       {"meta_null", ""},
       {"ok_bf16_u8", ""},
       {"ok_empty_tensor", ""},
       {"ok_header_space_padded", ""},
       {"ok_keys_not_in_offset_order", ""},
       {"ok_meta", ""},
       {"ok_misaligned_f32", ""},
       {"ok_no_tensors", ""},
       {"ok_one", ""},
       {"ok_scalar", ""},
       {"dtype_lower", "tensor 'a': expected a known dtype in capitals, got 'f32'"},
       {"dup_field_key", "tensor 'a': expected field 'dtype' once, got it twice"},
       {"empty_name", "expected tensor names that are not empty"},
       {"hdr_bom", "byte 8: expected '{', got '\\xef'"},
       {"hdr_deep_nesting", "expected JSON nested at most 64 deep, got more"},
       {"hdr_leading_space", "byte 8: expected '{', got ' '"},
       {"hdr_len_100M_plus_1", "byte 0: expected a header of 2 to 78 bytes, got 100000001"},
       {"hdr_len_past_end", "byte 0: expected a header of 2 to 78 bytes, got 1000000; no safetensors file, "
                            "or one that was cut off"},
       {"hdr_len_zero", "byte 0: expected a header of 2"},
       {"hdr_not_utf8", "byte 11: expected JSON, got text that does not parse"},
       {"hdr_nul_tail", "expected JSON text, got a NUL byte"},
       {"hole_mid", "tensor 'b': expected data from byte 4 to at most 12, got 8 to 12"},
       {"len_too_short_file", "expected 8 bytes of header length, got a file of 3 bytes"},
       {"meta_non_string_value", "'__metadata__': expected strings, got a number"},
       {"off_negative",
        "tensor 'a': field 'data_offsets': expected a list of whole numbers, got a negative number"},
       {"off_past_end", "tensor 'a': expected data from byte 0 to at most 16, got 0 to 32"},
       {"off_reversed", "tensor 'a': expected data_offsets [begin, end], got 2 numbers or a reversed pair"},
       {"off_three", "tensor 'a': expected data_offsets [begin, end], got 3 numbers or a reversed pair"},
       {"shape_float", "tensor 'a': field 'shape': expected a list of whole numbers, got a fraction"},
       {"shape_huge_then_zero",
        "tensor 'a': expected a shape whose product fits 64 bits, got 9223372036854775808 in it"},
       {"shape_zero_then_huge",
        "tensor 'a': expected a shape whose product fits 64 bits, got 9223372036854775808 in it"},
       {"size_mismatch", "tensor 'a': expected 20 bytes for its shape, got 16"}},
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

TEST(SafeTensors, RefusesWhatIsNoTensor) {
  const auto of = [](const std::string &header) {
    std::string bytes;
    GgufWriter::put<uint64_t>(bytes, header.size());
    return readSafeTensors(bytes + header + "1234");
  };
  const std::string good = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[{"dtype":1}]}})";
  EXPECT_EQ(of("{" + good), "");
  EXPECT_EQ(of(R"({"__metadata__":{"x":"y"},)" + good), "");
  for (const auto &[what, error] : std::vector<std::pair<std::string, std::string>>{
           {R"("b":[1,2],)", "tensor 'b': expected an object, got a list"},
           {R"("b":5,)", "tensor 'b': expected an object, got a number"},
           {R"("__metadata__":["x"],)", "'__metadata__': expected an object, got a list"},
           {R"("__metadata__":{"x":["y"]},)", "'__metadata__': expected strings, got a list"},
           {R"("b":{"dtype":["F32"]},)", "tensor 'b': field 'dtype': expected a string, got a list"},
           {R"("b":{"shape":[[1]]},)",
            "tensor 'b': field 'shape': expected a list of whole numbers, got a list"},
           {R"("b":{"shape":{"a":1}},)",
            "tensor 'b': field 'shape': expected a list of whole numbers, got an object"}})
    EXPECT_EQ(of("{" + what + good), "x.safetensors: header: " + error);
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
  EXPECT_EQ(readGguf(GgufWriter().tensor("t", {128, 2}, 35, std::string(66, 'x')).finish()),
            "x.gguf: tensor 't': expected a multiple of 256 columns for tq2_0, got [2, 128]");
  EXPECT_EQ(readGguf(GgufWriter().tensor("t", {1024}, 0, std::string(64, 'x')).finish()),
            "x.gguf: tensor 't': expected 4096 bytes of f32, got 64 before the end of the file, which may be "
            "cut off");
}

TEST(Gguf, EscapesNamesInMessages) {
  std::string bytes = GgufWriter().tensor("a\n\x1b[31m", {3}, 35, "").finish();
  EXPECT_EQ(readGguf(bytes),
            "x.gguf: tensor 'a\\x0a\\x1b[31m': expected a multiple of 256 columns for tq2_0, got [3]");
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
        parseShardIndex("{\"weight_map\": {\"a\": \"" + file + "\"}}", "index", nullptr);
    return errorOf(map);
  };
  EXPECT_EQ(parse("model-00001-of-00002.safetensors"), "");
  EXPECT_EQ(parse("../secret"),
            "index: tensor 'a': expected a plain file name in the same folder, got '../secret'");
  for (const char *bad : {"/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "a\\u0000b", "a\\nb"})
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
  EXPECT_EQ(json->dump(), "{\"a\":2,\"b\":\"NaN\",\"c\":[\"-Infinity\",\"NaN\"]}");
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
