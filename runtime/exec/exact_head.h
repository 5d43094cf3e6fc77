// The exact head: gives the logits that a row asks for (bitnet_row.best, margin) bit for bit as the f16 head
// does, but reads a quarter of its bytes. A screen (compiler/pack/PackScreen.cpp) of 4 bits a weight gives
// every logit approximately, with a bound; the best ones are computed exactly, which gives a threshold; of
// the rows that the bound lets reach it, what their codes leave out of their largest weights is added, which
// narrows the bound; and every row that still may reach the threshold is computed exactly, by the arithmetic
// of the f16 head (rescore_f16). What is left keeps its approximation, which is below the threshold. Where
// too many rows reach it, the f16 head runs. (To add the largest weights' part to every row took a third of
// the head's time: few loads of weights are under way while a kernel gathers inputs.)
//
// A draw for which all logits count, top-p's, says itself whether what is exact is enough (SumCheck): it is
// told the exact logits, what all others are below, and what e^logit of all others sums to at most. That sum
// is uncertain by a factor of several (each logit by its bound), but it is the small one: top-p needs it only
// to know where its share of the whole ends, and most draws take the same token wherever in that interval it
// ends. If not, more rows are computed, and at last all. So the token is the f16 head's. Of 3200 tokens drawn
// from the repository's model (a weak one: the median nucleus of top-p 0.9 at temperature 0.8 is 15 tokens of
// 4096, a tenth of them have 142) a third needed all, where the entropy is below 2 nats one in twenty; 3 %
// with top-p 0.5; none with min-p besides. Who asks in vain most times stops asking (Sampler).
//
// The bound. Let w be a row, O the columns of its outliers, w~ = s*(code + d) what the codes say, r what is
// kept of w - w~ in O (0 elsewhere), x the input, x~ = t*q what the screen is told of it, n the width. The
// screen gives w~.x~ or, with the outliers, w~.x~ + r.x, which falls short of w.x by
//   (w - w~ - r).x~ + (w - r).(x - x~)
//
// The step t is such that all but kScreenHighLines values of q are within 8 bits, and all within 15. Those
// beyond 8 bits are in as many lines of the weights at most, which alone are multiplied twice. q_i is x_i/t,
// rounded up with the probability of its fraction (q_i = floor(x_i/t + u_i), u in (0, 1)^n drawn once), else
// down.
//
// First term, outside O: over the draw of the dither d the errors e_i = w_i - w~_i are independent and
// uniform over intervals of width s (PackScreen.cpp), so E e^(l e_i x~_i) = sinh(a)/a <= e^(a^2/6) with
// a = l s x~_i / 2, and by Chernoff's bound with the best l
//   P[sum of e_i x~_i >= c s |x~|] <= exp(-6 c^2) = p/2N   with   c = sqrt(ln(2N/p) / 6)
// (Hoeffding's inequality, for any errors in such intervals, would give 2 c^2, a bound sqrt(3) times as
// wide). Which columns are in O depends on w alone.
//
// First term, in O: r is w - w~ but for its rounding, 2^-9 of each value, so by Cauchy-Schwarz the term is at
// most 2^-9 |r| X, X being the norm of the kScreenOutliers largest values of x~; and where r.x is not added,
// the screen falls short by |r| X more.
//
// Second term: over the draw of u the errors x_i - x~_i are independent, have mean 0 and are each in an
// interval of width t, whatever d is. So by Hoeffding's inequality
//   P[(w - r).(x - x~) >= sqrt(3) c t |w - r|] <= exp(-6 c^2) = p/2N
// and |w - r| <= 1.07 |w|: in O |w_i - r_i| is at most |w_i| where the code is at an end, |w_i| + s/2 where
// it is not, s <= |w_i| / 7.5, and 2^-9 |r_i| more. (Cauchy-Schwarz, without a draw, would make this five
// times as wide.)
//
// By the union bound both terms of all N rows together stay below with probability 1 - p, p = 1e-12. This is
// a statement about inputs that do not depend on d and u. They do not as long as all that goes on is exact: a
// text that a sampler draws is the f16 head's, up to the event of probability p a token itself. It says
// nothing against somebody who knows d and u and chooses x.
//
// Float sums: the f16 head's own result is within n 2^-24 |w||x| (to first order) of w.x whatever the order
// of its sums. The screen's integers are exact; its float steps err by less than (5 sqrt(n) + 40) 2^-24
// |w||x|: |Σ code q| t <= 15 sqrt(n) |x~|; s <= |w| / 22.5 since 9 weights are at least 7.5 s; |x~| <= 1.2
// |x| since 17 inputs are at least 126 t, or t = max|x| / 16256; six roundings of that, and 10 of the
// outliers'. The means of e_i and x_i - x~_i are not 0 but up to 2^-24 s and 2^-23 t, for the dithers have 23
// bits: less than 2^-24 sqrt(n) (s |x~| + 2 t |w|). All of these together are less than 2 (n + 64) 2^-24
// |w||x|.
#pragma once
#include "runtime/api/bitnet.h"
#include "runtime/exec/plan_walker.h"
#include "runtime/format/layouts.h"

namespace bitnet::runtime {

/// Whether a row's exact logits are enough for a draw that depends on the sum of all.
class SumCheck {
public:
  virtual ~SumCheck() = default;
  /// What a logit is multiplied by below the exponential: 1 / temperature.
  virtual double sum_scale() const = 0;
  /// rows, ascending: [n] of the exact logits. All others are below `below`, which the highest is not, and
  /// their e^((logit - highest) * sum_scale()) sum to at most `rest`. draw: which of the request's draws.
  virtual bool suffices(size_t draw, const int32_t *rows, const float *logits, int32_t n, float below,
                        double rest) = 0;
};

/// Which logits of a row must be exact; see bitnet_row. With a check: as many as it takes, whatever best and
/// margin.
struct HeadNeed {
  int32_t best;
  float margin;
  SumCheck *check = nullptr;
  size_t draw = 0;
};

/// Of an input row: a logit is at most its approximation + per_scale * row_scale + per_norm * norm + per_rest
/// * rest_norm; with the outliers, kOfKept of the last.
struct ScreenBound {
  float per_scale, per_norm, per_rest;
  bool holds; ///< false: the input is not finite, or out of the range that the bound was derived for
  static constexpr float kOfKept = 0x1p-8f; // twice 2^-9, for float sums and the like
};
/// What screen_q4 reads of an input x [k].
struct ScreenInput {
  int8_t *q;      ///< [2, k]: the input is (q[0] + 128 * q[1]) * map[0]
  int32_t *lines; ///< [screen_high_lines(k)]: the lines in which alone q[1] is not 0, or any
  float *map;     ///< [2]
};
/// dither: [2, k]. vocab: rows that must all be right at once.
ScreenBound prepare_screen_input(const float *x, int32_t k, const float *dither, int32_t vocab,
                                 ScreenInput out);

/// What a row's outliers, kScreenOutliers words, add to its approximation.
float outliers_part(const uint32_t *outliers, const float *x);

/// Belongs to one session. Allocates at creation only.
class ExactHead {
public:
  /// The bundle's plan has a screen. model and walker must outlive it.
  ExactHead(const Model &model, PlanWalker &walker, int threads);

  /// Whether the f16 head had better give this row's logits.
  bool wants_all(HeadNeed need) const {
    return !need.check && (need.best <= 0 || need.best > kMostBest || need.best >= vocab_);
  }
  /// Computes the logits of the head's rows [n_full, n_rows) of the walker's last run; those before were
  /// computed by the f16 head. needs: [n_rows].
  Status run(const HeadNeed *needs, int32_t n_full, int32_t n_rows, ThreadPool &pool);

  const bitnet_head_stats &stats() const { return stats_; }

private:
  static constexpr int32_t kMostBest = 1024;
  /// Rows beyond `best` that are computed for the threshold: the best approximations are not quite the best
  /// rows.
  static constexpr int32_t kSpare = 7;

  struct Top {
    float value;
    int32_t row;
  };
  struct Scan;
  ScreenInput input_of(int32_t row);
  Status screen(int32_t row, int32_t n_rows, ThreadPool &pool);
  Status rescore(const float *x, int32_t n, ThreadPool &pool);
  Status settle(int32_t row, HeadNeed need, ThreadPool &pool);
  Status best_exact(Scan &scan, int32_t n_least, ThreadPool &pool);
  int32_t scan_candidates(Scan &scan, ThreadPool &pool);
  static void add_outliers(const Scan &scan, int32_t part);
  static void find_best(const Scan &scan, int32_t part);
  static void find_candidates(const Scan &scan, int32_t part);
  static double sum_below(const Scan &scan, int32_t begin, int32_t end);

  PlanWalker &walker_;
  const OpDims dims_;
  const int32_t vocab_, most_candidates_;
  const int parts_;               ///< of a scan over the vocabulary
  const uint8_t *screen_, *head_; ///< the screen's bytes, the head's f16 rows
  const float *row_scale_, *norms_, *rest_norms_, *dither_;
  const uint32_t *outliers_;
  std::vector<std::pair<int32_t, format::KernelFn>> screen_kernels_; ///< most rows, kernel
  format::KernelFn rescore_kernel_;
  int32_t padded_rows_;          ///< that buffers of rows have room for
  std::vector<int8_t> q_, high_; ///< [padded rows] of ScreenInput, as the next two
  std::vector<int32_t> lines_;
  std::vector<float> map_;
  std::vector<ScreenBound> bounds_; ///< [rows]
  std::vector<Top> tops_;           ///< [parts, kMostBest + kSpare]
  std::vector<int32_t> n_tops_;     ///< [parts]
  std::vector<int32_t> rows_;   ///< [vocab]: candidates, each part's from its first row on; then all together
  std::vector<int32_t> n_rows_; ///< [parts]
  std::vector<double> rests_;   ///< [parts]
  std::vector<float> exact_;    ///< [vocab]: logits of rows_
  bitnet_head_stats stats_{};
};

} // namespace bitnet::runtime
