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

using import::CodecSettings;
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
  const char *name, *codec; ///< the codec is the type's name, too
  uint32_t type;
  int32_t file_type;
  bool ternary, embedding; ///< what may be in this form
  import::I2SLayout layout = import::I2SLayout::blocks128;
};
const Form forms[] = {{"i2_s", "i2_s", 36, 40, true, false},
                      {"i2_s_64", "i2_s", 36, 40, true, false, import::I2SLayout::blocks64},
                      {"i2_s_row4", "i2_s", 36, 40, true, false, import::I2SLayout::rows4},
                      {"tq1_0", "tq1_0", 34, 36, true, false},
                      {"tq2_0", "tq2_0", 35, 37, true, false},
                      {"q1_0", "q1_0", 41, 40, true, false},
                      {"q2_0", "q2_0", 42, 41, true, false},
                      {"pq2_0", "pq2_0", 142, 142, true, false},
                      {"ptq1_0", "ptq1_0", 143, 143, true, false},
                      {"iq1_bn", "iq1_bn", 134, 136, true, false},
                      {"iq2_bn", "iq2_bn", 135, 137, true, false},
                      {"iq2_bn_r4", "iq2_bn_r4", 335, 329, true, false},
                      {"tl1", "tl1", 38, 38, true, false},
                      {"tl2", "tl2", 39, 39, true, false},
                      {"f32", "f32", 0, 0, true, true},
                      {"f16", "f16", 1, 1, true, true},
                      {"bf16", "bf16", 30, 32, true, true},
                      {"q6_k", "q6_k", kGgmlQ6K, 18, false, true}};
const Form &form_of(const std::string &name, bool ternary) {
  std::string names;
  for (const Form &form : forms)
    if (ternary ? form.ternary : form.embedding) {
      if (name == form.name)
        return form;
      names += (names.empty() ? "" : ", ") + std::string(form.name);
    }
  throw tools::UsageError((ternary ? "--encoding: expected one of " : "--embedding: expected one of ") +
                          names + ", got " + name);
}

/// TL1 and TL2 for kernels of small tiles, which divide most shapes.
CodecSettings settings_of(const Form &form, const Tensor &t) {
  CodecSettings settings;
  settings.i2sLayout = form.layout;
  settings.tlKernels = {{t.rows, t.cols, 32, std::string(form.codec) == "tl1" ? 64 : 96, 32}};
  return settings;
}

} // namespace

void write_gguf(const Options &options) {
  const Form &weights = form_of(options.encoding, true), &embedding = form_of(options.embedding, false);
  const std::vector<Tensor> tensors = tensors_of(options);
  auto form = [&](const Tensor &t) -> const Form & {
    return t.kind == Kind::ternary ? weights : t.kind == Kind::embedding ? embedding : form_of("f32", true);
  };
  Keys keys = metadata(options, weights.file_type);
  std::string infos;
  uint64_t offset = 0, count = 0;
  auto add = [&](const std::string &name, std::vector<uint64_t> dims, uint32_t type, uint64_t bytes) {
    put_string(infos, name);
    put<uint32_t>(infos, uint32_t(dims.size()));
    for (uint64_t dim : dims)
      put(infos, dim);
    put(infos, type);
    put(infos, offset);
    offset += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    ++count;
  };
  // Codes alone have their scale in a tensor beside them.
  const bool apart = import::codecNamed(weights.codec)->scales == import::Codec::Scales::none;
  if (apart && options.scale_group > 0)
    throw tools::UsageError("--scale-group: expected an encoding with room for scales of groups, got " +
                            options.encoding);
  for (const Tensor &t : tensors) {
    std::vector<uint64_t> dims = {uint64_t(t.cols)};
    if (t.kind != Kind::norm)
      dims.push_back(uint64_t(t.rows));
    const import::GgufSize size = import::ggufBytes(*import::ggufMeaning(form(t).type, form(t).codec), dims);
    if (!size.wants.empty())
      throw tools::UsageError((t.kind == Kind::embedding ? "--embedding " : "--encoding ") +
                              std::string(form(t).name) + ": expected " + size.wants + ", got " +
                              import::ggufShape(dims) + " in " + t.gguf_name);
    add(t.gguf_name, dims, form(t).type, size.bytes);
    if (t.kind == Kind::ternary && apart)
      add(t.gguf_name + "_scale", {1}, import::kGgmlF32, sizeof(float));
  }
  OutputFile file(options.output);
  std::string head = "GGUF";
  put<uint32_t>(head, 3);
  put(head, count);
  put<uint64_t>(head, keys.count);
  file.write(head + keys.bytes + infos);
  file.pad_to(kAlignment);

  tools::Progress progress("writing " + options.output, "MB", offset >> 20);
  const uint64_t start = file.size();
  std::vector<uint8_t> bytes;
  for (const Tensor &t : tensors) {
    if (t.kind == Kind::ternary) {
      const import::TernaryMatrix matrix = random_ternary(options, t);
      encode(weights.codec, settings_of(weights, t), matrix, bytes);
      file.write(bytes.data(), bytes.size());
      if (apart) {
        file.pad_to(kAlignment);
        file.write(&matrix.scales[0], sizeof(float));
      }
    } else if (t.kind == Kind::norm) {
      std::vector<float> values = random_norm(options, t);
      file.write(values.data(), values.size() * sizeof(float));
    } else {
      RandomEmbedding rows(options, t);
      std::vector<float> row(size_t(t.cols));
      const import::Codec &codec = *import::codecNamed(embedding.codec);
      bytes.resize(size_t(*import::encodedBytes(codec, 1, t.cols)));
      for (int32_t r = 0; r < t.rows; ++r) {
        rows.next_row(row.data());
        if (embedding.type == kGgmlQ6K)
          encode_q6_k(row.data(), t.cols, bytes.data());
        else
          import::narrowRow(*codec.floats, row.data(), row.size(), bytes.data());
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
