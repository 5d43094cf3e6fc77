// The kernels that skip equal their scalar twins, which compute everything, bit for bit: every CPU variant
// and row tile, whatever share of gates is open and of inputs is not 0; and what they leave out they do not
// read.
#include "runtime/format/layouts.h"
#include "test/codegen/compiled_kernels.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

using format::CpuVariant;
using format::Epilogue;
using format::Op;
using format::OpDims;

OpDims dims(int32_t n, int32_t k, Epilogue epilogue = Epilogue::none) {
  OpDims d;
  d.n = n, d.k = k, d.epilogue = epilogue;
  return d;
}

const int kPercents[] = {0, 5, 20, 60, 90, 100};

uint32_t random_at(uint32_t i) {
  i = (i ^ i >> 16) * 0x7feb352d;
  i = (i ^ i >> 15) * 0x846ca68b;
  return i ^ i >> 16;
}

/// Opens about this share of the gates. The others are negative, 0, -0 or no number.
void set_gates(CallBuffers &call, int32_t n, int32_t rows, int percent) {
  constexpr float kShut[] = {-1.5f, 0.0f, -0.0f, -1e-30f, -3e38f, __builtin_nanf("")};
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t i = 0; i < n; ++i) {
      const uint32_t random = random_at(uint32_t(r * n + i));
      call.data<float>("gate")[r * call.row_stride("gate") + i] =
          int(random % 100) < percent ? 0.001f + float(random >> 20) * 0x1p-10f : kShut[random / 100 % 6];
    }
}

/// Makes about this share of the inputs other than 0.
void set_inputs(CallBuffers &call, int32_t k, int32_t rows, int percent) {
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t i = 0; i < k; ++i) {
      const uint32_t random = random_at(uint32_t(r * k + i) + 77);
      const int value = int(random / 100 % 254) - 127;
      call.data<int8_t>("q")[r * call.row_stride("q") + i] =
          int8_t(int(random % 100) < percent ? value + (value >= 0) : 0);
    }
}

class Skip : public testing::TestWithParam<std::tuple<CpuVariant, int32_t>> {
protected:
  void SetUp() override {
    if (!cpu_runs(std::get<0>(GetParam())))
      GTEST_SKIP() << "this CPU lacks " << format::cpu_variant(std::get<0>(GetParam())).name;
  }
  KernelSpec spec(Op op, const OpDims &d) const {
    return {op, d, std::get<1>(GetParam()), std::get<0>(GetParam())};
  }
};

TEST_P(Skip, UpEqualsTwinAtEveryDensity) {
  for (const auto &[n, k] : {std::pair(16, 256), std::pair(272, 512), std::pair(1008, 256)})
    for (const int32_t rows : {1, 2, 3, 8, 13})
      for (const int percent : kPercents) {
        const KernelSpec up = spec(Op::skip_up, dims(n, k));
        EXPECT_EQ(difference_from_twin(up, compiled(up), {rows}, uint64_t(percent + rows),
                                       [&, n = n](CallBuffers &call) { set_gates(call, n, rows, percent); }),
                  "")
            << percent << " % open";
      }
}

TEST_P(Skip, DownEqualsTwinAtEveryDensity) {
  for (const auto &[n, k] :
       {std::pair(256, 16), std::pair(512, 272), std::pair(256, 1008), std::pair(2304, 144)})
    for (const int32_t rows : {1, 2, 3, 8, 13})
      for (const int percent : kPercents) {
        const KernelSpec down = spec(Op::skip_down, dims(n, k));
        EXPECT_EQ(difference_from_twin(down, compiled(down), {rows}, uint64_t(percent + rows),
                                       [&, k = k](CallBuffers &call) { set_inputs(call, k, rows, percent); }),
                  "")
            << percent << " % used";
      }
}

/// Lists and panels are cut where they would outgrow the stack.
TEST_P(Skip, LongListsEqualTwin) {
  const KernelSpec up = spec(Op::skip_up, dims(8192 + 32, 256)),
                   wide = spec(Op::skip_up, dims(32, 4096 + 512)),
                   down = spec(Op::skip_down, dims(256, 8 * 2048 + 256));
  for (const int32_t rows : {1, 9}) {
    EXPECT_EQ(difference_from_twin(up, compiled(up), {rows}, 5,
                                   [&](CallBuffers &call) { set_gates(call, 8192 + 32, rows, 90); }),
              "");
    EXPECT_EQ(difference_from_twin(wide, compiled(wide), {rows}, 5), "");
    EXPECT_EQ(difference_from_twin(down, compiled(down), {rows}, 5), "");
  }
}

/// The largest sums, with both signs; and codes of 3, which only a damaged bundle has, stay within i16 and
/// i32.
TEST_P(Skip, SurvivesLargestSums) {
  for (const uint8_t codes : {uint8_t(0xaa), uint8_t(0xff)})
    for (const int8_t input : {int8_t(127), int8_t(-127)}) {
      const KernelSpec up = spec(Op::skip_up, dims(16, 6912)), down = spec(Op::skip_down, dims(256, 6912));
      const auto prepare = [&](CallBuffers &call) {
        call.fill("w", codes);
        call.fill("q", input);
      };
      for (const int32_t rows : {1, 9}) {
        EXPECT_EQ(difference_from_twin(up, compiled(up), {rows}, 1, prepare), "");
        EXPECT_EQ(difference_from_twin(down, compiled(down), {rows}, 1, prepare), "");
      }
    }
}

INSTANTIATE_TEST_SUITE_P(EveryVariant, Skip,
                         testing::Combine(testing::Values(CpuVariant::portable, CpuVariant::avx2,
                                                          CpuVariant::avx512, CpuVariant::avx512vnni),
                                          testing::Values(1, 2, 4, 8, 0)),
                         [](const auto &info) {
                           return std::string(format::cpu_variant(std::get<0>(info.param)).name) + "_rows" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(SkipSum, EqualsTwin) {
  for (const CpuVariant cpu : runnable_variants())
    for (const Epilogue epilogue : {Epilogue::none, Epilogue::residual})
      for (const int32_t rows : {1, 3, 8, 13}) {
        const KernelSpec spec{Op::skip_sum, dims(512, 0, epilogue), 0, cpu};
        const auto prepare = [&](CallBuffers &call) {
          for (int32_t r = 0; r < rows; ++r)
            for (int32_t i = 0; i < format::kSkipRanges * 512; ++i)
              call.data<int32_t>("sums")[r * call.row_stride("sums") + i] =
                  int32_t(random_at(uint32_t(i + r)) >> 12) - 500000;
        };
        EXPECT_EQ(difference_from_twin(spec, compiled(spec), {rows}, 3, prepare), "");
        if (epilogue == Epilogue::residual) {
          EXPECT_EQ(difference_from_twin(spec, compiled(spec), {rows}, 3,
                                         [&](CallBuffers &call) {
                                           prepare(call);
                                           call.overwrite("residual");
                                         }),
                    "");
        }
      }
}

/// What makes them worth having: weights of shut neurons and of inputs of 0 are not read. Here they are codes
/// that would change every result.
TEST(SkippedWeights, AreNotRead) {
  const int32_t n = 512, k = 512;
  for (const CpuVariant cpu : runnable_variants())
    for (const Op op : {Op::skip_up, Op::skip_down}) {
      const KernelSpec spec{op, dims(n, k), 1, cpu};
      CallBuffers call(spec, {1}, 9);
      if (op == Op::skip_up)
        set_gates(call, n, 1, 20);
      else
        set_inputs(call, k, 1, 20);
      CallBuffers garbled = call;
      const size_t bytes = 128; // of a neuron
      for (int32_t i = 0; i < 512; ++i)
        if (op == Op::skip_up ? !(call.data<float>("gate")[i] > 0) : call.data<int8_t>("q")[i] == 0)
          std::fill_n(garbled.data<uint8_t>("w") + size_t(i) * bytes, bytes, uint8_t(0xff));
      ASSERT_EQ(call.run(compiled(spec), 0, call.units()), 0);
      ASSERT_EQ(garbled.run(compiled(spec), 0, call.units()), 0);
      const char *out = op == Op::skip_up ? "h" : "sums";
      for (int64_t i = 0; i < call.elements(out); ++i)
        ASSERT_EQ(call.data<int32_t>(out)[i], garbled.data<int32_t>(out)[i]) << to_string(spec) << " " << i;
    }
}

} // namespace
} // namespace bitnet::codegen
