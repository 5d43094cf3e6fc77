// Writes files of torch.save for tests, good ones and broken ones: the pickle of a dictionary of tensors, and
// ZIP archives of stored entries.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace bitnet::import {

/// An archive with room for every fault; finish() gives its bytes.
struct ZipWriter {
  struct Entry {
    std::string name, data;
    uint16_t method = 0, flags = 0;
    std::string localName = {};      ///< in the header before the data; empty: as name
    int64_t offset = -1, bytes = -1; ///< in the directory; -1: the true ones
  };
  std::vector<Entry> entries;
  bool wide = false; ///< sizes of 64 bits, as for files of 4 GiB
  std::string comment;

  /// `bytes` of at most 8, little-endian.
  static std::string number(uint64_t value, size_t bytes) {
    return std::string(reinterpret_cast<const char *>(&value), bytes);
  }

  std::string finish() const {
    std::string out, directory;
    for (const Entry &e : entries) {
      const uint64_t at = e.offset < 0 ? out.size() : uint64_t(e.offset);
      const uint64_t bytes = e.bytes < 0 ? e.data.size() : uint64_t(e.bytes);
      const std::string &local = e.localName.empty() ? e.name : e.localName;
      const std::string extra =
          wide ? number(1, 2) + number(24, 2) + number(bytes, 8) + number(bytes, 8) + number(at, 8)
               : std::string();
      const std::string sizes = wide ? std::string(8, '\xff') : number(bytes, 4) + number(bytes, 4);
      const std::string common = number(e.flags, 2) + number(e.method, 2) + number(0, 8) + sizes;
      out += "PK\3\4" + number(20, 2) + common + number(local.size(), 2) + number(0, 2) + local + e.data;
      directory += "PK\1\2" + number(20, 2) + number(20, 2) + common + number(e.name.size(), 2) +
                   number(extra.size(), 2) + std::string(10, '\0') +
                   (wide ? std::string(4, '\xff') : number(at, 4)) + e.name + extra;
    }
    const uint64_t start = out.size(), count = entries.size();
    out += directory;
    if (wide) {
      const uint64_t record = out.size();
      out += "PK\6\6" + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 8) + number(count, 8) +
             number(count, 8) + number(directory.size(), 8) + number(start, 8);
      out += "PK\6\7" + number(0, 4) + number(record, 8) + number(1, 4);
    }
    out += "PK\5\6" + number(0, 4) +
           (wide ? std::string(12, '\xff')
                 : number(count, 2) + number(count, 2) + number(directory.size(), 4) + number(start, 4));
    return out + number(comment.size(), 2) + comment;
  }
};

/// A dictionary of tensors as torch.save writes it.
struct TorchWriter {
  struct Tensor {
    std::string storage;
    int64_t offset = 0;
    std::vector<int64_t> shape, strides;
  };
  struct Storage {
    std::string type; ///< "BFloat16Storage"
    int64_t elements = 0;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors;
  std::map<std::string, Storage> storages;  ///< by key
  std::map<std::string, std::string> extra; ///< name to the instructions that make its value

  static std::string text(const std::string &value) {
    return "X" + ZipWriter::number(value.size(), 4) + value;
  }
  static std::string integer(int64_t value) { return "\x8a\x08" + ZipWriter::number(uint64_t(value), 8); }
  static std::string global(const std::string &module, const std::string &name) {
    return "c" + module + "\n" + name + "\n";
  }
  static std::string tuple(const std::vector<int64_t> &values) {
    std::string out = "(";
    for (int64_t value : values)
      out += integer(value);
    return out + "t";
  }
  static std::vector<int64_t> rowMajor(const std::vector<int64_t> &shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;)
      strides[i - 1] = strides[i] * shape[i];
    return strides;
  }

  /// A tensor in a storage of its own, whose key is its name.
  void add(const std::string &name, const std::string &type, std::vector<int64_t> shape,
           const std::string &bytes) {
    int64_t elements = 1;
    for (int64_t dim : shape)
      elements *= dim;
    storages[name] = {type, elements, bytes};
    tensors[name] = {name, 0, shape, rowMajor(shape)};
  }
  /// bf16 values, all of them `bits`.
  void bf16(const std::string &name, std::vector<int64_t> shape, uint16_t bits = 0x3f80) {
    int64_t elements = 1;
    for (int64_t dim : shape)
      elements *= dim;
    std::string bytes;
    for (int64_t i = 0; i < elements; ++i)
      bytes += ZipWriter::number(bits, 2);
    add(name, "BFloat16Storage", std::move(shape), bytes);
  }

  static std::string pickled(const Tensor &tensor, const Storage &storage) {
    return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
           global("torch", storage.type) + text(tensor.storage) + text("cpu") + integer(storage.elements) +
           "tQ" + integer(tensor.offset) + tuple(tensor.shape) + tuple(tensor.strides) + "\x89" +
           global("collections", "OrderedDict") + ")RtR";
  }
  std::string pickle() const {
    std::string out = "\x80\x02}(";
    for (const auto &[name, tensor] : tensors)
      out += text(name) + pickled(tensor, storages.at(tensor.storage));
    for (const auto &[name, value] : extra)
      out += text(name) + value;
    return out + "u.";
  }
  ZipWriter zip() const { return zipOf(pickle()); }
  ZipWriter zipOf(const std::string &pickle) const {
    ZipWriter zip;
    zip.entries.push_back({"m/data.pkl", pickle});
    zip.entries.push_back({"m/byteorder", "little"});
    for (const auto &[key, storage] : storages)
      zip.entries.push_back({"m/data/" + key, storage.bytes});
    zip.entries.push_back({"m/version", "3\n"});
    return zip;
  }
  std::string finish() const { return zip().finish(); }
};

/// A model of one layer in the int2 form: width 32, 2 heads and 1 key head of 16, ffn 48, vocabulary 16.
/// Scales are 1 to 7, in the order q, k, v, o, gate, up, down.
struct TinyTorchModel : TorchWriter {
  TinyTorchModel() {
    bf16("tok_embeddings.weight", {16, 32});
    bf16("norm.weight", {32});
    const std::string layer = "layers.0.";
    bf16(layer + "attention_norm.weight", {32});
    bf16(layer + "ffn_norm.weight", {32});
    bf16(layer + "attention.attn_sub_norm.weight", {32});
    bf16(layer + "feed_forward.ffn_sub_norm.weight", {48});
    packed(layer + "attention.wqkv", 64, 32, {0x3f80, 0x4000, 0x4040, 0});
    packed(layer + "attention.wo", 32, 32, {0x4080, 0, 0, 0});
    packed(layer + "feed_forward.w13", 96, 32, {0x40a0, 0x40c0, 0, 0});
    // 48 columns are no whole tiles, so this matrix is in the other form.
    std::string down;
    for (int i = 0; i < 32 * 48; ++i)
      down += ZipWriter::number(i % 3 == 0 ? 0x40e0 : i % 3 == 1 ? 0 : 0xc0e0, 2);
    add(layer + "feed_forward.w2.weight", "BFloat16Storage", {32, 48}, down);
  }
  /// Codes 1, 2 and 3, none of them 0.
  void packed(const std::string &prefix, int64_t rows, int64_t cols, std::vector<uint16_t> scale) {
    std::string bytes, scales;
    static const char codes[] = "\x55\xa9\x7e\xe7\xbb\x96";
    for (int64_t i = 0; i < rows * cols / 4; ++i)
      bytes += codes[i % 6];
    for (uint16_t s : scale)
      scales += ZipWriter::number(s, 2);
    add(prefix + ".weight", "CharStorage", {rows, cols / 4}, bytes);
    add(prefix + ".weight_scale", "BFloat16Storage", {4}, scales);
  }
};

} // namespace bitnet::import
