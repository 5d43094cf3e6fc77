// One definition of the numbers: the logits of a model are the same bits for every thread count, chunking,
// batch and CPU variant.
#include "test/e2e/compiled_model.h"
#include <cstring>
#include <iterator>
#include <sstream>

using namespace bitnet;
using namespace bitnet::e2e;

namespace {

Tokens prompt() {
  // 150 tokens: more than one plan-sized step, more than two cache blocks; deterministic, all over the
  // vocabulary.
  Tokens tokens{4080};
  for (uint32_t i = 1, x = 12345; i < 150; ++i) {
    x = x * 1664525u + 1013904223u;
    tokens.push_back(int32_t((x >> 8) % 4080));
  }
  return tokens;
}

std::string bundle() { return compiled(shippedModel(), "identity", {"--target=portable,avx2,avx512"}); }

/// The numbers that all others must equal.
const Logits &baseline() {
  static const Logits logits = [] {
    const Model model = openModel(bundle(), "portable");
    const Session session = openSession(model.get());
    return allLogits(model.get(), session.get(), prompt(), 1);
  }();
  return logits;
}

void expectSame(const Logits &got, const Logits &expected) {
  ASSERT_EQ(got.size(), expected.size());
  if (std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0)
    return;
  size_t i = 0;
  while (std::memcmp(&got[i], &expected[i], sizeof(float)) == 0)
    ++i;
  FAIL() << "first difference at element " << i << ": expected " << expected[i] << ", got " << got[i];
}

class Threads : public testing::TestWithParam<int> {};
TEST_P(Threads, GiveTheSameBits) {
  const Model model = openModel(bundle());
  const Session session = openSession(model.get(), GetParam());
  expectSame(allLogits(model.get(), session.get(), prompt(), 64), baseline());
}
INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(1, 2, 3, 5));

class Chunks : public testing::TestWithParam<int> {};
TEST_P(Chunks, GiveTheSameBits) {
  const Model model = openModel(bundle());
  const Session session = openSession(model.get(), 2);
  expectSame(allLogits(model.get(), session.get(), prompt(), size_t(GetParam())), baseline());
}
INSTANTIATE_TEST_SUITE_P(Sizes, Chunks, testing::Values(1, 7, 64, 128));

TEST(AllAtOnce, GivesTheSameBits) {
  // 150 rows in one call exceed the plan's 128; only the last row's logits are asked for.
  const Model model = openModel(bundle());
  const Session session = openSession(model.get(), 2);
  const Tokens tokens = prompt();
  std::vector<bitnet_row> rows;
  for (size_t i = 0; i < tokens.size(); ++i)
    rows.push_back({tokens[i], int32_t(i), 0, i + 1 == tokens.size(), 0, 0});
  bitnet_error error{};
  ASSERT_EQ(bitnet_session_step(session.get(), rows.data(), rows.size(), &error), BITNET_OK) << error.message;
  const size_t vocab = size_t(vocabulary(model.get()));
  const float *last = bitnet_session_logits(session.get(), 0);
  ASSERT_TRUE(last);
  expectSame(Logits(last, last + vocab), Logits(baseline().end() - ptrdiff_t(vocab), baseline().end()));
}

class Variants : public testing::TestWithParam<const char *> {};
TEST_P(Variants, GiveTheSameBits) {
  bitnet_model_options options{GetParam()};
  bitnet_error error{};
  bitnet_model *opened = nullptr;
  if (bitnet_model_open(bundle().c_str(), &options, &opened, &error) == BITNET_UNSUPPORTED)
    GTEST_SKIP() << error.message;
  const Model model(opened);
  ASSERT_TRUE(model) << error.message;
  const Session session = openSession(model.get(), 2);
  expectSame(allLogits(model.get(), session.get(), prompt(), 64), baseline());
}
INSTANTIATE_TEST_SUITE_P(Names, Variants, testing::Values("portable", "avx2", "avx512", "avx512vnni"));

TEST(Batch, WithThreeOthersGivesTheSameBits) {
  const Model model = openModel(bundle());
  const size_t vocab = size_t(vocabulary(model.get()));
  const Session session = openSession(model.get(), 2, 4);
  const Tokens tokens = prompt();
  Logits got;
  // Our sequence is number 2; the others run different tokens, start at different times and grow unevenly.
  std::vector<int32_t> length(4, 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::vector<bitnet_row> rows;
    for (int32_t s = 0; s < 4; ++s) {
      if (s == 2) {
        rows.push_back({tokens[i], int32_t(i), 2, 1, 0, 0});
        continue;
      }
      for (size_t n = (i + size_t(s)) % 3; n > 0; --n, ++length[s])
        rows.push_back(
            {tokens[size_t(length[s] * 7 + s) % tokens.size()], length[s], s, n == 1 && s == 3, 0, 0});
    }
    size_t wanted = 0;
    for (const bitnet_row &row : rows) {
      if (row.sequence == 2)
        break;
      wanted += row.want != 0;
    }
    bitnet_error error{};
    ASSERT_EQ(bitnet_session_step(session.get(), rows.data(), rows.size(), &error), BITNET_OK)
        << error.message;
    const float *row = bitnet_session_logits(session.get(), wanted);
    ASSERT_TRUE(row);
    got.insert(got.end(), row, row + vocab);
  }
  expectSame(got, baseline());
}

/// Weights in less than two bits, one row at a time, a few, and many.
class Packing : public testing::TestWithParam<std::tuple<const char *, const char *, int>> {};
TEST_P(Packing, GivesTheSameBits) {
  const auto [packing, cpu, chunk] = GetParam();
  const std::string name = packing;
  const std::string packed = compiled(shippedModel(), name, {"--target=avx2,avx512", "--packing=" + name});
  bitnet_model_options options{cpu};
  bitnet_error error{};
  bitnet_model *opened = nullptr;
  if (bitnet_model_open(packed.c_str(), &options, &opened, &error) == BITNET_UNSUPPORTED)
    GTEST_SKIP() << error.message;
  const Model model(opened);
  ASSERT_TRUE(model) << error.message;
  EXPECT_NE(std::string(bitnet_model_describe(model.get())).find("\"packing\": \"" + name + "\""),
            std::string::npos);
  const Session session = openSession(model.get(), 2);
  expectSame(allLogits(model.get(), session.get(), prompt(), size_t(chunk)), baseline());
}
INSTANTIATE_TEST_SUITE_P(VariantsAndChunks, Packing,
                         testing::Combine(testing::Values("t3", "t5"), testing::Values("avx2", "avx512vnni"),
                                          testing::Values(1, 2, 4, 7, 64)));

TEST(Fusion, GivesTheSameBits) {
  const Model model = openModel(compiled(shippedModel(), "unfused", {"--target=host", "--no-fuse"}));
  const Session session = openSession(model.get(), 2);
  expectSame(allLogits(model.get(), session.get(), prompt(), 64), baseline());
}

/// The int8 cache: other numbers than f16's, but the same everywhere.
std::string q8Bundle() {
  return compiled(shippedModel(), "identity-q8", {"--target=portable,avx2,avx512", "--kv=q8"});
}

TEST(Int8Cache, GivesTheSameBitsOnEveryVariantChunkAndThreadCount) {
  Logits expected;
  for (const char *cpu : {"portable", "avx2", "avx512", "avx512vnni"}) {
    bitnet_model_options options{cpu};
    bitnet_error error{};
    bitnet_model *opened = nullptr;
    if (bitnet_model_open(q8Bundle().c_str(), &options, &opened, &error) == BITNET_UNSUPPORTED)
      continue; // this CPU lacks it
    const Model model(opened);
    ASSERT_TRUE(model) << error.message;
    for (const auto &[threads, chunk] : {std::pair{1, 1}, {2, 7}, {2, 64}, {3, 128}}) {
      const Session session = openSession(model.get(), threads);
      const Logits logits = allLogits(model.get(), session.get(), prompt(), size_t(chunk));
      if (expected.empty())
        expected = logits;
      expectSame(logits, expected);
    }
  }
  EXPECT_NE(std::memcmp(expected.data(), baseline().data(), expected.size() * sizeof(float)), 0)
      << "this is the f16 cache";
}

/// Leaving out neurons that cannot matter leaves the bits as they are: row by row, few rows, many rows.
class Skipping : public testing::TestWithParam<int> {};
TEST_P(Skipping, GivesTheSameBits) {
  const std::string dense = compiled(shippedModel(), "dense", {"--target=host", "--no-skip"});
  EXPECT_EQ(contents(dense).find("skip_up"), std::string::npos);
  EXPECT_NE(contents(bundle()).find("skip_up"), std::string::npos); // the others here do skip
  const Model model = openModel(dense);
  const Session session = openSession(model.get(), 2);
  expectSame(allLogits(model.get(), session.get(), prompt(), size_t(GetParam())), baseline());
}
INSTANTIATE_TEST_SUITE_P(Sizes, Skipping, testing::Values(1, 5, 64));

TEST(Truncation, ForgetsWhatCameAfter) {
  const Model model = openModel(bundle());
  const Session session = openSession(model.get(), 2);
  Tokens other = prompt();
  std::reverse(other.begin() + 40, other.end());
  allLogits(model.get(), session.get(), other, 64);
  bitnet_error error{};
  ASSERT_EQ(bitnet_session_truncate(session.get(), 0, 0, &error), BITNET_OK) << error.message;
  expectSame(allLogits(model.get(), session.get(), prompt(), 64), baseline());
}

/// Shapes that no published model has but that are legal: the plan pads and slices them differently.
class OddShapes : public testing::TestWithParam<const char *> {};
TEST_P(OddShapes, GiveTheSameBitsOnEveryVariant) {
  const std::string checkpoint = test::scratch("odd.gguf"), bundle = test::scratch("odd.bnx");
  std::vector<std::string> write = {
      test::binary("make-dummy-model"), checkpoint, "--preset", "tiny", "--encoding", "f16"};
  std::istringstream flags(GetParam());
  write.insert(write.end(), std::istream_iterator<std::string>(flags), {});
  test::Ran ran = test::run(write);
  ASSERT_EQ(ran.code, 0) << ran.err;
  ran = test::run({test::binary("bitnetc"), checkpoint, "--target=portable,avx2,avx512", "-o", bundle});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Tokens tokens = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144};
  Logits expected;
  for (const char *cpu : {"portable", "avx2", "avx512", "avx512vnni"}) {
    bitnet_model_options options{cpu};
    bitnet_error error{};
    bitnet_model *opened = nullptr;
    if (bitnet_model_open(bundle.c_str(), &options, &opened, &error) == BITNET_UNSUPPORTED)
      continue; // this CPU lacks it
    const Model model(opened);
    ASSERT_TRUE(model) << error.message;
    const Session session = openSession(model.get(), 2);
    const Logits logits = allLogits(model.get(), session.get(), tokens, 4);
    if (expected.empty())
      expected = logits;
    expectSame(logits, expected);
    expectSame(allLogits(model.get(), openSession(model.get(), 3).get(), tokens, 11), expected);
  }
  ran = test::run({test::binary("bitnetc"), checkpoint, "--no-skip", "-o", bundle});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Model dense = openModel(bundle);
  expectSame(allLogits(dense.get(), openSession(dense.get(), 2).get(), tokens, 4), expected);
}
INSTANTIATE_TEST_SUITE_P(Flags, OddShapes,
                         testing::Values("--vocab 1003", "--heads 4 --kv-heads 1", "--heads 4 --kv-heads 4",
                                         "--dim 320 --heads 5 --kv-heads 5 --ffn 400", "--layers 1",
                                         "--ffn 1040 --gate-zeros 0.75", "--dim 512 --ffn 272 --gate-zeros 0",
                                         "--dim 320 --heads 5 --kv-heads 5 --ffn 512",
                                         "--dim 256 --ffn 512 --scale-group 64",
                                         "--dim 320 --heads 5 --kv-heads 5 --ffn 480 --scale-group 32"));

/// Scales of groups of columns, from the bytes of a file to the logits: the compiled model gives what the
/// graph before all passes gives, op by op, with the weights as the checkpoint decodes them.
TEST(GroupScales, CompiledModelIsItsGraph) {
  const std::string checkpoint = test::scratch("groups.gguf"), bundle = test::scratch("groups.bnx"),
                    graph = test::scratch("groups.mlir");
  test::Ran ran =
      test::run({test::binary("make-dummy-model"), checkpoint, "--preset", "tiny", "--vocab", "304", "--dim",
                 "256", "--ffn", "512", "--encoding", "tq2_0", "--scale-group", "256"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  ran = test::run({test::binary("bitnetc"), checkpoint, "--emit=bitnet", "-o", graph});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(contents(graph).find("256 x 512, group 256>"), std::string::npos); // down
  ran = test::run({test::binary("bitnetc"), checkpoint, "--target=host", "-o", bundle});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Tokens tokens = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144};
  const Model model = openModel(bundle);
  const Logits logits = allLogits(model.get(), openSession(model.get(), 2).get(), tokens, 4);
  const size_t vocab = size_t(vocabulary(model.get()));
  ran = test::run({test::binary("bitnet-interpret"), graph, "--weights", checkpoint, "--steps=0:11",
                   "--tokens=1,2,3,5,8,13,21,34,55,89,144", "--print-logits=" + std::to_string(vocab)});
  ASSERT_EQ(ran.code, 0) << ran.err;
  std::istringstream values(ran.out.substr(ran.out.find("values ") + 7));
  Logits expected(vocab); // of the last row
  for (float &value : expected)
    ASSERT_TRUE(values >> value);
  expectSame(Logits(logits.end() - ptrdiff_t(vocab), logits.end()), expected);
}

} // namespace
