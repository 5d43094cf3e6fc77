// `bitnetc check`: what it says of a good model, that it finds everything that is wrong with a bad one, and
// that the bundle keeps what it said.
#include "compiler/import/Gguf.h"
#include "test/compiler/import/gguf_writer.h"
#include "test/compiler/import/import_testing.h"
#include "test/tools/program.h"
#include <array>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace bitnet::test;
using bitnet::import::GgufFile;
using nlohmann::json;

namespace {

std::string model() { return environment("BITNET_SOURCE_DIR") + "/test/data/kjv-tq1_0.gguf"; }

Ran bitnetc(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), binary("bitnetc"));
  return run(std::move(arguments));
}

TEST(Check, SaysWhatAModelIsAndWhatWasDecided) {
  const Ran ran = bitnetc({"check", model()});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  for (const char *part :
       {"source: gguf v3, 68 tensors, tq1_0\n", "family: bitnet-b1.58, 6 layers of width 256",
        "weights: 4,718,592 ternary in 42 matrices of tq1_0, 32.97 % zero, scales one a matrix", "head: tied",
        "tokenizer: byte-level BPE (llama-bpe), 4096 tokens",
        "decided: activation = relu2: GGUF does not store it; implied by architecture bitnet-b1.58; --set "
        "activation=silu\n",
        "would compile: yes\n"})
    EXPECT_NE(ran.out.find(part), std::string::npos) << part << "\nin\n" << ran.out;
  EXPECT_NE(bitnetc({"check", model(), "--set", "pooling=last"}).out.find("head: none\n"), std::string::npos);
}

TEST(Check, JsonIsOneObjectAndTheBundleKeepsIt) {
  const Ran ran = bitnetc({"check", model(), "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  json report = json::parse(ran.out);
  EXPECT_EQ(report["would_compile"], true);
  EXPECT_EQ(report["problems"], json::array());
  EXPECT_EQ(report["weights"][0]["weights"], 4718592);
  EXPECT_EQ(report["decisions"][0]["what"], "activation");

  // Its keys are in the documentation.
  const std::string page = bitnet::import::slurp(environment("BITNET_SOURCE_DIR") + "/tools/README.md");
  const std::string table = page.substr(page.find("## bitnetc check"));
  for (const json &object :
       {report, report["sizes"], report["weights"][0], report["tokenizer"], report["decisions"][0]})
    for (const auto &[key, value] : object.items())
      EXPECT_NE(table.find('`' + key + '`'), std::string::npos) << key;

  const std::string bundle = scratch("kept.bnx");
  ASSERT_EQ(bitnetc({model(), "-o", bundle}).code, 0);
  const Ran inspect = runBitnet({"inspect", bundle, "--json"});
  ASSERT_EQ(inspect.code, 0) << inspect.err;
  report.erase("would_compile");
  report.erase("problems");
  EXPECT_EQ(json::parse(inspect.out)["report"], report);
  EXPECT_NE(runBitnet({"inspect", bundle}).out.find("implied by architecture bitnet-b1.58"),
            std::string::npos);
}

/// A byte that is changed in one weight of each of two matrices; the rest is as it was.
TEST(Check, FindsEveryBadTensorNotOnlyTheFirst) {
  bitnet::import::TinyModel bad("llama");
  const auto setWeight = [&](const char *name, size_t index, float value) {
    std::memcpy(bad.tensors[name].bytes.data() + index * sizeof value, &value, sizeof value);
  };
  ASSERT_EQ(bitnetc({"check", fileWith("good.gguf", bad.finish())}).code, 0);
  setWeight("blk.0.attn_q.weight", 40, 0.7f);
  setWeight("blk.0.ffn_down.weight", 3, NAN);
  setWeight("output_norm.weight", 5, INFINITY);
  const std::string path = fileWith("bad.gguf", bad.finish());
  const Ran ran = bitnetc({"check", path, "--json"});
  EXPECT_EQ(ran.code, 1);
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["would_compile"], false);
  ASSERT_EQ(report["problems"].size(), 3u) << report["problems"];
  for (const auto &[i, name] : {std::pair<int, const char *>{0, "blk.0.attn_q.weight"},
                                {1, "blk.0.ffn_down.weight"},
                                {2, "output_norm.weight"}}) {
    const std::string problem = report["problems"][i];
    EXPECT_EQ(problem.rfind(path + ": tensor '" + name + "': byte ", 0), 0u) << problem;
  }
  EXPECT_EQ(report["weights"][0]["matrices"], 5) << "the others are reported";
  const Ran text = bitnetc({"check", path});
  EXPECT_EQ(text.code, 1);
  EXPECT_NE(text.out.find("would compile: no\n"), std::string::npos);
}

/// A matrix whose groups of scales cannot be known, since it does not decode, hides neither the next nor
/// others.
TEST(Check, FindsEveryBadTensorWithScalesOfGroups) {
  bitnet::import::TinyModel bad("llama");
  bad.set("llama.embedding_length", 128);
  bad.set("llama.feed_forward_length", 64);
  bad.matrix("token_embd", 16, 128);
  for (const char *norm : {"output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"})
    bad.vector(norm, 128);
  for (const char *name : {"attn_q", "attn_output"})
    bad.matrix(std::string("blk.0.") + name, 128, 128);
  for (const char *name : {"attn_k", "attn_v"})
    bad.matrix(std::string("blk.0.") + name, 64, 128);
  bad.matrix("blk.0.ffn_down", 128, 64);
  for (const char *name : {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"}) {
    std::string q2;
    for (int block = 0; block < 64 * 2; ++block) // f16 scales that all differ, codes 2
      q2 += char(block) + std::string("\x2c") + std::string(16, '\xaa');
    bad.tensors[name] = {{128, 64}, 42, q2};
  }
  const Ran good = bitnetc({"check", fileWith("groups.gguf", bad.finish())});
  EXPECT_NE(good.out.find("scales one for 64 columns of a row"), std::string::npos) << good.out;
  EXPECT_EQ(good.code, 0) << good.out;
  for (const char *name : {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"})
    bad.tensors[name].bytes[18 * 3 + 5] = '\xff';
  bad.tensors["blk.0.ffn_down.weight"].bytes[3] = '\x7f'; // no number
  bad.tensors["blk.0.ffn_down.weight"].bytes[2] = '\xff';
  const Ran ran = bitnetc({"check", fileWith("bad-groups.gguf", bad.finish()), "--json"});
  EXPECT_EQ(ran.code, 1);
  const json problems = json::parse(ran.out)["problems"];
  ASSERT_EQ(problems.size(), 3u) << problems;
  for (int i = 0; i < 3; ++i)
    EXPECT_NE(problems[i].get<std::string>().find(std::array{"'blk.0.ffn_down.weight': byte ",
                                                             "'blk.0.ffn_gate.weight': byte ",
                                                             "'blk.0.ffn_up.weight': byte "}[size_t(i)]),
              std::string::npos)
        << problems[i];
}

TEST(Check, NamesEveryTensorThatIsMissingOrInNoPlace) {
  bitnet::import::TinyModel bad("llama");
  bad.tensors.erase("blk.0.attn_k.weight");
  bad.tensors.erase("blk.0.ffn_norm.weight");
  bad.vector("blk.0.attn_q_gain", 32);
  const std::string path = fileWith("missing.gguf", bad.finish());
  const Ran ran = bitnetc({"check", path, "--json"});
  EXPECT_EQ(ran.code, 1);
  const json problems = json::parse(ran.out)["problems"];
  ASSERT_EQ(problems.size(), 3u) << problems;
  for (int i = 0; i < 3; ++i)
    EXPECT_NE(problems[i].get<std::string>().find(
                  std::array{"'blk.0.attn_k.weight': expected [16, 32], got no such tensor",
                             "'blk.0.ffn_norm.weight': expected [32], got no such tensor",
                             "'blk.0.attn_q_gain.weight': expected only tensors of the 1-layer"}[size_t(i)]),
              std::string::npos)
        << problems[i];
  const Ran compile = bitnetc({path, "-o", scratch("missing.bnx")}); // stops at the first
  EXPECT_EQ(compile.code, 1);
  EXPECT_NE(compile.err.find("attn_k"), std::string::npos) << compile.err;
  EXPECT_EQ(compile.err.find("ffn_norm"), std::string::npos) << compile.err;
}

TEST(Check, RandomWeightsAreSuspect) {
  const std::string path = scratch("random.gguf");
  const Ran made = run({binary("make-dummy-model"), path, "--preset=tiny"});
  ASSERT_EQ(made.code, 0) << made.err;
  const Ran ran = bitnetc({"check", path});
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(
      ran.out.find(
          "warning: blk.1.ffn_gate, ffn_down: the gate's rows and down's columns have nothing in common"),
      std::string::npos)
      << ran.out;
}

/// Scales of 0, as a converter leaves them that did not write any. The compiler says it, too, and keeps it.
TEST(Check, AnEmptyMatrixIsSuspect) {
  std::string bytes = bitnet::import::slurp(model());
  const auto file = cantFail(GgufFile::read(bitnet::import::bytesInMemory("m", bytes), {}));
  const bitnet::import::GgufTensor &up = *file.tensor("blk.0.ffn_up.weight");
  for (size_t block = 0; block < up.bytes; block += 54)
    bytes.replace(up.offset + block + 52, 2, 2, '\0');
  const std::string path = fileWith("empty.gguf", bytes), bundle = scratch("empty.bnx");
  const std::string warning = "blk.0.ffn_up.weight: every weight is 0";
  const Ran ran = bitnetc({"check", path});
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("warning: " + warning + "\n"), std::string::npos) << ran.out;
  const Ran compiled = bitnetc({path, "-o", bundle});
  EXPECT_EQ(compiled.code, 0) << compiled.err;
  EXPECT_NE(compiled.err.find("warning: " + warning + "\n"), std::string::npos) << compiled.err;
  const Ran inspect = runBitnet({"inspect", bundle, "--json"});
  EXPECT_EQ(json::parse(inspect.out)["report"]["warnings"].back(), warning) << inspect.out;
}

TEST(Check, WhatCannotBeOpenedIsAProblem) {
  const Ran ran = bitnetc({"check", "/nowhere/model.gguf"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out.rfind("problem: /nowhere/model.gguf: ", 0), 0u) << ran.out;
  EXPECT_EQ(ran.err, "");
}

} // namespace
