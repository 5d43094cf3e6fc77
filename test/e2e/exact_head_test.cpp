// The exact head: what a row asks for is the f16 head's bit for bit, and all else is below it. Both heads run
// side by side over the same tokens, on the repository's model and on made-up ones of which a step takes no
// time.
#include "test/e2e/compiled_model.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace bitnet;
using namespace bitnet::e2e;

namespace {

/// A made-up model with a vocabulary that a screen is worth, as bundle with this head.
std::string dummy(const std::string &values, const std::string &head) {
  const std::string checkpoint = test::scratch("exact-" + values + ".gguf");
  if (!std::filesystem::exists(checkpoint)) {
    const test::Ran ran = test::run({test::binary("make-dummy-model"),
                                     checkpoint,
                                     "--preset",
                                     "tiny",
                                     "--dim",
                                     "256",
                                     "--heads",
                                     "4",
                                     "--kv-heads",
                                     "2",
                                     "--ffn",
                                     "256",
                                     "--layers",
                                     "1",
                                     "--vocab",
                                     "20003",
                                     "--context",
                                     "2048",
                                     "--embedding-values",
                                     values});
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
  return compiled(checkpoint, "exact-" + values + "-" + head, {"--target=host", "--head=" + head});
}
std::string kjv(const std::string &head) {
  return compiled(shippedModel(), "exact-kjv-" + head, {"--target=portable,avx2,avx512", "--head=" + head});
}

struct Need {
  int32_t best;
  float margin;
};
const Need kNeeds[] = {{1, 0}, {40, 0}, {1, 3.0f}, {0, 0}, {5, 1.5f}};

void step(bitnet_session *session, const std::vector<bitnet_row> &rows) {
  bitnet_error error{};
  ASSERT_EQ(bitnet_session_step(session, rows.data(), rows.size(), &error), BITNET_OK) << error.message;
}

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// What bitnet_row promises of `got`, given the f16 head's logits.
void expectContract(const float *got, const std::vector<float> &all, Need need) {
  ASSERT_TRUE(got);
  std::vector<float> sorted = all;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const bool everything = need.best == 0;
  float highest_other = -INFINITY;
  for (size_t i = 0; i < all.size(); ++i) {
    if (everything || all[i] >= sorted[size_t(need.best) - 1] ||
        double(all[i]) >= double(sorted[0]) - double(need.margin))
      ASSERT_TRUE(same(got[i], all[i])) << "logit " << i << ": expected " << all[i] << ", got " << got[i];
    else if (!same(got[i], all[i]))
      highest_other = std::max(highest_other, got[i]);
  }
  if (!everything) {
    EXPECT_LT(highest_other, sorted[size_t(need.best) - 1]);
    EXPECT_LT(double(highest_other), double(sorted[0]) - double(need.margin));
  }
}

int32_t argmax(const float *logits, int32_t n) {
  return int32_t(std::max_element(logits, logits + n) - logits);
}

bitnet_head_stats statsOf(const bitnet_session *session) {
  bitnet_head_stats stats;
  bitnet_session_head_stats(session, &stats);
  return stats;
}

/// Runs both heads over `steps` tokens: mostly the greedy ones, now and then a jump, in texts of `text`
/// tokens. Each step asks for something else. Returns the exact head's work.
bitnet_head_stats compare(const std::string &exact_path, const std::string &f16_path, int steps, int text,
                          bool only_greedy) {
  const Model exact = openModel(exact_path), f16 = openModel(f16_path);
  const Session a = openSession(exact.get(), 2), b = openSession(f16.get(), 2);
  const int32_t vocab = vocabulary(exact.get());
  uint32_t random = 7;
  int32_t token = 11;
  for (int i = 0; i < steps; ++i) {
    if (i % text == 0) {
      bitnet_error error{};
      bitnet_session_truncate(a.get(), 0, 0, &error);
      bitnet_session_truncate(b.get(), 0, 0, &error);
    }
    const Need need = only_greedy ? Need{1, 0} : kNeeds[i % std::size(kNeeds)];
    step(a.get(), {{token, i % text, 0, BITNET_WANT_LOGITS, need.best, need.margin}});
    step(b.get(), {{token, i % text, 0, BITNET_WANT_LOGITS, 0, 0}});
    const float *got = bitnet_session_logits(a.get(), 0), *all = bitnet_session_logits(b.get(), 0);
    if (only_greedy) {
      const int32_t expected = argmax(all, vocab);
      EXPECT_EQ(argmax(got, vocab), expected) << "step " << i;
      EXPECT_TRUE(same(got[expected], all[expected])) << "step " << i;
    } else {
      expectContract(got, {all, all + vocab}, need);
    }
    if (testing::Test::HasFailure())
      break;
    token = argmax(all, vocab);
    if ((random = random * 1664525 + 1013904223) >> 28 == 0)
      token = int32_t((random >> 4) % uint32_t(vocab));
  }
  return statsOf(a.get());
}

TEST(ExactHead, GivesTheGreedyTokensOfF16) {
  const bitnet_head_stats stats = compare(kjv("exact"), kjv("f16"), 10000, 500, true);
  EXPECT_EQ(stats.rows, 10000u);
  EXPECT_LT(stats.candidates, 10000u * 60); // of 4096
}
TEST(ExactHead, GivesTheLogitsThatARowAsksFor) { compare(kjv("exact"), kjv("f16"), 1000, 200, false); }

class MadeUp : public testing::TestWithParam<const char *> {};
TEST_P(MadeUp, GivesTheGreedyTokensOfF16) {
  const bitnet_head_stats stats =
      compare(dummy(GetParam(), "exact"), dummy(GetParam(), "f16"), 2000, 200, true);
  EXPECT_EQ(stats.rows, 2000u);
  EXPECT_LT(stats.candidates, 2000u * 2000); // of 20003: the screen must screen
}
TEST_P(MadeUp, GivesTheLogitsThatARowAsksFor) {
  compare(dummy(GetParam(), "exact"), dummy(GetParam(), "f16"), 300, 100, false);
}
INSTANTIATE_TEST_SUITE_P(Embeddings, MadeUp, testing::Values("gaussian", "t5"));

struct Draws {
  std::vector<int32_t> tokens;
  bitnet_head_stats stats;
};
/// Texts of 400 tokens from so many seeds.
Draws draw(const std::string &path, bitnet_sampling sampling, int n_texts,
           int speculate = BITNET_SPECULATE_OFF) {
  const Model model = openModel(path);
  bitnet_engine *engine = nullptr;
  bitnet_error error{};
  const bitnet_engine_options engine_options{0, 2};
  EXPECT_EQ(bitnet_engine_create(model.get(), &engine_options, &engine, &error), BITNET_OK) << error.message;
  Draws draws{};
  for (int text = 0; text < n_texts; ++text) {
    bitnet_generation *generation = nullptr;
    bitnet_generation_options options;
    bitnet_generation_default(&options);
    options.sampling = sampling;
    options.sampling.seed = uint64_t(4 + text);
    options.max_tokens = 400;
    options.ignore_eos = 1;
    options.speculate = speculate;
    const int32_t prompt[] = {4080, 300 + text, 17};
    EXPECT_EQ(bitnet_generation_create(engine, prompt, 3, &options, &generation, &error), BITNET_OK)
        << error.message;
    bitnet_token_event event{};
    while (event.finish == BITNET_FINISH_NONE) {
      EXPECT_EQ(bitnet_generation_next(generation, &event, &error), BITNET_OK) << error.message;
      if (event.token >= 0)
        draws.tokens.push_back(event.token);
    }
    bitnet_generation_destroy(generation);
  }
  bitnet_engine_head_stats(engine, &draws.stats);
  bitnet_engine_destroy(engine);
  return draws;
}
bitnet_sampling warm(float temperature) {
  bitnet_sampling s;
  bitnet_sampling_default(&s);
  s.temperature = temperature;
  return s;
}

/// Seeded draws are those of the f16 head, for what a sampler says that it needs.
TEST(ExactHead, GivesTheSeededDrawsOfF16) {
  bitnet_sampling top_k = warm(0.9f), min_p = warm(0.9f), all = warm(0.9f);
  top_k.top_k = 40;
  min_p.min_p = 0.05f;
  for (const bitnet_sampling &s : {top_k, min_p, all}) {
    const Draws expected = draw(kjv("f16"), s, 1), got = draw(kjv("exact"), s, 1);
    EXPECT_EQ(expected.tokens.size(), 400u);
    EXPECT_EQ(got.tokens, expected.tokens);
    EXPECT_EQ(expected.stats.rows, 0u);
    EXPECT_EQ(got.stats.rows > 0, s.top_k > 0 || s.min_p > 0);
  }
}

/// Top-p sums over all logits, but few draws need all.
TEST(ExactHead, GivesTheTopPDrawsOfF16) {
  bitnet_sampling usual = warm(0.8f), narrow = warm(0.7f), penalized = warm(0.8f), both = warm(1.0f);
  usual.top_p = 0.9f;
  narrow.top_p = 0.5f;
  penalized.top_p = 0.9f;
  penalized.repetition_penalty = 1.1f;
  penalized.presence_penalty = 0.2f;
  both.top_p = 0.95f;
  both.min_p = 0.05f;
  for (const bitnet_sampling &s : {usual, narrow, penalized, both}) {
    const Draws expected = draw(kjv("f16"), s, 8), got = draw(kjv("exact"), s, 8);
    EXPECT_EQ(expected.tokens.size(), 3200u);
    EXPECT_EQ(got.tokens, expected.tokens);
    EXPECT_GT(got.stats.rows, 0u);
    EXPECT_LT(got.stats.full_rows, got.stats.rows / 2) << s.top_p; // 1 of 3200 to 40 %
  }
  EXPECT_EQ(draw(kjv("exact"), usual, 4, 3).tokens, draw(kjv("f16"), usual, 4).tokens); // rows ahead, too
}

TEST_P(MadeUp, GivesTheTopPDrawsOfF16) {
  bitnet_sampling s = warm(0.3f);
  s.top_p = 0.9f;
  const Draws expected = draw(dummy(GetParam(), "f16"), s, 2), got = draw(dummy(GetParam(), "exact"), s, 2);
  EXPECT_EQ(got.tokens, expected.tokens);
  EXPECT_EQ(got.tokens.size(), 800u);
}

/// Rows that ask for different things in one step, hidden states among them, give what each gives alone.
/// every: whether every row wants logits. Returns the rows that were screened.
uint64_t compareRows(int32_t n_rows, bool every) {
  const Model exact = openModel(kjv("exact")), f16 = openModel(kjv("f16"));
  const Session a = openSession(exact.get(), 2), b = openSession(f16.get(), 2),
                alone = openSession(exact.get(), 1);
  const int32_t vocab = vocabulary(exact.get());
  bitnet_model_info info;
  bitnet_model_get_info(exact.get(), &info);
  std::vector<bitnet_row> rows, all;
  for (int32_t i = 0; i < n_rows; ++i) {
    const Need need = kNeeds[i % std::size(kNeeds)];
    const int32_t want = i % 7 == 3 && !every   ? 0
                         : i % 7 == 5 && !every ? BITNET_WANT_HIDDEN
                                                : BITNET_WANT_LOGITS | (i % 2 ? BITNET_WANT_HIDDEN : 0);
    rows.push_back({i * 131 % 4000, i, 0, want, need.best, need.margin});
    all.push_back({rows.back().token, i, 0, want, 0, 0});
  }
  step(a.get(), rows);
  step(b.get(), all);
  size_t at = 0;
  for (const bitnet_row &row : rows) {
    step(alone.get(), {row});
    if (!row.want)
      continue;
    const float *full = bitnet_session_logits(b.get(), at), *got = bitnet_session_logits(a.get(), at);
    EXPECT_EQ(std::memcmp(bitnet_session_hidden(a.get(), at), bitnet_session_hidden(b.get(), at),
                          size_t(info.width) * sizeof(float)),
              0)
        << at;
    if (row.want & BITNET_WANT_LOGITS) {
      expectContract(got, {full, full + vocab}, {row.best, row.margin});
      EXPECT_EQ(std::memcmp(got, bitnet_session_logits(alone.get(), 0), size_t(vocab) * sizeof(float)), 0)
          << at;
    }
    ++at;
  }
  return statsOf(a.get()).rows;
}
TEST(ExactHead, TakesRowsThatAskForDifferentThings) {
  EXPECT_EQ(compareRows(23, false), 17u);
  // 25 of 128 rows want all; of the others 96 fit into whole tiles, 7 have no room for one.
  EXPECT_EQ(compareRows(128, true), 103u);
}

/// Where nearly all logits may matter, the f16 head gives them all.
TEST(ExactHead, RunsTheWholeHeadWhereTooManyRowsMatter) {
  const Model exact = openModel(kjv("exact")), f16 = openModel(kjv("f16"));
  const Session a = openSession(exact.get(), 2), b = openSession(f16.get());
  const int32_t vocab = vocabulary(exact.get());
  step(a.get(), {{5, 0, 0, 1, 1, 1e6f}, {6, 1, 0, 1, 1, 0}, {7, 2, 0, 1, 1, 1e6f}});
  step(b.get(), {{5, 0, 0, 1, 0, 0}, {6, 1, 0, 1, 0, 0}, {7, 2, 0, 1, 0, 0}});
  EXPECT_EQ(statsOf(a.get()).rows, 3u);
  EXPECT_EQ(statsOf(a.get()).full_rows, 2u);
  for (size_t i : {0, 2})
    EXPECT_EQ(std::memcmp(bitnet_session_logits(a.get(), i), bitnet_session_logits(b.get(), i),
                          size_t(vocab) * sizeof(float)),
              0);
  const float *all = bitnet_session_logits(b.get(), 1);
  expectContract(bitnet_session_logits(a.get(), 1), {all, all + vocab}, {1, 0});
}

/// The approximations, too, are one set of numbers.
TEST(ExactHead, GivesTheSameBitsOnEveryVariant) {
  std::vector<float> expected;
  for (const char *cpu : {"portable", "avx2", "avx512", "avx512vnni"})
    for (const int threads : {1, 3}) {
      bitnet_model_options options{cpu};
      bitnet_error error{};
      bitnet_model *opened = nullptr;
      if (bitnet_model_open(kjv("exact").c_str(), &options, &opened, &error) != BITNET_OK)
        continue;
      const Model model(opened);
      const Session session = openSession(model.get(), threads);
      std::vector<float> got;
      for (int32_t i = 0; i < 6; ++i) {
        step(session.get(), {{i * 300, i, 0, 1, kNeeds[i % 3].best, kNeeds[i % 3].margin}});
        const float *logits = bitnet_session_logits(session.get(), 0);
        got.insert(got.end(), logits, logits + vocabulary(model.get()));
      }
      if (expected.empty())
        expected = got;
      EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
          << cpu << " " << threads;
    }
}

} // namespace
