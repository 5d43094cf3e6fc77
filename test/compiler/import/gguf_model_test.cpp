// GGUF files as models: decisions, refusals and their messages, on a model of one layer made here.
#include "compiler/import/Codec.h"
#include "compiler/import/Gguf.h"
#include "runtime/format/tokenizer_generated.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include <cmath>
#include <functional>
#include <unistd.h>

using namespace bitnet::import;

namespace {

class GgufModel : public testing::Test {
protected:
  std::string open(const std::string &bytes) {
    spill(path_, bytes);
    options_.warn = [this](const std::string &line) { warnings_ += line + "\n"; };
    warnings_.clear();
    return openInto(checkpoint_, path_, options_, path_, "m.gguf");
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  const std::string path_ = testing::TempDir() + "model_" + std::to_string(getpid()) + ".gguf";
  ImportOptions options_;
  std::string warnings_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(GgufModel, OfTwoBHasSquaredReluAndSubNorms) {
  ASSERT_EQ(open(TinyModel().finish()), "");
  const ModelConfig &c = checkpoint_->config();
  EXPECT_EQ(c.act, bitnet::format::Act::relu2);
  EXPECT_TRUE(c.attnSubNorm && c.ffnSubNorm && c.tiedHead);
  ASSERT_EQ(checkpoint_->decisions().size(), 1u);
  EXPECT_EQ(checkpoint_->decisions()[0].what, "activation");
  EXPECT_EQ(checkpoint_->decisions()[0].flag, "--set activation=silu");
}

TEST_F(GgufModel, OfArchitectureBitnetHasSiluAndWarnsAtTheSizesOf2B) {
  TinyModel model("bitnet");
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().act, bitnet::format::Act::silu);
  EXPECT_EQ(warnings_.find("relu2"), std::string::npos);
  model.set("bitnet.block_count", 30);
  EXPECT_NE(open(model.finish()), ""); // no such layers, but the warning comes first
  EXPECT_NE(warnings_.find("which needs relu2; if the text is nonsense, use --set activation=relu2"),
            std::string::npos);
}

TEST_F(GgufModel, TakesSettings) {
  options_.settings = {
      {"activation", "gelu"}, {"context", "32"}, {"rope_theta", "1e6"}, {"norm_eps", "1e-6"}};
  ASSERT_EQ(open(TinyModel().finish()), "");
  const ModelConfig &c = checkpoint_->config();
  EXPECT_EQ(c.act, bitnet::format::Act::gelu);
  EXPECT_EQ(c.context, 32);
  EXPECT_EQ(c.ropeTheta, 1e6f);
  EXPECT_EQ(c.normEps, 1e-6f);
}

TEST_F(GgufModel, RefusesUnknownSettings) {
  options_.settings = {{"speed", "fast"}};
  EXPECT_EQ(
      open(TinyModel().finish()),
      "--set speed: expected one of activation, context, rope_theta, norm_eps, "
      "sub_norm_eps, heads, kv_heads, i2s_layout, ggml_type, tl_kernels, ternarize, absmean, scale, pooling, "
      "pre, bos, eos, add_bos, add_eos");
  options_.settings = {{"context", "many"}};
  EXPECT_EQ(open(TinyModel().finish()),
            "--set context: expected positions that the model is compiled for; at most what "
            "it was trained for makes sense; got 'many'");
}

/// A bf16 weight of about half the mean: it depends on where that is rounded what becomes of it.
TEST_F(GgufModel, TakesTheArithmeticOfTheMean) {
  TinyModel model("bitnet");
  // Of mean 1.0049 the first is more than half; of 1.0078, the next bf16, less.
  const float weights[4] = {0.50390625f, 1.0f, 1.5f, 1.015625f};
  std::string bytes;
  for (int i = 0; i < 32 * 32; ++i) {
    uint8_t half[2];
    narrowRow(FloatType::bf16, &weights[i % 4], 1, half);
    bytes.append(reinterpret_cast<const char *>(half), 2);
  }
  model.tensors["blk.0.attn_q.weight"] = {{32, 32}, kGgmlBF16, bytes};
  for (int stored : {0, 1}) {
    options_.settings = {{"absmean", stored ? "stored" : "f32"}};
    ASSERT_EQ(open(model.finish()), "");
    EXPECT_EQ(checkpoint_->decisions().back().what, "absmean");
    EXPECT_EQ(checkpoint_->decisions().back().value, stored ? "stored" : "f32");
    llvm::Expected<TernaryMatrix> q = checkpoint_->ternary("blk.0.attn_q.weight");
    ASSERT_EQ(errorOf(q), "");
    EXPECT_EQ(q->trits[0], stored ? 0 : 1);
    EXPECT_EQ(q->trits[1], 1);
  }
}

TEST_F(GgufModel, TakesKernelsOfTl) {
  options_.settings = {{"tl_kernels", "2560x2560:160/96/32,6912x2560:256/96/32"}};
  ASSERT_EQ(open(TinyModel().finish()), "");
  const Decision &decision = checkpoint_->decisions().back();
  EXPECT_EQ(decision.what + " " + decision.value, "tl_kernels 2560x2560:160/96/32,6912x2560:256/96/32");
  for (const char *bad : {"", "2560", "2560x2560", "2560x2560:160/96", "2560x2560:160/96/32/1",
                          "2560x2560:160/0/32", "2560x2560:160/96/32,", "2560x2560:160/96/99999999999"}) {
    options_.settings = {{"tl_kernels", bad}};
    EXPECT_EQ(open(TinyModel().finish()).find("--set tl_kernels: expected MxK:BM/BK/bm,... of"), 0u) << bad;
  }
}

TEST_F(GgufModel, NamesAllShapesThatWantAKernelOfTl) {
  TinyModel model;
  for (const auto &[name, rows] : {std::pair<std::string, size_t>{"blk.0.attn_q.weight", 32},
                                   {"blk.0.ffn_gate.weight", 48},
                                   {"blk.0.ffn_up.weight", 48}}) {
    model.tensors[name] = {{32, rows}, 38, std::string(rows * 32 / 4, '\x44')};
    model.tensors[name + "_scale"] = {{1}, 0, floats(1, 0.5f)};
  }
  EXPECT_EQ(open(model.finish()),
            "m.gguf: expected the kernel configuration of 32x32, 48x32, which the file does not hold, got "
            "none; kernel_config.ini of the build that wrote the file has it (m, k, bm, bk, bmm): --set "
            "tl_kernels=32x32:BM/BK/bm,48x32:BM/BK/bm");
  options_.settings = {{"tl_kernels", "32x32:32/32/32,48x32:16/32/16"}};
  EXPECT_EQ(open(model.finish()), "");
}

TEST_F(GgufModel, RefusesOtherArchitecturesByName) {
  const std::string expected = ": expected bitnet-b1.58, bitnet-25, bitnet, llama, qwen3 or gemma3; ";
  const std::pair<const char *, const char *> refused[] = {
      {"qwen35", "its layers are of two kinds, most of them Gated DeltaNet, without attention"},
      {"qwen3moe", "it is a mixture of experts"},
      {"qwen2", "its q, k and v have biases"},
      {"dspark", "it is a speculation head, not a model"},
      {"falcon", "its attention and feed-forward network run side by side"},
      {"phi3", "its projections are stored merged"},
      {"rwkv7", "it is not a decoder graph that this compiler knows"}};
  for (auto [arch, reason] : refused)
    EXPECT_EQ(open(TinyModel(arch).finish()),
              "m.gguf: architecture '" + std::string(arch) + "'" + expected + reason);
}

TEST_F(GgufModel, RefusesRotatedWeightsAndExperts) {
  TinyModel model;
  model.set("prism.hadamard.version", 1);
  EXPECT_EQ(
      open(model.finish()),
      "m.gguf: key 'prism.hadamard.version': its weights are rotated (Hadamard), which is not supported; "
      "without the rotation of the activations they mean nothing");
  model = TinyModel("llama");
  model.set("llama.expert_count", 8);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'llama.expert_count': expected 0, got 8; mixtures of experts are not supported");
}

TEST_F(GgufModel, NeedsTheSubNormsThatItsArchitectureHas) {
  for (const char *norm : {"attn_sub_norm", "ffn_sub_norm"}) {
    TinyModel model;
    model.tensors.erase("blk.0." + std::string(norm) + ".weight");
    EXPECT_EQ(open(model.finish()), "m.gguf: tensor 'blk.0." + std::string(norm) + ".weight': expected [" +
                                        (*norm == 'a' ? "32" : "48") + "], got no such tensor");
  }
  TinyModel llama("llama"); // 1bitLLM's, where a layer has them all have
  llama.vector("blk.0.attn_sub_norm", 32);
  ASSERT_EQ(open(llama.finish()), "");
  EXPECT_TRUE(checkpoint_->config().attnSubNorm);
  EXPECT_FALSE(checkpoint_->config().ffnSubNorm);
}

TEST_F(GgufModel, NeedsTheNormsOfHeadsThatItsArchitectureHas) {
  TinyModel model("qwen3");
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_TRUE(checkpoint_->config().headNorms);
  model.tensors.erase("blk.0.attn_q_norm.weight");
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'blk.0.attn_q_norm.weight': expected [16], got no such tensor");
}

TEST_F(GgufModel, OfGemma3HasLocalLayersIfItHasAWindow) {
  TinyModel model("gemma3");
  for (int layer = 1; layer < 7; ++layer)
    for (const auto &[name, tensor] : TinyModel("gemma3").tensors)
      if (name.compare(0, 6, "blk.0.") == 0)
        model.tensors["blk." + std::to_string(layer) + name.substr(5)] = tensor;
  model.set("gemma3.block_count", 7);
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().localLayers, (std::vector<bool>{1, 1, 1, 1, 1, 0, 1}));
  EXPECT_EQ(checkpoint_->config().window, 32);
  EXPECT_EQ(checkpoint_->config().context, 32); // of 64
  EXPECT_EQ(checkpoint_->config().localRopeTheta, 10000.0f);
  model.set("gemma3.attention.sliding_window_pattern", 2);
  model.real("gemma3.rope.freq_base_swa", 500);
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().localLayers, (std::vector<bool>{1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(checkpoint_->config().localRopeTheta, 500.0f);
  model.keys.erase("gemma3.attention.sliding_window");
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_TRUE(checkpoint_->config().localLayers.empty());
  EXPECT_EQ(checkpoint_->config().context, 64);
  EXPECT_EQ(checkpoint_->decisions()[0].what + " " + checkpoint_->decisions()[0].value, "local layers none");
  model.keys["gemma3.attention.sliding_window_pattern"] = [](GgufWriter &w, const std::string &k) {
    w.strings(k, {"a"});
  };
  model.set("gemma3.attention.sliding_window", 32);
  EXPECT_EQ(
      open(model.finish()),
      "m.gguf: key 'gemma3.attention.sliding_window_pattern': expected an integer, got array of 1 string");
}

/// Whatever the type, the factor is ggml's, in f32; the tied head is without it.
TEST_F(GgufModel, OfGemma3ScalesTheEmbeddingAndNotTheHead) {
  ASSERT_EQ(open(TinyModel("gemma3").finish()), "");
  EXPECT_FALSE(checkpoint_->config().tiedHead);
  llvm::Expected<DenseTensor> embedding = checkpoint_->dense("token_embd.weight", 0, 1),
                              head = checkpoint_->dense("output.weight", 0, 1);
  ASSERT_EQ(errorOf(embedding) + errorOf(head), "");
  for (size_t i = 0; i < 32; ++i)
    EXPECT_EQ(embedding->values[i], head->values[i] * std::sqrt(32.0f));
}

TEST_F(GgufModel, RefusesOtherAttentionsThanItsOwn) {
  const auto refusal = [&](const char *key, float value) {
    TinyModel model("gemma3");
    model.real(std::string("gemma3.") + key, value);
    return open(model.finish());
  };
  EXPECT_EQ(refusal("final_logit_softcapping", 0), ""); // what it is without the key
  EXPECT_EQ(refusal("attention.scale", 0.25f), "");
  EXPECT_EQ(
      refusal("final_logit_softcapping", 30),
      "m.gguf: key 'gemma3.final_logit_softcapping': expected none, got 30.000000; caps are not supported");
  EXPECT_EQ(refusal("attn_logit_softcapping", std::nanf("")),
            "m.gguf: key 'gemma3.attn_logit_softcapping': expected none, got nan; caps are not supported");
  EXPECT_EQ(refusal("attention.scale", 0.5f),
            "m.gguf: key 'gemma3.attention.scale': expected 0.250000, 1 / sqrt(head size), got 0.500000; "
            "another scale of attention is not supported");
  TinyModel model("gemma3");
  model.set("gemma3.block_count", 62);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'gemma3.block_count': expected another size than 27B, got 62 layers; its scale of "
            "attention is not supported");
  model = TinyModel("qwen3");
  model.keys["qwen3.attention.causal"] = [](GgufWriter &w, const std::string &k) { w.number(k, 7, false); };
  EXPECT_EQ(open(model.finish()), "m.gguf: key 'qwen3.attention.causal': expected true, got false; attention "
                                  "to later tokens is not supported");
}

TEST_F(GgufModel, ReportsTheBaseOfTheRotationThatIsNotThere) {
  TinyModel model;
  model.keys.erase("bitnet-b1.58.rope.freq_base");
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().ropeTheta, 10000.0f);
  EXPECT_EQ(checkpoint_->decisions()[0].what, "rope_theta");
  options_.settings = {{"rope_theta", "500000"}};
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().ropeTheta, 500000.0f);
  EXPECT_EQ(checkpoint_->decisions()[0].what, "activation");
}

TEST_F(GgufModel, ReportsThatNoEosEndsWhatIsEmbedded) {
  TinyModel model("qwen3");
  model.set("qwen3.pooling_type", 3);
  const auto strings = [](std::vector<std::string> values) {
    return [=](GgufWriter &w, const std::string &k) { w.strings(k, values); };
  };
  model.keys["tokenizer.ggml.model"] = [](GgufWriter &w, const std::string &k) { w.text(k, "gpt2"); };
  model.keys["tokenizer.ggml.pre"] = [](GgufWriter &w, const std::string &k) { w.text(k, "qwen2"); };
  model.keys["tokenizer.ggml.tokens"] = strings({"a", "b", "ab"});
  model.keys["tokenizer.ggml.merges"] = strings({"a b"});
  model.set("tokenizer.ggml.eos_token_id", 2);
  const auto last = [&](std::vector<std::pair<std::string, std::string>> settings) {
    options_.settings = std::move(settings);
    EXPECT_EQ(open(model.finish()), "");
    return checkpoint_->decisions().empty() ? "" : checkpoint_->decisions().back().what;
  };
  EXPECT_EQ(last({}), "EOS after a text");
  EXPECT_EQ(last({{"add_eos", "false"}}), "activations");
  EXPECT_EQ(last({{"add_eos", "true"}}), "activations");
  EXPECT_TRUE(bitnet::format::fb::GetTokenizer(checkpoint_->tokenizer().data())->add_eos());
  options_.settings = {{"add_eos", "yes"}};
  EXPECT_EQ(open(model.finish()), "--set add_eos=yes: expected true or false");
  model.keys["tokenizer.ggml.add_eos_token"] = [](GgufWriter &w, const std::string &k) {
    w.number(k, 7, true);
  };
  EXPECT_EQ(last({}), "activations");
}

TEST_F(GgufModel, RefusesSettingsThatMeanNothingInIt) {
  options_.settings = {{"scale", "divide"}};
  EXPECT_EQ(open(TinyModel().finish()),
            "--set scale: expected a Hugging Face checkpoint, got m.gguf, whose scales always multiply");
}

TEST_F(GgufModel, RefusesOtherPoolingThanTheLastToken) {
  TinyModel model;
  model.set("bitnet-b1.58.pooling_type", 1);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.pooling_type': expected 0 (none) or 3 (last token), "
            "got 1; other ways of pooling are not supported; --set pooling=last pools over the last token "
            "all the same");
  model.set("bitnet-b1.58.pooling_type", 3);
  EXPECT_EQ(open(model.finish()), "");
  EXPECT_TRUE(checkpoint_->config().embeds);
  options_.settings = {{"pooling", "none"}};
  EXPECT_EQ(open(model.finish()), "");
  EXPECT_FALSE(checkpoint_->config().embeds);
}

TEST_F(GgufModel, RefusesSizesThatDoNotFit) {
  TinyModel model;
  model.set("bitnet-b1.58.attention.head_count", 3);
  EXPECT_EQ(
      open(model.finish()),
      "m.gguf: key 'bitnet-b1.58.attention.head_count': expected a number that divides the width 32, got 3");
  model = TinyModel();
  model.set("bitnet-b1.58.attention.head_count_kv", 0);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.attention.head_count_kv': expected 1 to 2147483647, got 0");
  model = TinyModel();
  model.set("bitnet-b1.58.feed_forward_length", 40);
  EXPECT_EQ(open(model.finish()), "m.gguf: ffn width: expected a multiple of 16 of 1 to 1048576, got 40");
  model = TinyModel();
  model.set("bitnet-b1.58.context_length", (1 << 20) + 1);
  EXPECT_EQ(open(model.finish()), "m.gguf: context: expected a number of 1 to 1048576, got 1048577");
  model = TinyModel();
  model.set("bitnet-b1.58.block_count", 1u << 31);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.block_count': expected 1 to 2147483647, got 2147483648");
  model = TinyModel();
  model.real("bitnet-b1.58.attention.layer_norm_rms_epsilon", std::nanf(""));
  EXPECT_EQ(open(model.finish()), "m.gguf: norm epsilon: expected a number above 0 and below 1, got nan");
  model = TinyModel();
  model.set("bitnet-b1.58.rope.dimension_count", 8);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.rope.dimension_count': expected the head size 16, got 8; "
            "partial rotation is not supported");
  model = TinyModel();
  model.set("bitnet-b1.58.vocab_size", 17);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.vocab_size': expected 16, the rows of token_embd.weight, "
            "got 17");
}

TEST_F(GgufModel, ReadsScaledRotationUnderEachOfItsKeys) {
  for (const char *name : {"rope.scaling.factor", "rope.scale_linear"}) {
    TinyModel model; // without rope.scaling.type, which then is linear
    model.real("bitnet-b1.58." + std::string(name), 2);
    EXPECT_EQ(open(model.finish()), "");
    EXPECT_EQ(checkpoint_->config().ropeScaling.kind, RopeScaling::Kind::linear);
    EXPECT_EQ(checkpoint_->config().ropeScaling.factor, 2.0f);
    model.real("bitnet-b1.58." + std::string(name), 1);
    EXPECT_EQ(open(model.finish()), "");
    EXPECT_EQ(checkpoint_->config().ropeScaling.kind, RopeScaling::Kind::none);
  }
  auto text = [](const char *value) {
    return [=](GgufWriter &w, const std::string &k) { w.text(k, value); };
  };
  TinyModel model;
  model.keys["bitnet-b1.58.rope.scaling.type"] = text("yarn");
  model.real("bitnet-b1.58.rope.scaling.factor", 4);
  EXPECT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().ropeScaling.kind, RopeScaling::Kind::yarn);
  model.real("bitnet-b1.58.rope.scaling.factor", 0.5f);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: scaled rotation: factor: expected a number of 1 to 1e+06, got 0.5");
  model.real("bitnet-b1.58.rope.scaling.factor", 4);
  model.real("bitnet-b1.58.rope.freq_base", 1);
  EXPECT_EQ(open(model.finish()), "m.gguf: rope base: expected a number above 1 with yarn, got 1.000000");
  model.keys["bitnet-b1.58.rope.scaling.type"] = text("longrope");
  EXPECT_EQ(open(model.finish()),
            "m.gguf: key 'bitnet-b1.58.rope.scaling.type': expected none, linear or yarn, "
            "got 'longrope'");
}

TEST_F(GgufModel, ReadsTheDivisorsOfTheRotation) {
  TinyModel model;
  const std::vector<float> divisors = {1, 1, 2, 2, 4, 4, 8, 8};
  const std::string bytes(reinterpret_cast<const char *>(divisors.data()), divisors.size() * 4);
  model.tensors["rope_freqs.weight"] = {{8}, 0, bytes};
  EXPECT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().ropeScaling.divisors, divisors);
  model.tensors["rope_freqs.weight"] = {{4}, 0, bytes.substr(0, 16)};
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'rope_freqs.weight': expected f32 [8], got f32 of 16 bytes");
}

TEST_F(GgufModel, NeedsEachTensorInShapeAndEncoding) {
  TinyModel model;
  model.tensors.erase("blk.0.attn_k.weight");
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'blk.0.attn_k.weight': expected [16, 32], got no such tensor");
  model = TinyModel();
  model.matrix("blk.0.attn_k", 32, 32);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'blk.0.attn_k.weight': expected ternary or float [16, 32], got f32 [32, 32]");
  model = TinyModel();
  model.tensors["token_embd.weight"] = {{32, 16}, 6, std::string(16 * 22, 'x')};
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'token_embd.weight': expected float or block-scaled [16, 32], got q5_0 [16, 32]");
}

TEST_F(GgufModel, RefusesTensorsInALayerThatChangeTheGraph) {
  TinyModel model;
  model.vector("blk.0.attn_q_norm", 16);
  EXPECT_EQ(open(model.finish()),
            "m.gguf: tensor 'blk.0.attn_q_norm.weight': expected only tensors of the 1-layer "
            "decoder graph, got one that it has no place for");
  model = TinyModel();
  model.vector("spare", 16);
  EXPECT_EQ(open(model.finish()), "");
  EXPECT_NE(warnings_.find("1 tensors are not used, 'spare.weight' among them"), std::string::npos);
}

TEST_F(GgufModel, NamesTheByteOfABadWeight) {
  TinyModel model;
  model.tensors["blk.0.ffn_up.weight"].bytes[4 * 5 + 3] = '\x7f';
  model.tensors["blk.0.ffn_up.weight"].bytes[4 * 5 + 2] = '\xc0'; // NaN: not ternary, and absmean refuses it
  std::string bytes = model.finish();
  ASSERT_EQ(open(bytes), "");
  llvm::Expected<TernaryMatrix> m = checkpoint_->ternary("blk.0.ffn_up.weight");
  std::string error = errorOf(m);
  llvm::Expected<GgufFile> file = GgufFile::read(bytesInMemory("x", bytes), nullptr);
  ASSERT_TRUE(bool(file));
  EXPECT_EQ(error, path_ + ": tensor 'blk.0.ffn_up.weight': byte " +
                       std::to_string(file->tensor("blk.0.ffn_up.weight")->offset + 20) +
                       ": expected finite weights, got nan");
}

TEST_F(GgufModel, AppliesAScaleTensor) {
  TinyModel model;
  model.tensors["blk.0.attn_v.scale"] = {{1}, 0, floats(1, -3)};
  ASSERT_EQ(open(model.finish()), "");
  llvm::Expected<TernaryMatrix> v = checkpoint_->ternary("blk.0.attn_v.weight");
  ASSERT_TRUE(bool(v));
  EXPECT_EQ(v->scales, std::vector<float>{1.5f});
  EXPECT_EQ(v->trits[1], -((1 * 7) % 3 - 1));
}

TEST_F(GgufModel, AppliesTheScaleOfMicrosoftsConverter) {
  TinyModel model;
  model.tensors["blk.0.attn_v.weight_scale"] = {{1}, 0, floats(1, 3)};
  ASSERT_EQ(open(model.finish()), "");
  llvm::Expected<TernaryMatrix> v = checkpoint_->ternary("blk.0.attn_v.weight");
  ASSERT_TRUE(bool(v));
  EXPECT_EQ(v->scales, std::vector<float>{1.5f});
  model.tensors["blk.0.attn_v.scale"] = {{1}, 0, floats(1, 3)};
  EXPECT_EQ(open(model.finish()), "m.gguf: tensor 'blk.0.attn_v.weight_scale': expected one scale of the "
                                  "weights, got 'blk.0.attn_v.scale' too");
  model.tensors.erase("blk.0.attn_v.scale");
  model.tensors["blk.0.attn_v.weight"] = {{128, 4}, kGgmlI2S, std::string(128 + 32, '\x55')};
  EXPECT_EQ(open(model.finish()), "m.gguf: tensor 'blk.0.attn_v.weight_scale': expected one scale of the "
                                  "weights, got that of i2_s too");
}

TEST_F(GgufModel, OfArchitectureLlamaIsNotTernarisedSilently) {
  TinyModel model("llama");
  model.tensors["blk.0.attn_q.weight"].bytes.replace(0, 4, floats(1, 0.3f));
  model.tensors["blk.0.attn_q.weight"].bytes.replace(4, 4, floats(1, 0.5f));
  ASSERT_EQ(open(model.finish()), "");
  EXPECT_EQ(checkpoint_->config().act, bitnet::format::Act::silu);
  llvm::Expected<TernaryMatrix> q = checkpoint_->ternary("blk.0.attn_q.weight");
  EXPECT_NE(errorOf(q).find(
                "expected every |weight| to be 0 or one value, got 1 of 1024 other than 0 and 0.500000, the "
                "farthest 0.300000; not a ternary model, or latent weights (--set ternarize=absmean)"),
            std::string::npos);
  options_.settings = {{"ternarize", "absmean"}};
  ASSERT_EQ(open(model.finish()), "");
  llvm::Expected<TernaryMatrix> forced = checkpoint_->ternary("blk.0.attn_q.weight");
  EXPECT_EQ(errorOf(forced), "");
  options_.settings.push_back({"ternarize", "auto"}); // of two the last one counts
  ASSERT_EQ(open(model.finish()), "");
  llvm::Expected<TernaryMatrix> again = checkpoint_->ternary("blk.0.attn_q.weight");
  EXPECT_NE(errorOf(again), "");
}

TEST_F(GgufModel, OfArchitectureLlamaGetsItsQueryRowsBack) {
  ASSERT_EQ(open(TinyModel("bitnet").finish()), "");
  llvm::Expected<TernaryMatrix> plain = checkpoint_->ternary("blk.0.attn_q.weight");
  ASSERT_TRUE(bool(plain));
  ASSERT_EQ(open(TinyModel("llama").finish()), "");
  llvm::Expected<TernaryMatrix> q = checkpoint_->ternary("blk.0.attn_q.weight");
  ASSERT_TRUE(bool(q));
  // Row h*D + s*D/2 + j is the file's row h*D + 2j + s.
  for (int h = 0; h < 2; ++h)
    for (int s = 0; s < 2; ++s)
      for (int j = 0; j < 8; ++j)
        EXPECT_TRUE(std::equal(q->trits.begin() + (h * 16 + s * 8 + j) * 32,
                               q->trits.begin() + (h * 16 + s * 8 + j + 1) * 32,
                               plain->trits.begin() + (h * 16 + 2 * j + s) * 32));
}

TEST_F(GgufModel, RefusesPickleFiles) {
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = openCheckpoint("pytorch_model.bin", ImportOptions());
  EXPECT_EQ(errorOf(opened),
            "pytorch_model.bin: expected a .gguf file, a .safetensors file or a Hugging Face folder, got "
            "a pickle file, which can run code when it is read; convert it to safetensors");
}

TEST_F(GgufModel, IsRefusedAtTwoHundredTruncations) {
  std::string path = sharedData("kjv/gguf/kjv-tq1_0.gguf");
  SKIP_WITHOUT(path);
  std::string good = slurp(path);
  for (size_t i = 0; i < 200; ++i) {
    // Half of the cuts fall into the header, where each byte matters.
    size_t length = i < 100 ? 130000 * i / 100 : good.size() * (i - 100) / 100;
    EXPECT_NE(open(good.substr(0, length)), "") << length;
  }
}

} // namespace
