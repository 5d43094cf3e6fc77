// Random weights, a few hundred million a second: the 2B-4T shape has two thousand million of them.
#include "tools/bitnet/arguments.h"
#include "tools/make-dummy-model/dummy_model.h"
#include "tools/make-dummy-model/ffn_zeros.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace bitnet::dummy {
namespace {

using import::TernaryMatrix;

/// SplitMix64: a counter and a mixing function, so that seeds next to each other give unrelated sequences.
uint64_t next(uint64_t &state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

uint64_t sequence(const Options &options, uint64_t index) {
  uint64_t state = options.seed;
  uint64_t first = next(state);
  state = first ^ (index + 1) * 0xd1342543de82ef95;
  return next(state);
}

/// A bell curve of deviation 1 within +-3.46, in integer arithmetic up to the last step: the sum of four
/// uniform 16-bit numbers has deviation 65536 / sqrt(3).
int64_t bell(uint64_t random) {
  int64_t sum = int64_t(random & 0xffff) + int64_t(random >> 16 & 0xffff) + int64_t(random >> 32 & 0xffff) +
                int64_t(random >> 48);
  return sum - 2 * 65535;
}
constexpr int64_t kBellDeviation = 37837;

} // namespace

std::vector<Tensor> tensors_of(const Options &o) {
  std::vector<Tensor> tensors;
  auto add = [&](std::string gguf, std::string hf, Kind kind, int32_t rows, int32_t cols) {
    tensors.push_back({std::move(gguf), std::move(hf), kind, rows, cols, tensors.size()});
  };
  const int32_t kv = o.dim / o.heads * o.kv_heads;
  add("token_embd.weight", "model.embed_tokens", Kind::embedding, o.vocab, o.dim);
  for (int32_t layer = 0; layer < o.layers; ++layer) {
    std::string gguf = "blk." + std::to_string(layer) + ".",
                hf = "model.layers." + std::to_string(layer) + ".";
    add(gguf + "attn_norm.weight", hf + "input_layernorm", Kind::norm, 1, o.dim);
    add(gguf + "attn_q.weight", hf + "self_attn.q_proj", Kind::ternary, o.dim, o.dim);
    add(gguf + "attn_k.weight", hf + "self_attn.k_proj", Kind::ternary, kv, o.dim);
    add(gguf + "attn_v.weight", hf + "self_attn.v_proj", Kind::ternary, kv, o.dim);
    add(gguf + "attn_sub_norm.weight", hf + "self_attn.attn_sub_norm", Kind::norm, 1, o.dim);
    add(gguf + "attn_output.weight", hf + "self_attn.o_proj", Kind::ternary, o.dim, o.dim);
    add(gguf + "ffn_norm.weight", hf + "post_attention_layernorm", Kind::norm, 1, o.dim);
    add(gguf + "ffn_gate.weight", hf + "mlp.gate_proj", Kind::ternary, o.ffn, o.dim);
    add(gguf + "ffn_up.weight", hf + "mlp.up_proj", Kind::ternary, o.ffn, o.dim);
    add(gguf + "ffn_sub_norm.weight", hf + "mlp.ffn_sub_norm", Kind::norm, 1, o.ffn);
    add(gguf + "ffn_down.weight", hf + "mlp.down_proj", Kind::ternary, o.dim, o.ffn);
  }
  add("output_norm.weight", "model.norm", Kind::norm, 1, o.dim);
  return tensors;
}

TernaryMatrix random_ternary(const Options &options, const Tensor &tensor) {
  // A byte below the threshold is a zero; the others alternate, so that both signs are as likely to within
  // 1/256.
  std::array<int8_t, 256> trit_of;
  int threshold = std::clamp(int(std::lround(options.zeros * 256)), 0, 256);
  for (int b = 0; b < 256; ++b)
    trit_of[size_t(b)] = int8_t(b < threshold ? 0 : b % 2 ? 1 : -1);
  TernaryMatrix matrix;
  matrix.rows = tensor.rows;
  matrix.cols = tensor.cols;
  size_t n = size_t(tensor.rows) * size_t(tensor.cols);
  matrix.trits.resize(n);
  uint64_t state = sequence(options, tensor.index);
  // Each output sums cols * (1 - zeros) inputs of unit size; +-10 % tells the matrices apart. bf16 values of
  // this size are exact in f16.
  double share = std::max(1.0 / 256, 1.0 - threshold / 256.0);
  double spread = 0.9 + 0.2 * double(next(state) >> 40) / double(1 << 24);
  matrix.scales = {import::roundTo(import::FloatType::bf16, float(spread / std::sqrt(tensor.cols * share)))};
  for (size_t i = 0; i < n; i += 8) {
    uint64_t random = next(state);
    for (size_t j = 0; j < std::min<size_t>(8, n - i); ++j)
      matrix.trits[i + j] = trit_of[random >> 8 * j & 0xff];
  }
  shape_ternary(options, tensor, matrix);
  if (options.scale_group > 0) {
    const float one = matrix.scales[0];
    matrix.groupCols = options.scale_group;
    matrix.scales.resize(n / size_t(options.scale_group));
    for (float &scale : matrix.scales) // 0.75 to 1.25 of the one
      scale = import::roundTo(import::FloatType::bf16,
                              one * (0.75f + 0.5f * float(next(state) >> 40) / float(1 << 24)));
  }
  return matrix;
}

std::vector<float> random_norm(const Options &options, const Tensor &tensor) {
  uint64_t state = sequence(options, tensor.index);
  std::vector<float> values(size_t(tensor.cols));
  for (float &value : values) // 0.1 is 12.8 steps of 2^-7
    value = 1.0f + float(bell(next(state)) * 128 / (10 * kBellDeviation)) * 0x1p-7f;
  shape_norm(options, tensor, values);
  return values;
}

RandomEmbedding::RandomEmbedding(const Options &options, const Tensor &tensor)
    : options_(options), state_(sequence(options, tensor.index)), cols_(tensor.cols),
      heavy_tails_(options.embedding_values == "t5") {}

void RandomEmbedding::next_row(float *out) {
  const auto normal = [&] { return double(bell(next(state_))) / kBellDeviation; };
  for (int32_t c = 0; heavy_tails_ && c < cols_; ++c) {
    double squares = 0;
    const double z = normal();
    for (int i = 0; i < 5; ++i) {
      const double n = normal();
      squares += n * n;
    }
    // Cut to 8 significant bits and at 2^-14, below which f16 has fewer: exact in every form.
    const float t = float(0.05 * z / std::sqrt(std::max(squares, 1e-3) / 5));
    uint32_t bits;
    std::memcpy(&bits, &t, sizeof bits);
    bits &= 0xffff0000;
    std::memcpy(&out[c], &bits, sizeof bits);
    if (std::fabs(out[c]) < 0x1p-14f)
      out[c] = 0;
  }
  for (int32_t c = 0; !heavy_tails_ && c < cols_; ++c) // 0.05 is 51.2 steps of 2^-10
    out[c] = float(bell(next(state_)) * 256 / (5 * kBellDeviation)) * 0x1p-10f;
  shape_embedding(options_, cols_, out);
}

void encode(const char *codec, const import::CodecSettings &settings, const import::TernaryMatrix &matrix,
            std::vector<uint8_t> &out) {
  if (import::Decoded fault = import::encodeTernary(*import::codecNamed(codec), matrix, settings, out))
    throw tools::Failure(std::string(codec) + ": " + fault->what);
}

} // namespace bitnet::dummy
