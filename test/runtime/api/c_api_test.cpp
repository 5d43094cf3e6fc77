// The C interface from outside: through the shared library only. Also runs the C example.
#include "runtime/api/bitnet.h"
#include "test/runtime/tiny_bundle.h"
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>

namespace {

using bitnet::test::TinyBundle;

class CApi : public testing::Test {
protected:
  void SetUp() override { path_ = bitnet::test::write_file("c_api.bnx", TinyBundle().file()); }
  void TearDown() override {
    bitnet_session_destroy(session_);
    bitnet_model_close(model_);
    unlink(path_.c_str());
  }
  void open() {
    ASSERT_EQ(bitnet_model_open(path_.c_str(), nullptr, &model_, &error_), BITNET_OK) << error_.message;
  }
  std::string path_;
  bitnet_model *model_ = nullptr;
  bitnet_session *session_ = nullptr;
  bitnet_error error_{};
};

TEST_F(CApi, TellsAboutTheModel) {
  open();
  bitnet_model_info info;
  bitnet_model_get_info(model_, &info);
  EXPECT_STREQ(info.name, "tiny");
  EXPECT_STREQ(info.cpu, "portable");
  EXPECT_EQ(info.vocab, 300);
  EXPECT_EQ(info.max_rows, 5);
  EXPECT_EQ(info.bos, -1);
  EXPECT_EQ(info.kv_bytes_per_token, 2u * 2 * 1 * 32);
  EXPECT_STREQ(info.kv, "f16");
  // head: 304 x 64 f16; one embedding row: 64 f16; one row of each rope table: 16 f32
  EXPECT_EQ(info.bytes_per_token, 304u * 64 * 2 + 64 * 2 + 2 * 16 * 4);
  const std::string json = bitnet_model_describe(model_);
  EXPECT_NE(json.find("\"name\": \"tiny\""), std::string::npos);
  EXPECT_NE(json.find("\"norm_eps\": 1e-05"), std::string::npos) << "floats print as they were meant";
  EXPECT_NE(json.find("\"call_count\": 7"), std::string::npos);
}

TEST_F(CApi, Steps) {
  open();
  const bitnet_session_options options = {100, 2, 1};
  ASSERT_EQ(bitnet_session_create(model_, &options, &session_, &error_), BITNET_OK) << error_.message;
  EXPECT_EQ(bitnet_session_threads(session_), 2);
  EXPECT_EQ(bitnet_session_context(session_), 100);
  const bitnet_row rows[] = {{5, 0, 0, 0, 0, 0}, {6, 1, 0, 1, 0, 0}};
  ASSERT_EQ(bitnet_session_step(session_, rows, 2, &error_), BITNET_OK) << error_.message;
  EXPECT_EQ(bitnet_session_length(session_, 0), 2);
  EXPECT_EQ(bitnet_session_logits(session_, 0)[3], bitnet::test::tiny_logit(6, 11, 3));
  EXPECT_EQ(bitnet_session_logits(session_, 1), nullptr);
  ASSERT_EQ(bitnet_session_truncate(session_, 0, 1, &error_), BITNET_OK) << error_.message;
  EXPECT_EQ(bitnet_session_length(session_, 0), 1);
  EXPECT_EQ(bitnet_session_length(session_, 7), 0);
}

TEST_F(CApi, NamesTheFile) {
  EXPECT_EQ(bitnet_model_open("/nowhere/x.bnx", nullptr, &model_, &error_), BITNET_NOT_FOUND);
  EXPECT_STREQ(error_.message, "/nowhere/x.bnx: cannot open: No such file or directory");
  EXPECT_EQ(bitnet_model_open("/", nullptr, &model_, &error_), BITNET_NOT_FOUND);
  EXPECT_STREQ(error_.message, "/: expected a regular file");
  const std::string empty = bitnet::test::write_file("empty.bnx", "");
  EXPECT_EQ(bitnet_model_open(empty.c_str(), nullptr, &model_, &error_), BITNET_BAD_BUNDLE);
  EXPECT_EQ(error_.message, empty + ": the file is empty");
  unlink(empty.c_str());
  const bitnet_model_options options = {"avx2"};
  EXPECT_EQ(bitnet_model_open(path_.c_str(), &options, &model_, &error_), BITNET_UNSUPPORTED);
  EXPECT_EQ(error_.message, path_ + ": built for portable; avx2 was asked for; rebuild with --target=avx2");
}

// The weights' checksum ends last, in the background; no model comes out before it has.
TEST_F(CApi, RefusesDamagedWeights) {
  std::string file = TinyBundle().file();
  file[4096 + 77] ^= 1;
  const std::string damaged = bitnet::test::write_file("damaged.bnx", file);
  EXPECT_EQ(bitnet_model_open(damaged.c_str(), nullptr, &model_, &error_), BITNET_BAD_BUNDLE);
  EXPECT_EQ(error_.message, damaged + ": section weights: its bytes do not match its checksum: the file is "
                                      "damaged; compile or copy it again");
  EXPECT_EQ(model_, nullptr);
  unlink(damaged.c_str());
}

TEST_F(CApi, TakesTheVariantFromTheEnvironment) {
  setenv("BITNET_CPU", "avx512", 1);
  EXPECT_EQ(bitnet_model_open(path_.c_str(), nullptr, &model_, &error_), BITNET_UNSUPPORTED);
  EXPECT_EQ(error_.message,
            path_ + ": BITNET_CPU (environment): built for portable; avx512 was asked for; rebuild with "
                    "--target=avx512");
  setenv("BITNET_CPU", "avx9", 1);
  EXPECT_EQ(bitnet_model_open(path_.c_str(), nullptr, &model_, &error_), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(error_.message, path_ +
                                ": BITNET_CPU (environment): cpu variant: expected one of portable, avx2, "
                                "avx512, avx512vnni, got 'avx9'");
  const bitnet_model_options options = {"portable"};
  EXPECT_EQ(bitnet_model_open(path_.c_str(), &options, &model_, &error_), BITNET_OK)
      << "an option comes first";
  unsetenv("BITNET_CPU");
}

TEST_F(CApi, TakesNullForAnError) {
  EXPECT_EQ(bitnet_model_open(nullptr, nullptr, &model_, &error_), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_model_open(path_.c_str(), nullptr, nullptr, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_session_create(nullptr, nullptr, &session_, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_session_step(nullptr, nullptr, 0, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_session_truncate(nullptr, 0, 0, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_session_embed(nullptr, nullptr, 0, 0, nullptr, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_session_logits(nullptr, 0), nullptr);
  EXPECT_EQ(bitnet_model_describe(nullptr), nullptr);
  bitnet_model_info info;
  bitnet_model_get_info(nullptr, &info);
  EXPECT_EQ(info.vocab, 0);
  bitnet_model_close(nullptr);
  bitnet_session_destroy(nullptr);
}

// logits[n] grow with n, so that the greedy token of the tiny bundle is always its last one.
TEST_F(CApi, ExampleInCRuns) {
  const std::string command = std::string(C_API_EXAMPLE) + " " + path_ + " 3 1 2";
  FILE *pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::array<char, 256> text{};
  const size_t n = fread(text.data(), 1, text.size() - 1, pipe);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(std::string(text.data(), n), "299 299 299\n");
}

} // namespace
