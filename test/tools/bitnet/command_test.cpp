// The subcommands on a real model: the one of the repository, compiled with bitnetc. What the numbers are is
// tested in test/e2e through the C interface; here, that the command line hands them on.
#include "test/e2e/compiled_model.h"
#include "test/tools/program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

using namespace bitnet::test;
using Json = nlohmann::json;
using Tokens = std::vector<int32_t>;

namespace {

std::string model() {
  return bitnet::e2e::compiled(bitnet::e2e::shippedModel(), "shipped", {"--target=host"});
}

Json jsonOf(std::vector<std::string> arguments, const std::string &input = "") {
  arguments.push_back("--json");
  const Ran ran = runBitnet(arguments, input);
  EXPECT_EQ(ran.code, 0) << ran.err;
  return Json::parse(ran.out, nullptr, false);
}

std::string commas(const Tokens &tokens) {
  std::string text;
  for (int32_t token : tokens)
    text += (text.empty() ? "" : ",") + std::to_string(token);
  return text;
}

std::vector<float> floats(const std::string &path) {
  const std::string bytes = contents(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

const char *const kPrompt = "And God said";

TEST(BitnetRun, JsonObjectHoldsTokensAndTheirText) {
  const Json object = jsonOf({"run", model(), "-p", kPrompt, "-n", "12", "--ignore-eos"});
  EXPECT_EQ(object["tokens"].size(), 12u);
  EXPECT_EQ(object["finish_reason"], "length");
  EXPECT_EQ(object["timings"]["prompt_tokens"], object["prompt_tokens"].size());
  EXPECT_EQ(object["timings"]["generated_tokens"], 12);
  const Ran text = runBitnet({"tokenize", model(), "--no-special", "--ids", commas(object["tokens"])});
  EXPECT_EQ(object["text"].get<std::string>() + "\n", text.out);
}

TEST(BitnetRun, StreamsTheTextOfTheJsonObjectAndItsSpeedToStandardError) {
  const Json object = jsonOf({"run", model(), "-p", kPrompt, "-n", "12"});
  const Ran ran = runBitnet({"run", model(), "-p", kPrompt, "-n", "12"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, object["text"].get<std::string>() + "\n");
  EXPECT_NE(ran.err.find("tok/s"), std::string::npos) << ran.err;
}

TEST(BitnetRun, TokensFileAndStandardInputAreTheSamePrompt) {
  const Json expected = jsonOf({"run", model(), "-p", kPrompt, "-n", "6"});
  const std::string file = fileWith("prompt.txt", std::string(kPrompt) + "\n");
  for (const Json &other :
       {jsonOf({"run", model(), "--tokens", commas(expected["prompt_tokens"]), "-n", "6"}),
        jsonOf({"run", model(), "-f", file, "-n", "6"}), jsonOf({"run", model(), "-n", "6"}, kPrompt),
        jsonOf({"run", model(), "-p", "-", "-n", "6"}, kPrompt)}) {
    EXPECT_EQ(other["prompt_tokens"], expected["prompt_tokens"]);
    EXPECT_EQ(other["tokens"], expected["tokens"]);
  }
}

TEST(BitnetRun, RowOfDumpedLogitsIsWhatItsTokenWasDrawnFrom) {
  const std::string file = scratch("logits.f32");
  const Json object =
      jsonOf({"run", model(), "-p", kPrompt, "-n", "8", "--ignore-eos", "--dump-logits", file});
  const Tokens tokens = object["tokens"];
  const std::vector<float> logits = floats(file);
  ASSERT_EQ(tokens.size(), 8u);
  ASSERT_EQ(logits.size() % tokens.size(), 0u);
  const size_t vocab = logits.size() / tokens.size();
  EXPECT_EQ(vocab, 4096u);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float *row = logits.data() + i * vocab;
    EXPECT_EQ(std::max_element(row, row + vocab) - row, tokens[i]) << "row " << i;
  }
}

TEST(BitnetRun, ChunksOfThePromptChangeNoBit) {
  runBitnet({"run", model(), "-p", "In the beginning God created the heaven", "-n", "4", "--dump-logits",
             scratch("a")});
  for (const char *chunk : {"1", "3", "100"}) {
    const Ran ran = runBitnet({"run", model(), "-p", "In the beginning God created the heaven", "-n", "4",
                               "--dump-logits", scratch("b"), "--chunk", chunk});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_FALSE(contents(scratch("a")).empty());
    EXPECT_TRUE(contents(scratch("a")) == contents(scratch("b"))) << "chunk " << chunk;
  }
}

TEST(BitnetRun, EndsBeforeAStopText) {
  const std::string all = jsonOf({"run", model(), "-p", kPrompt, "-n", "24", "--ignore-eos"})["text"];
  const std::string stop = all.substr(all.size() / 2, 4);
  const Json object = jsonOf({"run", model(), "-p", kPrompt, "-n", "24", "--ignore-eos", "--stop", stop});
  EXPECT_EQ(object["text"], all.substr(0, all.find(stop)));
  EXPECT_EQ(object["finish_reason"], "stop");
}

TEST(BitnetRun, EchoPrintsThePromptFirst) {
  const Ran plain = runBitnet({"run", model(), "-p", kPrompt, "-n", "3"});
  EXPECT_EQ(runBitnet({"run", model(), "-p", kPrompt, "-n", "3", "--echo"}).out, kPrompt + plain.out);
}

TEST(BitnetRun, SeedDecidesWhatIsDrawn) {
  auto drawn = [](const char *seed) {
    return jsonOf({"run", model(), "-p", kPrompt, "-n", "24", "--temp", "1.5", "--seed", seed})["tokens"];
  };
  EXPECT_EQ(drawn("1"), drawn("1"));
  EXPECT_NE(drawn("1"), drawn("2"));
}

TEST(BitnetRun, SpeculationChangesStepsAndNothingElse) {
  const auto run = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "run", model(), "-p",           "And Adam begat Seth; and Seth begat Enos; and Enos begat",
        "-n",  "100",   "--ignore-eos", "--speculate"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return jsonOf(arguments);
  };
  for (const std::vector<std::string> &sampling : std::vector<std::vector<std::string>>{
           {}, {"--repeat-penalty", "1.2"}, {"--temp", "0.8", "--top-k", "40", "--seed", "4"}}) {
    const auto with = [&](const char *how) {
      std::vector<std::string> arguments = {how};
      arguments.insert(arguments.end(), sampling.begin(), sampling.end());
      return run(arguments);
    };
    const Json plain = with("off");
    EXPECT_EQ(plain["timings"]["drafted_tokens"], 0);
    for (const char *how : {"auto", "ngram", "1", "7", "15"})
      EXPECT_EQ(with(how)["tokens"], plain["tokens"]) << how;
    EXPECT_GT(with("7")["timings"]["accepted_tokens"], 0);
  }
}

TEST(BitnetRun, ChatAppliesTheTemplateOfTheModel) {
  const Json object = jsonOf({"run", model(), "--chat", "-p", "And it came", "-n", "1"});
  const Ran text = runBitnet({"tokenize", model(), "--ids", commas(object["prompt_tokens"])});
  EXPECT_EQ(text.out, "<|begin_of_text|>User: And it came<|eot_id|>Assistant: \n");
}

TEST(BitnetRun, TemplateArgIsForATemplateThatReadsIt) {
  const auto error = [](const std::string &arg) {
    return runBitnet({"run", model(), "--chat", "-p", "x", "--template-arg", arg}).err;
  };
  EXPECT_NE(error("enable_thinking=false")
                .find("chat template: variable 'enable_thinking': expected one that the template "
                      "reads, got none of this name"),
            std::string::npos);
  EXPECT_NE(error("thinking").find("flag '--template-arg': expected NAME=VALUE, got 'thinking'"),
            std::string::npos);
  EXPECT_NE(
      runBitnet({"run", model(), "-p", "x", "--template-arg", "a=1"}).err.find("--template-arg needs --chat"),
      std::string::npos);
}

TEST(BitnetRun, ControlCEndsWithWhatThereIs) {
  // The pipe is full, so the program waits at its first piece of text until the signal has been taken.
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const std::string filler(fcntl(pipe_ends[1], F_SETPIPE_SZ, 4096), '.');
  ASSERT_EQ(write(pipe_ends[1], filler.data(), filler.size()), static_cast<ssize_t>(filler.size()));
  const int err = open(scratch("stderr").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::string logits = scratch("begun.f32");
  const pid_t child = start(
      {binary("bitnet"), "run", model(), "-p", kPrompt, "-n", "-1", "--ignore-eos", "--dump-logits", logits},
      STDIN_FILENO, pipe_ends[1], err);
  close(pipe_ends[1]);
  for (int waited = 0; contents(logits).empty() && waited < 3000; ++waited)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(child, SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::string out;
  char block[4096];
  for (ssize_t n; (n = read(pipe_ends[0], block, sizeof block)) > 0;)
    out.append(block, n);
  close(pipe_ends[0]);
  close(err);
  EXPECT_EQ(waitFor(child), 130);
  EXPECT_GT(out.size(), filler.size() + 1); // some text and the line end
  EXPECT_LT(out.size(), filler.size() + 200);
  EXPECT_NE(contents(scratch("stderr")).find("; cancelled ("), std::string::npos)
      << contents(scratch("stderr"));
}

TEST(BitnetRun, PromptThatDoesNotFitIsAFailureOfOneLine) {
  const Ran small = runBitnet({"run", model(), "-p", kPrompt, "-c", "2"});
  EXPECT_EQ(small.code, 1);
  EXPECT_EQ(small.out, "");
  EXPECT_EQ(small.err, "error: prompt: expected at most 2 tokens (--context), got 4; raise --context\n");
  const Ran large = runBitnet({"run", model(), "--tokens", commas(Tokens(513, 5))});
  EXPECT_EQ(large.code, 1);
  EXPECT_EQ(large.err, "error: prompt: expected at most 512 tokens (the model's context), got 513; shorten "
                       "the prompt\n");
  EXPECT_EQ(runBitnet({"run", model(), "--tokens", commas(Tokens(512, 5))}).code, 0); // it fits exactly
}

TEST(BitnetRun, OutputThatCannotBeWrittenEndsTheGeneration) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  const std::string err = scratch("full.err");
  const int errors = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  EXPECT_EQ(waitFor(start({binary("bitnet"), "run", model(), "-p", kPrompt, "-n", "9"}, STDIN_FILENO, full,
                          errors)),
            1);
  EXPECT_EQ(contents(err), "error: standard output: cannot write\n"); // and no speed
  close(full);
  close(errors);
}

TEST(BitnetTokenize, IdsAreTheReferences) {
  const std::string path = bitnet::e2e::sharedData("kjv/ref/kjv-ref.json");
  if (path.empty())
    GTEST_SKIP() << "no ../shared/data/kjv";
  const Json cases = Json::parse(contents(path))["cases"];
  ASSERT_FALSE(cases.empty());
  for (const Json &test_case : cases) {
    const Tokens ids = test_case["input_ids"];
    EXPECT_EQ(runBitnet({"tokenize", model(), "-p", test_case["prompt"]}).out, commas(ids) + "\n");
    EXPECT_EQ(runBitnet({"tokenize", model(), "--no-special"}, test_case["prompt"].get<std::string>()).out,
              commas(Tokens(ids.begin() + 1, ids.end())) + "\n");
    EXPECT_EQ(runBitnet({"tokenize", model(), "--no-special", "--ids", commas(ids)}).out,
              test_case["prompt"].get<std::string>() + "\n");
  }
}

TEST(BitnetTokenize, SpecialTokensInTextAreTextUnlessAsked) {
  EXPECT_EQ(runBitnet({"tokenize", model(), "--no-special", "--parse-special", "-p", "<|eot_id|>"}).out,
            "4089\n");
  EXPECT_GT(jsonOf({"tokenize", model(), "--no-special", "-p", "<|eot_id|>"})["tokens"].size(), 1u);
}

TEST(BitnetPerplexity, IsTheReferences) {
  const std::string text = bitnet::e2e::sharedData("kjv/ref/heldout20k.txt");
  if (text.empty())
    GTEST_SKIP() << "no ../shared/data/kjv";
  const Json expected = Json::parse(contents(bitnet::e2e::sharedData("kjv/ref/kjv-ref.json")))["perplexity"];
  const Json object = jsonOf({"perplexity", model(), text});
  EXPECT_EQ(object["tokens"], expected["tokens_scored"]); // the windows are the same
  EXPECT_EQ(object["windows"], expected["windows"].size());
  const double reference = expected["perplexity"];
  EXPECT_NEAR(object["perplexity"].get<double>(), reference,
              0.005 * reference);                            // the bar that the project set itself
  for (size_t i = 0; i < expected["window_nll"].size(); ++i) // no window is off by more than 1 %
    EXPECT_NEAR(object["window_nll"][i].get<double>(), expected["window_nll"][i].get<double>(),
                0.01 * expected["window_nll"][i].get<double>());
}

TEST(BitnetPerplexity, BlankLinesSeparateDocuments) {
  const std::string file = fileWith("two.txt", "And God said\n\n\nAnd it came to pass\n");
  EXPECT_EQ(jsonOf({"perplexity", model(), file})["documents"], 2);
  EXPECT_EQ(jsonOf({"perplexity", model(), file, "--one-document"})["documents"], 1);
}

TEST(BitnetPerplexity, WindowsScoreEveryTokenOfADocumentOnce) {
  const std::string text = "And it came to pass, and God said";
  const size_t tokens = jsonOf({"tokenize", model(), "--no-special", "-p", text})["tokens"].size();
  const Json object =
      jsonOf({"perplexity", model(), fileWith("one.txt", text), "--one-document", "--window", "4"});
  EXPECT_EQ(object["tokens"], tokens); // BOS is not scored
  EXPECT_EQ(object["windows"], (tokens + 2) / 3);
}

TEST(BitnetBench, JsonHoldsEveryRunOfEveryConfiguration) {
  const Json object =
      jsonOf({"bench", model(), "-p", "8", "-n", "4", "-d", "0,16", "-t", "1,2", "-r", "3", "--limits"});
  ASSERT_EQ(object["results"].size(), 8u);
  EXPECT_EQ(object["results"][2]["test"], "pp8 @ d16");
  for (const Json &result : object["results"]) {
    const Json &speed = result["tokens_per_second"];
    EXPECT_EQ(speed["runs"].size(), 3u);
    EXPECT_LE(speed["min"], speed["median"]);
    EXPECT_LE(speed["median"], speed["max"]);
    EXPECT_EQ(result.contains("share_of_read_bandwidth"), result["n_gen"] > 0);
    EXPECT_EQ(result.contains("share_of_dot_product_peak"), result["n_gen"] == 0);
  }
  ASSERT_EQ(object["read_bandwidth"].size(), 2u);
  EXPECT_GT(object["read_bandwidth"][0]["bytes_per_second"]["median"], 1e9);
  ASSERT_EQ(object["dot_product_peak"].size(), 2u);
  EXPECT_GT(object["dot_product_peak"][0]["macs_per_second"]["median"], 1e7);
}

TEST(BitnetBench, SharesFollowFromSpeedsAndLimits) {
  const Json object =
      jsonOf({"bench", model(), "-p", "8", "-n", "4", "-d", "16", "-t", "1", "-r", "1", "--limits"});
  const Json &prompt = object["results"][0], &generation = object["results"][1];
  const double peak = object["dot_product_peak"][0]["macs_per_second"]["median"],
               bandwidth = object["read_bandwidth"][0]["bytes_per_second"]["median"];
  const double prompt_speed = prompt["tokens_per_second"]["median"],
               generation_speed = generation["tokens_per_second"]["median"];
  EXPECT_DOUBLE_EQ(prompt["share_of_dot_product_peak"].get<double>(),
                   object["ternary_weights"].get<double>() * prompt_speed / peak);
  // Positions 16 to 19, and each step reads the one that it has just written: 17 to 20, on average 18.5.
  EXPECT_DOUBLE_EQ(
      generation["share_of_read_bandwidth"].get<double>(),
      (object["bytes_per_token"].get<double>() + 18.5 * object["kv_bytes_per_token"].get<double>()) *
          generation_speed / bandwidth);
}

TEST(BitnetBench, RowsAndTheHeadHaveTheirCosts) {
  const Json object = jsonOf(
      {"bench", model(), "-p", "0", "-n", "4", "-t", "1", "-r", "2", "--rows", "1,3", "--without-head"});
  std::vector<std::string> names;
  for (const Json &result : object["results"])
    names.push_back(result["test"]);
  EXPECT_EQ(names, (std::vector<std::string>{"tg4", "tg4 no head", "tg4 x3", "tg4 x3 no head"}));
  const double one = object["results"][0]["tokens_per_second"]["median"],
               three = object["results"][2]["tokens_per_second"]["median"],
               headless = object["results"][1]["tokens_per_second"]["median"];
  EXPECT_DOUBLE_EQ(object["results"][2]["cost_of_rows"].get<double>(), 3 * one / three);
  EXPECT_FALSE(object["results"][0].contains("cost_of_rows"));
  EXPECT_DOUBLE_EQ(object["results"][0]["head_seconds"].get<double>(), 1 / one - 1 / headless);
  EXPECT_GT(object["load_seconds"], 0);
  EXPECT_GT(object["peak_memory_bytes"], object["file_bytes"]); // the file is mapped and read
}

TEST(BitnetBench, RowsThatAStepCannotHoldAreAWrongCommandLine) {
  const Ran ran = runBitnet({"bench", model(), "--rows", "100000"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("flag '--rows': expected at most "), std::string::npos) << ran.err;
}

TEST(BitnetBench, MeasuresOnRequest) {
  const std::vector<std::string> command = {"bench", model(), "-p", "8",        "-n",
                                            "4",     "-t",    "1",  "--limits", "--on-request"};
  const Ran ran = runBitnet(command, "1\n3\n0\n");
  ASSERT_EQ(ran.code, 0) << ran.err;
  std::istringstream lines(ran.out);
  std::string line;
  std::getline(lines, line);
  const Json hello = Json::parse(line);
  const std::vector<std::string> expected = {"pp8", "tg4", "read bandwidth", "dot product peak"};
  ASSERT_EQ(hello["tests"].size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(hello["tests"][i], Json({{"test", expected[i]}, {"threads", 1}}));
  std::vector<double> numbers;
  while (std::getline(lines, line))
    numbers.push_back(std::stod(line));
  ASSERT_EQ(numbers.size(), 3u);
  EXPECT_GT(numbers[0], 0);
  EXPECT_GT(numbers[1], 1e9);
  EXPECT_GT(numbers[2], 0);

  const Ran wrong = runBitnet(command, "4\n");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_EQ(wrong.err, "error: standard input: expected a number below 4, got '4'\n");
}

TEST(BitnetContext, TooSmallForTheWorkIsAWrongCommandLine) {
  const std::string file = fileWith("text.txt", "And God said\n");
  for (const Ran &ran : {runBitnet({"perplexity", model(), file, "-w", "16", "-c", "10"}),
                         runBitnet({"bench", model(), "-p", "8", "-n", "0", "-d", "8", "-c", "10"})}) {
    EXPECT_EQ(ran.code, 2);
    EXPECT_NE(ran.err.find("flag '--context': expected at least 16 ("), std::string::npos) << ran.err;
  }
}

TEST(BitnetInspect, VerifyAnswersInJsonToo) {
  const Json object = jsonOf({"inspect", model(), "--verify"});
  EXPECT_EQ(object, Json({{"path", model()}, {"valid", true}}));
}

TEST(BitnetInspect, ShowsTheModelAndItsSections) {
  const Json object = jsonOf({"inspect", model()});
  EXPECT_TRUE(object.contains("model") && object.contains("sections")) << object.dump();
  const Ran ran = runBitnet({"inspect", model()});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("\nsections:\n"), std::string::npos) << ran.out;
}

TEST(BitnetInspect, VerifyFindsADamagedByte) {
  EXPECT_EQ(runBitnet({"inspect", model(), "--verify"}).code, 0);
  std::string bytes = contents(model());
  bytes[bytes.size() / 2] ^= 1;
  const Ran ran = runBitnet({"inspect", fileWith("damaged.bnx", bytes), "--verify"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

} // namespace
