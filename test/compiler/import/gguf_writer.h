// GGUF files made in memory for tests and fuzz seeds. Nothing is checked, so it makes bad files as well.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace bitnet::import {

/// Writes a GGUF file piece by piece; nothing is checked, so it makes bad files as well.
class GgufWriter {
public:
  std::string infos, keys, data;
  uint64_t nTensors = 0, nKeys = 0, alignment = 32;

  template <typename T> static void put(std::string &to, T value) {
    to.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  static void putString(std::string &to, const std::string &text) {
    put<uint64_t>(to, text.size());
    to += text;
  }
  template <typename T> GgufWriter &number(const std::string &key, uint32_t kind, T value) {
    ++nKeys;
    putString(keys, key);
    put<uint32_t>(keys, kind);
    put(keys, value);
    return *this;
  }
  GgufWriter &u32(const std::string &key, uint32_t value) { return number(key, 4, value); }
  GgufWriter &u16(const std::string &key, uint16_t value) { return number(key, 2, value); }
  GgufWriter &f32(const std::string &key, float value) { return number(key, 6, value); }
  GgufWriter &text(const std::string &key, const std::string &value) {
    ++nKeys;
    putString(keys, key);
    put<uint32_t>(keys, 8);
    putString(keys, value);
    return *this;
  }
  GgufWriter &strings(const std::string &key, const std::vector<std::string> &values) {
    ++nKeys;
    putString(keys, key);
    put<uint32_t>(keys, 9);
    put<uint32_t>(keys, 8);
    put<uint64_t>(keys, values.size());
    for (const std::string &value : values)
      putString(keys, value);
    return *this;
  }
  GgufWriter &tensor(const std::string &name, std::vector<uint64_t> dims, uint32_t type,
                     const std::string &bytes) {
    ++nTensors;
    putString(infos, name);
    put<uint32_t>(infos, uint32_t(dims.size()));
    for (uint64_t dim : dims)
      put(infos, dim);
    put(infos, type);
    put<uint64_t>(infos, data.size());
    data += bytes;
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  std::string finish() const {
    std::string out = "GGUF";
    put<uint32_t>(out, 3);
    put(out, nTensors);
    put(out, nKeys);
    out += keys + infos;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

inline std::string floats(size_t n, float value) {
  std::vector<float> values(n, value);
  return std::string(reinterpret_cast<const char *>(values.data()), n * sizeof(float));
}

/// Trits that differ by row, as exactly ternary f32.
inline std::string ternaryFloats(int rows, int cols) {
  std::vector<float> values;
  for (int i = 0; i < rows * cols; ++i)
    values.push_back(float((i / cols * 5 + i * 7 + i / 3) % 3 - 1) * 0.5f);
  return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float));
}

/// A model of width 32: 2 heads of 16, 1 key/value head, ffn 48, vocabulary 16. Change it before finish().
struct TinyModel {
  std::string arch = "bitnet-b1.58";
  std::map<std::string, std::function<void(GgufWriter &, const std::string &key)>> keys;
  struct Tensor {
    std::vector<uint64_t> dims;
    uint32_t type;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors;

  explicit TinyModel(std::string architecture = "bitnet-b1.58") : arch(std::move(architecture)) {
    for (auto [name, value] : {std::pair<const char *, uint32_t>{"block_count", 1},
                               {"context_length", 64},
                               {"embedding_length", 32},
                               {"feed_forward_length", 48},
                               {"attention.head_count", 2},
                               {"attention.head_count_kv", 1}})
      set(arch + "." + name, value);
    real(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
    real(arch + ".rope.freq_base", 10000);
    matrix("token_embd", 16, 32);
    vector("output_norm", 32);
    vector("blk.0.attn_norm", 32);
    vector("blk.0.ffn_norm", 32);
    matrix("blk.0.attn_q", 32, 32);
    matrix("blk.0.attn_k", 16, 32);
    matrix("blk.0.attn_v", 16, 32);
    matrix("blk.0.attn_output", 32, 32);
    matrix("blk.0.ffn_gate", 48, 32);
    matrix("blk.0.ffn_up", 48, 32);
    matrix("blk.0.ffn_down", 32, 48);
    const bool gemma = arch == "gemma3", headNorms = gemma || arch == "qwen3";
    if (headNorms)
      for (const char *norm : {"blk.0.attn_q_norm", "blk.0.attn_k_norm"})
        vector(norm, 16);
    if (gemma) {
      set(arch + ".attention.sliding_window", 32);
      for (const char *norm : {"blk.0.post_attention_norm", "blk.0.post_ffw_norm"})
        vector(norm, 32);
    }
    if (arch != "llama" && !headNorms) {
      vector("blk.0.attn_sub_norm", 32);
      vector("blk.0.ffn_sub_norm", 48);
    }
  }
  void set(const std::string &key, uint32_t value) {
    keys[key] = [value](GgufWriter &w, const std::string &k) { w.u32(k, value); };
  }
  void real(const std::string &key, float value) {
    keys[key] = [value](GgufWriter &w, const std::string &k) { w.f32(k, value); };
  }
  void matrix(const std::string &name, int rows, int cols) {
    tensors[name + ".weight"] = {{uint64_t(cols), uint64_t(rows)}, 0, ternaryFloats(rows, cols)};
  }
  void vector(const std::string &name, int n) {
    tensors[name + ".weight"] = {{uint64_t(n)}, 0, floats(size_t(n), 1)};
  }

  std::string finish() const { return finishParts(1)[0]; }
  /// As gguf-split does it: the model's keys in the first part, tensors in turn.
  std::vector<std::string> finishParts(size_t n) const {
    std::vector<GgufWriter> writers(n);
    writers[0].text("general.architecture", arch);
    for (const auto &[key, write] : keys)
      write(writers[0], key);
    for (size_t i = 0; i < n && n > 1; ++i)
      writers[i]
          .u16("split.no", uint16_t(i))
          .u16("split.count", uint16_t(n))
          .number("split.tensors.count", 5, int32_t(tensors.size()));
    size_t at = 0;
    for (const auto &[name, t] : tensors)
      writers[at++ % n].tensor(name, t.dims, t.type, t.bytes);
    std::vector<std::string> parts;
    for (const GgufWriter &writer : writers)
      parts.push_back(writer.finish());
    return parts;
  }
};

} // namespace bitnet::import
