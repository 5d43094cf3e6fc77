// Ops that move, rotate or sum rows: embed, gather_rows, rope, kv_append, group_sums. Every variant equals
// the twin bit for bit and writes nothing else.
#include "runtime/format/layouts.h"
#include "test/codegen/compiled_kernels.h"
#include "test/codegen/nasty_floats.h"
#include <gtest/gtest.h>
#include <limits>

namespace bitnet::codegen {
namespace {
using format::Op;

KernelSpec data_spec(Op op, int32_t n, int32_t k) {
  KernelSpec spec{op, {}, 0, format::CpuVariant::portable};
  spec.dims.n = n;
  spec.dims.k = k;
  return spec;
}
KernelSpec rope_spec(int32_t heads, int32_t head_dim, int32_t context) {
  KernelSpec spec{Op::rope, {}, 0, format::CpuVariant::portable};
  spec.dims.heads = heads;
  spec.dims.head_dim = head_dim;
  spec.dims.context = context;
  return spec;
}
KernelSpec kv_append_spec(int32_t kv_heads, int32_t head_dim) {
  KernelSpec spec{Op::kv_append, {}, 0, format::CpuVariant::portable};
  spec.dims.kv_heads = kv_heads;
  spec.dims.head_dim = head_dim;
  return spec;
}

void set(CallBuffers &call, const char *name, std::initializer_list<int32_t> values) {
  std::copy(values.begin(), values.end(), call.data<int32_t>(name));
}

TEST(DataKernels, EmbedReadsTheTokensRow) {
  for (KernelSpec spec : {data_spec(Op::embed, 64, 16), data_spec(Op::embed, 48, 2560)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {6}, 1,
                                     [](CallBuffers &call) {
                                       set(call, "tokens", {0, 47, 15, 16, 31, 0});
                                     }),
                "");
    }
}

TEST(DataKernels, GatherReadsTheIndexedRows) {
  for (KernelSpec spec : {data_spec(Op::gather_rows, 0, 16), data_spec(Op::gather_rows, 0, 2560)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {4, 9}, 1,
                                     [](CallBuffers &call) {
                                       set(call, "logit_rows", {8, 0, 3, 3});
                                     }),
                "");
    }
}

TEST(DataKernels, GroupSumsAreThoseOfEachGroup) {
  KernelSpec spec = data_spec(Op::group_sums, 0, 768);
  for (const int32_t group : {16, 48, 128, 768})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      spec.dims.group = group;
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {5}, 1), "");
    }
}

TEST(DataKernels, RescoreComputesTheIndexedRows) {
  for (KernelSpec spec : {data_spec(Op::rescore_f16, 64, 16), data_spec(Op::rescore_f16, 48, 2560)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      for (const int32_t rows : {1, 2, 7})
        EXPECT_EQ(difference_from_twin(spec, compiled(spec), {rows}, 1,
                                       [&](CallBuffers &call) {
                                         const int32_t index[] = {0, 47, 15, 16, 31, 0, 46};
                                         std::copy_n(index, rows, call.data<int32_t>("index"));
                                       }),
                  "");
    }
}

/// Bit for bit what the whole head gives, so that a rescored logit is the head's.
TEST(DataKernels, RescoreGivesTheBitsOfTheLinear) {
  for (format::CpuVariant cpu : runnable_variants()) {
    KernelSpec spec = data_spec(Op::rescore_f16, 48, 2560), whole = data_spec(Op::linear_f16, 48, 2560);
    spec.cpu = whole.cpu = cpu;
    whole.rows = 1;
    CallBuffers one(spec, {48}, 5), all(whole, {1}, 6);
    for (int32_t row = 0; row < 48; ++row)
      one.data<int32_t>("index")[row] = 47 - row;
    all.point("x", one.data<float>("x"));
    all.point("w", one.data<uint16_t>("w"));
    ASSERT_EQ(one.run(compiled(spec), 0, one.units()), 0);
    ASSERT_EQ(all.run(compiled(whole), 0, all.units()), 0);
    for (int32_t row = 0; row < 48; ++row)
      EXPECT_EQ(float_bits(one.data<float>("y")[row]), float_bits(all.data<float>("y")[47 - row])) << row;
  }
}

TEST(DataKernels, RopeRotatesByTheRowsPosition) {
  for (KernelSpec spec :
       {rope_spec(25, 128, 40), rope_spec(3, 100, 40), rope_spec(1, 4, 40), rope_spec(2, 64, 40)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {5}, 1,
                                     [](CallBuffers &call) {
                                       set(call, "positions", {0, 39, 7, 7, 1});
                                     }),
                "");
    }
}

TEST(DataKernels, RopeWorksInPlace) {
  for (KernelSpec spec :
       {rope_spec(25, 128, 40), rope_spec(3, 100, 40), rope_spec(1, 4, 40), rope_spec(2, 64, 40)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      constexpr int32_t kRows = 5;
      CallBuffers apart(spec, {kRows}, 3);
      set(apart, "positions", {0, 39, 7, 7, 1});
      CallBuffers expected = apart;
      expected.run_twin(0, kRows);

      const int32_t d = spec.dims.head_dim, heads = spec.dims.heads, stride = apart.row_stride("x");
      format::Dim rows3[] = {{0, d, 1, 0}, {0, heads, d, 0}, {0, kRows, stride, 0}},
                  rows1[] = {{0, kRows, 1, 0}};
      format::Dim table[] = {{0, d / 2, 1, 0}, {0, spec.dims.context, d / 2, 0}};
      const auto buffer = [](void *host, format::Dim *dims, int32_t rank) {
        format::Buffer b{};
        b.host = static_cast<uint8_t *>(host);
        b.dimensions = rank;
        b.dim = dims;
        return b;
      };
      float *x = apart.data<float>("x");
      format::Buffer in = buffer(x, rows3, 3), positions = buffer(apart.data<int32_t>("positions"), rows1, 1);
      format::Buffer cos = buffer(apart.data<float>("cos"), table, 2),
                     sin = buffer(apart.data<float>("sin"), table, 2);
      format::Buffer out = in;
      int32_t rows = kRows, begin = 0, end = kRows;
      void *args[] = {&in, &positions, &cos, &sin, &out, &rows, &begin, &end};
      ASSERT_EQ(compiled(spec)(args), 0);
      for (int32_t r = 0; r < kRows; ++r)
        for (int32_t i = 0; i < d * heads; ++i)
          ASSERT_EQ(float_bits(x[r * stride + i]),
                    float_bits(expected.data<float>("y")[r * expected.row_stride("y") + i]))
              << to_string(spec) << " row " << r << " element " << i;
    }
}

/// Appends five rows of keys and values, whose elements `value` gives by row, and four elements that
/// saturate.
void expect_appended_as_by_twin(Op op, float (*value)(std::mt19937 &random, int32_t row)) {
  for (KernelSpec spec : {kv_append_spec(5, 128), kv_append_spec(1, 4), kv_append_spec(3, 100)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.op = op;
      spec.cpu = cpu;
      const int32_t width = spec.dims.kv_heads * spec.dims.head_dim;
      const auto prepare = [&](CallBuffers &call) {
        set(call, "slots", {0, 130, 17, 63, 191});
        std::mt19937 random(9);
        for (const char *name : {"k", "v"})
          for (int32_t r = 0; r < 5; ++r)
            for (int32_t i = 0; i < width; ++i)
              call.data<float>(name)[int64_t(r) * call.row_stride(name) + i] = value(random, r);
        float *k = call.data<float>("k");
        k[0] = std::numeric_limits<float>::infinity();
        k[1] = -3e38f;
        k[2] = std::numeric_limits<float>::quiet_NaN();
        k[3] = 65519.99f;
      };
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {5, 0, 3}, 1, prepare), "");
    }
}

/// Of any magnitude around f16's range: all exponents from 2^-30 to 2^20.
TEST(DataKernels, KvAppendRoundsAndSaturatesIntoTheSlot) {
  expect_appended_as_by_twin(Op::kv_append, [](std::mt19937 &random, int32_t) {
    return float_from_bits((random() & 0x807fffff) | ((97 + random() % 50) << 23));
  });
}

/// Magnitudes over many octaves, a head of zeros, one of denormals, and what saturates.
TEST(DataKernels, KvAppendQ8ScalesEachHeadIntoTheSlot) {
  expect_appended_as_by_twin(Op::kv_append_q8, [](std::mt19937 &random, int32_t row) {
    return row == 1   ? 0.0f
           : row == 2 ? float_from_bits(random() & 0x807fffff)
                      : float_from_bits((random() & 0x807fffff) | ((117 + random() % 12) << 23));
  });
}

/// What is read back is off by half a step of the head's scale, plus float roundings.
TEST(DataKernels, KvAppendQ8IsWithinHalfAStep) {
  KernelSpec spec = kv_append_spec(2, 64);
  spec.op = Op::kv_append_q8;
  CallBuffers call(spec, {3, 0, 2}, 1);
  set(call, "slots", {5, 64, 127});
  call.run_twin(0, call.units());
  const int32_t slots[] = {5, 64, 127};
  for (int32_t r = 0; r < 3; ++r)
    for (int32_t h = 0; h < 2; ++h)
      for (int32_t i = 0; i < 64; ++i) {
        const float k = call.data<float>("k")[r * call.row_stride("k") + h * 64 + i],
                    v = call.data<float>("v")[r * call.row_stride("v") + h * 64 + i];
        const size_t scale = format::kv_scale_index(2, slots[r], h);
        const float k_scale = call.data<float>("k_scale")[scale],
                    v_scale = call.data<float>("v_scale")[scale];
        const int32_t k_code = call.data<uint8_t>("k_cache")[format::k_q8_index(64, 2, slots[r], h, i)] - 128,
                      v_code = call.data<int8_t>("v_cache")[format::v_q8_index(64, 2, slots[r], h, i)];
        EXPECT_NEAR(k_scale * float(k_code), k, k_scale * 0.50001f);
        EXPECT_NEAR(v_scale * float(v_code), v, v_scale * 0.50001f);
      }
}

} // namespace
} // namespace bitnet::codegen
