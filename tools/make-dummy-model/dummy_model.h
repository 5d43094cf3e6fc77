// A model of any shape with random weights, so that real sizes can be measured without real weights. The same
// seed and shape give the same model in every form: trits, scales, norms and embeddings are drawn per tensor,
// and every value is exact in f32, f16 and bf16. Only a q6_k embedding is rounded.
#pragma once
#include "compiler/import/Codec.h"
#include <cstdint>
#include <string>
#include <vector>

namespace bitnet::dummy {

struct Options {
  std::string output, format = "gguf", architecture = "bitnet-b1.58", encoding = "i2_s", embedding = "f16",
                      embedding_values = "gaussian", tokenizer;
  int32_t dim = 2560, layers = 30, heads = 20, kv_heads = 5, ffn = 6912, vocab = 128256, context = 4096;
  float zeros = 0.375f;
  float gate_zeros = -1, down_zeros = -1; ///< shares in the FFN (ffn_zeros.h); below 0: as they come
  int32_t scale_group = 0;                ///< columns that share a scale; 0: one for the matrix
  uint64_t seed = 1;
};

enum class Kind { ternary, norm, embedding };
struct Tensor {
  std::string gguf_name, hf_name; ///< hf_name without ".weight"
  Kind kind;
  int32_t rows, cols; ///< a norm has one row
  uint64_t index;     ///< its own random sequence
};

/// All tensors in the order in which they are written.
std::vector<Tensor> tensors_of(const Options &options);

/// Row-major trits with about `zeros` of them 0 (to within 1/256), and one scale such that a unit input gives
/// outputs of about unit size, or scales of groups about it.
import::TernaryMatrix random_ternary(const Options &options, const Tensor &tensor);
/// The bytes of a matrix in the codec of that name.
void encode(const char *codec, const import::CodecSettings &settings, const import::TernaryMatrix &matrix,
            std::vector<uint8_t> &out);
/// 1 + 0.1 N, in steps of 2^-7.
std::vector<float> random_norm(const Options &options, const Tensor &tensor);
/// Rows of N(0, 0.05) in steps of 2^-10, or of 0.05 times Student's t with 5 degrees of freedom in bf16; rows
/// must be asked for from the first one on, in order.
class RandomEmbedding {
public:
  RandomEmbedding(const Options &options, const Tensor &tensor);
  void next_row(float *out); ///< tensor.cols values
private:
  const Options &options_;
  uint64_t state_;
  int32_t cols_;
  bool heavy_tails_;
};

/// Writes options.output; throws tools::Failure. Each is complete or not there at all.
void write_gguf(const Options &options);
void write_hugging_face(const Options &options);

} // namespace bitnet::dummy
