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
using format::Op;

KernelSpec attention_spec(Op op, int32_t heads, int32_t kv_heads, int32_t head_dim) {
  KernelSpec spec{op, {}, 0, format::CpuVariant::portable};
  spec.dims.heads = heads;
  spec.dims.kv_heads = kv_heads;
  spec.dims.head_dim = head_dim;
  return spec;
}
bool is_q8(Op op) { return op == Op::attention_q8 || op == Op::attention_chunk_q8; }
bool is_chunk(Op op) { return op == Op::attention_chunk || op == Op::attention_chunk_q8; }

/// What the keys and queries are like. any: every finite f16, and scales of any size.
enum class Scores { normal, any, equal, denormal, large };
constexpr Scores kScores[] = {Scores::normal, Scores::any, Scores::equal, Scores::denormal, Scores::large};

/// Keys, values and queries of sequences with given lengths, and where they lie in the cache. Rows are the
/// last position of each sequence, or, where `tails` says so, its last few.
struct Case {
  KernelSpec spec;
  std::vector<int32_t> lengths;
  std::vector<int32_t> tails = {}; ///< rows of each sequence; empty: one
  Scores scores = Scores::normal;
  uint32_t seed = 1;
  uint32_t placement = 1;  ///< seed of the blocks' order
  int32_t spare_table = 0; ///< entries of the block table beyond the longest row
  uint16_t stale = 0x3c00; ///< content of every slot that holds no valid position

  int32_t blocks_of(size_t s) const { return (lengths[s] + kKvBlockTokens - 1) / kKvBlockTokens; }
  int32_t rows_of(size_t s) const { return tails.empty() ? 1 : tails[s]; }
  int32_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
  format::Extents extents() const {
    format::Extents e;
    e.rows = 0;
    e.seqs = int32_t(lengths.size());
    for (size_t s = 0; s < lengths.size(); ++s) {
      e.rows += rows_of(s);
      e.kv_blocks += blocks_of(s);
      e.seq_blocks = std::max(e.seq_blocks, blocks_of(s));
    }
    e.kv_blocks += 2;
    e.seq_blocks += spare_table;
    return e;
  }

  static float unit(std::mt19937 &random) { return float(random() >> 8) * 0x1p-24f; }
  static float normal(std::mt19937 &random) {
    return (unit(random) + unit(random) + unit(random) + unit(random) - 2) * 1.7320508f;
  }
  /// A key or value of this case.
  uint16_t half(std::mt19937 &random) const {
    switch (scores) {
    case Scores::any:
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
  int32_t code(std::mt19937 &random) const {
    return scores == Scores::equal ? -127 : int32_t(random() % 255) - 127;
  }
  float scale(std::mt19937 &random) const {
    switch (scores) {
    case Scores::any: // of every size that kv_append_q8 writes: 1e-30 / 127 to 65504 / 127
      return float_from_bits(0x0a000000u + random() % (0x44000000u - 0x0a000000u));
    case Scores::equal:
      return 0.03f;
    case Scores::denormal:
      return 1e-30f / 127.0f;
    default:
      return (unit(random) + 0.1f) * (scores == Scores::large ? 1.0f : 0.03f);
    }
  }

  void fill_cache(CallBuffers &call, int32_t slot, std::mt19937 &random) const {
    const auto &d = spec.dims;
    for (int32_t h = 0; h < d.kv_heads; ++h) {
      for (int32_t i = 0; i < d.head_dim; ++i)
        if (is_q8(spec.op)) {
          call.data<uint8_t>("k_cache")[format::k_q8_index(d.head_dim, d.kv_heads, slot, h, i)] =
              uint8_t(code(random) + 128);
          call.data<int8_t>("v_cache")[format::v_q8_index(d.head_dim, d.kv_heads, slot, h, i)] =
              int8_t(code(random));
        } else {
          call.data<uint16_t>("k_cache")[format::k_index(d.head_dim, d.kv_heads, slot, h, i)] = half(random);
          call.data<uint16_t>("v_cache")[format::v_index(d.head_dim, d.kv_heads, slot, h, i)] = half(random);
        }
      if (is_q8(spec.op))
        for (const char *scales : {"k_scale", "v_scale"})
          call.data<float>(scales)[format::kv_scale_index(d.kv_heads, slot, h)] = scale(random);
    }
  }

  void operator()(CallBuffers &call) const {
    const format::Extents e = extents();
    const auto &d = spec.dims;
    call.last_position = longest() - 1;
    std::vector<int32_t> free_blocks(size_t(e.kv_blocks));
    for (int32_t i = 0; i < e.kv_blocks; ++i)
      free_blocks[size_t(i)] = i;
    std::mt19937 order(placement);
    for (size_t i = free_blocks.size() - 1; i > 0; --i)
      std::swap(free_blocks[i], free_blocks[order() % (i + 1)]);

    for (const char *cache : {"k_cache", "v_cache"})
      if (is_q8(spec.op))
        std::fill_n(call.data<uint8_t>(cache), call.elements(cache), uint8_t(stale));
      else
        std::fill_n(call.data<uint16_t>(cache), call.elements(cache), stale);
    if (is_q8(spec.op))
      for (const char *scales : {"k_scale", "v_scale"})
        std::fill_n(call.data<float>(scales), call.elements(scales), float_from_bits(uint32_t(stale) << 16));
    int32_t *table = call.data<int32_t>("block_table");
    std::fill_n(table, call.elements("block_table"), 0x7fffff00); // read only by mistake, and then a crash
    int32_t r = 0;
    for (size_t s = 0; s < lengths.size(); ++s) {
      const int32_t length = lengths[s];
      std::mt19937 random(seed + uint32_t(length)); // content depends on the length, not on the row
      for (int32_t b = 0; b < blocks_of(s); ++b) {
        table[int64_t(s) * e.seq_blocks + b] = free_blocks.back();
        free_blocks.pop_back();
      }
      for (int32_t t = 0; t < length; ++t)
        fill_cache(
            call, table[int64_t(s) * e.seq_blocks + t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens,
            random);
      for (int32_t position = length - rows_of(s); position < length; ++position, ++r) {
        call.data<int32_t>("positions")[r] = position;
        call.data<int32_t>("sequences")[r] = int32_t(s);
        for (int32_t i = 0; i < d.heads * d.head_dim; ++i)
          call.data<float>("q")[int64_t(r) * call.row_stride("q") + i] = normal(random);
      }
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

/// The 2B-4T shape, and groups and sizes of head that divide nothing. Few, as each is compiled for each
/// variant.
std::vector<KernelSpec> specs_of(Op op) {
  return {attention_spec(op, 20, 5, 128), attention_spec(op, 3, 3, 20), attention_spec(op, 7, 1, 8)};
}

class EveryAttention : public testing::TestWithParam<Op> {};
INSTANTIATE_TEST_SUITE_P(Attention, EveryAttention,
                         testing::Values(Op::attention, Op::attention_q8, Op::attention_chunk,
                                         Op::attention_chunk_q8),
                         [](const auto &info) { return format::op_name(info.param); });

TEST_P(EveryAttention, EqualsTheTwinOnEveryVariant) {
  const Op op = GetParam();
  for (KernelSpec spec : specs_of(op))
    for (Scores scores : kScores) {
      Case c{spec, {17, 1, 16, 257, 15, 64, 63, 65}};
      c.scores = scores;
      if (scores == Scores::normal && !is_chunk(op))
        c.lengths.insert(c.lengths.end(), {255, 256, 700});
      for (format::CpuVariant cpu : runnable_variants()) {
        c.spec.cpu = cpu;
        ASSERT_NE(compiled(c.spec), nullptr);
        EXPECT_EQ(difference_from_twin(c.spec, compiled(c.spec), c.extents(), 1, c), "")
            << "scores " << int(scores);
      }
    }
}

/// Prompts, one-row tails and sequences side by side, so that tiles of rows are whole, reach back over the
/// one before, are cut short by another sequence, across a chunk's end, and cut by the range of units.
TEST_P(EveryAttention, EqualsTheTwinForRowsOfOneSequenceAndOfMany) {
  const Op op = GetParam();
  for (KernelSpec spec : specs_of(op)) {
    std::vector<Case> cases = {Case{spec, {13}, {8}}, Case{spec, {259, 300}, {6, 1}},
                               Case{spec, {5, 70, 258}, {1, 2, 5}}};
    if (!is_chunk(op)) {
      if (spec.dims.head_dim < 100) // the twin takes long
        cases.push_back(Case{spec, {40, 261, 1, 530}, {40, 9, 1, 19}});
      cases.push_back(Case{spec, {65, 66, 67, 68, 69}, {1, 1, 4, 1, 3}});
      cases.push_back(Case{spec, {70, 21}, {21, 19}});
    }
    for (Case &c : cases)
      for (format::CpuVariant cpu : runnable_variants()) {
        c.spec.cpu = cpu;
        ASSERT_NE(compiled(c.spec), nullptr);
        EXPECT_EQ(difference_from_twin(c.spec, compiled(c.spec), c.extents(), 1, c), "")
            << c.lengths.size() << " sequences";
      }
  }
}

/// Chunks apart and then merged are the whole, bit for bit.
TEST(Attention, IsItsChunksMerged) {
  for (const bool q8 : {false, true}) {
    const Op op = q8 ? Op::attention_q8 : Op::attention,
             chunk_op = q8 ? Op::attention_chunk_q8 : Op::attention_chunk;
    Case whole{attention_spec(op, 20, 5, 128), {1, 256, 257, 700, 1100}};
    Case chunk{attention_spec(chunk_op, 20, 5, 128), whole.lengths};
    KernelSpec merge = attention_spec(Op::attention_merge, 20, 5, 128);
    for (format::CpuVariant cpu : runnable_variants()) {
      whole.spec.cpu = chunk.spec.cpu = merge.cpu = cpu;
      CallBuffers a(whole.spec, whole.extents(), 1), b(chunk.spec, chunk.extents(), 1),
          c(merge, chunk.extents(), 1);
      whole(a);
      chunk(b);
      EXPECT_EQ(a.run(compiled(whole.spec), 0, a.units()), 0);
      for (int32_t u = b.units(); u-- > 0;) // in any order
        EXPECT_EQ(b.run(compiled(chunk.spec), u, u + 1), 0);
      std::copy_n(b.data<float>("parts"), b.elements("parts"), c.data<float>("parts"));
      std::copy_n(b.data<int32_t>("positions"), 5, c.data<int32_t>("positions"));
      CallBuffers twin = c;
      EXPECT_EQ(c.run(compiled(merge), 0, c.units()), 0);
      twin.run_twin(0, twin.units());
      EXPECT_EQ(c.difference(twin), "");
      for (int32_t r = 0; r < 5; ++r)
        EXPECT_EQ(output_row(c, merge, r), output_row(a, whole.spec, r)) << int(cpu) << " row " << r;
    }
  }
}

class WholeAttention : public testing::TestWithParam<Op> {};
INSTANTIATE_TEST_SUITE_P(Attention, WholeAttention, testing::Values(Op::attention, Op::attention_q8),
                         [](const auto &info) { return format::op_name(info.param); });

TEST_P(WholeAttention, DoesNotDependOnPlacementOrContext) {
  Case c{attention_spec(GetParam(), 20, 5, 128), {300, 65}};
  for (format::CpuVariant cpu : runnable_variants()) {
    c.spec.cpu = cpu;
    const std::vector<uint32_t> expected = run_row(c, 0);
    Case moved = c;
    moved.placement = 99;
    moved.spare_table = 40;
    EXPECT_EQ(run_row(moved, 0), expected) << int(cpu);
  }
}

TEST_P(WholeAttention, IgnoresStaleCache) {
  Case c{attention_spec(GetParam(), 20, 5, 128), {300, 65, 1}};
  for (format::CpuVariant cpu : runnable_variants()) {
    c.spec.cpu = cpu;
    for (int32_t r = 0; r < 3; ++r) {
      c.stale = 0;
      const std::vector<uint32_t> expected = run_row(c, r);
      for (uint16_t stale : {0x8000, 0xfbff, 0x7bff, 0x7e00, 0x7fc0}) { // -0, the largest halves, NaN
        c.stale = stale;
        EXPECT_EQ(run_row(c, r), expected) << int(cpu) << " row " << r << " stale " << stale;
      }
    }
  }
}

TEST_P(WholeAttention, IsTheSameAloneAndInABatch) {
  Case batch{attention_spec(GetParam(), 20, 5, 128), {65, 300, 1, 700}},
      alone{attention_spec(GetParam(), 20, 5, 128), {300}};
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
    Case c{attention_spec(Op::attention, 4, 2, 64), {length}};
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
