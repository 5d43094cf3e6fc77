// What drawing a token costs: microseconds for 128,256 logits, median of 15, by options and by how peaked the
// logits are. Not a test.
#include "runtime/sample/sampler.h"
#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace bitnet::runtime;

namespace {

constexpr int32_t kVocab = 128256;

/// About normal, with this standard deviation, and 40 tokens that stand out.
std::vector<float> make_logits(double deviation, Random &random) {
  std::vector<float> logits;
  for (int32_t i = 0; i < kVocab; ++i) {
    double sum = -6;
    for (int j = 0; j < 12; ++j)
      sum += random.uniform();
    logits.push_back(float(deviation * sum));
  }
  for (int i = 0; i < 40; ++i)
    logits[size_t(random.uniform() * kVocab)] += 10;
  return logits;
}

double microseconds(const bitnet_sampling &sampling, const std::vector<std::vector<float>> &logits) {
  const auto sampler = Sampler::create(sampling, kVocab);
  for (int32_t token = 0; token < 200; ++token) // what penalties see
    (*sampler)->accept(token * 37, true);
  std::vector<double> times;
  for (size_t i = 0; i < 15; ++i) {
    const auto start = std::chrono::steady_clock::now();
    (*sampler)->sample(logits[i % logits.size()].data());
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

} // namespace

int main() {
  const struct {
    const char *name;
    float temperature;
    int32_t top_k;
    float top_p, min_p, penalty;
  } options[] = {{"greedy", 0, 0, 1, 0, 1},
                 {"greedy, penalty", 0, 0, 1, 0, 1.1f},
                 {"temperature", 0.8f, 0, 1, 0, 1},
                 {"min-p 0.05", 0.8f, 0, 1, 0.05f, 1},
                 {"top-k 40", 0.8f, 40, 1, 0, 1},
                 {"top-k 2000", 0.8f, 2000, 1, 0, 1},
                 {"top-p 0.9", 0.8f, 0, 0.9f, 0, 1},
                 {"top-p 0.9, penalty", 0.8f, 0, 0.9f, 0, 1.1f},
                 {"top-p 0.999", 0.8f, 0, 0.999f, 0, 1}};
  const double deviations[] = {1, 2.5, 5};
  std::printf("%-20s", "deviation of logits");
  for (const double deviation : deviations)
    std::printf("%8.1f", deviation);
  std::printf("\n");
  Random random(3);
  std::vector<std::vector<std::vector<float>>> logits;
  for (const double deviation : deviations)
    logits.push_back({make_logits(deviation, random), make_logits(deviation, random)});
  for (const auto &o : options) {
    bitnet_sampling s{};
    s.temperature = o.temperature;
    s.top_k = o.top_k;
    s.top_p = o.top_p;
    s.min_p = o.min_p;
    s.repetition_penalty = o.penalty;
    std::printf("%-20s", o.name);
    for (const auto &l : logits)
      std::printf("%8.0f", microseconds(s, l));
    std::printf("\n");
  }
}
