// What bitnet bench measured, and how it is told: JSON with every run, and a table with the shares of the
// machine's limits.
#pragma once
#include "runtime/api/bitnet.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bitnet::tools {

/// Measurements of one quantity.
struct Samples {
  std::vector<double> values;

  double median() const;
  double min() const;
  double max() const;
  nlohmann::ordered_json toJson() const;
};

/// One line of the result: n tokens at once (prompt) or one by one (generation), behind `depth` positions.
struct Case {
  bool generation;
  int32_t n, depth, threads;
  int32_t rows; ///< sequences that grow side by side, a token each in a step; a prompt has one
  bool head;    ///< false: stops before the head
  bitnet_session *session;
  int32_t sequence;               ///< the first of `rows`; each holds `depth` positions between runs
  Samples tokens_per_second;      ///< of all rows together
  bitnet_head_stats head_stats{}; ///< of an exact head, over all runs

  std::string name() const;
  /// Logits that an exact head computed for each token, beside its screen.
  double candidatesPerToken() const { return double(head_stats.candidates) / double(head_stats.rows); }
};

/// The machine's limits for a number of threads, measured between the cases.
struct Limit {
  int threads;
  Samples bytes_per_second, macs_per_second;
};

struct Bench {
  bitnet_model_info info;
  double load_seconds = 0;
  std::string dot_product; ///< the instruction that macs_per_second was measured with
  std::vector<Case> cases;
  std::vector<Limit> limits;

  const Limit *limitOf(int threads) const;
  /// Of a generation: share of the read bandwidth that its weights and cache take; 0 = not known.
  double shareOfReads(const Case &measured) const;
  /// Of a prompt: share of the dot product's peak that the ternary layers take; 0 = not known.
  double shareOfDotProducts(const Case &measured) const;
  /// Time of a step with several rows by that of a step with one; 0 = that was not measured.
  double costOfRows(const Case &measured) const;
  /// Seconds of a token that the head takes; 0 = not measured.
  double secondsOfHead(const Case &measured) const;

  nlohmann::ordered_json toJson() const;
  void printTable() const;

private:
  const Case *sibling(const Case &of, int32_t rows, bool head) const;
};

/// The largest amount of memory that this process has held at one time, mapped files included.
uint64_t peakMemory();

} // namespace bitnet::tools
