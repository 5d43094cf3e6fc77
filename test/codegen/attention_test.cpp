// Attention: every variant equals the twin bit for bit; the result depends on the row's own valid positions
// and nothing else; the twin is softmax attention within a derived bound.
#include "codegen/reference/scalar_math.h"
#include "runtime/format/layouts.h"
#include "test/codegen/compiled_kernels.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <random>

namespace bitnet::codegen {
namespace {
using format::kKvBlockTokens;

KernelSpec attention_spec(int32_t heads, int32_t kv_heads, int32_t head_dim) {
  KernelSpec spec{format::Op::attention, {}, 0, format::CpuVariant::portable};
  spec.dims.heads = heads;
  spec.dims.kv_heads = kv_heads;
  spec.dims.head_dim = head_dim;
  return spec;
}

/// What the keys and queries are like.
enum class Scores { normal, any_half, equal, denormal, large };
constexpr Scores kScores[] = {Scores::normal, Scores::any_half, Scores::equal, Scores::denormal,
                              Scores::large};

/// Keys, values and queries of rows with given lengths, and where they lie in the cache. Row r is sequence r.
struct Case {
  KernelSpec spec;
  std::vector<int32_t> lengths;
  Scores scores = Scores::normal;
  uint32_t seed = 1;
  uint32_t placement = 1;  ///< seed of the blocks' order
  int32_t spare_table = 0; ///< entries of the block table beyond the longest row
  uint16_t stale = 0x3c00; ///< content of every slot that holds no valid position

  int32_t blocks_of(int32_t r) const { return (lengths[size_t(r)] + kKvBlockTokens - 1) / kKvBlockTokens; }
  format::Extents extents() const {
    format::Extents e;
    e.rows = e.seqs = int32_t(lengths.size());
    for (int32_t r = 0; r < e.rows; ++r) {
      e.kv_blocks += blocks_of(r);
      e.seq_blocks = std::max(e.seq_blocks, blocks_of(r));
    }
    e.kv_blocks += 2;
    e.seq_blocks += spare_table;
    return e;
  }

  static float normal(std::mt19937 &random) {
    const auto unit = [&] { return float(random() >> 8) * 0x1p-24f; };
    return (unit() + unit() + unit() + unit() - 2) * 1.7320508f;
  }
  /// A key or value of this case.
  uint16_t half(std::mt19937 &random) const {
    switch (scores) {
    case Scores::any_half:
      return uint16_t((random() & 0x8000) | random() % 0x7c00);
    case Scores::equal:
      return 0x3800; // 0.5
    case Scores::denormal:
      return uint16_t(random() & 0x83ff);
    case Scores::large:
      return f32_to_f16_saturated(normal(random) * 30);
    default:
      return f32_to_f16_saturated(normal(random));
    }
  }

  void operator()(CallBuffers &call) const {
    const format::Extents e = extents();
    const auto &d = spec.dims;
    std::vector<int32_t> free_blocks(size_t(e.kv_blocks));
    for (int32_t i = 0; i < e.kv_blocks; ++i)
      free_blocks[size_t(i)] = i;
    std::mt19937 order(placement);
    for (size_t i = free_blocks.size() - 1; i > 0; --i)
      std::swap(free_blocks[i], free_blocks[order() % (i + 1)]);

    uint16_t *k = call.data<uint16_t>("k_cache"), *v = call.data<uint16_t>("v_cache");
    std::fill_n(k, call.elements("k_cache"), stale);
    std::fill_n(v, call.elements("v_cache"), stale);
    int32_t *table = call.data<int32_t>("block_table");
    std::fill_n(table, call.elements("block_table"), 0x7fffff00); // read only by mistake, and then a crash
    for (int32_t r = 0; r < e.rows; ++r) {
      std::mt19937 random(seed +
                          uint32_t(lengths[size_t(r)])); // content depends on the length, not on the row
      call.data<int32_t>("positions")[r] = lengths[size_t(r)] - 1;
      call.data<int32_t>("sequences")[r] = r;
      for (int32_t b = 0; b < blocks_of(r); ++b) {
        table[int64_t(r) * e.seq_blocks + b] = free_blocks.back();
        free_blocks.pop_back();
      }
      for (int32_t t = 0; t < lengths[size_t(r)]; ++t) {
        const int32_t slot =
            table[int64_t(r) * e.seq_blocks + t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens;
        for (int32_t h = 0; h < d.kv_heads; ++h)
          for (int32_t i = 0; i < d.head_dim; ++i) {
            k[format::k_index(d.head_dim, d.kv_heads, slot, h, i)] = half(random);
            v[format::v_index(d.head_dim, d.kv_heads, slot, h, i)] = half(random);
          }
      }
      for (int32_t i = 0; i < d.heads * d.head_dim; ++i)
        call.data<float>("q")[int64_t(r) * call.row_stride("q") + i] = normal(random);
    }
  }
};

/// Output row r, as bits.
std::vector<uint32_t> output_row(CallBuffers &call, const KernelSpec &spec, int32_t r) {
  const float *o = call.data<float>("o") + int64_t(r) * call.row_stride("o");
  std::vector<uint32_t> bits;
  for (int32_t i = 0; i < spec.dims.heads * spec.dims.head_dim; ++i)
    bits.push_back(float_bits(o[i]));
  return bits;
}
std::vector<uint32_t> run_row(const Case &c, int32_t r) {
  CallBuffers call(c.spec, c.extents(), 1);
  c(call);
  EXPECT_EQ(call.run(compiled(c.spec), 0, call.units()), 0);
  return output_row(call, c.spec, r);
}

TEST(Attention, EqualsTheTwinOnEveryVariant) {
  const KernelSpec specs[] = {attention_spec(4, 2, 64), attention_spec(20, 5, 128), attention_spec(3, 3, 100),
                              attention_spec(7, 1, 8), attention_spec(12, 1, 4)};
  for (KernelSpec spec : specs)
    for (Scores scores : kScores) {
      Case c{spec, {17, 1, 16, 257, 15, 64, 63, 65}};
      c.scores = scores;
      if (scores == Scores::normal)
        c.lengths.insert(c.lengths.end(), {255, 256, 700});
      for (format::CpuVariant cpu : runnable_variants()) {
        c.spec.cpu = cpu;
        ASSERT_NE(compiled(c.spec), nullptr);
        EXPECT_EQ(difference_from_twin(c.spec, compiled(c.spec), c.extents(), 1, c), "")
            << "scores " << int(scores);
      }
    }
}

TEST(Attention, DoesNotDependOnPlacementOrContext) {
  Case c{attention_spec(4, 2, 64), {300, 65}};
  for (format::CpuVariant cpu : runnable_variants()) {
    c.spec.cpu = cpu;
    const std::vector<uint32_t> expected = run_row(c, 0);
    Case moved = c;
    moved.placement = 99;
    moved.spare_table = 40;
    EXPECT_EQ(run_row(moved, 0), expected) << int(cpu);
  }
}

TEST(Attention, IgnoresStaleCache) {
  Case c{attention_spec(4, 2, 64), {300, 65, 1}};
  for (format::CpuVariant cpu : runnable_variants()) {
    c.spec.cpu = cpu;
    for (int32_t r = 0; r < 3; ++r) {
      c.stale = 0;
      const std::vector<uint32_t> expected = run_row(c, r);
      for (uint16_t stale : {0x8000, 0xfbff, 0x7bff, 0x7e00}) { // -0, the largest halves, NaN
        c.stale = stale;
        EXPECT_EQ(run_row(c, r), expected) << int(cpu) << " row " << r << " stale " << stale;
      }
    }
  }
}

TEST(Attention, IsTheSameAloneAndInABatch) {
  Case batch{attention_spec(4, 2, 64), {65, 300, 1, 700}}, alone{attention_spec(4, 2, 64), {300}};
  for (format::CpuVariant cpu : runnable_variants()) {
    batch.spec.cpu = alone.spec.cpu = cpu;
    EXPECT_EQ(run_row(batch, 1), run_row(alone, 0)) << int(cpu);
  }
}

// Against softmax attention in double precision, given the f16 cache. With u = 2^-24, D = head_dim and B the
// largest sum of |q*k| over d, times the scale: a score is off by (D + 3) u B; a probability, relative, by
// twice that (its own and the maximum's), u |s - m| <= 2 u B for the subtraction, exp's 2^-23, and at most 3
// roundings and one more exp a merge; a sum of T terms by T u (fewer, in fact). The result is a mean of
// values, so numerator and denominator each contribute their error times the largest value.
TEST(Attention, TwinIsSoftmaxWithinItsRoundings) {
  for (int32_t length : {1, 17, 256, 700}) {
    Case c{attention_spec(4, 2, 64), {length}};
    CallBuffers call(c.spec, c.extents(), 1);
    c(call);
    call.run_twin(0, call.units());
    const int32_t D = c.spec.dims.head_dim, kv_heads = c.spec.dims.kv_heads;
    const int32_t *table = call.data<int32_t>("block_table");
    const auto slot = [&](int32_t t) {
      return table[t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens;
    };
    for (int32_t h = 0; h < c.spec.dims.heads; ++h) {
      const int32_t g = h / (c.spec.dims.heads / kv_heads);
      const float *q = call.data<float>("q") + h * D, *o = call.data<float>("o") + h * D;
      std::vector<double> p(size_t(length), 0.0);
      double most = -1e300, largest_sum = 0, total = 0, largest_value = 0;
      for (int32_t t = 0; t < length; ++t) {
        double sum = 0, absolute = 0;
        for (int32_t d = 0; d < D; ++d) {
          const double term =
              double(q[d]) *
              f16_to_f32(call.data<uint16_t>("k_cache")[format::k_index(D, kv_heads, slot(t), g, d)]);
          sum += term;
          absolute += std::fabs(term);
        }
        p[size_t(t)] = sum / std::sqrt(double(D));
        most = std::max(most, p[size_t(t)]);
        largest_sum = std::max(largest_sum, absolute / std::sqrt(double(D)));
      }
      for (double &s : p)
        total += s = std::exp(s - most);
      std::vector<double> expected(size_t(D), 0.0);
      for (int32_t t = 0; t < length; ++t)
        for (int32_t d = 0; d < D; ++d) {
          const double value =
              f16_to_f32(call.data<uint16_t>("v_cache")[format::v_index(D, kv_heads, slot(t), g, d)]);
          expected[size_t(d)] += p[size_t(t)] * value / total;
          largest_value = std::max(largest_value, std::fabs(value));
        }
      const double u = 0x1p-24, merges = length / format::kAttentionChunk + 1;
      const double probability = (2 * (D + 3) + 2) * u * largest_sum + 0x1p-23 + merges * (3 * u + 0x1p-23);
      const double bound = 2 * (probability + length * u) * largest_value;
      for (int32_t d = 0; d < D; ++d)
        ASSERT_NEAR(o[d], expected[size_t(d)], bound) << "T " << length << " head " << h << " d " << d;
    }
  }
}

} // namespace
} // namespace bitnet::codegen
