// A dummy model as GGUF 3.
#include "compiler/import/Gguf.h"
#include "tools/bitnet/arguments.h"
#include "tools/bitnet/progress.h"
#include "tools/make-dummy-model/dummy_model.h"
#include "tools/make-dummy-model/output_file.h"
#include "tools/make-dummy-model/q6_k.h"
#include "tools/make-dummy-model/vocabulary.h"

namespace bitnet::dummy {
namespace {

using import::FloatType;
using import::GgufKind;
using import::GgufValue;

constexpr uint64_t kAlignment = 32;
constexpr uint32_t kGgmlQ6K = 14;

template <typename T> void put(std::string &to, T value) {
  to.append(reinterpret_cast<const char *>(&value), sizeof value);
}
void put_string(std::string &to, const std::string &text) {
  put<uint64_t>(to, text.size());
  to += text;
}

class Keys {
public:
  std::string bytes;
  uint64_t count = 0;

  template <typename T> void number(const std::string &key, GgufKind kind, T value) {
    begin(key, kind);
    put(bytes, value);
  }
  void u32(const std::string &key, int32_t value) { number(key, GgufKind::u32, uint32_t(value)); }
  void text(const std::string &key, const std::string &value) {
    begin(key, GgufKind::string);
    put_string(bytes, value);
  }
  void strings(const std::string &key, const std::vector<std::string> &values) {
    begin_array(key, GgufKind::string, values.size());
    for (const std::string &value : values)
      put_string(bytes, value);
  }
  void integers(const std::string &key, const std::vector<int32_t> &values) {
    begin_array(key, GgufKind::i32, values.size());
    for (int32_t value : values)
      put(bytes, value);
  }
  void copy(const std::string &key, const GgufValue &value) {
    if (value.kind == GgufKind::string)
      return text(key, value.bytes);
    if (value.kind != GgufKind::array) {
      begin(key, value.kind);
      size_t width =
          value.kind == GgufKind::boolean || value.kind <= GgufKind::i8                               ? 1
          : value.kind <= GgufKind::i16                                                               ? 2
          : value.kind == GgufKind::u64 || value.kind == GgufKind::i64 || value.kind == GgufKind::f64 ? 8
                                                                                                      : 4;
      bytes.append(reinterpret_cast<const char *>(&value.bits), width);
      return;
    }
    if (value.element == GgufKind::string)
      return strings(key, value.strings);
    begin_array(key, value.element, value.count);
    bytes += value.bytes;
  }

private:
  void begin(const std::string &key, GgufKind kind) {
    ++count;
    put_string(bytes, key);
    put(bytes, uint32_t(kind));
  }
  void begin_array(const std::string &key, GgufKind element, uint64_t n) {
    begin(key, GgufKind::array);
    put(bytes, uint32_t(element));
    put<uint64_t>(bytes, n);
  }
};

void add_made_up_tokenizer(const Options &options, Keys &keys) {
  Vocabulary v = made_up_vocabulary(options.vocab);
  std::vector<int32_t> types;
  std::vector<std::string> merges;
  for (const std::string &token : v.tokens)
    types.push_back(token.size() > 4 ? 3 : 1); // control, normal: no made-up word is longer
  for (const auto &[left, right] : v.merges)
    merges.push_back(left + " " + right);
  keys.text("tokenizer.ggml.model", "gpt2");
  keys.text("tokenizer.ggml.pre", "llama-bpe");
  keys.strings("tokenizer.ggml.tokens", v.tokens);
  keys.integers("tokenizer.ggml.token_type", types);
  keys.strings("tokenizer.ggml.merges", merges);
  keys.u32("tokenizer.ggml.bos_token_id", v.bos);
  keys.u32("tokenizer.ggml.eos_token_id", v.eos);
  keys.u32("tokenizer.ggml.eot_token_id", v.eot);
  keys.number("tokenizer.ggml.add_bos_token", GgufKind::boolean, uint8_t(1));
}

void copy_tokenizer(const Options &options, Keys &keys) {
  llvm::Expected<std::shared_ptr<import::ByteSource>> source = import::openFile(options.tokenizer);
  if (!source)
    throw tools::Failure(toString(source.takeError()) +
                         "; --format gguf copies the tokenizer of a .gguf file");
  llvm::Expected<import::GgufFile> file = import::GgufFile::read(*source, nullptr);
  if (!file)
    throw tools::Failure(toString(file.takeError()) + "; --format gguf copies the tokenizer of a .gguf file");
  const GgufValue *tokens = file->find("tokenizer.ggml.tokens");
  if (!tokens || tokens->strings.size() > size_t(options.vocab))
    throw tools::Failure(options.tokenizer + ": expected a tokenizer of 1 to " +
                         std::to_string(options.vocab) + " tokens, got " +
                         std::to_string(tokens ? tokens->strings.size() : 0) + "; --vocab N");
  for (const auto &[key, value] : file->values())
    if (key.rfind("tokenizer.", 0) == 0)
      keys.copy(key, value);
}

Keys metadata(const Options &o, int32_t file_type) {
  Keys keys;
  const std::string arch = o.architecture + ".";
  keys.text("general.architecture", o.architecture);
  keys.text("general.name", "dummy");
  keys.u32("general.file_type", file_type);
  keys.u32("general.quantization_version", 2);
  keys.u32(arch + "vocab_size", o.vocab);
  keys.u32(arch + "context_length", o.context);
  keys.u32(arch + "embedding_length", o.dim);
  keys.u32(arch + "block_count", o.layers);
  keys.u32(arch + "feed_forward_length", o.ffn);
  keys.u32(arch + "rope.dimension_count", o.dim / o.heads);
  keys.u32(arch + "attention.head_count", o.heads);
  keys.u32(arch + "attention.head_count_kv", o.kv_heads);
  keys.number(arch + "attention.layer_norm_rms_epsilon", GgufKind::f32, 1e-5f);
  keys.number(arch + "rope.freq_base", GgufKind::f32, 500000.0f);
  if (o.tokenizer.empty())
    add_made_up_tokenizer(o, keys);
  else
    copy_tokenizer(o, keys);
  return keys;
}

struct Form {
  const char *name;
  uint32_t type;
  int32_t file_type;
  bool ternary, embedding; ///< what may be in this form
  FloatType floats;        ///< for f32, f16, bf16
};
const Form forms[] = {{"i2_s", import::kGgmlI2S, 40, true, false, FloatType::f32},
                      {"tq1_0", import::kGgmlTQ1, 36, true, false, FloatType::f32},
                      {"tq2_0", import::kGgmlTQ2, 37, true, false, FloatType::f32},
                      {"f32", import::kGgmlF32, 0, true, true, FloatType::f32},
                      {"f16", import::kGgmlF16, 1, true, true, FloatType::f16},
                      {"bf16", import::kGgmlBF16, 32, true, true, FloatType::bf16},
                      {"q6_k", kGgmlQ6K, 18, false, true, FloatType::f32}};
const Form &form_of(const std::string &name, bool ternary) {
  for (const Form &form : forms)
    if (name == form.name && (ternary ? form.ternary : form.embedding))
      return form;
  throw tools::UsageError(
      ternary ? "--encoding: expected i2_s, tq1_0, tq2_0, f32, f16 or bf16 for --format gguf, got " + name
              : "--embedding: expected f32, f16, bf16 or q6_k, got " + name);
}

} // namespace

void write_gguf(const Options &options) {
  const Form &weights = form_of(options.encoding, true), &embedding = form_of(options.embedding, false);
  const std::vector<Tensor> tensors = tensors_of(options);
  auto form = [&](const Tensor &t) -> const Form & {
    return t.kind == Kind::ternary ? weights : t.kind == Kind::embedding ? embedding : forms[3];
  };
  Keys keys = metadata(options, weights.file_type);
  std::string infos;
  uint64_t offset = 0;
  for (const Tensor &t : tensors) {
    const import::GgufTypeInfo &type = *import::ggufType(form(t).type);
    if (uint32_t(t.cols) % type.block != 0)
      throw tools::UsageError((t.kind == Kind::embedding ? "--embedding " : "--encoding ") +
                              std::string(form(t).name) + ": expected rows of a multiple of " +
                              std::to_string(type.block) + ", got " + std::to_string(t.cols) + " in " +
                              t.gguf_name);
    put_string(infos, t.gguf_name);
    put<uint32_t>(infos, t.kind == Kind::norm ? 1 : 2);
    put<uint64_t>(infos, uint64_t(t.cols));
    if (t.kind != Kind::norm)
      put<uint64_t>(infos, uint64_t(t.rows));
    put(infos, type.id);
    put(infos, offset);
    uint64_t bytes = uint64_t(t.rows) * uint64_t(t.cols) / type.block * type.blockBytes + type.tailBytes;
    offset += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  OutputFile file(options.output);
  std::string head = "GGUF";
  put<uint32_t>(head, 3);
  put<uint64_t>(head, tensors.size());
  put<uint64_t>(head, keys.count);
  file.write(head + keys.bytes + infos);
  file.pad_to(kAlignment);

  tools::Progress progress("writing " + options.output, "MB", offset >> 20);
  const uint64_t start = file.size();
  std::vector<uint8_t> bytes;
  for (const Tensor &t : tensors) {
    if (t.kind == Kind::ternary) {
      encode(weights.name, random_ternary(options, t), bytes);
      file.write(bytes.data(), bytes.size());
    } else if (t.kind == Kind::norm) {
      std::vector<float> values = random_norm(options, t);
      file.write(values.data(), values.size() * sizeof(float));
    } else {
      RandomEmbedding rows(options, t);
      std::vector<float> row(size_t(t.cols));
      const import::GgufTypeInfo &type = *import::ggufType(embedding.type);
      bytes.resize(row.size() / type.block * type.blockBytes);
      for (int32_t r = 0; r < t.rows; ++r) {
        rows.next_row(row.data());
        if (embedding.type == kGgmlQ6K)
          encode_q6_k(row.data(), t.cols, bytes.data());
        else
          import::narrowRow(embedding.floats, row.data(), row.size(), bytes.data());
        file.write(bytes.data(), bytes.size());
        progress.update((file.size() - start) >> 20);
      }
    }
    file.pad_to(kAlignment);
    progress.update((file.size() - start) >> 20);
  }
  file.finish();
}

} // namespace bitnet::dummy
