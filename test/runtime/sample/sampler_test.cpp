#include "runtime/sample/sampler.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>

namespace bitnet::runtime {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

bitnet_sampling greedy() {
  bitnet_sampling s = {};
  s.top_p = 1;
  s.repetition_penalty = 1;
  return s;
}
bitnet_sampling hot(float temperature = 1) {
  bitnet_sampling s = greedy();
  s.temperature = temperature;
  s.seed = 42;
  return s;
}

std::unique_ptr<Sampler> make(const bitnet_sampling &sampling, size_t vocab) {
  auto sampler = Sampler::create(sampling, static_cast<int32_t>(vocab));
  EXPECT_TRUE(sampler.ok()) << sampler.status().message();
  return std::move(*sampler);
}

/// Share of each id in 20,000 draws: three standard deviations are at most 3 * sqrt(0.25 / 20000) = 0.0106.
std::vector<double> shares(const bitnet_sampling &sampling, const std::vector<float> &logits) {
  constexpr int kDraws = 20000;
  const auto sampler = make(sampling, logits.size());
  std::vector<double> share(logits.size());
  for (int i = 0; i < kDraws; ++i)
    share[sampler->sample(logits.data())] += 1.0 / kDraws;
  return share;
}
constexpr double kTolerance = 0.012;

std::vector<float> logs(const std::vector<double> &probabilities) {
  std::vector<float> out;
  for (const double p : probabilities)
    out.push_back(static_cast<float>(std::log(p)));
  return out;
}

TEST(Sampler, GreedyTakesTheHighestAndOfTiesTheLowestId) {
  const auto sampler = make(greedy(), 4);
  const float ties[] = {1, 3, 3, 2};
  EXPECT_EQ(sampler->sample(ties), 1);
  const float with_nan[] = {kNan, -5, kNan, -6};
  EXPECT_EQ(sampler->sample(with_nan), 1);
  const float nothing[] = {kNan, -kInf, kNan, -kInf};
  EXPECT_EQ(sampler->sample(nothing), 0);
  const float infinite[] = {0, 1, kInf, 2};
  EXPECT_EQ(sampler->sample(infinite), 2);
}

TEST(Sampler, DrawsNeverTakeNanOrNothing) {
  const std::vector<double> got = shares(hot(), {kNan, 1, -kInf, 1, kNan});
  EXPECT_EQ(got[0] + got[2] + got[4], 0);
  const float nothing[] = {kNan, -kInf, kNan};
  EXPECT_EQ(make(hot(), 3)->sample(nothing), 0);
}

TEST(Sampler, DrawsInProportion) {
  const std::vector<double> expected = {0.5, 0.3, 0.15, 0.05};
  const std::vector<double> got = shares(hot(), logs(expected));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], kTolerance) << i;
}

TEST(Sampler, TemperatureSharpens) { // p^2 normalised: 0.64 and 0.36 to 0.7596...
  const std::vector<double> got = shares(hot(0.5f), logs({0.64, 0.36}));
  EXPECT_NEAR(got[0], 0.64 * 0.64 / (0.64 * 0.64 + 0.36 * 0.36), kTolerance);
}

TEST(Sampler, TopKKeepsTheBest) {
  bitnet_sampling s = hot();
  s.top_k = 2;
  const std::vector<double> got = shares(s, logs({0.2, 0.5, 0.1, 0.2}));
  EXPECT_NEAR(got[1], 0.5 / 0.7, kTolerance);
  EXPECT_NEAR(got[0], 0.2 / 0.7, kTolerance); // of ids 0 and 3 the lower one
  EXPECT_EQ(got[2] + got[3], 0);
}

TEST(Sampler, TopPKeepsTheTokenThatCrosses) {
  bitnet_sampling s = hot();
  const std::vector<float> logits = {2, 1, 0, -1}; // 0.644, 0.237, 0.087, 0.032
  const std::pair<float, size_t> kept[] = {{0.0f, 1}, {0.5f, 1},  {0.7f, 2}, {0.87f, 2},
                                           {0.9f, 3}, {0.99f, 4}, {1.0f, 4}};
  for (const auto &[p, n] : kept) {
    s.top_p = p;
    const std::vector<double> got = shares(s, logits);
    EXPECT_EQ(static_cast<size_t>(std::count_if(got.begin(), got.end(), [](double x) { return x > 0; })), n)
        << p;
  }
}

TEST(Sampler, TopPSortsBeyondItsFirstRound) {
  // 5,000 equal tokens: top-p 0.5 keeps the lower half of the ids (mass before <= 0.5: 2,501 of them).
  bitnet_sampling s = hot();
  s.top_p = 0.5f;
  const std::vector<float> logits(5000, 1.0f);
  const auto sampler = make(s, logits.size());
  int32_t highest = 0;
  for (int i = 0; i < 1000; ++i) // misses the highest 50 with probability 1e-9
    highest = std::max(highest, sampler->sample(logits.data()));
  EXPECT_LE(highest, 2500);
  EXPECT_GT(highest, 2450);
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  bitnet_sampling s = hot();
  s.min_p = 0.4f;
  const std::vector<double> got = shares(s, logs({0.5, 0.25, 0.15, 0.1}));
  EXPECT_NEAR(got[0], 0.5 / 0.75, kTolerance);
  EXPECT_EQ(got[2] + got[3], 0);
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogits) {
  bitnet_sampling s = greedy();
  s.repetition_penalty = 2;
  const auto sampler = make(s, 3);
  const float positive[] = {3, 2, -9};
  sampler->accept(0, false);
  EXPECT_EQ(sampler->sample(positive), 1); // 1.5 < 2
  const float negative[] = {-3, -5, -9};
  EXPECT_EQ(sampler->sample(negative), 1); // -6 < -5
}

TEST(Sampler, PresenceAndFrequencyPenaltiesCountWhatWasDrawn) {
  bitnet_sampling s = greedy();
  s.presence_penalty = 0.5f;
  s.frequency_penalty = 1;
  const auto sampler = make(s, 3);
  const float logits[] = {4, 3, 0};
  sampler->accept(0, false); // the prompt does not count
  EXPECT_EQ(sampler->sample(logits), 0);
  sampler->accept(0, true);
  EXPECT_EQ(sampler->sample(logits), 1); // 4 - 0.5 - 1 < 3
  sampler->accept(1, true);
  EXPECT_EQ(sampler->sample(logits), 0); // 2.5 against 1.5
  sampler->accept(0, true);
  EXPECT_EQ(sampler->sample(logits), 0); // 4 - 0.5 - 2 = 1.5, a tie: the lowest id
  sampler->accept(0, true);
  EXPECT_EQ(sampler->sample(logits), 1);
}

TEST(Sampler, BiasIsAddedAndMayBan) {
  bitnet_sampling s = greedy();
  const int32_t tokens[] = {0, 2};
  const float values[] = {-kInf, 1.5f};
  s.bias_tokens = tokens;
  s.bias_values = values;
  s.n_bias = 2;
  const float logits[] = {kInf, 3, 2};
  EXPECT_EQ(make(s, 3)->sample(logits), 2);
  s.temperature = 1;
  EXPECT_EQ(shares(s, {5, 3, 1})[0], 0);
  s.bias_tokens = nullptr;
  EXPECT_EQ(Sampler::create(s, 3).status().message(), "sampler: bias: expected tokens and values, got NULL");
  s.bias_tokens = tokens;
  EXPECT_EQ(Sampler::create(s, 2).status().message(), "sampler: bias: expected a token from 0 to 1, got 2");
}

/// What a screening head gives for a need: the logits that must be exact, and of the others estimates that
/// are wrong but lower, and outside of the margin.
std::vector<float> screened(const std::vector<float> &logits, LogitsNeed need, Random &random) {
  if (need.best == 0)
    return logits;
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  const float least = std::min(sorted[size_t(need.best) - 1], sorted[0] - need.margin);
  std::vector<float> out = logits;
  for (float &logit : out)
    if (logit < least)
      logit = random.uniform() < 0.1 ? -kInf
                                     : std::nextafter(least, -kInf) - float(random.uniform() * 4 - 0.5 > 0);
  return out;
}

/// Draws 300 tokens from all logits and from those that were asked for, and compares; the most that were
/// asked for at once, INT32_MAX for all.
int32_t draw_from_what_is_needed(const bitnet_sampling &sampling, int32_t ahead = 0) {
  constexpr int32_t kVocab = 200;
  Random random(5);
  const auto from_all = make(sampling, kVocab), from_needed = make(sampling, kVocab);
  LogitsNeed need = {};
  int32_t most = 0;
  for (int step = 0; step < 300; ++step) {
    std::vector<float> logits;
    for (int32_t i = 0; i < kVocab; ++i) // few values, so that there are ties
      logits.push_back(float(int(random.uniform() * 32)) / 4 - 4);
    if (step % (ahead + 1) == 0)
      need = from_needed->need(ahead);
    most = std::max(most, need.best == 0 ? INT32_MAX : need.best);
    const std::vector<float> some = screened(logits, need, random);
    const int32_t token = from_all->sample(logits.data());
    EXPECT_EQ(from_needed->sample(some.data()), token) << step;
    from_all->accept(token, true);
    from_needed->accept(token, true);
  }
  return most;
}

TEST(Sampler, WhatItNeedsIsEnough) {
  bitnet_sampling s = greedy();
  EXPECT_EQ(draw_from_what_is_needed(s), 1);
  s.repetition_penalty = 1.5f;
  s.repetition_window = 10;
  EXPECT_EQ(draw_from_what_is_needed(s), 11);
  EXPECT_EQ(draw_from_what_is_needed(s, 3), 17);
  s.presence_penalty = 1;
  s.frequency_penalty = 0.5f;
  EXPECT_EQ(draw_from_what_is_needed(s), INT32_MAX); // once most tokens were drawn

  s = hot();
  EXPECT_EQ(draw_from_what_is_needed(s), INT32_MAX);
  s.min_p = 0.3f;
  EXPECT_EQ(draw_from_what_is_needed(s), 1);
  s.top_k = 20;
  EXPECT_EQ(draw_from_what_is_needed(s), 20);
  s.top_p = 0.9f;
  EXPECT_EQ(draw_from_what_is_needed(s), 20);
  s.repetition_penalty = 1.2f;
  s.repetition_window = 5;
  EXPECT_EQ(draw_from_what_is_needed(s, 1), 27);
}

TEST(Sampler, NeedsAllWhereALogitMayRiseOrAllAreSummed) {
  const auto best = [](auto change) {
    bitnet_sampling s = greedy();
    change(s);
    const auto sampler = make(s, 100);
    sampler->accept(3, true);
    return sampler->need().best;
  };
  EXPECT_EQ(best([](auto &) {}), 1);
  EXPECT_EQ(best([](auto &s) { s.repetition_penalty = 0.9f; }), 0);
  EXPECT_EQ(best([](auto &s) { s.presence_penalty = -1; }), 0);
  EXPECT_EQ(best([](auto &s) { s.frequency_penalty = -1; }), 0);
  const int32_t token = 3;
  const float value = 1;
  const auto bias = [&](bitnet_sampling &s) {
    s.bias_tokens = &token;
    s.bias_values = &value;
    s.n_bias = 1;
  };
  EXPECT_EQ(best(bias), 0);
  EXPECT_EQ(best([](auto &s) { s.temperature = 1, s.top_p = 0.9f; }), 0); // unless its check is asked
  EXPECT_EQ(best([](auto &s) { s.temperature = 1, s.min_p = 0.1f, s.top_p = 0.9f; }), 0);
  EXPECT_EQ(best([](auto &s) { s.temperature = 1, s.min_p = 0.1f, s.presence_penalty = 1; }), 0);
  EXPECT_EQ(best([](auto &s) { s.temperature = 1, s.top_k = 100; }), 0);
  EXPECT_EQ(best([](auto &s) { s.temperature = 1, s.top_k = 98, s.presence_penalty = 1; }), 99);
}

/// Whatever the logits that are not exact are, within what the check was told of them: if it says that the
/// exact ones suffice, the token is the same. Returns of how many of 1500 draws it says so; width: how much
/// higher than they are the others may be.
int draw_from_what_suffices(const bitnet_sampling &sampling, float depth, float width) {
  constexpr int32_t kVocab = 600;
  constexpr size_t kOthers = 3; // others are: impossible, as high as may be, anything
  Random random(6);
  const auto asked = make(sampling, kVocab);
  std::vector<std::unique_ptr<Sampler>> samplers;
  for (size_t i = 0; i < kOthers; ++i)
    samplers.push_back(make(sampling, kVocab));
  int sufficed = 0;
  for (int step = 0; step < 1500; ++step) {
    std::vector<float> logits;
    for (int32_t i = 0; i < kVocab; ++i)
      logits.push_back(float(4 * (random.uniform() + random.uniform() + random.uniform() - 1.5)) +
                       (random.uniform() < 0.01 ? 3 : 0));
    const float highest = *std::max_element(logits.begin(), logits.end()), below = highest - depth;
    SumCheck *const check = asked->need().check;
    std::vector<int32_t> rows; // all that are not below, and some more
    std::vector<float> exact;
    std::vector<std::vector<float>> some(kOthers, logits);
    double rest = 0;
    for (int32_t i = 0; i < kVocab; ++i) {
      const float logit = logits[size_t(i)];
      if (logit >= below || random.uniform() < 0.1) {
        rows.push_back(i);
        exact.push_back(logit);
        continue;
      }
      const float most = std::min(logit + width, std::nextafter(below, -kInf));
      if (check)
        rest += std::exp((double(most) - double(highest)) * check->sum_scale());
      some[0][size_t(i)] = -kInf;
      some[1][size_t(i)] = most;
      some[2][size_t(i)] = most - float(3 * random.uniform());
    }
    const bool suffices =
        check && check->suffices(0, rows.data(), exact.data(), int32_t(rows.size()), below, rest);
    sufficed += suffices;
    const int32_t token = asked->sample(logits.data());
    asked->accept(token, true);
    for (size_t i = 0; i < kOthers; ++i) {
      EXPECT_TRUE(samplers[i]->sample((suffices ? some[i] : logits).data()) == token || !suffices)
          << "step " << step << ", others " << i;
      samplers[i]->accept(token, true);
    }
    if (testing::Test::HasFailure())
      break;
  }
  return sufficed;
}

TEST(Sampler, WhatSufficesForTopPIsEnough) {
  bitnet_sampling s = hot(0.8f);
  s.top_p = 0.9f;
  const int often = draw_from_what_suffices(s, 6, 0.5f);
  EXPECT_GT(often, 700);
  EXPECT_LT(often, 1500);
  EXPECT_EQ(draw_from_what_suffices(s, 1, 20), 0);
  s.min_p = 0.05f;
  EXPECT_GT(draw_from_what_suffices(s, 6, 0.5f), 700);
  s.min_p = 0;
  s.repetition_penalty = 1.3f;
  s.repetition_window = 20;
  s.frequency_penalty = 0.2f;
  s.top_p = 0.5f;
  EXPECT_GT(draw_from_what_suffices(s, 5, 1), 500);
}

/// A check that fails is not asked for each time.
TEST(Sampler, StopsAskingWhereAllAreNeededAnyway) {
  bitnet_sampling s = hot();
  s.top_p = 0.9f;
  const auto sampler = make(s, 10);
  const std::vector<float> flat(10);
  int asked = 0;
  for (int i = 0; i < 170; ++i) {
    asked += sampler->need().check != nullptr;
    sampler->sample(flat.data());
  }
  EXPECT_GT(asked, 10);
  EXPECT_LT(asked, 30);
}

TEST(LogSoftmax, IsTheLogarithmOfTheSoftmax) {
  const std::vector<float> logits = logs({0.5, 0.125, 0.25, 0.125});
  const LogSoftmax distribution(logits.data(), 4);
  for (int i = 0; i < 4; ++i) // logits are rounded to f32: half an ulp of 2 is 1.2e-7
    EXPECT_NEAR(distribution.of(i), logits[i], 5e-7);
  EXPECT_EQ(distribution.best(3), (std::vector<int32_t>{0, 2, 1}));
  const float odd[] = {kNan, 1000, -kInf};
  const LogSoftmax extreme(odd, 3);
  EXPECT_EQ(extreme.of(1), 0);
  EXPECT_LT(extreme.of(0), -1e30f);
  EXPECT_EQ(extreme.best(1), std::vector<int32_t>{1});
}

TEST(Sampler, PenaltyForgetsWhatLeavesTheWindow) {
  bitnet_sampling s = greedy();
  s.repetition_penalty = 2;
  s.repetition_window = 2;
  const float logits[] = {3, 2, 0};
  const auto sampler = make(s, 3);
  sampler->accept(0, false);
  sampler->accept(2, false);
  EXPECT_EQ(sampler->sample(logits), 1);
  sampler->accept(2, false);
  EXPECT_EQ(sampler->sample(logits), 0);
  s.repetition_window = -1;
  const auto all = make(s, 3);
  all->accept(0, false);
  for (int i = 0; i < 1000; ++i)
    all->accept(2, false);
  EXPECT_EQ(all->sample(logits), 1);
}

TEST(Sampler, SeedDecidesTheDraws) {
  const std::vector<float> logits(100, 0.0f);
  const auto a = make(hot(), 100), b = make(hot(), 100);
  bitnet_sampling other = hot();
  other.seed = 43;
  const auto c = make(other, 100);
  int differ = 0;
  for (int i = 0; i < 100; ++i) {
    const int32_t drawn = a->sample(logits.data());
    EXPECT_EQ(drawn, b->sample(logits.data()));
    differ += drawn != c->sample(logits.data());
  }
  EXPECT_GT(differ, 80);
}

TEST(Sampler, DrawsAreTheSameOnEveryMachine) {
  std::vector<float> logits;
  for (int i = 0; i < 1000; ++i)
    logits.push_back(static_cast<float>((i * 37) % 101) / 8 - 6);
  bitnet_sampling s = hot(0.8f);
  s.top_p = 0.9f;
  const auto sampler = make(s, logits.size());
  std::vector<int32_t> drawn;
  for (int i = 0; i < 8; ++i)
    drawn.push_back(sampler->sample(logits.data()));
  EXPECT_EQ(drawn, (std::vector<int32_t>{38, 939, 868, 393, 232, 704, 464, 169}));
}

TEST(Sampler, RandomIsSplitMix64) { // the first outputs for seed 1234567, from the published algorithm
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
}

TEST(Sampler, ExpIsAccurate) {
  double worst = 0;
  for (double x = 0; x > -700; x -= 0.0371)
    worst = std::max(worst, std::abs(exp_nonpositive(x) / std::exp(x) - 1));
  EXPECT_LT(worst, 1e-15);
  EXPECT_EQ(exp_nonpositive(0), 1);
  EXPECT_EQ(exp_nonpositive(-1e300), 0);
}

TEST(Sampler, RefusesSettingsWithoutMeaning) {
  const auto error = [](auto change) {
    bitnet_sampling s = hot();
    change(s);
    return Sampler::create(s, 10).status().message();
  };
  EXPECT_EQ(error([](auto &s) { s.temperature = kNan; }), "sampler: temperature: expected a finite number");
  EXPECT_EQ(error([](auto &s) { s.top_p = -1; }), "sampler: top_p: expected 0 to 1, got -1.000000");
  EXPECT_EQ(error([](auto &s) { s.min_p = 2; }), "sampler: min_p: expected 0 to 1, got 2.000000");
  EXPECT_EQ(error([](auto &s) { s.repetition_penalty = 0; }),
            "sampler: repetition_penalty: expected a positive number (1 = off), got 0.000000");
  EXPECT_NE(error([](auto &s) { s.repetition_window = INT32_MAX; }), "");
  EXPECT_EQ(Sampler::create(hot(), 0).status().message(),
            "sampler: vocab: expected a positive number, got 0");
}

} // namespace
} // namespace bitnet::runtime
