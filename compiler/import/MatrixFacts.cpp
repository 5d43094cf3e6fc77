// See MatrixFacts.h.
#include "compiler/import/MatrixFacts.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitnet::import {
namespace {

/// Ranks 0 .. n-1; equal values share the mean of theirs.
std::vector<double> ranksOf(const std::vector<uint32_t> &values) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin + 1; end < order.size() && values[order[end]] == values[order[begin]];)
      ++end;
    for (size_t i = begin; i < end; ++i)
      ranks[order[i]] = double(begin + end - 1) / 2;
  }
  return ranks;
}

} // namespace

MatrixFacts factsOf(const TernaryMatrix &matrix) {
  MatrixFacts facts;
  facts.weights = matrix.trits.size();
  facts.scales = matrix.scales.size();
  facts.groupCols = matrix.groupCols;
  for (int8_t t : matrix.trits)
    facts.zeros += t == 0;
  for (float scale : matrix.scales)
    if (scale != 0) {
      facts.smallestScale = facts.smallestScale == 0 ? scale : std::min(facts.smallestScale, scale);
      facts.largestScale = std::max(facts.largestScale, scale);
    }
  return facts;
}

double neuronAgreement(const TernaryMatrix &gate, const TernaryMatrix &down) {
  const size_t neurons = size_t(gate.rows);
  std::vector<uint32_t> rows(neurons), cols(neurons);
  for (size_t n = 0; n < neurons; ++n)
    for (int32_t c = 0; c < gate.cols; ++c)
      rows[n] += gate.trits[n * size_t(gate.cols) + size_t(c)] == 0;
  for (int32_t r = 0; r < down.rows; ++r)
    for (size_t n = 0; n < neurons; ++n)
      cols[n] += down.trits[size_t(r) * neurons + n] == 0;
  const std::vector<double> a = ranksOf(rows), b = ranksOf(cols);
  const double mean = double(neurons - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (size_t n = 0; n < neurons; ++n) {
    ab += (a[n] - mean) * (b[n] - mean);
    aa += (a[n] - mean) * (a[n] - mean);
    bb += (b[n] - mean) * (b[n] - mean);
  }
  return ab / std::sqrt(aa * bb);
}

} // namespace bitnet::import
