// The loop on a model that says what the test wants: each position's logits point to the next token of a
// script.
#include "runtime/sample/generation.h"
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <functional>
#include <gtest/gtest.h>
#include <thread>

namespace bitnet::runtime {
namespace {

constexpr int32_t kVocab = 260, kStop = 256;

class ScriptedSource final : public LogitsSource {
public:
  std::vector<int32_t> script; ///< drawn in this order, then 'z' for ever
  int32_t context_size = 100, rows_at_once = 4;
  std::vector<bitnet_row> seen;
  std::vector<size_t> batches;
  std::function<void()> during_step;
  int fail_at_step = -1;

  Status step(const bitnet_row *rows, size_t n_rows) override {
    if (static_cast<int>(batches.size()) == fail_at_step) {
      fail_at_step = -1;
      return internal_error("scripted failure");
    }
    if (during_step)
      during_step();
    batches.push_back(n_rows);
    for (size_t i = 0; i < n_rows; ++i) {
      EXPECT_EQ(rows[i].position, length_++);
      seen.push_back(rows[i]);
    }
    if (!rows[n_rows - 1].want_logits)
      return {};
    logits_.assign(kVocab, 0.0f);
    logits_[n_drawn_ < script.size() ? script[n_drawn_] : 'z'] = 1;
    ++n_drawn_;
    return {};
  }
  const float *logits() const override { return logits_.data(); }
  int32_t length(int32_t) const override { return length_; }
  int32_t vocab() const override { return kVocab; }
  int32_t context() const override { return context_size; }
  int32_t sequences() const override { return 1; }
  int32_t max_rows() const override { return rows_at_once; }

private:
  std::vector<float> logits_;
  size_t n_drawn_ = 0;
  int32_t length_ = 0;
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
      source.script.push_back(static_cast<uint8_t>(c));
    if (then_stop)
      source.script.push_back(kStop);
    auto created = Generation::create(source, tokenizer.get(), prompt.data(), prompt.size(), options);
    ASSERT_TRUE(created.ok()) << created.status().message();
    generation = std::move(*created);
  }
  /// Runs to the end: texts of the events separated by '|'.
  std::string run() {
    std::string texts;
    bitnet_token_event event;
    do {
      const Status status = generation->next(&event);
      EXPECT_TRUE(status.ok()) << status.message();
      if (!status.ok())
        return texts;
      texts += std::string(event.text, event.text_bytes) + "|";
      tokens.push_back(event.token);
    } while (event.finish == BITNET_FINISH_NONE && tokens.size() < 1000);
    finish = event.finish;
    return texts;
  }
  ScriptedSource source;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<int32_t> prompt = {'p', 'r', 'o', 'm', 'p', 't'};
  bitnet_generation_options options = {};
  std::unique_ptr<Generation> generation;
  std::vector<int32_t> tokens;
  bitnet_finish finish = BITNET_FINISH_NONE;
};

TEST_F(GenerationTest, FeedsThePromptInBatchesAndAsksForTheLastLogits) {
  start("ab", true);
  EXPECT_EQ(run(), "a|b||");
  EXPECT_EQ(source.batches, (std::vector<size_t>{4, 2, 1, 1}));
  for (size_t i = 0; i < source.seen.size(); ++i)
    EXPECT_EQ(source.seen[i].want_logits != 0, i + 1 >= prompt.size()) << i;
  EXPECT_EQ(generation->timings().prompt_tokens, 6);
  EXPECT_EQ(generation->timings().generated_tokens, 3);
}

TEST_F(GenerationTest, StopTokenIsReportedWithoutText) {
  start("a", true);
  EXPECT_EQ(run(), "a||");
  EXPECT_EQ(finish, BITNET_FINISH_STOP);
  EXPECT_EQ(tokens, (std::vector<int32_t>{'a', kStop}));
  bitnet_token_event again;
  ASSERT_TRUE(generation->next(&again).ok());
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

TEST_F(GenerationTest, MaxTokensEndsWithTheLastToken) {
  options.max_tokens = 2;
  start("abc", false);
  EXPECT_EQ(run(), "a|b|");
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
}

TEST_F(GenerationTest, ContextIsUsedToItsEnd) {
  source.context_size = 8;
  start("abcd", false);
  EXPECT_EQ(run(), "a|b|c|"); // two more positions, and the last logits give one more token
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
  EXPECT_EQ(source.length(0), 8);
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
  source.during_step = [&] {
    if (source.batches.size() == 2) // 'a' is being fed
      std::thread([&] { generation->cancel(); }).join();
  };
  start("abcdef", false);
  EXPECT_EQ(run(), "a||");
  EXPECT_EQ(finish, BITNET_FINISH_CANCELLED);
  EXPECT_EQ(tokens, (std::vector<int32_t>{'a', -1}));
  EXPECT_EQ(source.batches.size(), 3u);
}

TEST_F(GenerationTest, CancelDuringThePromptRunsNoFurtherBatch) {
  source.during_step = [&] { generation->cancel(); };
  start("abc", false);
  EXPECT_EQ(run(), "|");
  EXPECT_EQ(finish, BITNET_FINISH_CANCELLED);
  EXPECT_EQ(source.batches.size(), 1u);
}

TEST_F(GenerationTest, FailedStepCanBeTriedAgain) {
  source.fail_at_step = 2;
  start("ab", true);
  bitnet_token_event event;
  ASSERT_TRUE(generation->next(&event).ok());
  EXPECT_EQ(generation->next(&event).message(), "scripted failure");
  EXPECT_EQ(run(), "b||");
}

TEST_F(GenerationTest, RefusesPromptsThatCannotRun) {
  const auto error = [&](std::vector<int32_t> ids) {
    return Generation::create(source, tokenizer.get(), ids.data(), ids.size(), options).status();
  };
  EXPECT_EQ(error({}).message(),
            "generation: prompt: expected at least one token, got none; start with the BOS token");
  EXPECT_EQ(error({1, 260}).message(), "generation: prompt: token 1: expected an id from 0 to 259, got 260");
  EXPECT_EQ(error({-1}).message(), "generation: prompt: token 0: expected an id from 0 to 259, got -1");
  const Status full = error(std::vector<int32_t>(101, 1));
  EXPECT_EQ(full.code(), StatusCode::context_full);
  EXPECT_EQ(full.message(),
            "generation: prompt: expected at most 100 tokens (context 100, 0 used), got 101; create the "
            "session with a larger context");
  options.sequence = 1;
  EXPECT_EQ(error({1}).message(), "generation: sequence: expected 0 to 0, got 1");
}

} // namespace
} // namespace bitnet::runtime
