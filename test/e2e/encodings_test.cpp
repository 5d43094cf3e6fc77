// One random model written in every encoding that can carry it: the bundles have the same weights, byte for
// byte, and give the same logits, bit for bit.
#include "test/e2e/compiled_model.h"
#include <cstring>

using namespace bitnet::e2e;

namespace {

struct Form {
  std::string encoding;
  std::vector<std::string> flags = {}; ///< of bitnetc
  const char *format = "gguf";
};

/// The kernels that make-dummy-model writes TL1 and TL2 for, for each shape of its tiny model.
std::vector<std::string> tlKernels(const std::string &tiles) {
  std::string list;
  for (const char *shape : {"256x256", "128x256", "512x256", "256x512"})
    list += (list.empty() ? "" : ",") + (shape + (":" + tiles));
  return {"--set", "tl_kernels=" + list};
}

void expectOneModel(const std::string &name, const std::vector<Form> &forms, const std::string &flags) {
  std::set<std::string> sums;
  Logits expected;
  for (const Form &form : forms) {
    const std::string label = name + "-" + form.format + "-" + form.encoding,
                      source = bitnet::test::scratch(label) + (form.format[0] == 'g' ? ".gguf" : "");
    std::vector<std::string> command = {bitnet::test::binary("make-dummy-model"),
                                        source,
                                        "--preset=tiny",
                                        "--seed=3",
                                        std::string("--format=") + form.format,
                                        "--encoding=" + form.encoding,
                                        flags};
    const bitnet::test::Ran ran = bitnet::test::run(command);
    ASSERT_EQ(ran.code, 0) << ran.err;
    std::vector<std::string> options = form.flags;
    options.push_back("--target=host");
    const std::string bundle = compiled(source, label, options);
    const std::set<std::string> own = weightSums(bundle);
    EXPECT_EQ(own.size(), 1u) << label;
    sums.insert(own.begin(), own.end());
    EXPECT_EQ(sums.size(), 1u) << label;
    const Model model = openModel(bundle);
    ASSERT_TRUE(model) << label;
    const Session session = openSession(model.get());
    const Logits logits = allLogits(model.get(), session.get(), {1, 17, 300, 44, 5}, 5);
    if (expected.empty())
      expected = logits;
    ASSERT_EQ(logits.size(), expected.size()) << label;
    EXPECT_EQ(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)), 0) << label;
  }
}

TEST(Encodings, OfOneModelAreOneModel) {
  expectOneModel("ternary",
                 {{"i2_s"},
                  {"i2_s_64", {"--set", "i2s_layout=64"}},
                  {"i2_s_row4", {"--set", "i2s_layout=row4"}},
                  {"tq1_0"},
                  {"tq2_0"},
                  {"q2_0"},
                  {"pq2_0"},
                  {"ptq1_0"},
                  {"iq1_bn"},
                  {"iq2_bn"},
                  {"iq2_bn_r4"},
                  {"tl1", tlKernels("32/64/32")},
                  {"tl2", tlKernels("32/96/32")},
                  {"f32"},
                  {"f16"},
                  {"bf16"},
                  {"packed", {}, "hf"},
                  {"mlx", {}, "hf"},
                  {"f16", {}, "hf"},
                  {"bf16", {}, "hf"}},
                 "--zeros=0.375");
}

TEST(Encodings, OfABinaryModelAreOneModel) {
  expectOneModel("binary", {{"i2_s"}, {"q1_0"}, {"tq1_0"}, {"q2_0"}, {"iq1_bn"}, {"f16"}}, "--zeros=0");
}

TEST(Encodings, WithScalesOfGroupsAreOneModel) {
  expectOneModel("grouped",
                 {{"f32"},
                  {"f16"},
                  {"tq1_0"},
                  {"tq2_0"},
                  {"q2_0"},
                  {"pq2_0"},
                  {"ptq1_0"},
                  {"bf16", {}, "hf"},
                  {"mlx", {}, "hf"}},
                 "--scale-group=256");
}

} // namespace
