// Runs make-dummy-model and reads back what it wrote: every form of one seed is the same model.
#include "compiler/import/Codec.h"
#include "compiler/import/Gguf.h"
#include "test/compiler/import/import_testing.h"
#include "test/tools/program.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <sstream>

using namespace bitnet::import;
using namespace bitnet::test;

namespace {

/// Runs the program with these arguments, separated by spaces.
Ran makeDummyModel(const std::string &out, const std::string &flags) {
  std::vector<std::string> command = {binary("make-dummy-model"), out};
  std::istringstream words("--preset tiny " + flags);
  command.insert(command.end(), std::istream_iterator<std::string>(words), {});
  return run(command);
}

class DummyModel : public testing::Test {
protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string &name, const std::string &flags) {
    std::string path = folder_ + "/" + name;
    const Ran ran = makeDummyModel(path, flags);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return path;
  }
  std::unique_ptr<Checkpoint> read(const std::string &path) {
    llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint = openCheckpoint(path, ImportOptions());
    if (checkpoint)
      return std::move(*checkpoint);
    ADD_FAILURE() << llvm::toString(checkpoint.takeError());
    return nullptr;
  }
  const std::string folder_ = testing::TempDir() + "dummy_" + std::to_string(getpid());
};

void expectSameModel(const Checkpoint &a, const Checkpoint &b, const std::string &form) {
  for (const char *name : {"blk.0.attn_q.weight", "blk.1.attn_v.weight", "blk.1.ffn_down.weight"}) {
    llvm::Expected<TernaryMatrix> left = a.ternary(name), right = b.ternary(name);
    ASSERT_TRUE(bool(left)) << llvm::toString(left.takeError());
    ASSERT_TRUE(bool(right)) << llvm::toString(right.takeError());
    EXPECT_TRUE(left->trits == right->trits && left->scales == right->scales) << form << " " << name;
  }
  for (const char *name : {"token_embd.weight", "blk.0.ffn_sub_norm.weight", "output_norm.weight"}) {
    llvm::Expected<DenseTensor> left = a.dense(name, 0, 1 << 20), right = b.dense(name, 0, 1 << 20);
    ASSERT_TRUE(bool(left)) << llvm::toString(left.takeError());
    ASSERT_TRUE(bool(right)) << llvm::toString(right.takeError());
    EXPECT_TRUE(left->values == right->values) << form << " " << name;
  }
}

/// Constant channels shift every gate alike: rows that subtract them, norms that keep up with the residual
/// stream, and nothing that writes to them.
TEST_F(DummyModel, ShiftsItsGates) {
  std::unique_ptr<Checkpoint> model = read(write("shut.gguf", "--gate-zeros 0.75"));
  ASSERT_TRUE(model);
  llvm::Expected<TernaryMatrix> gate = model->ternary("blk.1.ffn_gate.weight"),
                                down = model->ternary("blk.1.ffn_down.weight"),
                                up = model->ternary("blk.1.ffn_up.weight");
  llvm::Expected<DenseTensor> table = model->dense("token_embd.weight", 0, 9),
                              norm = model->dense("blk.1.ffn_norm.weight", 0, 1);
  ASSERT_TRUE(bool(gate) && bool(down) && bool(up) && bool(table) && bool(norm));
  for (int32_t c = 0; c < 8; ++c) {
    EXPECT_EQ(gate->trits[size_t(7 * gate->cols + c)], -1);
    EXPECT_EQ(down->trits[size_t(c * down->cols + 7)], 0);
    EXPECT_EQ(table->values[size_t(8 * table->cols + c)], 1.0f);
  }
  EXPECT_NE(std::count(up->trits.begin(), up->trits.begin() + 8, -1), 8); // as drawn
  // 0.674 deviations of a sum of 248 * 0.625 others, over 8 channels, times sqrt(1 + 2 * 1).
  EXPECT_NEAR(norm->values[0], 0.674 * std::sqrt(248 * 0.625) / 8 * std::sqrt(3.0), 0.01);
  std::unique_ptr<Checkpoint> open = read(write("open.gguf", "--gate-zeros 0"));
  ASSERT_TRUE(open);
  llvm::Expected<TernaryMatrix> opened = open->ternary("blk.1.ffn_gate.weight");
  ASSERT_TRUE(bool(opened));
  EXPECT_EQ(opened->trits[3], 1);
}

TEST_F(DummyModel, SaysWhichZerosCannotBeHad) {
  const std::string path = folder_ + "/none.gguf";
  Ran ran = makeDummyModel(path, "--gate-zeros 1");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("--gate-zeros: expected a share from 0 to below 1 and --dim above 16, got 1.0"),
            std::string::npos)
      << ran.err;
  ran = makeDummyModel(path, "--gate-zeros 0.75 --down-zeros 0.5");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("--down-zeros: expected 0.8"), std::string::npos) << ran.err;
}

TEST_F(DummyModel, IsTheSameInEveryForm) {
  std::unique_ptr<Checkpoint> first = read(write("i2_s.gguf", ""));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->config().layers, 2);
  EXPECT_FALSE(first->tokenizer().empty());
  for (const char *encoding : {"tq1_0", "tq2_0", "f32", "f16", "bf16"}) {
    std::unique_ptr<Checkpoint> other =
        read(write(std::string(encoding) + ".gguf", std::string("--embedding f32 --encoding ") + encoding));
    ASSERT_TRUE(other);
    expectSameModel(*first, *other, encoding);
  }
  for (const char *encoding : {"packed", "bf16", "f16"}) {
    std::unique_ptr<Checkpoint> other =
        read(write(std::string("hf_") + encoding, std::string("--format hf --encoding ") + encoding));
    ASSERT_TRUE(other);
    EXPECT_FALSE(other->tokenizer().empty());
    expectSameModel(*first, *other, std::string("hf ") + encoding);
  }
}

/// Value i of a row of Q6_K blocks, from ggml's description of the format: 4 bits in ql (two halves of 128
/// values, in each the first 64 in the low nibbles), 2 bits in qh (four quarters of a half), a scale for 16.
struct Q6Value {
  float value, step;
};
Q6Value q6kValue(const std::string &row, size_t i) {
  const auto *block = reinterpret_cast<const uint8_t *>(row.data()) + i / 256 * 210;
  const size_t half = i % 256 / 128, in_half = i % 128, quarter = in_half / 32, l = in_half % 32;
  const uint8_t low = block[half * 64 + (quarter % 2) * 32 + l] >> (quarter / 2 * 4) & 15;
  const uint8_t high = block[128 + half * 32 + l] >> (quarter * 2) & 3;
  const float step = widen(FloatType::f16, block + 208) * float(int8_t(block[192 + i % 256 / 16]));
  return {step * float((low | high << 4) - 32), step};
}

TEST_F(DummyModel, HasAQ6KEmbeddingForOtherEngines) {
  const std::string path =
      write("q6k.gguf", "--architecture bitnet --encoding tq2_0 --embedding q6_k --vocab 300");
  llvm::Expected<std::shared_ptr<ByteSource>> source = openFile(path);
  ASSERT_TRUE(bool(source)) << llvm::toString(source.takeError());
  llvm::Expected<GgufFile> file = GgufFile::read(*source, nullptr);
  ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
  EXPECT_EQ(file->find("general.architecture")->bytes, "bitnet");
  EXPECT_NE(file->find("bitnet.block_count"), nullptr);
  const GgufTensor *embedding = file->tensor("token_embd.weight");
  ASSERT_TRUE(embedding && embedding->type->id == 14u);

  std::unique_ptr<Checkpoint> exact = read(write("f32.gguf", "--embedding f32 --vocab 300"));
  ASSERT_TRUE(exact);
  llvm::Expected<DenseTensor> values = exact->dense("token_embd.weight", 0, 300);
  ASSERT_TRUE(bool(values)) << llvm::toString(values.takeError());
  const std::string bytes = slurp(path).substr(embedding->offset, embedding->bytes);
  std::unique_ptr<Checkpoint> rounded = read(path);
  ASSERT_TRUE(rounded);
  llvm::Expected<DenseTensor> read_back = rounded->dense("token_embd.weight", 0, 300);
  ASSERT_TRUE(bool(read_back)) << llvm::toString(read_back.takeError());
  double error = 0, power = 0;
  for (size_t i = 0; i < values->values.size(); ++i) {
    const float expected = values->values[i];
    const Q6Value got = q6kValue(bytes, i); // rows are multiples of a block, so blocks count through
    // Nearest of the steps; the largest of a block is 31 of them, but for the rounding of d to f16 (2^-11).
    ASSERT_EQ(got.value, read_back->values[i]) << i;
    ASSERT_LE(std::fabs(got.value - expected), 0.5 * got.step + std::fabs(expected) * 0x1p-10) << i;
    error += double(got.value - expected) * (got.value - expected);
    power += double(expected) * expected;
  }
  // 16 values of a bell curve reach 1.8 deviations on average: steps of 1.8/31, deviation of rounding
  // 1/sqrt(12).
  EXPECT_NEAR(std::sqrt(error / power), 1.8 / 31 / std::sqrt(12), 0.003);
}

TEST_F(DummyModel, DependsOnTheSeedAndNothingElse) {
  std::string one = slurp(write("a.gguf", "--seed 7")), again = slurp(write("b.gguf", "--seed 7")),
              other = slurp(write("c.gguf", "--seed 8"));
  EXPECT_TRUE(one == again);
  EXPECT_FALSE(one == other);
}

TEST_F(DummyModel, HasTheShareOfZeros) {
  std::unique_ptr<Checkpoint> checkpoint = read(write("z.gguf", "--zeros 0.25"));
  ASSERT_TRUE(checkpoint);
  llvm::Expected<TernaryMatrix> m = checkpoint->ternary("blk.0.ffn_up.weight");
  ASSERT_TRUE(bool(m));
  double n = double(m->trits.size());
  EXPECT_NEAR(double(std::count(m->trits.begin(), m->trits.end(), 0)) / n, 0.25,
              0.005); // 4 deviations: 0.0048
  EXPECT_NEAR(double(std::count(m->trits.begin(), m->trits.end(), 1)) / n, 0.375, 0.006);
}

TEST_F(DummyModel, CopiesATokenizer) {
  std::string gguf = sharedData("kjv/gguf/kjv-tq1_0.gguf"), folder = sharedData("kjv/hf-packed");
  SKIP_WITHOUT(gguf);
  std::unique_ptr<Checkpoint> source = read(gguf),
                              copy = read(write("k.gguf", "--vocab 4096 --tokenizer " + gguf));
  ASSERT_TRUE(source && copy);
  EXPECT_TRUE(copy->tokenizer() == source->tokenizer());
  source = read(folder);
  copy = read(write("k_hf", "--vocab 4096 --format hf --tokenizer " + folder));
  ASSERT_TRUE(source && copy);
  EXPECT_TRUE(copy->tokenizer() == source->tokenizer());
}

TEST_F(DummyModel, RefusesWhatItCannotWrite) {
  std::pair<const char *, const char *> cases[] = {
      {"--encoding q4_0",
       "error: --encoding: expected one of i2_s, i2_s_64, i2_s_row4, tq1_0, tq2_0, q1_0, q2_0, pq2_0, "
       "ptq1_0, iq1_bn, iq2_bn, iq2_bn_r4, tl1, tl2, f32, f16, bf16, got q4_0"},
      {"--ffn 640 --encoding tq1_0", "error: --encoding tq1_0: expected a multiple of 256 columns, got [256, "
                                     "640] in blk.0.ffn_down.weight"},
      {"--embedding q4_0", "error: --embedding: expected one of f32, f16, bf16, q6_k, got q4_0"},
      {"--dim 272 --heads 17 --kv-heads 1 --embedding q6_k",
       "error: --embedding q6_k: expected a multiple of 256 columns, got [512, 272] in token_embd.weight"},
      {"--architecture llama", "error: --architecture: expected bitnet-b1.58 or bitnet, got llama"},
      {"--heads 3", "error: --heads: expected a multiple of --kv-heads with heads of a multiple of 4, got 3"},
      {"--vocab 20", "error: --vocab: expected at least 259 for the made-up tokenizer, got 20"}};
  for (auto [flags, message] : cases) {
    const Ran ran = makeDummyModel(folder_ + "/x.gguf", flags);
    EXPECT_EQ(ran.code, 2) << flags;
    EXPECT_EQ(ran.out, "") << flags;
    EXPECT_EQ(ran.err, std::string(message) + "; --help lists the flags\n");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

} // namespace
