// Every linear kernel of every CPU variant equals its scalar twin bit for bit, and writes nothing but its
// result.
#include "runtime/format/layouts.h"
#include "test/codegen/kernel_runner.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>

namespace bitnet::codegen {
namespace {

using format::Act;
using format::CpuVariant;
using format::Epilogue;
using format::Op;
using format::OpDims;

OpDims dims(int32_t n, int32_t k, Epilogue epilogue = Epilogue::none, Act act = Act::relu2) {
  OpDims d;
  d.n = n, d.k = k, d.epilogue = epilogue, d.act = act;
  return d;
}
OpDims grouped(int32_t group, OpDims d) {
  d.group = group;
  return d;
}

/// Units of 1, 3, 5 and 8 stripes; one and many units; one line of weights and many.
const OpDims kShapes[] = {dims(16, 16), dims(48, 768), dims(80, 64), dims(256, 256), dims(1536, 64)};

class Linear : public testing::TestWithParam<std::tuple<CpuVariant, int32_t>> {
protected:
  void SetUp() override {
    if (!cpu_runs(cpu()))
      GTEST_SKIP() << "this CPU lacks " << format::cpu_variant(cpu()).name;
  }
  CpuVariant cpu() const { return std::get<0>(GetParam()); }
  int32_t tile() const { return std::get<1>(GetParam()); }

  void expect_twin(Op op, const OpDims &d, const std::function<void(CallBuffers &)> &prepare = {},
                   const std::vector<int32_t> &row_counts = {1, 3, 8, 13}) {
    const KernelSpec spec{op, d, tile(), cpu(), {}};
    LoadedKernel kernel;
    std::string error;
    ASSERT_TRUE(kernel.load(spec, &error)) << error;
    for (const int32_t rows : row_counts)
      EXPECT_EQ(
          difference_from_twin(spec, kernel.function(), {rows}, uint64_t(d.n * 31 + d.k + rows), prepare),
          "");
  }
};

TEST_P(Linear, T2EqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::linear_t2, d);
}

TEST_P(Linear, T2WithResidualEqualsTwin) {
  expect_twin(Op::linear_t2, dims(48, 64, Epilogue::residual));
  expect_twin(Op::linear_t2, dims(256, 256, Epilogue::residual));
}

/// Panels of 1, 2 and 3 stripes; k of whole, odd and prime numbers of blocks; tiles that the rows do not
/// fill.
class LinearPanel : public Linear {};
TEST_P(LinearPanel, EqualsTwin) {
  for (const Op op : {Op::linear_t2, Op::linear_t3, Op::linear_t5})
    for (const OpDims &d :
         {dims(112, 80), dims(96, 688, Epilogue::residual), dims(128, 2560), dims(128, 2576)})
      expect_twin(op, d, {}, {5, 9, 24, 39});
}

TEST_P(Linear, T2WritesOverItsResidual) {
  expect_twin(Op::linear_t2, dims(256, 64, Epilogue::residual),
              [](CallBuffers &call) { call.overwrite("residual"); });
}

TEST_P(Linear, T2WithGateEqualsTwin) {
  for (const Act act : {Act::relu2, Act::silu, Act::gelu})
    expect_twin(Op::linear_t2, dims(48, 64, Epilogue::gate, act));
  expect_twin(Op::linear_t2, dims(256, 256, Epilogue::gate));
}

TEST_P(Linear, T2WritesOverItsGate) {
  expect_twin(Op::linear_t2, dims(256, 64, Epilogue::gate),
              [](CallBuffers &call) { call.overwrite("gate"); });
}

/// Any sums of groups, as large as they can be.
void set_group_sums(CallBuffers &call, const OpDims &d) {
  const int32_t groups = d.k / d.group;
  uint32_t random = 1;
  for (int64_t r = 0; r < call.elements("group_sums") / groups; ++r)
    for (int32_t g = 0; g < groups; ++g) {
      random = random * 1664525 + 1013904223;
      call.data<int32_t>("group_sums")[r * call.row_stride("group_sums") + g] =
          int32_t(random >> 8) % (127 * d.group + 1) * (random & 1 ? 1 : -1);
    }
}

/// One group and many, of one line of weights and of many, also where k is 6 of them.
TEST_P(Linear, T2WithGroupsEqualsTwin) {
  for (const OpDims &d : {grouped(16, dims(16, 16)), grouped(128, dims(48, 768)), grouped(16, dims(80, 112)),
                          grouped(64, dims(256, 256)), grouped(256, dims(256, 256)),
                          grouped(176, dims(128, 1056)), grouped(64, dims(256, 256, Epilogue::residual)),
                          grouped(32, dims(48, 64, Epilogue::gate, Act::silu))})
    expect_twin(Op::linear_t2, d, [&](CallBuffers &call) { set_group_sums(call, d); });
  const OpDims in_place = grouped(64, dims(256, 128, Epilogue::residual));
  expect_twin(Op::linear_t2, in_place, [&](CallBuffers &call) {
    set_group_sums(call, in_place);
    call.overwrite("residual");
  });
}

/// The twin against its meaning, Σ weight * q / s with dequantised weights, in f64. Its error: a rounding for
/// each product, sum and the quotient, so at most (groups + 2) * 2^-24 of the sum of magnitudes.
TEST(LinearTwin, GroupsScaleTheirWeights) {
  const OpDims d = grouped(48, dims(32, 336));
  const int32_t groups = d.k / d.group, rows = 3;
  CallBuffers call({Op::linear_t2, d, 0, CpuVariant::portable, {}}, {rows}, 5);
  const auto q = [&](int32_t r, int32_t i) { return call.data<int8_t>("q")[r * call.row_stride("q") + i]; };
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t g = 0; g < groups; ++g) {
      int32_t sum = 0;
      for (int32_t i = 0; i < d.group; ++i)
        sum += q(r, g * d.group + i);
      call.data<int32_t>("group_sums")[r * call.row_stride("group_sums") + g] = sum;
    }
  ASSERT_EQ(call.run_twin(0, call.units()), 0);
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t n = 0; n < d.n; ++n) {
      double expected = 0, magnitudes = 0;
      for (int32_t g = 0; g < groups; ++g) {
        const double scale =
            double(call.data<float>("group_scale")[format::group_scale_index(d.n, groups, n, g)]);
        double sum = 0;
        for (int32_t i = g * d.group; i < (g + 1) * d.group; ++i) {
          const int code =
              call.data<uint8_t>("w")[format::t2_byte(d.n, d.k, n, i)] >> format::t2_shift(i) & 3;
          sum += (code - 1) * scale * q(r, i);
        }
        expected += sum, magnitudes += std::fabs(sum);
      }
      const double s = double(call.data<float>("s")[r]);
      EXPECT_NEAR(double(call.data<float>("y")[r * call.row_stride("y") + n]), expected / s,
                  (groups + 2) * 0x1p-24 * magnitudes / std::fabs(s));
    }
}

TEST_P(LinearPanel, WithGroupsEqualsTwin) {
  for (const OpDims &d : {grouped(16, dims(112, 80)), grouped(16 * 43, dims(96, 688)),
                          grouped(128, dims(128, 2560)), grouped(1280, dims(128, 2560, Epilogue::residual)),
                          grouped(64, dims(128, 640, Epilogue::gate, Act::gelu))})
    expect_twin(Op::linear_t2, d, [&](CallBuffers &call) { set_group_sums(call, d); }, {5, 9, 24, 39});
}

/// Also with the last line cut by k after one, two, three and four of its five places.
TEST_P(Linear, T3EqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::linear_t3, d);
  expect_twin(Op::linear_t3, dims(128, 32, Epilogue::residual));
  expect_twin(Op::linear_t3, dims(32, 80, Epilogue::residual),
              [](CallBuffers &call) { call.overwrite("residual"); });
}

/// Also with the last block cut by k after one, two, three, four and five of its six parts.
TEST_P(Linear, T5EqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::linear_t5, d);
  expect_twin(Op::linear_t5, dims(128, 32, Epilogue::residual));
  expect_twin(Op::linear_t5, dims(32, 144, Epilogue::gate, Act::silu));
  expect_twin(Op::linear_t5, dims(32, 176, Epilogue::residual),
              [](CallBuffers &call) { call.overwrite("residual"); });
}

TEST_P(Linear, S8EqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::linear_s8, d);
}

TEST_P(Linear, F16EqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::linear_f16, d);
}

/// High bits in some lines, anywhere in the row.
void set_lines(CallBuffers &call, int32_t k) {
  const int32_t n = format::screen_high_lines(k), all = format::q4_lines(k);
  const int64_t rows = call.elements("lines") / n;
  for (int64_t row = 0; row < rows; ++row) {
    int8_t *const high = call.data<int8_t>("q") + row * call.row_stride("q") + k;
    int32_t *const lines = call.data<int32_t>("lines") + row * call.row_stride("lines");
    std::vector<bool> listed(size_t(all), false);
    for (int32_t i = 0; i < n; ++i) {
      lines[i] = int32_t((row + i) * (all / n) % all);
      listed[size_t(lines[i])] = true;
    }
    for (int32_t i = 0; i < k; ++i)
      if (!listed[size_t(i / 8)])
        high[i] = 0;
  }
}

TEST_P(Linear, ScreenEqualsTwin) {
  for (const OpDims &d : kShapes)
    expect_twin(Op::screen_q4, d, [&](CallBuffers &call) { set_lines(call, d.k); });
}

TEST_P(Linear, ScreenSurvivesLargestSums) {
  for (const int8_t high : {int8_t(127), int8_t(-127)})
    expect_twin(Op::screen_q4, dims(16, format::kMaxScreenWidth), [&](CallBuffers &call) {
      call.fill("w", uint8_t(0xff));
      call.fill("q", high);
      set_lines(call, format::kMaxScreenWidth);
    });
}

TEST_P(Linear, GroupsSurviveLargestSums) {
  const OpDims d = grouped(2304, dims(16, 6912));
  for (const int8_t activation : {int8_t(127), int8_t(-127)})
    expect_twin(Op::linear_t2, d, [&](CallBuffers &call) {
      call.fill("w", uint8_t(0xaa));
      call.fill("q", activation);
      call.fill("group_sums", int32_t(activation) * d.group);
    });
}

/// The largest sums that the widths of the 2B-4T model allow: every product at its bound, with the same sign.
TEST_P(Linear, SurvivesLargestSums) {
  for (const int8_t activation : {int8_t(127), int8_t(-127)}) {
    for (const Op op : {Op::linear_t2, Op::linear_t3, Op::linear_s8})
      expect_twin(op, dims(16, op == Op::linear_t3 ? 6960 : 6912), [&](CallBuffers &call) {
        call.fill("w", op == Op::linear_t2 ? uint8_t(0xaa) : uint8_t(0xff));
        call.fill("q", activation);
      });
    const OpDims d = dims(16, 6912);
    expect_twin(Op::linear_t5, d, [&](CallBuffers &call) { // triples of three 2: bits 2 and 3
      for (int32_t line = 0; line < format::t5_lines(d.k); ++line)
        std::memset(call.data<uint8_t>("w") + 64 * line, line % 5 == 2 || line % 5 == 3 ? 0xff : 0, 64);
      call.fill("q", activation);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(EveryVariant, Linear,
                         testing::Combine(testing::Values(CpuVariant::portable, CpuVariant::avx2,
                                                          CpuVariant::avx512, CpuVariant::avx512vnni),
                                          testing::Values(1, 2, 4, 8, 0)),
                         [](const auto &info) {
                           return std::string(format::cpu_variant(std::get<0>(info.param)).name) + "_rows" +
                                  std::to_string(std::get<1>(info.param));
                         });

INSTANTIATE_TEST_SUITE_P(ManyRows, LinearPanel,
                         testing::Combine(testing::Values(CpuVariant::portable, CpuVariant::avx2,
                                                          CpuVariant::avx512, CpuVariant::avx512vnni),
                                          testing::Values(0)),
                         [](const auto &info) {
                           return std::string(format::cpu_variant(std::get<0>(info.param)).name);
                         });

} // namespace
} // namespace bitnet::codegen
