// Properties of the compiled file: the same bytes for the same input, equal packed weights whatever the
// encoding, and no damaged bundle that crashes or speaks garbage.
#include "test/e2e/compiled_model.h"
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

using namespace bitnet;
using namespace bitnet::e2e;

namespace {

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::streamsize(bytes.size()));
}

TEST(Bundle, SameInputSameBytes) {
  const std::string a = contents(compiled(shippedModel(), "once", {"--target=host", "--jobs=1"}));
  const std::string b =
      contents(compiled(shippedModel(), "twice", {"--target=host", "--jobs=3", "--no-cache"}));
  ASSERT_GT(a.size(), 1000000u);
  EXPECT_TRUE(a == b) << "sizes " << a.size() << " and " << b.size();
}

TEST(Bundle, EveryFormPacksToTheSameWeights) {
  if (sharedData("kjv/hf-bf16").empty())
    GTEST_SKIP() << "../shared/data/kjv is not here";
  std::set<std::string> sums;
  for (const char *form : {"gguf/kjv-f16.gguf", "gguf/kjv-i2_s.gguf", "gguf/kjv-tq1_0.gguf",
                           "gguf/kjv-tq2_0.gguf", "hf-bf16", "hf-packed", "gpu/model_state_int2.pt"}) {
    std::string name = std::string("form-") + form;
    std::replace(name.begin(), name.end(), '/', '-');
    std::vector<std::string> flags = {"--target=host"};
    if (name.find(".pt") !=
        std::string::npos) // which does not say these; tables of the context are weights too
      flags.insert(flags.end(), {"--set", "heads=4", "--set", "context=512"});
    const std::set<std::string> own =
        weightSums(compiled(sharedData(std::string("kjv/") + form), name, flags));
    EXPECT_EQ(own.size(), 1u) << form;
    sums.insert(own.begin(), own.end());
  }
  EXPECT_EQ(sums.size(), 1u);
}

TEST(Bundle, Int2Fp16AndLatentCheckpointsPackToTheSameWeights) {
  if (sharedData("ms_gpu/tiny-ckpt").empty())
    GTEST_SKIP() << "../shared/data/ms_gpu is not here";
  std::set<std::string> sums;
  for (const char *form :
       {"_int2", "_fp16", ""}) { // the last one holds latents, cast in the converter's own way
    const std::string file = sharedData(std::string("ms_gpu/tiny-ckpt/model_state") + form + ".pt");
    const std::set<std::string> own =
        weightSums(compiled(file, std::string("tiny") + form, {"--target=host", "--set", "heads=4"}));
    EXPECT_EQ(own.size(), 1u) << form;
    sums.insert(own.begin(), own.end());
  }
  EXPECT_EQ(sums.size(), 1u);
}

/// Opens and, if that works, runs one token: true when the result is an error of one line or the right
/// logits.
bool errorOrRight(const std::string &path, const Logits &expected) {
  bitnet_error error{};
  bitnet_model *opened = nullptr;
  const bitnet_status status = bitnet_model_open(path.c_str(), nullptr, &opened, &error);
  if (status != BITNET_OK)
    return std::strlen(error.message) > 0 && !std::strchr(error.message, '\n') && !opened;
  const Model model(opened);
  const Session session = openSession(model.get());
  const Logits logits = allLogits(model.get(), session.get(), {4080, 17}, 2);
  return logits.size() == expected.size() &&
         std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0;
}

class DamagedBundle : public testing::Test {
protected:
  void SetUp() override {
    const std::string path = compiled(shippedModel(), "good", {"--target=host"});
    good_ = contents(path);
    const Model model = openModel(path);
    const Session session = openSession(model.get());
    expected_ = allLogits(model.get(), session.get(), {4080, 17}, 2);
  }
  std::string good_;
  Logits expected_;
};

TEST_F(DamagedBundle, TwoThousandMutations) {
  const std::string path = test::scratch("mutated.bnx");
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    std::string bytes = good_;
    // Half of the mutations hit the header and the index, which is where structure lives; the index is last.
    const size_t tail = std::min<size_t>(bytes.size(), 65536);
    for (uint32_t n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % 2   ? random() % bytes.size()
                        : random() % 2 ? random() % 64
                                       : bytes.size() - 1 - random() % tail;
      bytes[at] = char(random());
    }
    writeFile(path, bytes);
    ASSERT_TRUE(errorOrRight(path, expected_)) << "seed " << seed;
  }
}

TEST_F(DamagedBundle, TwoHundredTruncations) {
  const std::string path = test::scratch("truncated.bnx");
  for (size_t i = 0; i < 200; ++i) {
    writeFile(path, good_.substr(0, good_.size() * i / 200));
    ASSERT_TRUE(errorOrRight(path, expected_)) << "point " << i;
  }
}

} // namespace
