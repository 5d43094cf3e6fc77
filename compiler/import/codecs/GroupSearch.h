// The largest groups of columns within which all scales agree. Rows are cut into units (single columns, or
// the groups that a file has); wherever two neighbouring scales of a row differ, the candidates that would
// put both into one group are out.
#pragma once
#include <cstdint>
#include <vector>

namespace bitnet::import {

class GroupSearch {
public:
  /// Candidates are the divisors of `units` from `smallest` on, below `units` itself.
  GroupSearch(int32_t units, int32_t smallest) {
    for (int32_t group = units / 2; group >= smallest && group > 0; --group)
      if (units % group == 0)
        candidates_.push_back(group);
  }
  /// Units i < j of a row have different scales, and none between them has one.
  void differ(int32_t i, int32_t j) {
    size_t kept = 0;
    for (int32_t group : candidates_)
      if (i / group != j / group)
        candidates_[kept++] = group;
    candidates_.resize(kept);
  }
  /// 0: none is left.
  int32_t largest() const { return candidates_.empty() ? 0 : candidates_.front(); }

private:
  std::vector<int32_t> candidates_; // falling
};

} // namespace bitnet::import
