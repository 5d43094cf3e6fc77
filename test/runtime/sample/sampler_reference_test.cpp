// A sampler draws what the plain text of its definition draws: everything weighed one by one, sorted whole,
// summed in the order that sampler.h says. Over kind and unkind logits, with all combinations of options.
#include "runtime/cpu/cpu.h"
#include "runtime/sample/sampler.h"
#include "runtime/sample/token_weights.h"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace bitnet::runtime {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

/// The definition, without any haste. No window: all that was accepted counts.
class Reference {
public:
  Reference(const bitnet_sampling &sampling, size_t vocab)
      : s_(sampling), random_(sampling.seed), seen_(vocab), drawn_(vocab) {}
  void accept(int32_t token, bool drawn) {
    ++seen_[size_t(token)];
    drawn_[size_t(token)] += drawn;
  }
  int32_t sample(std::vector<float> logits) {
    struct Token {
      int32_t id;
      float logit;
      double weight;
    };
    std::vector<Token> tokens;
    for (size_t id = 0; id < logits.size(); ++id)
      tokens.push_back({int32_t(id), after_penalties(id, logits[id]), 0});
    std::vector<Token> sorted = tokens;
    const auto before = [](const Token &a, const Token &b) {
      return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    std::sort(sorted.begin(), sorted.end(), before);
    const Token best = sorted[0];
    if (!(s_.temperature > 0))
      return best.id;
    const double u = random_.uniform();
    if (best.logit == -FLT_MAX)
      return best.id;
    const double inverse = 1.0 / double(s_.temperature);
    for (auto *list : {&tokens, &sorted})
      for (Token &t : *list)
        t.weight = exp_nonpositive((double(t.logit) - double(best.logit)) * inverse);

    const bool top_k = s_.top_k > 0 && size_t(s_.top_k) < tokens.size();
    if (top_k)
      sorted.resize(size_t(s_.top_k));
    std::vector<Token> kept = top_k ? sorted : tokens;
    if (s_.top_p < 1) {
      double total = 0, mass = 0;
      for (const Token &t : kept)
        total += t.weight;
      kept.clear();
      for (const Token &t : sorted) {
        if (mass > double(s_.top_p) * total)
          break;
        mass += t.weight;
        kept.push_back(t);
      }
    }
    double total = 0, mass = 0;
    const double least = s_.min_p > 0 ? double(s_.min_p) : 0;
    for (const Token &t : kept)
      total += t.weight >= least ? t.weight : 0;
    for (const Token &t : kept) {
      mass += t.weight >= least ? t.weight : 0;
      if (mass > u * total)
        return t.id;
    }
    return -1;
  }

private:
  float after_penalties(size_t id, float logit) const {
    if (std::isnan(logit))
      return -FLT_MAX;
    for (size_t i = 0; i < s_.n_bias; ++i)
      if (size_t(s_.bias_tokens[i]) == id)
        logit += s_.bias_values[i];
    if (seen_[id] > 0 && s_.repetition_penalty != 1)
      logit = logit > 0 ? logit / s_.repetition_penalty : logit * s_.repetition_penalty;
    if (drawn_[id] > 0 && (s_.presence_penalty != 0 || s_.frequency_penalty != 0))
      logit -= s_.presence_penalty + s_.frequency_penalty * float(drawn_[id]);
    return std::isnan(logit) ? -FLT_MAX : std::clamp(logit, -FLT_MAX, FLT_MAX);
  }

  const bitnet_sampling s_;
  Random random_;
  std::vector<int32_t> seen_, drawn_;
};

/// About normal.
double normal(Random &random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += random.uniform();
  return sum;
}

enum Shape { gaussian, wide, peaked, tied, flat, holes, infinite, huge, kShapes };
std::vector<float> make_logits(Shape shape, size_t vocab, Random &random) {
  std::vector<float> logits(vocab);
  for (float &l : logits) {
    const double z = normal(random), u = random.uniform();
    switch (shape) {
    case gaussian:
      l = float(z);
      break;
    case wide:
      l = float(6 * z);
      break;
    case peaked:
      l = float(u < 0.01 ? 20 + 5 * z : 2 * z);
      break;
    case tied: // few values, both zeros among them
      l = float(std::nearbyint(2 * z)) * (u < 0.5 ? 0.5f : 1.0f);
      break;
    case flat:
      l = 1.5f;
      break;
    case holes:
      l = u < 0.3 ? -kInf : u < 0.5 ? kNan : float(3 * z);
      break;
    case infinite:
      l = u < 0.01 ? kInf : u < 0.5 ? -kInf : float(z);
      break;
    default: // differences that no double holds
      l = float(z) * (u < 0.1 ? 1e30f : u < 0.5 ? 1e37f : 1e-30f);
    }
  }
  return logits;
}

/// How many draws are compared for each combination.
constexpr int kDraws = 2;

void compare(size_t vocab, Shape shape, bool with_penalties) {
  Random random(uint64_t(shape) * 100 + vocab);
  for (const float temperature : {0.0f, 0.05f, 0.8f, 3.0f, 1e-30f, 1e30f})
    for (const int32_t top_k : {0, 1, 40, 700})
      for (const float top_p : {1.0f, 0.0f, 0.5f, 0.9f, 0.999f, 0.9999999f})
        for (const float min_p : {0.0f, 0.05f, 1e-6f, 1.0f}) {
          bitnet_sampling s = {};
          s.temperature = temperature;
          s.top_k = top_k;
          s.top_p = top_p;
          s.min_p = min_p;
          s.seed = random.next();
          s.repetition_penalty = 1;
          const int32_t biased[] = {int32_t(vocab / 2), 0, int32_t(vocab / 2)};
          const float biases[] = {2, -kInf, 1};
          if (with_penalties) {
            s.repetition_penalty = 1.3f;
            s.repetition_window = -1;
            s.presence_penalty = 0.5f;
            s.frequency_penalty = 0.25f;
            s.bias_tokens = biased;
            s.bias_values = biases;
            s.n_bias = 3;
          }
          auto sampler = Sampler::create(s, int32_t(vocab));
          ASSERT_TRUE(sampler.ok());
          Reference reference(s, vocab);
          for (int i = 0; i < kDraws; ++i) {
            const std::vector<float> logits = make_logits(shape, vocab, random);
            const int32_t expected = reference.sample(logits), got = (*sampler)->sample(logits.data());
            ASSERT_EQ(got, expected) << "vocab " << vocab << ", shape " << shape << ", temperature "
                                     << temperature << ", top_k " << top_k << ", top_p " << top_p
                                     << ", min_p " << min_p << ", seed " << s.seed << ", draw " << i;
            reference.accept(expected, i % 2 == 0);
            (*sampler)->accept(expected, i % 2 == 0);
          }
        }
}

class SamplerReference : public testing::TestWithParam<int> {};
TEST_P(SamplerReference, DrawsTheSameTokens) {
  for (const size_t vocab : {1, 31, 129, 1100}) {
    compare(vocab, Shape(GetParam()), false);
    compare(vocab, Shape(GetParam()), true);
  }
}
INSTANTIATE_TEST_SUITE_P(Shapes, SamplerReference, testing::Range(0, int(kShapes)));

TEST(SamplerReference, DrawsTheSameTokensOfALargeVocabulary) {
  constexpr size_t kVocab = 50021;
  Random random(9);
  for (const Shape shape : {gaussian, wide, peaked, tied})
    for (const auto &[top_k, top_p, min_p] : {std::tuple(0, 1.0f, 0.0f), std::tuple(0, 0.9f, 0.0f),
                                              std::tuple(0, 1.0f, 0.05f), std::tuple(5000, 0.9f, 0.0f)}) {
      bitnet_sampling s = {};
      s.temperature = 0.8f;
      s.top_k = top_k;
      s.top_p = top_p;
      s.min_p = min_p;
      s.repetition_penalty = 1;
      auto sampler = Sampler::create(s, int32_t(kVocab));
      Reference reference(s, kVocab);
      for (int i = 0; i < 10; ++i) {
        const std::vector<float> logits = make_logits(shape, kVocab, random);
        ASSERT_EQ((*sampler)->sample(logits.data()), reference.sample(logits))
            << shape << " " << top_k << " " << top_p << " " << min_p;
      }
    }
}

TEST(TokenWeights, AreTheSameBitsOnEveryCpu) {
  Random random(3);
  std::vector<float> logits = make_logits(wide, 4096, random);
  for (size_t i = 0; i < 64; ++i)
    logits[i] = i % 2 ? -FLT_MAX : -600.0f - float(i);
  const float highest = *std::max_element(logits.begin(), logits.end());
  for (const double inverse : {1.0, 1.25, 0.01, 1e30, 1e300}) {
    std::vector<double> expected;
    for (const float l : logits)
      expected.push_back(exp_nonpositive((double(l) - double(highest)) * inverse));
    for (const Weigh way : ways_to_weigh()) {
      std::vector<double> got(logits.size());
      way(logits.data(), int32_t(logits.size()), highest, inverse, got.data());
      EXPECT_EQ(got, expected);
    }
    for (const int32_t n : {1, 31, 33, 100}) { // and no more is written
      std::vector<double> got(size_t(n) + 1, -1);
      weigh(logits.data(), n, highest, inverse, got.data());
      expected[size_t(n)] = -1;
      EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin()));
      expected[size_t(n)] = exp_nonpositive((double(logits[size_t(n)]) - double(highest)) * inverse);
    }
  }
}

TEST(TokenOrder, KeepsLogitAndId) {
  const float values[] = {kInf, FLT_MAX, 2, 1, FLT_MIN, 1e-45f, 0, -1e-45f, -1, -FLT_MAX, -kInf};
  for (size_t i = 0; i < std::size(values); ++i) {
    EXPECT_EQ(logit_of(candidate(values[i], 70000)), values[i]);
    EXPECT_EQ(id_of(candidate(values[i], 70000)), 70000);
    EXPECT_TRUE(i == 0 || candidate(values[i - 1], INT32_MAX) < candidate(values[i], 0));
  }
  EXPECT_EQ(candidate(-0.0f, 1), candidate(0.0f, 1));
}

} // namespace
} // namespace bitnet::runtime
