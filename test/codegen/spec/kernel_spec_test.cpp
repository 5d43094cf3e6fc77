// The text form of kernels: what is printed parses back to the same kernel, and what is wrong says why.
#include "codegen/spec/kernel_spec.h"
#include <gtest/gtest.h>
#include <set>

namespace bitnet::codegen {
namespace {

const char *const kTexts[] = {
    "embed n=128256 k=2560 rows=0 cpu=portable",
    "rms_norm k=2560 eps=1e-05 rows=0 cpu=avx2",
    "quantize k=16 rows=0 cpu=avx512",
    "norm_quant k=6912 eps=0 rows=0 cpu=avx512vnni",
    "gate k=6912 act=silu rows=0 cpu=portable",
    "gate_quant k=6912 act=relu2 rows=0 cpu=avx2",
    "gate_norm_quant k=6912 act=gelu eps=0.001 rows=0 cpu=avx2",
    "add k=2560 rows=0 cpu=avx2",
    "linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni",
    "linear_s8 n=128256 k=2560 rows=8 cpu=avx2",
    "linear_f16 n=128256 k=2560 rows=0 cpu=avx2",
    "rope heads=25 head_dim=128 context=4096 rows=0 cpu=avx2",
    "kv_append kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "attention heads=20 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "kv_append_q8 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "attention_q8 heads=20 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "attention_chunk heads=20 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "attention_chunk_q8 heads=20 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "attention_merge heads=20 kv_heads=5 head_dim=128 rows=0 cpu=avx2",
    "gather_rows k=2560 rows=0 cpu=avx2",
    "linear_t3 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni",
    "linear_t5 n=3840 k=2560 epilogue=gate act=relu2 rows=1 cpu=avx512vnni",
    "screen_q4 n=128256 k=2560 rows=2 cpu=avx512vnni",
    "rescore_f16 n=128256 k=2560 rows=0 cpu=avx512",
    "skip_up n=6912 k=2560 rows=2 cpu=avx512vnni",
    "skip_down n=2560 k=6912 rows=0 cpu=portable",
    "skip_sum n=2560 epilogue=residual rows=0 cpu=avx2",
    "group_sums k=2560 group=128 rows=0 cpu=avx2",
    "head_norm heads=16 head_dim=128 eps=1e-06 rows=0 cpu=avx2",
};

TEST(KernelSpec, PrintsWhatItParses) {
  ASSERT_EQ(std::size(kTexts), size_t(format::Op::count));
  std::set<std::string> symbols;
  for (const char *text : kTexts) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
    ASSERT_TRUE(spec) << error;
    EXPECT_EQ(to_string(*spec), text);
    symbols.insert(symbol(*spec));
  }
  EXPECT_EQ(symbols.size(), std::size(kTexts));
}

TEST(KernelSpec, PrintsAGroupOnlyWhereItHasOne) {
  for (const char *text :
       {"linear_t2 n=3840 k=2560 epilogue=none group=128 rows=4 cpu=avx2",
        "linear_t2 n=3840 k=2560 epilogue=gate act=silu group=64 rows=0 tokens=4 cpu=avx2"}) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
    ASSERT_TRUE(spec) << error;
    EXPECT_EQ(to_string(*spec), text);
  }
}

TEST(KernelSpec, PrintsATileOnlyWhereItHasOne) {
  for (const char *text : {"linear_t2 n=3840 k=2560 epilogue=none rows=4 stripes=2 tokens=4 cpu=avx2",
                           "linear_s8 n=3840 k=2560 rows=0 stripes=4 cpu=avx2",
                           "linear_t2 n=3840 k=2560 epilogue=residual rows=8 tokens=2 cpu=avx2"}) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
    ASSERT_TRUE(spec) << error;
    EXPECT_EQ(to_string(*spec), text);
  }
}

TEST(KernelSpec, KeepsEveryBitOfEps) {
  KernelSpec spec{format::Op::rms_norm, {}, 0, format::CpuVariant::avx2};
  spec.dims.k = 64;
  std::string error;
  for (const float eps : {1e-5f, 1e-6f, 1.1754944e-38f, 0.1f, 0.33333334f, 1.0f}) {
    spec.dims.eps = eps;
    EXPECT_EQ(parse_kernel_spec(to_string(spec), &error)->dims.eps, eps) << error;
  }
}

TEST(KernelSpec, SymbolIsAnIdentifier) {
  std::string error;
  EXPECT_EQ(symbol(*parse_kernel_spec("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni", &error)),
            "linear_t2_n3840_k2560_epiloguenone_rows1__avx512vnni");
  EXPECT_EQ(symbol(*parse_kernel_spec("linear_t2 n=16 k=16 epilogue=gate act=silu rows=8 cpu=avx2", &error)),
            "linear_t2_n16_k16_epiloguegate_actsilu_rows8__avx2");
  EXPECT_EQ(symbol(*parse_kernel_spec("rms_norm k=16 eps=1.5e-06 rows=0 cpu=avx2", &error)),
            "rms_norm_k16_eps1p5em06_rows0__avx2");
}

TEST(KernelSpec, SaysWhatIsWrong) {
  const std::pair<const char *, const char *> cases[] = {
      {"", "expected an op name, got ''"},
      {"linear k=16 rows=0 cpu=avx2", "expected an op name, got 'linear'"},
      {"add rows=0 cpu=avx2", "expected k=<value>, got 'rows=0'"},
      {"add k=16", "expected rows=<value>, got ''"},
      {"add k=16x rows=0 cpu=avx2", "k: '16x' is not a value of it"},
      {"add k=99999999999 rows=0 cpu=avx2", "k: '99999999999' is not a value of it"},
      {"add k=17 rows=0 cpu=avx2", "k must be a multiple of 16 in [16, 2^20]"},
      {"linear_t3 n=16 k=33040 epilogue=none rows=0 cpu=avx2", "k is too large for base-3 weights"},
      {"gate k=16 act=tanh rows=0 cpu=avx2", "act: 'tanh' is not a value of it"},
      {"linear_t2 n=16 k=16 epilogue=sum rows=1 cpu=avx2", "epilogue: 'sum' is not a value of it"},
      {"linear_t2 n=16 k=16 epilogue=gate rows=1 cpu=avx2", "expected act=<value>, got 'rows=1'"},
      {"linear_t2 n=16 k=16 epilogue=residual act=silu rows=1 cpu=avx2",
       "expected rows=<value>, got 'act=silu'"},
      {"linear_t2 n=16 k=64 epilogue=none group=24 rows=1 cpu=avx2",
       "group must be a multiple of 16 that divides k"},
      {"linear_t2 n=16 k=64 epilogue=none group=48 rows=1 cpu=avx2",
       "group must be a multiple of 16 that divides k"},
      {"linear_t2 n=16 k=64 epilogue=none group=-16 rows=1 cpu=avx2",
       "group must be a multiple of 16 that divides k"},
      {"linear_t3 n=16 k=80 epilogue=none group=80 rows=1 cpu=avx2", "expected rows=<value>, got 'group=80'"},
      {"linear_t5 n=16 k=96 epilogue=none group=96 rows=1 cpu=avx2", "expected rows=<value>, got 'group=96'"},
      {"group_sums k=64 rows=0 cpu=avx2", "group must be a multiple of 16 that divides k"},
      {"skip_up n=16 k=128 rows=1 cpu=avx2", "k must be a multiple of 256"},
      {"skip_down n=128 k=16 rows=1 cpu=avx2", "n must be a multiple of 256"},
      {"skip_sum n=256 epilogue=gate act=relu2 rows=0 cpu=avx2", "expected rows=<value>, got 'act=relu2'"},
      {"skip_sum n=256 epilogue=gate rows=0 cpu=avx2", "epilogue is not legal here"},
      {"add k=16 rows= cpu=avx2", "rows: '' is not a number"},
      {"add k=16 rows=4 cpu=avx2", "rows: expected 0, got 4"},
      {"linear_s8 n=16 k=16 rows=3 cpu=avx2", "rows: expected 1, 2, 4, 8, 0, got 3"},
      {"add k=16 rows=0 cpu=avx3", "cpu: expected portable, avx2, avx512 or avx512vnni, got 'avx3'"},
      {"add k=16 rows=0 cpu=avx2 x", "expected the end, got 'x'"},
      {"add k=16 rows=0 stripes=1 cpu=avx2", "stripes, tokens: only linear ops have a tile"},
      {"linear_s8 n=128 k=16 rows=4 stripes=0 cpu=avx2", "stripes: '0' is not a positive number"},
      {"linear_s8 n=128 k=16 rows=4 stripes=3 cpu=avx2", "stripes: expected a divisor of 8, got 3"},
      {"linear_s8 n=128 k=16 rows=4 tokens=8 cpu=avx2", "tokens: expected a divisor of 4, got 8"},
      {"linear_s8 n=128 k=16 rows=0 tokens=-1 cpu=avx2", "tokens: expected a divisor of 8, got -1"},
  };
  for (const auto &[text, why] : cases) {
    std::string error;
    EXPECT_FALSE(parse_kernel_spec(text, &error)) << text;
    EXPECT_EQ(error, "kernel spec '" + std::string(text) + "': " + why);
  }
}

} // namespace
} // namespace bitnet::codegen
