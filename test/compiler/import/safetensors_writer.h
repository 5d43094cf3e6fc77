// Hugging Face folders made in memory for tests and fuzz seeds. Nothing is checked, so they can be bad as
// well.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

namespace bitnet::import {

struct HfTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

/// The bytes of a SafeTensors file.
inline std::string safeTensors(const std::map<std::string, HfTensor> &tensors) {
  std::string header, data;
  for (const auto &[name, tensor] : tensors) {
    std::string shape;
    for (int64_t dim : tensor.shape)
      shape += (shape.empty() ? "" : ",") + std::to_string(dim);
    header += (header.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[" +
              shape + "],\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + tensor.bytes.size()) + "]}";
    data += tensor.bytes;
  }
  header += header.empty() ? "{}" : "}";
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char *>(&length), sizeof length) + header + data;
}

/// A model of one layer in trits (row + col) % 3 - 1: 2 heads, 1 key/value head, ffn twice as wide,
/// vocabulary
/// 16. Change it before it is written.
struct TinyHfModel {
  std::map<std::string, std::string> config; ///< members of config.json as JSON text
  std::map<std::string, HfTensor> tensors;
  int width;

  explicit TinyHfModel(int modelWidth = 128) : width(modelWidth) {
    config = {{"model_type", "\"bitnet\""},
              {"hidden_size", std::to_string(width)},
              {"intermediate_size", std::to_string(2 * width)},
              {"num_hidden_layers", "1"},
              {"num_attention_heads", "2"},
              {"num_key_value_heads", "1"},
              {"vocab_size", "16"},
              {"max_position_embeddings", "64"},
              {"hidden_act", "\"relu2\""},
              {"rms_norm_eps", "1e-5"},
              {"rope_theta", "500000.0"},
              {"tie_word_embeddings", "true"}};
    ones("model.embed_tokens", {16, width});
    for (const char *norm :
         {"model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"})
      ones(norm, {width});
    ones("model.layers.0.self_attn.attn_sub_norm", {width});
    ones("model.layers.0.mlp.ffn_sub_norm", {2 * width});
    for (const Matrix &m : matrices())
      floats(m);
  }
  struct Matrix {
    std::string name;
    int rows, cols;
  };
  std::vector<Matrix> matrices() const {
    const std::string layer = "model.layers.0.";
    return {{layer + "self_attn.q_proj", width, width},     {layer + "self_attn.k_proj", width / 2, width},
            {layer + "self_attn.v_proj", width / 2, width}, {layer + "self_attn.o_proj", width, width},
            {layer + "mlp.gate_proj", 2 * width, width},    {layer + "mlp.up_proj", 2 * width, width},
            {layer + "mlp.down_proj", width, 2 * width}};
  }
  static int trit(int row, int col) { return (row + col) % 3 - 1; }

  void ones(const std::string &name, std::vector<int64_t> shape) {
    int64_t n = 1;
    for (int64_t dim : shape)
      n *= dim;
    std::string bytes;
    for (int64_t i = 0; i < n; ++i)
      bytes += bf16(1);
    tensors[name + ".weight"] = {"BF16", std::move(shape), bytes};
  }
  /// Exactly ternary floats.
  void floats(const Matrix &m) {
    std::string bytes;
    for (int row = 0; row < m.rows; ++row)
      for (int col = 0; col < m.cols; ++col)
        bytes += bf16(trit(row, col));
    tensors[m.name + ".weight"] = {"BF16", {m.rows, m.cols}, bytes};
  }
  /// Four rows in a byte, the first in its low bits, and a scale beside them.
  void packed(const Matrix &m) {
    std::string bytes;
    for (int row = 0; row < m.rows / 4; ++row)
      for (int col = 0; col < m.cols; ++col) {
        int byte = 0;
        for (int i = 0; i < 4; ++i)
          byte |= (trit(row + i * m.rows / 4, col) + 1) << 2 * i;
        bytes += char(byte);
      }
    tensors[m.name + ".weight"] = {"U8", {m.rows / 4, m.cols}, bytes};
    tensors[m.name + ".weight_scale"] = {"BF16", {1}, bf16(2)};
  }
  /// 2-bit words with a scale and a bias, -scale, for each group of columns: 0.5 in even rows, 0.25 in odd
  /// ones.
  void mlx(const Matrix &m, int group = 128) {
    std::string words, scales, biases;
    for (int row = 0; row < m.rows; ++row) {
      for (int col = 0; col < m.cols; col += 4) {
        int byte = 0;
        for (int i = 0; i < 4; ++i)
          byte |= (trit(row, col + i) + 1) << 2 * i;
        words += char(byte);
      }
      for (int g = 0; g < m.cols / group; ++g) {
        scales += row % 2 ? bf16(0.25f) : bf16(0.5f);
        biases += row % 2 ? bf16(-0.25f) : bf16(-0.5f);
      }
    }
    tensors[m.name + ".weight"] = {"U32", {m.rows, m.cols / 16}, words};
    tensors[m.name + ".scales"] = {"BF16", {m.rows, m.cols / group}, scales};
    tensors[m.name + ".biases"] = {"BF16", {m.rows, m.cols / group}, biases};
  }
  /// The upper half of a float that has 8 bits of mantissa at most.
  static std::string bf16(float value) {
    char bytes[sizeof value];
    __builtin_memcpy(bytes, &value, sizeof value);
    return std::string(bytes + 2, 2);
  }
  std::string configText() const {
    std::string text;
    for (const auto &[key, value] : config)
      text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
    return text + "}";
  }
};

} // namespace bitnet::import
