// Generations on a model that says what the test wants: each position's logits point to the next token of a
// script, as long as the sequence is the prompt and the script so far.
#include "runtime/sample/generation.h"
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <chrono>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <thread>

namespace bitnet::runtime {
namespace {

constexpr int32_t kVocab = 260, kStop = 256;

/// What runs the tokens: an engine in production.
class ScriptedModel {
public:
  std::vector<int32_t> script; ///< drawn in this order, then 'z' for ever
  size_t n_prompt = 6;
  Generation::Limits limits = {kVocab, 100, 4};
  std::unique_ptr<StepCosts> costs = std::make_unique<StepCosts>(uint64_t(1) << 30);
  std::vector<int32_t> seen; ///< the sequence
  std::vector<size_t> batches;
  std::function<void()> during_step;

  /// Runs what the generation wants and tells it; false (and nothing told) if the step failed.
  bool run(Generation &generation, bool fail = false) {
    const Generation::Tokens tokens = generation.next_tokens(*costs, 0);
    if (tokens.n == 0)
      return true;
    if (fail)
      return false;
    if (during_step)
      during_step();
    batches.push_back(tokens.n);
    EXPECT_LE(size_t(generation.length()), seen.size());
    seen.resize(size_t(generation.length()));
    logits.clear();
    for (size_t i = 0; i < tokens.n; ++i) {
      seen.push_back(tokens.data[i]);
      if (i + tokens.n_logits >= tokens.n) {
        logits.emplace_back(kVocab, 0.0f);
        logits.back()[size_t(next())] = 1;
      }
    }
    generation.ran(1);
    return true;
  }
  std::vector<std::vector<float>> logits; ///< of the rows of the last step that wanted them

private:
  int32_t scripted(size_t i) const { return i < script.size() ? script[i] : 'z'; }
  /// What follows what was seen; after a wrong token '#'.
  int32_t next() const {
    for (size_t i = n_prompt; i < seen.size(); ++i)
      if (seen[i] != scripted(i - n_prompt))
        return '#';
    return scripted(seen.size() - n_prompt);
  }
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
    const size_t row = generation->row();
    generation->draw(row < model.logits.size() ? model.logits[row].data() : nullptr, &event);
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
  const auto begin = std::chrono::steady_clock::now();
  start("ab", true);
  EXPECT_EQ(run(), "a|b||");
  const double taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_EQ(model.batches, (std::vector<size_t>{4, 2, 1, 1}));
  EXPECT_EQ(model.seen, (std::vector<int32_t>{'p', 'r', 'o', 'm', 'p', 't', 'a', 'b'}));
  EXPECT_EQ(generation->timings().prompt_tokens, 6);
  EXPECT_EQ(generation->timings().generated_tokens, 3);
  EXPECT_EQ(generation->timings().prompt_seconds, 2);
  EXPECT_GE(generation->timings().generation_seconds, 2); // two steps, and the time of drawing
  EXPECT_LT(generation->timings().generation_seconds, 2 + taken);
}

TEST_F(GenerationTest, AsksForTheLogitsThatTheDrawNeeds) {
  options.sampling.repetition_penalty = 1.1f;
  start("ab", true);
  EXPECT_EQ(generation->next_tokens(*model.costs, 0).need.best, 1 + 5); // 'p' stands twice in the prompt
  run();
  options.all_logits = 1;
  start("ab", true);
  EXPECT_EQ(generation->next_tokens(*model.costs, 0).need.best, 0);
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

TEST_F(GenerationTest, WhatWasGuessedRightNeedsNoStep) {
  options.speculate = 3;
  prompt = {'a', 'b', 'c', 'd', 'e', 'a'};
  start("bcdexbc", true);
  EXPECT_EQ(run(), "b|c|d|e|x|b|c||");
  // The prompt; b and the guesses c d e, all right; x, which is new; b and c d e, of which c is right.
  EXPECT_EQ(model.batches, (std::vector<size_t>{4, 2, 4, 1, 4}));
  EXPECT_EQ(generation->timings().generated_tokens, 8);
  EXPECT_EQ(generation->timings().generated_tokens - 1 - generation->timings().accepted_tokens, 3);
}

TEST_F(GenerationTest, GuessesDoNotPassLimitsOrTheEnd) {
  options.speculate = 3;
  options.max_tokens = 3;
  prompt = {'z', 'z', 'z'};
  model.n_prompt = 3;
  start("", false);
  EXPECT_EQ(run(), "z|z|z|");
  EXPECT_EQ(model.batches, (std::vector<size_t>{3, 2}));
  options.max_tokens = 0;
  model.limits.context = 5;
  start("", false);
  EXPECT_EQ(run(), "z|z|z|");
  EXPECT_EQ(model.seen.size(), 5u);
  EXPECT_EQ(finish, BITNET_FINISH_LENGTH);
}

/// Everything that a caller sees, and what is in the sequence at the end.
struct Seen {
  std::vector<std::tuple<int32_t, std::string, bitnet_finish>> events;
  int32_t length;
  bool operator==(const Seen &o) const { return events == o.events && length == o.length; }
};

TEST_F(GenerationTest, TextsAreTheSameWhateverIsGuessed) {
  std::mt19937 random(11);
  const auto any = [&](int n) { return int(random() % unsigned(n)); };
  const char *stops[] = {"abca", "d\xC3\xA9"};
  int accepted = 0, rejected = 0;
  for (int round = 0; round < 400; ++round) {
    // Texts out of a few words, so that they repeat themselves more or less.
    std::vector<std::vector<int32_t>> words;
    for (int w = 0; w < 1 + any(5); ++w) {
      words.emplace_back();
      for (int i = 0; i < 1 + any(6); ++i)
        words.back().push_back(any(40) == 0   ? kStop
                               : any(20) == 0 ? 0xC3
                               : any(20) == 0 ? 0xA9
                                              : 'a' + any(4));
    }
    const auto text = [&](int n) {
      std::vector<int32_t> tokens;
      while (int(tokens.size()) < n) {
        const auto &word = words[size_t(any(int(words.size())))];
        tokens.insert(tokens.end(), word.begin(), word.end());
      }
      return tokens;
    };
    prompt = text(1 + any(20));
    model.n_prompt = prompt.size();
    model.script = text(any(60));
    model.limits.context = int32_t(prompt.size()) + any(80);
    model.limits.max_rows = 2 + any(12);
    options = {};
    options.sampling.top_p = 1;
    options.sampling.temperature = any(3) ? 0 : 0.3f; // the script's logit is the largest, not the only one
    options.sampling.seed = uint64_t(round);
    options.sampling.repetition_penalty = any(3) ? 1 : 1.3f;
    options.sampling.presence_penalty = any(3) ? 0 : 0.2f;
    options.max_tokens = any(2) ? 0 : 1 + any(40);
    options.ignore_eos = any(2);
    options.all_logits = any(2);
    if (any(2)) {
      options.stop = stops;
      options.n_stop = 2;
    }
    const int cancel_at = any(4) ? 1000 : any(30);
    const auto see = [&](int32_t speculate) {
      options.speculate = speculate;
      model.seen.clear();
      start("", false);
      Seen seen;
      bitnet_token_event event;
      do {
        if (int(seen.events.size()) == cancel_at)
          generation->cancel();
        if (any(10) == 0)
          model.run(*generation, true); // a step that fails
        event = next();
        seen.events.emplace_back(event.token, std::string(event.text, event.text_bytes), event.finish);
      } while (event.finish == BITNET_FINISH_NONE && seen.events.size() < 500);
      seen.length = generation->length();
      const bitnet_timings &timings = generation->timings();
      accepted += timings.accepted_tokens;
      rejected += timings.drafted_tokens - timings.accepted_tokens;
      return seen;
    };
    const Seen plain = see(BITNET_SPECULATE_OFF);
    for (const int32_t speculate : {0, int(BITNET_SPECULATE_NGRAM), 1, 2, 7, 15})
      ASSERT_TRUE(see(speculate) == plain) << "round " << round << ", speculate " << speculate;
  }
  EXPECT_GT(accepted, 5000);
  EXPECT_GT(rejected, 5000);
}

TEST_F(GenerationTest, GuessesOnlyWhereItPays) {
  const auto rows = [&](double of_eight) { // rows of the last step of a text that repeats itself
    model.costs = std::make_unique<StepCosts>(uint64_t(1) << 30);
    for (int i = 0; i < 100; ++i)
      for (size_t n = 1; n <= 8; ++n)
        model.costs->add(n, 1 + (of_eight - 1) * double(n - 1) / 7);
    prompt = {'z', 'z', 'z', 'z', 'z', 'z'};
    model.limits = {kVocab, 100, 16};
    options.max_tokens = 40;
    model.seen.clear();
    model.batches.clear();
    start("", false);
    run();
    return *std::max_element(model.batches.begin() + 1, model.batches.end());
  };
  EXPECT_EQ(rows(2.2), 8u);
  EXPECT_EQ(rows(12), 1u); // two rows cost more than twice one
  options.sampling.temperature = 0.01f;
  EXPECT_EQ(rows(2.2), 1u); // greedy only
  options.speculate = BITNET_SPECULATE_NGRAM;
  EXPECT_EQ(rows(2.2), 8u);
  options.speculate = BITNET_SPECULATE_OFF;
  EXPECT_EQ(rows(2.2), 1u);
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
  options.speculate = 16;
  EXPECT_EQ(error({1}).message(),
            "generation: speculate: expected BITNET_SPECULATE_ (0, -1 or -2) or up to 15 tokens, got 16");
  options.speculate = -3;
  EXPECT_FALSE(error({1}).ok());
  options.speculate = 0;
  const int32_t stops[] = {7, 260};
  options.stop_tokens = stops;
  options.n_stop_tokens = 2;
  EXPECT_EQ(error({1}).message(), "generation: stop_tokens: token 1: expected an id from 0 to 259, got 260");
}

} // namespace
} // namespace bitnet::runtime
