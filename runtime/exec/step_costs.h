// What steps of different numbers of rows cost compared with each other, learned from those that ran. Says
// whether more rows pay; never what a row's result is.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bitnet::runtime {

/// add() by one thread at a time; of() from any thread.
class StepCosts {
public:
  static constexpr size_t kMostRows = 32; ///< beyond, of() goes on in proportion
  /// weight_bytes: of the weights that a row needs.
  explicit StepCosts(uint64_t weight_bytes);

  /// A step of so many rows, each with logits, took so long.
  void add(size_t rows, double seconds);
  /// The cost of a step with rows >= 1, in a unit of its own. A number of rows that never ran is taken for as
  /// dear as those next to it that did say, and rather too dear: who tries it pays. One that was not run for
  /// long, and seemed dearer than that, is taken for less again, so that one bad measurement is not the last.
  double of(size_t rows) const;

private:
  double usual(size_t rows) const;
  void follow(size_t rows, double seconds);

  const std::array<double, 4> usual_;               ///< of 1, 2, 4 and 8 rows
  std::array<std::atomic<double>, kMostRows> cost_; ///< of rows 1, 2, ...
  std::array<uint32_t, kMostRows> runs_{};          ///< how often they ran, up to some number
  double unit_ = 0;                                 ///< seconds
};

} // namespace bitnet::runtime
