// See exact_head.h.
#include "runtime/exec/exact_head.h"
#include "runtime/format/layouts.h"
#include "runtime/format/rounding.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace bitnet::runtime {
using format::nearest, format::round_down, format::round_up;
namespace {

constexpr double kMissed = 1e-12; ///< probability, per input row, that a row that matters is missed
/// Steps of an input at most: 127 * 128, and of those that have to do with 8 bits one less than 127.
constexpr double kMostSteps = 16256, kMostOf8Bits = 126;
/// How far below the highest rows are looked for to content a check, in temperatures.
constexpr double kFirstDepth = 4, kDeeper = 1, kLastDepth = 24;

typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Mask __attribute__((vector_size(16)));
typedef uint32_t Words __attribute__((vector_size(16)));
constexpr int32_t kBlock = 16; ///< logits that a scan looks at together; most blocks have nothing

template <class Vector = Floats, class T> Vector load(const T *at) {
  Vector v;
  std::memcpy(&v, at, sizeof v);
  return v;
}
Floats all(float x) { return Floats{x, x, x, x}; }
bool any(Mask m) {
  uint64_t halves[2];
  std::memcpy(halves, &m, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

/// A buffer of a call and its dimensions.
struct Argument {
  format::Buffer buffer{};
  format::Dim dims[4]{};

  template <class T>
  Argument(const T *host, std::initializer_list<int32_t> extents, int64_t last_stride = 0) {
    buffer.host = reinterpret_cast<uint8_t *>(const_cast<T *>(host));
    buffer.type_bits = uint8_t(sizeof(T) * 8);
    buffer.type_lanes = 1;
    buffer.type_code = std::is_floating_point_v<T> ? 2 : std::is_signed_v<T> ? 0 : 1;
    buffer.dim = dims;
    int32_t stride = 1;
    for (const int32_t extent : extents) {
      dims[buffer.dimensions++] = {0, extent, stride, 0};
      stride *= extent;
    }
    if (last_stride)
      dims[buffer.dimensions - 1].stride = int32_t(last_stride);
  }
  Argument(const Argument &) = delete;
  Argument &operator=(const Argument &) = delete;
};

/// smallest: the units that are worth a piece.
Status run_kernel(format::KernelFn kernel, std::initializer_list<const Argument *> arguments, int32_t rows,
                  int32_t units, int32_t smallest, ThreadPool &pool) {
  const format::Buffer *buffers[format::kMaxArgs];
  int n = 0;
  for (const Argument *argument : arguments)
    buffers[n++] = &argument->buffer;
  const Split split{std::clamp(units / smallest, 1, pool.threads()), smallest};
  if (const int result = run_units(kernel, buffers, n, rows, units, split, pool))
    return internal_error("a kernel of the exact head returned " + std::to_string(result));
  return {};
}

/// What logits are at most (ScreenBound), of one row or of four.
struct AtMost {
  const float *logits, *scales, *norms, *rest_norms;
  ScreenBound bound;

  float of(int32_t row) const {
    return logits[row] +
           ((bound.per_scale * scales[row] + bound.per_norm * norms[row]) + bound.per_rest * rest_norms[row]);
  }
  Floats of_four(int32_t row) const {
    return load(logits + row) +
           ((all(bound.per_scale) * load(scales + row) + all(bound.per_norm) * load(norms + row)) +
            all(bound.per_rest) * load(rest_norms + row));
  }
};

/// Calls look(row) for the rows [at, end) but for blocks in which may_matter(row), of four rows at once,
/// holds for none.
template <class MayMatter, class Look>
void look_through(int32_t at, int32_t end, MayMatter may_matter, Look look) {
  for (; at + kBlock <= end; at += kBlock) {
    Mask found{};
    for (int32_t i = at; i < at + kBlock; i += 4)
      found |= may_matter(i);
    if (any(found))
      for (int32_t i = at; i < at + kBlock; ++i)
        look(i);
  }
  for (; at < end; ++at)
    look(at);
}

} // namespace

ExactHead::ExactHead(const Model &model, PlanWalker &walker, int threads)
    : walker_(walker), dims_(model.bundle().plan.screen->dims), vocab_(model.bundle().model.vocab),
      most_candidates_(std::max(vocab_ / 4, 1)), parts_(std::max(1, std::min(threads, vocab_ / 4096))) {
  const Bundle &bundle = model.bundle();
  const Screen &screen = *bundle.plan.screen;
  const uint8_t *weights = bundle.section(SectionKind::weights).data;
  const format::ScreenLayout layout = format::screen_layout(dims_.n, dims_.k);
  screen_ = weights + screen.offset;
  head_ = weights + bundle.plan.calls.back().args[1].offset; // x, w, y
  row_scale_ = reinterpret_cast<const float *>(screen_ + layout.row_scale);
  norms_ = reinterpret_cast<const float *>(screen_ + layout.norms);
  rest_norms_ = reinterpret_cast<const float *>(screen_ + layout.rest_norms);
  outliers_ = reinterpret_cast<const uint32_t *>(screen_ + layout.outliers);
  dither_ = reinterpret_cast<const float *>(screen_ + layout.dither);
  for (const Choice &choice : screen.choices)
    screen_kernels_.emplace_back(choice.max_rows ? choice.max_rows : std::numeric_limits<int32_t>::max(),
                                 model.kernel(choice.kernel));
  rescore_kernel_ = model.kernel(screen.rescore);
  padded_rows_ = (bundle.plan.max_rows + format::kRowPad - 1) / format::kRowPad * format::kRowPad;
  const auto max_rows = size_t(bundle.plan.max_rows), padded = size_t(padded_rows_);
  q_.resize(padded * 2 * size_t(dims_.k));
  lines_.resize(padded * size_t(format::screen_high_lines(dims_.k)));
  map_.resize(padded * 2);
  bounds_.resize(max_rows);
  tops_.resize(size_t(parts_) * (kMostBest + kSpare));
  n_tops_.resize(size_t(parts_));
  rows_.resize(size_t(vocab_));
  n_rows_.resize(size_t(parts_));
  rests_.resize(size_t(parts_));
  exact_.resize(size_t(std::max(most_candidates_, kMostBest + kSpare)));
}

ScreenBound prepare_screen_input(const float *x, int32_t k, const float *dither, int32_t vocab,
                                 ScreenInput out) {
  constexpr int kLargest = format::kScreenHighLines + 1;
  double squares = 0, largest[kLargest]{}; // |x|, as a heap with the least of them first
  for (int32_t i = 0; i < k; ++i) {
    const double size = std::fabs(double(x[i]));
    squares += size * size;
    if (size > largest[0]) {
      std::pop_heap(largest, largest + kLargest, std::greater<>());
      largest[kLargest - 1] = size;
      std::push_heap(largest, largest + kLargest, std::greater<>());
    }
  }
  std::sort(largest, largest + kLargest, std::greater<>());
  const double norm = std::sqrt(squares);
  const int32_t n_lines = format::screen_high_lines(k);
  if (!(norm > 1e-20 && norm < 1e30)) {
    std::fill_n(out.q, 2 * k, int8_t(0));
    std::iota(out.lines, out.lines + n_lines, 0);
    out.map[0] = out.map[1] = 0;
    return {0, 0, 0, false};
  }
  const float step = round_up(std::max(largest[0] / kMostSteps, largest[kLargest - 1] / kMostOf8Bits));
  const double inverse = 1 / double(step);
  const float *const of_weights = dither, *const of_inputs = dither + k;
  double length = 0, dithered = 0; // dithered is exact: 39 bits a term
  int32_t n_high = 0, n_low = 0;   // lines: which have high bits from the first on, others from the last
  for (int32_t line = 0; line < k / 8; ++line) {
    bool any_high = false;
    for (int32_t i = line * 8; i < line * 8 + 8; ++i) {
      const double whole = nearest(double(x[i]) * inverse + (double(of_inputs[i]) - 0.5)); // down or up
      const auto value = int32_t(whole);
      const int32_t high = std::abs(value) <= 127 ? 0 : (value + 64) >> 7;
      out.q[i] = int8_t(value - high * 128);
      out.q[k + i] = int8_t(high);
      any_high |= high != 0;
      length += whole * whole;
      dithered += (double(of_weights[i]) - 8) * whole;
    }
    if (any_high)
      out.lines[n_high++] = line;
    else if (n_high + n_low < n_lines)
      out.lines[n_lines - ++n_low] = line;
  }
  out.map[0] = step;
  out.map[1] = float(dithered * double(step));
  double top = 0; // square of the norm of the largest |x|
  for (int32_t i = 0; i < format::kScreenOutliers; ++i)
    top += largest[i] * largest[i];
  const double c = std::sqrt(std::log(2 * double(vocab) / kMissed) / 6),
               of_inputs_c = 1.07 * std::sqrt(3.0) * c, rounding = 2.0 * (k + 64) * 0x1p-24;
  constexpr double kOwnRounding = 1 + 1e-6; // of this, and of the bound's own float products
  return {round_up(c * std::sqrt(length) * double(step) * kOwnRounding),
          round_up((of_inputs_c * double(step) + rounding * norm) * kOwnRounding),
          round_up((std::sqrt(top) + std::sqrt(double(format::kScreenOutliers)) * double(step)) *
                   (1 + double(ScreenBound::kOfKept))),
          true};
}

float outliers_part(const uint32_t *outliers, const float *x) {
  Floats sum{};
  for (int32_t j = 0; j < format::kScreenOutliers; j += 4) {
    const auto words = load<Words>(outliers + j), columns = words & 0xffff;
    sum += Floats(words & 0xffff0000) * Floats{x[columns[0]], x[columns[1]], x[columns[2]], x[columns[3]]};
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

ScreenInput ExactHead::input_of(int32_t row) {
  const auto at = size_t(row);
  return {q_.data() + at * 2 * size_t(dims_.k),
          lines_.data() + at * size_t(format::screen_high_lines(dims_.k)), map_.data() + at * 2};
}

Status ExactHead::screen(int32_t row, int32_t n_rows, ThreadPool &pool) {
  const PlanWalker::HeadRows rows = walker_.head_rows();
  const format::ScreenLayout layout = format::screen_layout(dims_.n, dims_.k);
  const int32_t k = dims_.k, n = dims_.n;
  const ScreenInput input = input_of(row);
  Argument q(input.q, {2 * k, n_rows}), lines(input.lines, {format::screen_high_lines(k), n_rows}),
      map(input.map, {2, n_rows});
  Argument w(screen_ + layout.codes,
             {4, format::kRowTile, format::stream_lines(n, format::q4_lines(k)), format::weight_streams(n)});
  Argument row_scale(row_scale_, {n});
  Argument y(rows.y + row * rows.y_stride, {n, n_rows}, rows.y_stride);
  const auto *kernel = screen_kernels_.data();
  while (kernel->first < n_rows)
    ++kernel;
  return run_kernel(kernel->second, {&q, &lines, &map, &w, &row_scale, &y}, n_rows, format::stream_stripes(n),
                    1, pool);
}

/// exact_[i] = logit of row rows_[i], i < n.
Status ExactHead::rescore(const float *input, int32_t n, ThreadPool &pool) {
  Argument x(input, {dims_.k}), index(rows_.data(), {n});
  Argument w(reinterpret_cast<const uint16_t *>(head_), {dims_.k, dims_.n}), y(exact_.data(), {n});
  return run_kernel(rescore_kernel_, {&x, &index, &w, &y}, n, n, 4, pool);
}

/// A scan over the vocabulary in parts.
struct ExactHead::Scan {
  ExactHead *head;
  const float *x;
  float *logits;
  ScreenBound bound;
  bool complete;       ///< the logits: their outliers were added
  int32_t n_best = 0;  ///< find_best: so many
  float threshold = 0; ///< find_candidates
  bool sums = false;   ///< find_candidates: whether it sums up what is below the threshold,
  float highest = 0;   ///< relative to this,
  float scale = 0;     ///< as powers of 2 of so much times the difference
  void (*look_at_part)(const Scan &, int32_t part) = nullptr;

  AtMost at_most(bool with_outliers) const {
    AtMost most{logits, head->row_scale_, head->norms_, head->rest_norms_, bound};
    if (with_outliers)
      most.bound.per_rest *= ScreenBound::kOfKept;
    return most;
  }
  void add_outliers(int32_t row) const {
    logits[row] += outliers_part(head->outliers_ + format::outlier_index(row, 0), x);
  }
  void run(void (*function)(const Scan &, int32_t), ThreadPool &pool) {
    look_at_part = function;
    const auto run_parts = [](void *context, int32_t first, int32_t last) {
      const Scan &scan = *static_cast<const Scan *>(context);
      for (int32_t part = first; part < last; ++part)
        scan.look_at_part(scan, part);
    };
    pool.run(head->parts_, {pool.threads(), 1}, run_parts, this);
  }
  int32_t begin(int32_t part) const {
    return int32_t(int64_t(head->vocab_) * part / head->parts_ / kBlock * kBlock);
  }
  int32_t end(int32_t part) const { return part + 1 == head->parts_ ? head->vocab_ : begin(part + 1); }
};

void ExactHead::add_outliers(const Scan &scan, int32_t part) {
  for (int32_t row = scan.begin(part); row < scan.end(part); ++row)
    scan.add_outliers(row);
}

/// The n_best largest logits of a part, as a heap with the least of them first.
void ExactHead::find_best(const Scan &scan, int32_t part) {
  const int32_t begin = scan.begin(part), end = scan.end(part);
  Top *const tops = scan.head->tops_.data() + size_t(part) * (kMostBest + kSpare);
  const auto greater = [](const Top &a, const Top &b) { return a.value > b.value; };
  int32_t n = 0, at = begin;
  for (; at < end && n < scan.n_best; ++at)
    tops[n++] = {scan.logits[at], at};
  std::make_heap(tops, tops + n, greater);
  const auto look = [&](int32_t row) {
    if (!(scan.logits[row] > tops->value))
      return;
    std::pop_heap(tops, tops + n, greater);
    tops[n - 1] = {scan.logits[row], row};
    std::push_heap(tops, tops + n, greater);
  };
  look_through(
      at, end, [&](int32_t row) { return load(scan.logits + row) > all(tops->value); }, look);
  scan.head->n_tops_[size_t(part)] = n;
}

/// The rows of a part whose logit, with its outliers, may reach the threshold.
void ExactHead::find_candidates(const Scan &scan, int32_t part) {
  const int32_t begin = scan.begin(part), end = scan.end(part);
  int32_t *const rows = scan.head->rows_.data() + begin;
  const AtMost most = scan.at_most(true), most_now = scan.at_most(scan.complete);
  const float threshold = scan.threshold;
  int32_t n = 0;
  const auto look = [&](int32_t row) {
    if (most_now.of(row) >= threshold)
      rows[n++] = row;
  };
  look_through(
      begin, end, [&](int32_t row) { return most_now.of_four(row) >= all(threshold); }, look);
  if (!scan.complete) {
    constexpr int32_t kAhead = 16; // rows; their outliers lie anywhere
    int32_t n_left = 0;
    for (int32_t i = 0; i < n; ++i) {
      if (i + kAhead < n)
        __builtin_prefetch(scan.head->outliers_ + format::outlier_index(rows[i + kAhead], 0));
      scan.add_outliers(rows[i]);
      if (most.of(rows[i]) >= threshold)
        rows[n_left++] = rows[i];
    }
    n = n_left;
  }
  scan.head->n_rows_[size_t(part)] = n;
  if (scan.sums)
    scan.head->rests_[size_t(part)] = sum_below(scan, begin, end);
}

/// At least the sum of e^((logit - highest) * scale) of the rows [begin, end) that may not reach the
/// threshold. 2^(n + f) <= 2^n (1 + f) for 0 <= f < 1, and a float's bits, as a number, are just that: (n + f
/// + 127) 2^23.
double ExactHead::sum_below(const Scan &scan, int32_t begin, int32_t end) {
  constexpr int32_t kAtOnce = 1024;
  constexpr double kRounding = 1 + 1e-3; // of floats: 1e-5 of each exponent, 1e-4 of their sums
  const AtMost most = scan.at_most(true);
  double sum = 0;
  for (int32_t at = begin; at < end; at += kAtOnce) {
    Floats sums{};
    int32_t row = at;
    const int32_t last = std::min(at + kAtOnce, end);
    const auto add = [&](Floats logit) {
      const Floats power = (logit - all(scan.highest)) * all(scan.scale);
      const Floats above = power > all(-120) ? power : all(-120), bounded = above < all(0) ? above : all(0);
      const Mask bits = __builtin_convertvector((bounded + all(127)) * all(0x1p23f), Mask);
      sums += Floats(bits & (logit < all(scan.threshold)));
    };
    for (; row + 4 <= last; row += 4)
      add(most.of_four(row));
    for (; row < last; ++row)
      add(Floats{most.of(row), INFINITY, INFINITY, INFINITY});
    sum += double(sums[0]) + double(sums[1]) + double(sums[2]) + double(sums[3]);
  }
  return sum * kRounding;
}

/// Computes the best approximations exactly: exact_, their n_least best first.
Status ExactHead::best_exact(Scan &scan, int32_t n_least, ThreadPool &pool) {
  scan.n_best = std::min(n_least + kSpare, vocab_);
  scan.run(find_best, pool);
  Top *last = tops_.data();
  for (int part = 0; part < parts_; ++part) {
    const Top *const first = tops_.data() + size_t(part) * (kMostBest + kSpare);
    last = std::copy(first, first + n_tops_[size_t(part)], last);
  }
  const auto n_tops = int32_t(last - tops_.data()), n_best = std::min(scan.n_best, n_tops);
  std::nth_element(tops_.data(), tops_.data() + (n_best - 1), last,
                   [](const Top &a, const Top &b) { return a.value > b.value; });
  for (int32_t i = 0; i < n_best; ++i)
    rows_[size_t(i)] = tops_[size_t(i)].row;
  BITNET_RETURN_IF_ERROR(rescore(scan.x, n_best, pool));
  std::nth_element(exact_.begin(), exact_.begin() + (n_least - 1), exact_.begin() + n_best, std::greater<>());
  return {};
}

/// rows_: those that may reach the threshold, ascending; how many.
int32_t ExactHead::scan_candidates(Scan &scan, ThreadPool &pool) {
  scan.run(find_candidates, pool);
  int32_t n = 0;
  for (int part = 0; part < parts_; ++part) {
    const int32_t *const first = rows_.data() + scan.begin(part);
    n = int32_t(std::copy(first, first + n_rows_[size_t(part)], rows_.data() + n) - rows_.data());
  }
  return n;
}

/// Makes the logits of a screened row exact where `need` asks for it.
Status ExactHead::settle(int32_t row, HeadNeed need, ThreadPool &pool) {
  const PlanWalker::HeadRows rows = walker_.head_rows();
  const float *const x = rows.x + row * rows.x_stride;
  float *const logits = rows.y + row * rows.y_stride;
  // A sum is over all rows; else most need no outliers.
  Scan scan{this, x, logits, bounds_[size_t(row)], need.check != nullptr};
  ++stats_.rows;
  const auto whole_head = [&] {
    ++stats_.full_rows;
    return walker_.run_head(row, pool);
  };
  const auto keep = [&](int32_t n) {
    stats_.candidates += uint64_t(n);
    for (int32_t i = 0; i < n; ++i)
      logits[rows_[size_t(i)]] = exact_[size_t(i)];
    return Status();
  };
  if (!scan.bound.holds)
    return whole_head();
  if (scan.complete)
    scan.run(add_outliers, pool);

  // Any n rows' exact logits are, at their least, a lower bound of the n-th largest.
  const int32_t n_least = need.check ? 1 : need.best;
  BITNET_RETURN_IF_ERROR(best_exact(scan, n_least, pool));
  const float nth = exact_[size_t(n_least - 1)],
              highest = *std::max_element(exact_.begin(), exact_.begin() + n_least);
  if (!need.check) {
    scan.threshold = std::min(nth, round_down(double(highest) - double(need.margin)));
    const int32_t n = scan_candidates(scan, pool);
    if (n > most_candidates_)
      return whole_head();
    BITNET_RETURN_IF_ERROR(rescore(x, n, pool));
    return keep(n);
  }
  // Lower and lower, until the check is content or too many rows are to be computed. A look is cheap; rows
  // are computed when what is left has halved since the last time, and when it is the last chance.
  const double sum_scale = need.check->sum_scale();
  scan.sums = true;
  scan.highest = highest; // of all, the highest may be higher, which makes the rest less
  scan.scale = float(sum_scale * 1.4426950408889634);
  double tried = std::numeric_limits<double>::infinity();
  bool is_last = false;
  for (double depth = kFirstDepth; depth <= kLastDepth;) {
    scan.threshold = round_down(double(highest) - depth / sum_scale);
    const int32_t n = scan_candidates(scan, pool);
    double rest = 0;
    for (const double part : rests_)
      rest += part;
    if (n > most_candidates_) {
      if (is_last || depth == kFirstDepth)
        break;
      is_last = true;
      depth -= kDeeper;
      continue;
    }
    if (is_last || rest < tried / 2) {
      if (rest == tried) // this was tried
        break;
      tried = rest;
      BITNET_RETURN_IF_ERROR(rescore(x, n, pool));
      if (need.check->suffices(need.draw, rows_.data(), exact_.data(), n, scan.threshold, rest))
        return keep(n);
    }
    if (is_last)
      break;
    depth += kDeeper;
  }
  return whole_head();
}

Status ExactHead::run(const HeadNeed *needs, int32_t n_full, int32_t n_rows, ThreadPool &pool) {
  const PlanWalker::HeadRows rows = walker_.head_rows();
  for (int32_t row = n_full; row < n_rows; ++row)
    bounds_[size_t(row)] =
        prepare_screen_input(rows.x + row * rows.x_stride, dims_.k, dither_, vocab_, input_of(row));
  for (int32_t row = n_full, n; row < n_rows; row += n) {
    n = n_rows - row;
    // Kernels of several rows run on to a whole tile. The last rows, if there is no room for one, go alone.
    if (const int32_t room = (padded_rows_ - row) / format::kRowPad * format::kRowPad; n > room)
      n = std::max(room, 1);
    BITNET_RETURN_IF_ERROR(screen(row, n, pool));
  }
  for (int32_t row = n_full; row < n_rows; ++row)
    BITNET_RETURN_IF_ERROR(settle(row, needs[row], pool));
  return {};
}

} // namespace bitnet::runtime
