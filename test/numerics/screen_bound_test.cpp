// The bound behind the exact head (runtime/exec/exact_head.h): no screened logit is further below the f16
// head's than the bound says, over many rows and inputs, of kind and unkind distributions; and the bound is
// not so wide as to be useless. Screen and head are computed by the scalar twins, which the kernels equal bit
// for bit.
#include "codegen/reference/scalar_math.h"
#include "codegen/reference/twins.h"
#include "compiler/pack/Pack.h"
#include "runtime/exec/exact_head.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <set>

namespace bitnet {
namespace {

using compiler::Constant;
using compiler::Packing;
using format::Op;

/// Numbers that are the same on every machine.
class Random {
public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  double uniform() { return (double(engine_()) + 0.5) * 0x1p-32; }
  double normal() { // the sum of 12 uniform numbers, and a tail
    double sum = -6;
    for (int i = 0; i < 12; ++i)
      sum += uniform();
    return sum;
  }
  double t5() {
    double squares = 0;
    const double z = normal();
    for (int i = 0; i < 5; ++i)
      squares += std::pow(normal(), 2);
    return z / std::sqrt(squares / 5);
  }

private:
  std::mt19937 engine_;
};

class Rows final : public compiler::WeightSource {
public:
  Rows(int32_t n, int32_t k, std::function<double(int32_t r, int32_t c)> value)
      : n_(n), k_(k), values_(size_t(n) * size_t(k)) {
    for (int32_t r = 0; r < n; ++r)
      for (int32_t c = 0; c < k; ++c)
        values_[size_t(r) * size_t(k) + size_t(c)] = float(value(r, c));
  }
  llvm::Expected<import::TernaryMatrix> ternary(const std::string &) const override {
    return llvm::createStringError("none");
  }
  llvm::Expected<import::DenseTensor> dense(const std::string &, int32_t begin, int32_t end) const override {
    return import::DenseTensor{
        end - begin, k_, {values_.begin() + ptrdiff_t(begin) * k_, values_.begin() + ptrdiff_t(end) * k_}};
  }

private:
  int32_t n_, k_;
  std::vector<float> values_;
};

struct Argument {
  format::Buffer buffer{};
  format::Dim dims[1]{};
  explicit Argument(const void *host) {
    buffer.host = static_cast<uint8_t *>(const_cast<void *>(host));
    buffer.dimensions = 1;
    buffer.dim = dims;
  }
};

void run(Op op, const format::OpDims &dims, std::initializer_list<const void *> buffers) {
  std::vector<Argument> arguments;
  for (const void *b : buffers)
    arguments.emplace_back(b);
  std::vector<void *> args;
  for (Argument &a : arguments) {
    a.buffer.dim = a.dims;
    args.push_back(&a.buffer);
  }
  int32_t rows = 1, begin = 0, end = format::signature(op, dims).units;
  for (int32_t *scalar : {&rows, &begin, &end})
    args.push_back(scalar);
  ASSERT_EQ(codegen::run_twin(op, dims, args.data()), 0);
}

/// What the screen is told of an input.
struct Prepared {
  std::vector<int8_t> q;
  std::vector<int32_t> lines;
  float map[2];
  explicit Prepared(int32_t k) : q(2 * size_t(k)), lines(size_t(format::screen_high_lines(k))), map{} {}
  runtime::ScreenInput out() { return {q.data(), lines.data(), map}; }
  std::vector<double> values() const {
    std::vector<double> x;
    for (size_t k = q.size() / 2, i = 0; i < k; ++i)
      x.push_back(double(map[0]) * (q[i] + 128 * q[k + i]));
    return x;
  }
  /// All that the lines leave out has no high bits, and no line is there twice.
  bool lines_hold_high() const {
    const std::set<int32_t> listed(lines.begin(), lines.end());
    const size_t k = q.size() / 2;
    bool hold = listed.size() == lines.size() && *listed.begin() >= 0 && size_t(*listed.rbegin()) < k / 8;
    for (size_t i = 0; i < k; ++i)
      hold = hold && (q[k + i] == 0 || listed.count(int32_t(i / 8)));
    return hold;
  }
};

/// |f16 head - screen| in units of the bound, over all rows and inputs.
struct Errors {
  double without = 0; ///< outliers: the largest
  double largest = 0, squares = 0, n = 0;
  double rms() const { return std::sqrt(squares / n); }
};
Errors errors_of(int32_t n, int32_t k, const std::function<double(int32_t, int32_t)> &weight,
                 const std::vector<std::function<double(int32_t)>> &inputs) {
  const Rows rows(n, k, weight);
  Constant c;
  c.names = {"w"}, c.rows = n, c.cols = k;
  c.packing = Packing::f16;
  const std::vector<uint8_t> f16 = llvm::cantFail(compiler::packConstant(c, rows));
  c.packing = Packing::screen;
  const std::vector<uint8_t> screen = llvm::cantFail(compiler::packConstant(c, rows));
  const format::ScreenLayout layout = format::screen_layout(n, k);
  const uint8_t *at = screen.data();
  const auto *scales = reinterpret_cast<const float *>(at + layout.row_scale);
  const auto *norms = reinterpret_cast<const float *>(at + layout.norms);
  const auto *rest_norms = reinterpret_cast<const float *>(at + layout.rest_norms);
  const auto *outliers = reinterpret_cast<const uint32_t *>(at + layout.outliers);
  format::OpDims dims;
  dims.n = n, dims.k = k;
  Errors errors;
  for (const auto &value : inputs) {
    std::vector<float> x(size_t(k), 0.0f), exact(size_t(n), 0.0f), about(size_t(n), 0.0f);
    for (int32_t i = 0; i < k; ++i)
      x[size_t(i)] = float(value(i));
    Prepared input(k);
    const runtime::ScreenBound bound = runtime::prepare_screen_input(
        x.data(), k, reinterpret_cast<const float *>(at + layout.dither), 128256, input.out());
    EXPECT_TRUE(bound.holds);
    run(Op::linear_f16, dims, {x.data(), f16.data(), exact.data()});
    run(Op::screen_q4, dims,
        {input.q.data(), input.lines.data(), input.map, at, at + layout.row_scale, about.data()});
    for (int32_t r = 0; r < n; ++r) {
      const double both = double(bound.per_scale) * scales[r] + double(bound.per_norm) * norms[r],
                   rests = double(bound.per_rest) * rest_norms[r],
                   allowed = both + rests * double(runtime::ScreenBound::kOfKept);
      const double without = std::fabs(double(exact[size_t(r)]) - double(about[size_t(r)]));
      if (without > 0)
        errors.without = std::max(errors.without, without / (both + rests));
      const float part = runtime::outliers_part(outliers + format::outlier_index(r, 0), x.data());
      const double error = std::fabs(double(exact[size_t(r)]) - double(about[size_t(r)] + part));
      if (error > 0) {
        errors.largest = std::max(errors.largest, error / allowed);
        errors.squares += error / allowed * (error / allowed);
      }
      ++errors.n;
    }
  }
  return errors;
}

std::vector<std::function<double(int32_t)>> inputs(Random &random) {
  return {[&](int32_t) { return random.normal(); },
          [&](int32_t i) { return random.normal() * (i % 320 == 7 ? 10 : 1); }, // outlier channels
          [&](int32_t) { return random.t5(); },
          [&](int32_t i) { return i == 100 ? 1000.0 : random.normal() * 1e-3; },
          [&](int32_t i) { return i % 2 ? 1.0 : -1.0; },
          [&](int32_t) { return random.normal() * 1e-15; },
          [&](int32_t) { return std::exp(4 * random.normal()); }};
}

/// 512 rows and 7 inputs: with errors that are sums of 2560 uniform ones, the largest of 3584 is at about 3.5
/// of the 2.59 * sqrt(12) = 9 deviations that the bound allows.
TEST(ScreenBound, HoldsForGaussianRows) {
  Random random(1);
  const Errors errors = errors_of(
      512, 2560, [&](int32_t, int32_t) { return 0.02 * random.normal(); }, inputs(random));
  EXPECT_LT(errors.without, 1);
  EXPECT_LT(errors.largest, 1);
  EXPECT_GT(errors.largest, 0.1);
  EXPECT_LT(errors.largest, 0.5);
}

TEST(ScreenBound, HoldsForHeavyTailedRows) {
  Random random(2);
  const Errors errors = errors_of(
      512, 2560, [&](int32_t, int32_t) { return 0.02 * random.t5(); }, inputs(random));
  EXPECT_LT(errors.without, 1);
  EXPECT_LT(errors.largest, 1);
  EXPECT_GT(errors.largest, 0.1);
}

TEST(ScreenBound, HoldsForRowsWithoutChance) {
  Random random(3);
  const Errors errors = errors_of(
      128, 256,
      [&](int32_t r, int32_t c) {
        switch (r % 8) {
        case 0:
          return 0.0;
        case 1:
          return 0.5; // all alike: every error but the dither's is the same
        case 2:
          return c == r ? 60000.0 : 1e-6;
        case 3:
          return c % 17 ? 0.0 : 1.0;
        case 4:
          return double(c - 128);
        case 5:
          return random.uniform() < 0.1 ? random.normal() * 100 : random.normal() * 0.01;
        case 6:
          return c % 2 ? 6.1e-5 : -5.9e-8; // the least normal, a denormal f16
        default:
          return random.uniform();
        }
      },
      inputs(random));
  EXPECT_LT(errors.without, 1);
  EXPECT_LT(errors.largest, 1);
}

/// Errors are far below a bound that holds with probability 1 - 1e-12, so that no sample shows one that is
/// too small by half. But they are sums of uniform errors of a known width, sqrt(1/12) s |x|, and the bound
/// is 2.59 s |x| and 9 to 14 % for the other terms here.
TEST(ScreenBound, IsAsManyDeviationsAwayAsDerived) {
  Random random(4);
  const double c = std::sqrt(std::log(2 * 128256 / 1e-12) / 6), expected = std::sqrt(1.0 / 12) / c;
  const auto gaussian = [&](int32_t) { return random.normal(); };
  const double rms = errors_of(512, 2560, [&](int32_t, int32_t) { return 0.02 * random.normal(); },
                               {gaussian, gaussian, gaussian})
                         .rms();
  EXPECT_LT(rms, 0.95 * expected);
  EXPECT_GT(rms, 0.85 * expected);
}

/// All terms, from what the screen is told of the input.
TEST(ScreenBound, IsTheDerivedOne) {
  Random random(5);
  for (const int32_t k : {16, 256, 2560})
    for (const auto &input : inputs(random)) {
      std::vector<float> x(size_t(k), 0.0f);
      for (int32_t i = 0; i < k; ++i)
        x[size_t(i)] = float(input(i));
      const std::vector<float> dither(2 * size_t(k), 0.5f);
      Prepared prepared(k);
      const runtime::ScreenBound bound =
          runtime::prepare_screen_input(x.data(), k, dither.data(), 5000, prepared.out());
      EXPECT_TRUE(prepared.lines_hold_high());
      const std::vector<double> told = prepared.values();
      const double step = double(prepared.map[0]);
      double length = 0, norm = 0;
      std::vector<double> sizes;
      for (int32_t i = 0; i < k; ++i) {
        const double value = double(x[size_t(i)]);
        EXPECT_LE(std::fabs(value - told[size_t(i)]), step * 1.0001);
        length += told[size_t(i)] * told[size_t(i)];
        norm += value * value;
        sizes.push_back(std::fabs(value));
      }
      std::sort(sizes.begin(), sizes.end(), std::greater<>());
      EXPECT_GE(step, sizes[0] / 16256);
      EXPECT_LE(step,
                1.00001 * std::max(sizes[0] / 16256, k > 16 ? sizes[16] / 126 : 0)); // no larger than needed
      double top = 0;
      for (size_t i = 0; i < 8; ++i)
        top += sizes[i] * sizes[i];
      const double c = std::sqrt(std::log(2 * 5000 / 1e-12) / 6), per_scale = c * std::sqrt(length),
                   per_norm =
                       1.07 * std::sqrt(3) * c * step + 2 * (k + 64) * std::pow(2, -24) * std::sqrt(norm),
                   per_rest = (std::sqrt(top) + std::sqrt(8) * step) * (1 + 1.0 / 256);
      EXPECT_GE(double(bound.per_scale), per_scale);
      EXPECT_LE(double(bound.per_scale), per_scale * (1 + 1e-5));
      EXPECT_GE(double(bound.per_norm), per_norm);
      EXPECT_LE(double(bound.per_norm), per_norm * (1 + 1e-5));
      EXPECT_GE(double(bound.per_rest), per_rest * 0.9999999);
      EXPECT_LE(double(bound.per_rest), per_rest * (1 + 1e-5));
    }
}

TEST(ScreenBound, IsNotClaimedForUselessInputs) {
  const std::vector<float> dither(32, 0.5f);
  Prepared prepared(16);
  for (const float value : {0.0f, 1e-30f, 1e35f, float(INFINITY), float(NAN)}) {
    const std::vector<float> x(16, value);
    EXPECT_FALSE(runtime::prepare_screen_input(x.data(), 16, dither.data(), 100, prepared.out()).holds)
        << value;
  }
}

} // namespace
} // namespace bitnet
