// Generations on a model that says what the test wants: each position's logits point to the next token of a
// script.
#include "runtime/sample/generation.h"
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <functional>
#include <gtest/gtest.h>
#include <thread>

namespace bitnet::runtime {
namespace {

constexpr int32_t kVocab = 260, kStop = 256;

/// What runs the tokens: an engine in production.
class ScriptedModel {
public:
  std::vector<int32_t> script; ///< drawn in this order, then 'z' for ever
  Generation::Limits limits = {kVocab, 100, 4};
  std::vector<int32_t> seen;
  std::vector<size_t> batches;
  std::function<void()> during_step;

  /// Runs what the generation wants and tells it; false (and nothing told) if the step failed.
  bool run(Generation &generation, bool fail = false) {
    const Generation::Tokens tokens = generation.next_tokens();
    if (tokens.n == 0)
      return true;
    if (fail)
      return false;
    if (during_step)
      during_step();
    batches.push_back(tokens.n);
    seen.insert(seen.end(), tokens.data, tokens.data + tokens.n);
    if (tokens.wants_logits) {
      logits.assign(kVocab, 0.0f);
      logits[n_drawn_ < script.size() ? script[n_drawn_] : 'z'] = 1;
      ++n_drawn_;
    }
    generation.ran(1);
    return true;
  }
  std::vector<float> logits;

private:
  size_t n_drawn_ = 0;
};

class GenerationTest : public ::testing::Test {
protected:
  GenerationTest() {
    SerializedTokenizer serialized;
    serialized.added = {{kStop, "<|eot_id|>"}};
    serialized.stop_tokens = {kStop};
    tokenizer = std::move(*serialized.load());
    options.sampling.top_p = 1;
    options.sampling.repetition_penalty = 1;
  }
  void start(const std::string &answer, bool then_stop) {
    for (const char c : answer)
      model.script.push_back(static_cast<uint8_t>(c));
    if (then_stop)
      model.script.push_back(kStop);
    auto created = Generation::create(model.limits, tokenizer.get(), prompt.data(), prompt.size(), options);
    ASSERT_TRUE(created.ok()) << created.status().message();
    generation = std::move(*created);
  }
  bitnet_token_event next() {
    model.run(*generation);
    bitnet_token_event event;
    generation->draw(model.logits.data(), &event);
    return event;
  }
  /// Runs to the end: texts of the events separated by '|', without those of the prompt.
  std::string run() {
    std::string texts;
    bitnet_token_event event;
    do {
      event = next();
      if (event.token < 0 && event.finish == BITNET_FINISH_NONE)
        continue;
      texts += std::string(event.text, event.text_bytes) + "|";
      tokens.push_back(event.token);
    } while (event.finish == BITNET_FINISH_NONE && tokens.size() < 1000);
    finish = event.finish;
    return texts;
  }
  ScriptedModel model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<int32_t> prompt = {'p', 'r', 'o', 'm', 'p', 't'};
  bitnet_generation_options options = {};
  std::unique_ptr<Generation> generation;
  std::vector<int32_t> tokens;
  bitnet_finish finish = BITNET_FINISH_NONE;
};

TEST_F(GenerationTest, RunsThePromptInBatchesThenWhatIsDrawn) {
  start("ab", true);
  EXPECT_EQ(run(), "a|b||");
  EXPECT_EQ(model.batches, (std::vector<size_t>{4, 2, 1, 1}));
  EXPECT_EQ(model.seen, (std::vector<int32_t>{'p', 'r', 'o', 'm', 'p', 't', 'a', 'b'}));
  EXPECT_EQ(generation->timings().prompt_tokens, 6);
  EXPECT_EQ(generation->timings().generated_tokens, 3);
  EXPECT_EQ(generation->timings().prompt_seconds, 2);
  EXPECT_NEAR(generation->timings().generation_seconds, 2, 0.5); // two steps, and the time of drawing
}

TEST_F(GenerationTest, AsksForTheLogitsThatTheDrawNeeds) {
  options.sampling.repetition_penalty = 1.1f;
  start("ab", true);
  EXPECT_EQ(generation->next_tokens().need.best, 1 + 5); // 'p' stands twice in the prompt
  run();
  options.all_logits = 1;
  start("ab", true);
  EXPECT_EQ(generation->next_tokens().need.best, 0);
}

TEST_F(GenerationTest, PromptRowsAreWhatTheOptionsSay) {
  options.prompt_rows = 1;
  start("", true);
  run();
  EXPECT_EQ(model.batches, std::vector<size_t>(6, 1));
}

TEST_F(GenerationTest, StopTokenIsReportedWithoutText) {
  start("a", true);
  EXPECT_EQ(run(), "a||");
  EXPECT_EQ(finish, BITNET_FINISH_STOP);
  EXPECT_EQ(tokens, (std::vector<int32_t>{'a', kStop}));
  const bitnet_token_event again = next();
  EXPECT_EQ(again.finish, BITNET_FINISH_STOP);
  EXPECT_EQ(again.token, -1);
}

TEST_F(GenerationTest, IgnoreEosGoesOn) {
  options.ignore_eos = 1;
  options.max_tokens = 3;
  start("a", true);
  EXPECT_EQ(run(), "a||z|");
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
}

TEST_F(GenerationTest, StopTokensOfTheCallReplaceTheTokenizers) {
  const int32_t stops[] = {'b'};
  options.stop_tokens = stops;
  options.n_stop_tokens = 1;
  model.script = {'a', kStop, 'c', 'b', 'd'};
  start("", false);
  EXPECT_EQ(run(), "a||c||");
  EXPECT_EQ(tokens.back(), 'b');
  EXPECT_EQ(finish, BITNET_FINISH_STOP);
}

TEST_F(GenerationTest, MaxTokensEndsWithTheLastToken) {
  options.max_tokens = 2;
  start("abc", false);
  EXPECT_EQ(run(), "a|b|");
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
}

TEST_F(GenerationTest, ContextIsUsedToItsEnd) {
  model.limits.context = 8;
  start("abcd", false);
  EXPECT_EQ(run(), "a|b|c|"); // two more positions, and the last logits give one more token
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
  EXPECT_EQ(model.seen.size(), 8u);
}

TEST_F(GenerationTest, StopStringEndsBeforeTheMatch) {
  const char *stops[] = {"\nUser:"};
  options.stop = stops;
  options.n_stop = 1;
  start("yes\nUsual\nUser: x", false);
  EXPECT_EQ(run(), "y|e|s||||\nUsu|a|l|||||||");
  EXPECT_EQ(finish, BITNET_FINISH_STOP);
  EXPECT_EQ(tokens.back(), ':');
}

TEST_F(GenerationTest, HeldTextComesOutAtTheEnd) {
  const char *stops[] = {"END"};
  options.stop = stops;
  options.n_stop = 1;
  start("xEN\xE4\xB8", true);
  EXPECT_EQ(run(), "x|||||EN\uFFFD|");
}

TEST_F(GenerationTest, EventsCarryWholeCharacters) {
  start("\u00E9\u4E2D", true);
  EXPECT_EQ(run(), "|\u00E9|||\u4E2D||");
}

TEST_F(GenerationTest, CancelFromAnotherThreadEndsWithinOneStep) {
  model.during_step = [&] {
    if (model.batches.size() == 2) // 'a' is being fed
      std::thread([&] { generation->cancel(); }).join();
  };
  start("abcdef", false);
  EXPECT_EQ(run(), "a||");
  EXPECT_EQ(finish, BITNET_FINISH_CANCELLED);
  EXPECT_EQ(tokens, (std::vector<int32_t>{'a', -1}));
  EXPECT_EQ(model.batches.size(), 3u);
}

TEST_F(GenerationTest, CancelDuringThePromptRunsNoFurtherBatch) {
  model.during_step = [&] { generation->cancel(); };
  start("abc", false);
  EXPECT_EQ(run(), "|");
  EXPECT_EQ(finish, BITNET_FINISH_CANCELLED);
  EXPECT_EQ(model.batches.size(), 1u);
}

TEST_F(GenerationTest, FailedStepCanBeTriedAgain) {
  start("ab", true);
  while (next().token != 'a') {
  }
  EXPECT_FALSE(model.run(*generation, true));
  EXPECT_EQ(run(), "b||");
}

TEST_F(GenerationTest, RefusesPromptsThatCannotRun) {
  const auto error = [&](std::vector<int32_t> ids) {
    return Generation::create(model.limits, tokenizer.get(), ids.data(), ids.size(), options).status();
  };
  EXPECT_EQ(error({}).message(),
            "generation: prompt: expected at least one token, got none; start with the BOS token");
  EXPECT_EQ(error({1, 260}).message(), "generation: prompt: token 1: expected an id from 0 to 259, got 260");
  EXPECT_EQ(error({-1}).message(), "generation: prompt: token 0: expected an id from 0 to 259, got -1");
  const Status full = error(std::vector<int32_t>(101, 1));
  EXPECT_EQ(full.code(), StatusCode::context_full);
  EXPECT_EQ(
      full.message(),
      "generation: prompt: expected at most 100 tokens (the context), got 101; shorten it or use a larger "
      "context");
  options.prompt_rows = -1;
  EXPECT_EQ(error({1}).message(), "generation: prompt_rows: expected 0 or more, got -1");
  options.prompt_rows = 0;
  const int32_t stops[] = {7, 260};
  options.stop_tokens = stops;
  options.n_stop_tokens = 2;
  EXPECT_EQ(error({1}).message(), "generation: stop_tokens: token 1: expected an id from 0 to 259, got 260");
}

} // namespace
} // namespace bitnet::runtime
