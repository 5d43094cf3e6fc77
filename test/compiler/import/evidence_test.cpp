// What the weights say of how they are to be read: a trained model's byte order, a head that is the
// embedding.
#include "compiler/import/Codec.h"
#include "compiler/import/Gguf.h"
#include "compiler/import/MatrixFacts.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include <algorithm>
#include <cmath>
#include <random>
#include <unistd.h>

using namespace bitnet::import;

namespace {

class Evidence : public testing::Test {
protected:
  std::string open(const std::string &bytes) {
    spill(path_, bytes);
    return openInto(checkpoint_, path_, options_, path_, "m.gguf");
  }
  const Decision *decision(const std::string &what) const {
    for (const Decision &d : checkpoint_->decisions())
      if (d.what == what)
        return &d;
    return nullptr;
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  const std::string path_ = testing::TempDir() + "evidence_" + std::to_string(getpid()) + ".gguf";
  ImportOptions options_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

/// The bytes of an i2_s matrix in the order that an ARM build or an x86 build without ACT_PARALLEL writes.
std::string reordered(const uint8_t *bytes, size_t n, I2SLayout layout, int32_t rows, int32_t cols) {
  TernaryMatrix m;
  EXPECT_FALSE(decodeTernary(*codecNamed("i2_s"), {bytes, n}, {}, rows, cols, m));
  std::string out(n, '\0');
  std::copy(bytes + n - 32, bytes + n, out.begin() + long(n) - 32);
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t c = 0; c < cols; ++c) {
      const int code = m.trits[size_t(r) * size_t(cols) + size_t(c)] + 1;
      const bool four = layout == I2SLayout::rows4;
      const size_t byte = four ? size_t(r / 4) * size_t(cols) + size_t(c)
                               : (size_t(r) * size_t(cols) + size_t(c)) / 64 * 16 + size_t(c % 16);
      const int shift = 6 - 2 * (four ? r % 4 : c % 64 / 16);
      out[byte] = char(uint8_t(out[byte]) | code << shift);
    }
  return out;
}

TEST_F(Evidence, ATrainedModelTellsTheOrderOfItsBytes) {
  const std::string path = sharedData("kjv/gguf/kjv-i2_s.gguf");
  SKIP_WITHOUT(path);
  const std::string canonical = slurp(path);
  ASSERT_EQ(open(canonical), "");
  ASSERT_NE(decision("i2s_layout"), nullptr);
  EXPECT_NE(decision("i2s_layout")->reason.find("agree by 0.76 in this order"), std::string::npos)
      << decision("i2s_layout")->reason;
  const std::vector<int8_t> trits = checkpoint_->ternary("blk.1.ffn_down.weight")->trits;

  llvm::Expected<std::shared_ptr<ByteSource>> source = openFile(path);
  ASSERT_EQ(errorOf(source), "");
  llvm::Expected<GgufFile> file = GgufFile::read(*source, {});
  ASSERT_EQ(errorOf(file), "");
  for (const auto &[layout, name] :
       {std::pair<I2SLayout, const char *>{I2SLayout::blocks64, "64"}, {I2SLayout::rows4, "row4"}}) {
    std::string other = canonical;
    for (const GgufTensor &t : file->tensors())
      if (t.type->id == kGgmlI2S)
        other.replace(t.offset, t.bytes,
                      reordered(reinterpret_cast<const uint8_t *>(canonical.data()) + t.offset, t.bytes,
                                layout, int32_t(t.dims[1]), int32_t(t.dims[0])));
    options_.settings.clear();
    const std::string error = open(other);
    expectOneLine(error);
    EXPECT_NE(error.find("expected the canonical one, 128, got weights that fit " + std::string(name) + " ("),
              std::string::npos)
        << error;
    options_.settings = {{"i2s_layout", name}};
    ASSERT_EQ(open(other), "");
    EXPECT_TRUE(checkpoint_->ternary("blk.1.ffn_down.weight")->trits == trits);
    options_.settings = {{"i2s_layout", "128"}}; // who insists gets it
    EXPECT_EQ(open(other), "");
  }
}

TEST(NeuronAgreement, IsNoneInRandomMatricesAndOneInEqualCounts) {
  std::mt19937 random(7);
  TernaryMatrix gate, down;
  gate.rows = 400, gate.cols = 64, down.rows = 64, down.cols = 400;
  for (TernaryMatrix *m : {&gate, &down})
    for (int32_t i = 0; i < 400 * 64; ++i)
      m->trits.push_back(int8_t(int(random() % 3) - 1));
  EXPECT_LT(std::fabs(neuronAgreement(gate, down)), 0.2);
  for (int32_t n = 0; n < 400; ++n)
    for (int32_t i = 0; i < 64; ++i)
      down.trits[size_t(i) * 400 + size_t(n)] = gate.trits[size_t(n) * 64 + size_t(i)];
  EXPECT_NEAR(neuronAgreement(gate, down), 1, 1e-9);
  std::fill(down.trits.begin(), down.trits.end(), int8_t(1));
  EXPECT_TRUE(std::isnan(neuronAgreement(gate, down)));
}

TEST_F(Evidence, AHeadThatIsTheEmbeddingOnceMoreIsTied) {
  TinyModel model;
  model.matrix("output", 16, 32); // the same values as token_embd
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_TRUE(checkpoint_->config().tiedHead);
  ASSERT_NE(decision("head"), nullptr);
  EXPECT_EQ(decision("head")->value, "tied");
  model.tensors["output.weight"].bytes.replace(100, 4, floats(1, 0.3f));
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_FALSE(checkpoint_->config().tiedHead);
  EXPECT_EQ(decision("head"), nullptr);
}

} // namespace
