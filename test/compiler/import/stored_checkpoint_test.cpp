// Tensors in their files: rows of values without the rest of the tensor, scales in tensors of their own, rows
// that a llama file has moved.
#include "compiler/import/StoredCheckpoint.h"
#include "test/compiler/import/encoding_vectors.h"

using namespace bitnet::import;

namespace {

/// Floats as bytes of a file of their own.
ScaleTensor beside(const std::vector<float> &values) {
  std::string bytes(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float));
  return {bytesInMemory("scales", "12345678" + bytes), 8, FloatType::f32, int64_t(values.size()), false};
}

/// A checkpoint of one tensor, 'w', that begins at byte 100.
class OneTensor {
public:
  OneTensor(const char *name, const std::vector<uint8_t> &bytes, int64_t rows, int64_t cols) {
    tensor_.file = bytesInMemory("m", std::string(100, 'x') + std::string(bytes.begin(), bytes.end()));
    tensor_.storedName = "w";
    tensor_.typeName = name;
    tensor_.codec = codecNamed(name);
    tensor_.offset = 100;
    tensor_.bytes = bytes.size();
    tensor_.rows = rows;
    tensor_.cols = cols;
  }
  OneTensor(const char *name, const TernaryMatrix &m) : OneTensor(name, encode(name, m), m.rows, m.cols) {}
  StoredTensor &tensor() { return tensor_; }
  StoredCheckpoint checkpoint() const {
    CheckpointParts parts;
    parts.where = "m";
    parts.tensors.emplace("w", tensor_);
    return StoredCheckpoint(std::move(parts));
  }

private:
  StoredTensor tensor_;
};

TernaryMatrix ternary(const OneTensor &one) {
  llvm::Expected<TernaryMatrix> matrix = one.checkpoint().ternary("w");
  if (matrix)
    return std::move(*matrix);
  ADD_FAILURE() << llvm::toString(matrix.takeError());
  return {};
}

TernaryMatrix grouped(int32_t rows, int32_t cols, int32_t group) {
  TernaryMatrix m = matrix(rows, cols);
  m.groupCols = group;
  m.scales.clear();
  for (int32_t i = 0; i < rows * (cols / group); ++i)
    m.scales.push_back(0.125f * float(i % 7 + 1));
  return m;
}

TEST(StoredCheckpoint, DecodesRowsWithoutTheOthers) {
  const TernaryMatrix groups = grouped(8, 512, 256);
  TernaryMatrix rows = matrix(8, 512);
  rows.scales = {0.25f, 0.5f, 0.75f, 1, 0.25f, 0.5f, 0.75f, 1};
  for (const char *name :
       {"f32", "f16", "bf16", "tq1_0", "tq2_0", "q2_0", "pq2_0", "ptq1_0", "iq1_bn", "iq2_bn", "iq2_bn_r4"}) {
    const TernaryMatrix &m = codec(name).scales == Codec::Scales::row ? rows : groups;
    const std::vector<float> all = values(m);
    const StoredCheckpoint checkpoint = OneTensor(name, m).checkpoint();
    for (auto [begin, end] : {std::pair(0, 8), {3, 4}, {5, 99}, {2, 7}, {6, 6}}) {
      llvm::Expected<DenseTensor> dense = checkpoint.dense("w", begin, end);
      ASSERT_TRUE(bool(dense)) << name << ": " << llvm::toString(dense.takeError());
      EXPECT_EQ(dense->rows, std::min(end, 8) - begin);
      EXPECT_EQ(dense->values,
                std::vector<float>(all.begin() + begin * 512, all.begin() + (begin + dense->rows) * 512))
          << name << " " << begin << ".." << end;
    }
  }
}

TEST(StoredCheckpoint, NamesTheByteOfARowsFault) {
  std::vector<uint8_t> bytes = encode("tq2_0", matrix(8, 512));
  bytes[5 * 132 + 70] = 0xff;
  const StoredCheckpoint checkpoint = OneTensor("tq2_0", bytes, 8, 512).checkpoint();
  llvm::Expected<DenseTensor> good = checkpoint.dense("w", 0, 5), bad = checkpoint.dense("w", 4, 8);
  EXPECT_EQ(errorOf(good), "");
  EXPECT_EQ(errorOf(bad), "m: tensor 'w': byte 830: block 3: expected 2-bit codes 0..2, got 3 in byte 0xff");
}

TEST(StoredCheckpoint, RefusesRowsOfWhatHasNone) {
  const StoredCheckpoint checkpoint = OneTensor("i2_s", matrix(8, 512)).checkpoint();
  llvm::Expected<DenseTensor> dense = checkpoint.dense("w", 0, 1);
  EXPECT_EQ(errorOf(dense), "m: tensor 'w': expected an encoding of rows of values, got i2_s");
}

/// Scales of a row (HF) and of a group (mlx) beside bare codes; they multiply, or divide.
TEST(StoredCheckpoint, AppliesScalesBesideTheWeights) {
  const TernaryMatrix m = matrix(4, 64);
  OneTensor one("packed u8", m);
  one.tensor().scale = beside({0.5f, -2, 0.25f, 4});
  TernaryMatrix expected = m;
  expected.scales = {0.5f, -2, 0.25f, 4};
  EXPECT_EQ(values(ternary(one)), values(expected));
  EXPECT_EQ(ternary(one).scales, (std::vector<float>{0.5f, 2, 0.25f, 4})); // the sign is in the trits
  one.tensor().scale->divide = true;
  EXPECT_EQ(ternary(one).scales, (std::vector<float>{2, 0.5f, 4, 0.25f}));
  one.tensor().scale = beside({3, 3, 3, 3});
  EXPECT_EQ(ternary(one).scales, std::vector<float>{3});

  OneTensor groups("packed u8", m);
  groups.tensor().scale = beside({1, 2, 3, 4, 5, 6, 7, 8});
  expected.groupCols = 32;
  expected.scales = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(ternary(groups).groupCols, 32);
  EXPECT_EQ(values(ternary(groups)), values(expected));

  one.tensor().scale = beside({3, 3, NAN, 3});
  llvm::Expected<TernaryMatrix> bad = one.checkpoint().ternary("w");
  EXPECT_EQ(errorOf(bad), "scales: scale of tensor 'w': byte 16: expected a finite scale, got nan");
}

TEST(StoredCheckpoint, ReadsMlxPacks) {
  const TernaryMatrix m = grouped(4, 256, 128);
  std::vector<float> negative = m.scales;
  for (float &scale : negative)
    scale = -scale;
  OneTensor one("mlx_2bit", m);
  one.tensor().scale = beside(m.scales);
  one.tensor().bias = beside(negative);
  const TernaryMatrix out = ternary(one);
  EXPECT_EQ(out.groupCols, 128);
  EXPECT_EQ(out.scales, m.scales);
  EXPECT_EQ(out.trits, m.trits);
  llvm::Expected<DenseTensor> rows = one.checkpoint().dense("w", 1, 3);
  ASSERT_TRUE(bool(rows)) << llvm::toString(rows.takeError());
  const std::vector<float> all = values(m);
  EXPECT_EQ(rows->values, std::vector<float>(all.begin() + 256, all.begin() + 3 * 256));
}

/// Rows of q and k of a llama file turn in neighbours; scales move with their rows.
TEST(StoredCheckpoint, MovesScalesWithTheirRows) {
  TernaryMatrix halves = grouped(8, 512, 256), pairs = halves; // 2 heads of 4 rows
  const size_t order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (size_t r = 0; r < 8; ++r) {
    std::copy_n(halves.trits.begin() + long(r * 512), 512, pairs.trits.begin() + long(order[r] * 512));
    std::copy_n(halves.scales.begin() + long(r * 2), 2, pairs.scales.begin() + long(order[r] * 2));
  }
  OneTensor one("tq2_0", pairs);
  one.tensor().pairedHeads = 2;
  const TernaryMatrix out = ternary(one);
  EXPECT_EQ(out.trits, halves.trits);
  EXPECT_EQ(out.scales, halves.scales);
}

TEST(StoredCheckpoint, KnowsGroupsWithoutDecodingWhereItCan) {
  auto group = [](const OneTensor &one) {
    llvm::Expected<int32_t> cols = one.checkpoint().scaleGroup("w");
    if (cols)
      return *cols;
    ADD_FAILURE() << llvm::toString(cols.takeError());
    return -1;
  };
  EXPECT_EQ(group(OneTensor("tq2_0", grouped(4, 512, 256))), 256);
  EXPECT_EQ(group(OneTensor("tq2_0", matrix(4, 512))), 0);
  EXPECT_EQ(group(OneTensor("f16", grouped(4, 512, 128))), 128);
  // 64 rows tell what 65 have, where they have different scales everywhere.
  for (const char *name : {"tq2_0", "q2_0", "pq2_0", "f16"}) {
    const int32_t stored = codec(name).floats ? 128 : codec(name).blocks.cols;
    std::vector<uint8_t> bytes = encode(name, grouped(65, 512, stored));
    EXPECT_EQ(group(OneTensor(name, bytes, 65, 512)), stored) << name;
    std::fill(bytes.end() - ptrdiff_t(bytes.size() / 65), bytes.end(), uint8_t(0x7d)); // not finite, code 3
    const OneTensor tail(name, bytes, 65, 512);
    EXPECT_EQ(group(tail), codec(name).floats ? 0 : stored) << name;
  }
  // A larger group in the first rows is not that of all.
  TernaryMatrix late = grouped(65, 512, 64);
  for (size_t i = 0; i < 64 * 8; ++i)
    late.scales[i] = 0.125f * float(i / 4 % 7 + 1);
  EXPECT_EQ(group(OneTensor("q2_0", late)), 64);
  EXPECT_EQ(group(OneTensor("f16", late)), 64);
  OneTensor damaged("i2_s", std::vector<uint8_t>(*encodedBytes(codec("i2_s"), 4, 512), 0xff), 4, 512);
  EXPECT_EQ(group(damaged), 0); // not looked at
}

} // namespace
