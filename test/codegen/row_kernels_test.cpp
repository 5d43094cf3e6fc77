// Norms, quantiser, gates and add: every variant equals the twin bit for bit, and fused ops equal their
// parts.
#include "test/codegen/compiled_kernels.h"
#include "test/codegen/nasty_floats.h"
#include <gtest/gtest.h>
#include <limits>

namespace bitnet::codegen {
namespace {
using format::Act;
using format::Op;
using format::OpDims;

KernelSpec row_spec(Op op, int32_t k, Act act = Act::relu2, float eps = 1e-5f) {
  KernelSpec spec{op, {}, 0, format::CpuVariant::portable};
  spec.dims.k = k;
  spec.dims.act = act;
  spec.dims.eps = op == Op::rms_norm || op == Op::norm_quant || op == Op::gate_norm_quant ? eps : 0;
  return spec;
}

constexpr int32_t kKinds = int32_t(Nasty::count);

/// Row r gets kind r; a second activation gets another kind, so that pairs of kinds meet over the seeds.
void fill(CallBuffers &call, const char *name, int32_t k, int32_t rows, uint32_t seed, int32_t shift = 0) {
  std::mt19937 random(seed);
  for (int32_t r = 0; r < rows; ++r)
    for (int32_t i = 0; i < k; ++i)
      call.data<float>(name)[int64_t(r) * call.row_stride(name) + i] =
          nasty_float(Nasty((r + shift) % kKinds), random);
}

void fill_inputs(CallBuffers &call, const KernelSpec &spec, int32_t rows, uint32_t seed) {
  switch (spec.op) {
  case Op::add:
    fill(call, "a", spec.dims.k, rows, seed);
    fill(call, "b", spec.dims.k, rows, seed + 1, int32_t(seed));
    break;
  case Op::gate:
  case Op::gate_quant:
  case Op::gate_norm_quant:
    fill(call, "gate", spec.dims.k, rows, seed);
    fill(call, "up", spec.dims.k, rows, seed + 1, int32_t(seed));
    break;
  default:
    fill(call, "x", spec.dims.k, rows, seed);
  }
}

/// Widths: the least, one that has 16 lanes, ones that have 64, the model's, and one too wide to be kept on
/// the stack.
const KernelSpec kSpecs[] = {
    row_spec(Op::rms_norm, 16),
    row_spec(Op::rms_norm, 48),
    row_spec(Op::rms_norm, 2560),
    row_spec(Op::rms_norm, 64, Act::relu2, 0),
    row_spec(Op::quantize, 16),
    row_spec(Op::quantize, 64),
    row_spec(Op::quantize, 6912),
    row_spec(Op::norm_quant, 48),
    row_spec(Op::norm_quant, 256),
    row_spec(Op::norm_quant, 2560),
    row_spec(Op::gate, 16),
    row_spec(Op::gate, 6912),
    row_spec(Op::gate, 48, Act::silu),
    row_spec(Op::gate, 64, Act::gelu),
    row_spec(Op::gate_quant, 64),
    row_spec(Op::gate_quant, 2560, Act::silu),
    row_spec(Op::gate_quant, 48, Act::gelu),
    row_spec(Op::gate_norm_quant, 48),
    row_spec(Op::gate_norm_quant, 6912),
    row_spec(Op::gate_norm_quant, 16, Act::silu),
    row_spec(Op::gate_norm_quant, 256, Act::gelu),
    row_spec(Op::gate_norm_quant, 16448, Act::silu),
    row_spec(Op::add, 16),
    row_spec(Op::add, 2560),
};

TEST(RowKernels, EqualTheTwinOnEveryVariant) {
  for (KernelSpec spec : kSpecs)
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      const format::KernelFn kernel = compiled(spec);
      ASSERT_NE(kernel, nullptr);
      for (uint32_t seed = 1; seed <= 3; ++seed)
        EXPECT_EQ(difference_from_twin(spec, kernel, {kKinds}, seed,
                                       [&](CallBuffers &call) { fill_inputs(call, spec, kKinds, seed); }),
                  "");
    }
}

KernelSpec head_norm_spec(int32_t heads, int32_t head_dim) {
  KernelSpec spec{Op::head_norm, {}, 0, format::CpuVariant::portable};
  spec.dims.heads = heads;
  spec.dims.head_dim = head_dim;
  spec.dims.eps = 1e-6f;
  return spec;
}

TEST(RowKernels, HeadNormEqualsTheTwinOnEveryVariantAlsoInPlace) {
  for (auto [heads, head_dim] : {std::pair<int32_t, int32_t>{1, 16}, {3, 48}, {16, 128}, {4, 256}})
    for (format::CpuVariant cpu : runnable_variants())
      for (bool in_place : {false, true}) {
        KernelSpec spec = head_norm_spec(heads, head_dim);
        spec.cpu = cpu;
        EXPECT_EQ(difference_from_twin(spec, compiled(spec), {kKinds}, 2,
                                       [&, k = heads * head_dim](CallBuffers &call) {
                                         fill(call, "x", k, kKinds, 2);
                                         if (in_place)
                                           call.overwrite("x");
                                       }),
                  "");
      }
}

TEST(RowKernels, HeadNormIsRmsNormOfEachHead) {
  constexpr int32_t kHeads = 3, kDim = 64;
  CallBuffers all(head_norm_spec(kHeads, kDim), {1}, 5);
  KernelSpec one_head = row_spec(Op::rms_norm, kDim, Act::relu2, 1e-6f);
  all.run_twin(0, 1);
  for (int32_t h = 0; h < kHeads; ++h) {
    CallBuffers one(one_head, {1}, 5);
    std::copy_n(all.data<float>("x") + h * kDim, kDim, one.data<float>("x"));
    std::copy_n(all.data<float>("gain"), kDim, one.data<float>("gain"));
    one.run_twin(0, 1);
    for (int32_t i = 0; i < kDim; ++i)
      EXPECT_EQ(all.data<float>("y")[h * kDim + i], one.data<float>("y")[i]);
  }
}

TEST(RowKernels, QuantizeNanAndInfinityAlikeOnEveryVariant) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (KernelSpec spec : {row_spec(Op::quantize, 64), row_spec(Op::norm_quant, 48)})
    for (format::CpuVariant cpu : runnable_variants()) {
      spec.cpu = cpu;
      EXPECT_EQ(difference_from_twin(spec, compiled(spec), {4}, 1,
                                     [&](CallBuffers &call) {
                                       float *x = call.data<float>("x");
                                       const int32_t stride = call.row_stride("x");
                                       x[3] = nan;
                                       x[stride + 5] = inf;
                                       x[2 * stride] = -inf;
                                       x[2 * stride + 1] = nan;
                                     }),
                "");
    }
}

TEST(RowKernels, OneRowOfManyEqualsThatRowAlone) {
  for (format::CpuVariant cpu : runnable_variants()) {
    KernelSpec spec = row_spec(Op::norm_quant, 256);
    spec.cpu = cpu;
    CallBuffers all(spec, {5}, 7), one(spec, {1}, 7);
    for (int32_t i = 0; i < 256; ++i)
      one.data<float>("x")[i] = all.data<float>("x")[3 * all.row_stride("x") + i];
    std::copy_n(all.data<float>("gain"), 256, one.data<float>("gain"));
    all.run(compiled(spec), 0, 5);
    one.run(compiled(spec), 0, 1);
    EXPECT_EQ(all.data<float>("s")[3], one.data<float>("s")[0]);
    EXPECT_TRUE(std::equal(one.data<int8_t>("q"), one.data<int8_t>("q") + 256,
                           all.data<int8_t>("q") + 3 * all.row_stride("q")));
  }
}

TEST(RowKernels, AddWorksInPlace) {
  for (format::CpuVariant cpu : runnable_variants()) {
    KernelSpec spec = row_spec(Op::add, 48);
    spec.cpu = cpu;
    float a[48], b[48], expected[48];
    for (int i = 0; i < 48; ++i) {
      a[i] = float(i) * 0.7f;
      b[i] = 11.3f - float(i);
      expected[i] = a[i] + b[i];
    }
    format::Dim dims[] = {{0, 48, 1, 0}, {0, 1, 48, 0}};
    format::Buffer sum{}, other{};
    sum.dimensions = other.dimensions = 2;
    sum.dim = other.dim = dims;
    sum.host = reinterpret_cast<uint8_t *>(a);
    other.host = reinterpret_cast<uint8_t *>(b);
    int32_t rows = 1, begin = 0, end = 1;
    void *args[] = {&sum, &other, &sum, &rows, &begin, &end};
    ASSERT_EQ(compiled(spec)(args), 0);
    EXPECT_TRUE(std::equal(a, a + 48, expected));
  }
}

// gate_norm_quant = gate, then rms_norm, then quantize, and norm_quant = rms_norm, then quantize: on the
// twins, which every variant equals.
TEST(RowTwins, FusedOpsEqualTheirParts) {
  constexpr int32_t kK = 48;
  for (Act act : {Act::relu2, Act::silu, Act::gelu}) {
    CallBuffers fused(row_spec(Op::gate_norm_quant, kK, act), {kKinds}, 3),
        gate(row_spec(Op::gate, kK, act), {kKinds}, 3);
    CallBuffers norm(row_spec(Op::rms_norm, kK), {kKinds}, 3),
        quantize(row_spec(Op::quantize, kK), {kKinds}, 3);
    CallBuffers norm_quant(row_spec(Op::norm_quant, kK), {kKinds}, 3),
        gate_quant(row_spec(Op::gate_quant, kK, act), {kKinds}, 3);
    const auto copy = [](CallBuffers &from, const char *a, CallBuffers &to, const char *b,
                         int32_t rows = kKinds) {
      std::copy_n(from.data<float>(a), int64_t(rows - 1) * from.row_stride(a) + kK, to.data<float>(b));
    };
    const auto same_codes = [](CallBuffers &a, CallBuffers &b) {
      for (int32_t r = 0; r < kKinds; ++r) {
        EXPECT_EQ(float_bits(a.data<float>("s")[r]), float_bits(b.data<float>("s")[r])) << "row " << r;
        EXPECT_EQ(a.data<int32_t>("sum")[r], b.data<int32_t>("sum")[r]) << "row " << r;
        for (int32_t i = 0; i < kK; ++i)
          EXPECT_EQ(a.data<int8_t>("q")[r * a.row_stride("q") + i],
                    b.data<int8_t>("q")[r * b.row_stride("q") + i]);
      }
    };
    fill_inputs(fused, row_spec(Op::gate_norm_quant, kK, act), kKinds, 5);
    for (CallBuffers *to : {&gate, &gate_quant}) {
      copy(fused, "gate", *to, "gate");
      copy(fused, "up", *to, "up");
    }
    for (CallBuffers *to : {&norm, &norm_quant})
      copy(fused, "gain", *to, "gain", 1);
    fused.run_twin(0, kKinds);
    gate.run_twin(0, kKinds);
    copy(gate, "h", norm, "x");
    copy(gate, "h", norm_quant, "x");
    norm.run_twin(0, kKinds);
    norm_quant.run_twin(0, kKinds);
    copy(norm, "y", quantize, "x");
    quantize.run_twin(0, kKinds);
    same_codes(fused, norm_quant);
    same_codes(fused, quantize);
    gate_quant.run_twin(0, kKinds);
    copy(gate, "h", quantize, "x");
    quantize.run_twin(0, kKinds);
    same_codes(gate_quant, quantize);
  }
}

} // namespace
} // namespace bitnet::codegen
