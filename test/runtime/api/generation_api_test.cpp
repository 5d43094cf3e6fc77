// Generations through the C interface, as a host with threads of its own uses them. The tiny bundle has no
// tokenizer, so events carry tokens only; its greedy token is always the last one.
#include "runtime/api/bitnet.h"
#include "test/runtime/tiny_bundle.h"
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <thread>
#include <unistd.h>

namespace {

using bitnet::test::TinyBundle;

struct Release {
  void operator()(bitnet_model *model) const { bitnet_model_close(model); }
  void operator()(bitnet_engine *engine) const { bitnet_engine_destroy(engine); }
  void operator()(bitnet_generation *generation) const { bitnet_generation_destroy(generation); }
};
using Generation = std::unique_ptr<bitnet_generation, Release>;

class GenerationApi : public testing::Test {
protected:
  void SetUp() override {
    const std::string path = bitnet::test::write_file("generation_api.bnx", TinyBundle().file());
    bitnet_model *model = nullptr;
    ASSERT_EQ(bitnet_model_open(path.c_str(), nullptr, &model, &error_), BITNET_OK) << error_.message;
    model_.reset(model);
    unlink(path.c_str());
    const bitnet_engine_options options = {0, 2};
    bitnet_engine *engine = nullptr;
    ASSERT_EQ(bitnet_engine_create(model, &options, &engine, &error_), BITNET_OK) << error_.message;
    engine_.reset(engine);
  }
  Generation generation(int32_t n_prompt, int32_t max_tokens, bool all_logits = false) {
    const std::vector<int32_t> prompt(static_cast<size_t>(n_prompt), 7);
    bitnet_generation_options options;
    bitnet_generation_default(&options);
    options.max_tokens = max_tokens;
    options.all_logits = all_logits;
    bitnet_generation *created = nullptr;
    bitnet_error error{};
    EXPECT_EQ(
        bitnet_generation_create(engine_.get(), prompt.data(), prompt.size(), &options, &created, &error),
        BITNET_OK)
        << error.message;
    return Generation(created);
  }
  std::unique_ptr<bitnet_model, Release> model_;
  std::unique_ptr<bitnet_engine, Release> engine_;
  bitnet_error error_{};
};

TEST_F(GenerationApi, ReadsThePromptInPartsThenDraws) {
  const Generation one = generation(12, 2); // max_rows is 5
  std::vector<int32_t> tokens;
  bitnet_token_event event{};
  EXPECT_EQ(bitnet_generation_logits(one.get()), nullptr);
  while (event.finish == BITNET_FINISH_NONE) {
    ASSERT_EQ(bitnet_generation_next(one.get(), &event, &error_), BITNET_OK) << error_.message;
    tokens.push_back(event.token);
  }
  EXPECT_EQ(tokens, (std::vector<int32_t>{-1, -1, 299, 299}));
  EXPECT_EQ(event.finish, BITNET_FINISH_LENGTH);
}

TEST_F(GenerationApi, LogitsMayBeChangedBeforeTheDraw) {
  const Generation one = generation(1, 5, true);
  bitnet_generation *handle = one.get();
  ASSERT_EQ(bitnet_generation_run(&handle, 1, &error_), BITNET_OK) << error_.message;
  bitnet_generation_logits(handle)[42] = 1e9f;
  bitnet_token_event event{};
  ASSERT_EQ(bitnet_generation_draw(handle, &event, &error_), BITNET_OK) << error_.message;
  EXPECT_EQ(event.token, 42);
  float own = 1, best = 1;
  int32_t token = -1;
  ASSERT_EQ(bitnet_logprobs(bitnet_generation_logits(handle), 300, 42, &own, 1, &token, &best, &error_),
            BITNET_OK);
  EXPECT_EQ(token, 42);
  EXPECT_EQ(own, best);
}

TEST_F(GenerationApi, LogitsAreForThoseWhoAskBefore) {
  const Generation with = generation(1, 5, true), without = generation(1, 5);
  EXPECT_EQ(bitnet_generation_logits(with.get()), nullptr); // the prompt is not read
  bitnet_generation *both[] = {with.get(), without.get()};
  ASSERT_EQ(bitnet_generation_run(both, 2, &error_), BITNET_OK) << error_.message;
  EXPECT_NE(bitnet_generation_logits(with.get()), nullptr);
  EXPECT_EQ(bitnet_generation_logits(without.get()), nullptr);
}

TEST_F(GenerationApi, SpeculationChangesStepsAndNothingElse) {
  for (const float temperature : {0.0f, 0.2f, 3e5f}) { // the tiny model's logits are far apart
    std::vector<int32_t> expected[3];
    for (const int32_t speculate : {-1, 0, -2, 2, 15}) {
      std::vector<Generation> all;
      std::vector<bitnet_generation *> handles;
      for (int32_t i = 0; i < 3; ++i) {
        const std::vector<int32_t> prompt = {7, i, 7, i, 7};
        bitnet_generation_options options;
        bitnet_generation_default(&options);
        options.max_tokens = 40;
        options.speculate = speculate;
        options.sampling.temperature = temperature;
        options.sampling.top_k = 3;
        options.sampling.seed = uint64_t(i);
        bitnet_generation *created = nullptr;
        ASSERT_EQ(bitnet_generation_create(engine_.get(), prompt.data(), prompt.size(), &options, &created,
                                           &error_),
                  BITNET_OK)
            << error_.message;
        all.emplace_back(created);
        handles.push_back(created);
      }
      std::vector<int32_t> drawn[3];
      for (int i = 0; i < 45; ++i) {
        ASSERT_EQ(bitnet_generation_run(handles.data(), 3, &error_), BITNET_OK) << error_.message;
        for (size_t g = 0; g < 3; ++g) {
          bitnet_token_event event{};
          ASSERT_EQ(bitnet_generation_draw(handles[g], &event, &error_), BITNET_OK);
          if (event.token >= 0)
            drawn[g].push_back(event.token);
        }
      }
      bitnet_timings timings{};
      bitnet_generation_get_timings(handles[0], &timings);
      EXPECT_EQ(timings.generated_tokens, 40);
      // What pays is decided by what steps took, so of those that guess only then nothing is certain.
      const bool may_guess =
          speculate == BITNET_SPECULATE_NGRAM || (speculate == BITNET_SPECULATE_AUTO && temperature == 0);
      if (speculate > 0) {
        EXPECT_GT(timings.drafted_tokens, 0) << temperature << " " << speculate;
      } else if (!may_guess) {
        EXPECT_EQ(timings.drafted_tokens, 0) << temperature << " " << speculate;
      }
      for (size_t g = 0; g < 3; ++g) {
        EXPECT_EQ(drawn[g].size(), 40u);
        if (speculate == -1)
          expected[g] = drawn[g];
        EXPECT_EQ(drawn[g], expected[g]) << temperature << " " << speculate;
      }
    }
  }
}

TEST_F(GenerationApi, SeveralRunInOneStep) {
  const Generation a = generation(1, 3), b = generation(9, 3), c = generation(2, 1);
  bitnet_generation *all[] = {a.get(), b.get(), c.get()};
  std::vector<int32_t> drawn[3];
  for (int step = 0; step < 6; ++step) {
    ASSERT_EQ(bitnet_generation_run(all, 3, &error_), BITNET_OK) << error_.message;
    for (int i = 0; i < 3; ++i) {
      bitnet_token_event event{};
      ASSERT_EQ(bitnet_generation_draw(all[i], &event, &error_), BITNET_OK);
      if (event.token >= 0)
        drawn[i].push_back(event.token);
    }
  }
  EXPECT_EQ(drawn[0].size(), 3u);
  EXPECT_EQ(drawn[1].size(), 3u);
  EXPECT_EQ(drawn[2].size(), 1u);
}

TEST_F(GenerationApi, ThreadsGenerateWhileOthersCancel) {
  std::atomic<int> wrong{0}, cancelled{0}, ended{0};
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 25; ++i) {
      const Generation one = generation(1 + int32_t(random() % 40), 60);
      std::thread other;
      if (i == 0)
        bitnet_generation_cancel(one.get());
      else if (random() % 2)
        other = std::thread([&, wait = random() % 300] {
          std::this_thread::sleep_for(std::chrono::microseconds(wait));
          bitnet_generation_cancel(one.get());
        });
      bitnet_token_event event{};
      int32_t drawn = 0;
      while (event.finish == BITNET_FINISH_NONE) {
        bitnet_error error{};
        wrong += bitnet_generation_next(one.get(), &event, &error) != BITNET_OK;
        wrong += event.token >= 0 && event.token != 299;
        drawn += event.token >= 0;
      }
      if (event.finish == BITNET_FINISH_CANCELLED)
        ++cancelled;
      else
        wrong += drawn != 60;
      ++ended;
      if (other.joinable())
        other.join();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i)
    threads.emplace_back(work, i);
  for (std::thread &t : threads)
    t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(ended, 200);
  EXPECT_GE(cancelled, 8); // of the others as many as the machine's mood has it
}

TEST_F(GenerationApi, TakesNullForAnError) {
  bitnet_engine *engine = nullptr;
  bitnet_token_event event;
  EXPECT_EQ(bitnet_engine_create(nullptr, nullptr, &engine, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_generation_create(nullptr, nullptr, 0, nullptr, nullptr, nullptr),
            BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_generation_next(nullptr, &event, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_generation_run(nullptr, 1, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_generation_run(nullptr, 0, nullptr), BITNET_OK);
  EXPECT_EQ(bitnet_logprobs(nullptr, 1, 0, nullptr, 0, nullptr, nullptr, nullptr), BITNET_INVALID_ARGUMENT);
  EXPECT_EQ(bitnet_generation_logits(nullptr), nullptr);
  EXPECT_EQ(bitnet_engine_context(engine_.get()), 200);
  EXPECT_EQ(bitnet_engine_threads(engine_.get()), 2);
  bitnet_generation_cancel(nullptr);
  bitnet_generation_destroy(nullptr);
  bitnet_engine_destroy(nullptr);
}

} // namespace
