// Opening a bundle: map, validate, choose and load the kernels, read the tokenizer.
#include "runtime/exec/model.h"
#include "runtime/bundle/checksums.h"
#include "runtime/bundle/select_image.h"
#include "runtime/cpu/cpu.h"
#include "runtime/exec/describe.h"
#include <cstdlib>

namespace bitnet::runtime {
namespace {

/// Weight bytes that a call over one row reads. Tables are read one row at a time, all else as a whole.
uint64_t bytes_for_one_row(Op op, const OpDims &dims) {
  const format::Signature signature = format::signature(op, dims);
  uint64_t bytes = 0;
  for (int i = 0; i < signature.n_args; ++i) {
    const format::Arg &arg = signature.args[i];
    if (arg.space != Space::weights)
      continue;
    uint64_t size = format::elem_bytes(arg.elem);
    for (int d = 0; d < arg.rank; ++d)
      size *= uint64_t(arg.extent[d]);
    if (op == Op::embed)
      size /= uint64_t(dims.n);
    if (op == Op::rope)
      size /= uint64_t(dims.context);
    bytes += size;
  }
  return bytes;
}

} // namespace

Result<std::unique_ptr<const Model>> Model::open(const std::string &path, const std::string &forced_cpu) {
  std::unique_ptr<Model> model(new Model());
  model->path_ = path;
  auto file = map_file(path.c_str());
  if (!file.ok())
    return std::move(file).status();
  model->file_ = std::move(*file);
  if (Status status = model->load(forced_cpu); !status.ok())
    return std::move(status).in(path);
  return std::unique_ptr<const Model>(std::move(model));
}

Status Model::load(const std::string &forced_cpu) {
  ChecksumPass weights; // goes on while the rest is loaded
  auto bundle = validate_bundle({file_.data(), file_.size()}, &weights);
  if (!bundle.ok())
    return std::move(bundle).status();
  bundle_ = std::move(*bundle);

  const char *environment = forced_cpu.empty() ? std::getenv("BITNET_CPU") : nullptr;
  auto selected = select_image(bundle_, cpu::features(), environment ? environment : forced_cpu);
  if (!selected.ok())
    return environment && *environment ? std::move(selected).status().in("BITNET_CPU (environment)")
                                       : std::move(selected).status();
  image_index_ = *selected;
  const Image &image = bundle_.images[image_index_];
  auto loaded = load_image(image);
  if (!loaded.ok())
    return std::move(loaded).status();
  image_ = std::move(*loaded);
  for (uint64_t entry : image.entries)
    kernels_.push_back(image_.function(entry));

  if (const Bytes section = bundle_.section(SectionKind::tokenizer); section.size > 0) {
    auto tokenizer = Tokenizer::load(section.data, section.size);
    if (!tokenizer.ok())
      return std::move(tokenizer).status();
    tokenizer_.impl = std::move(*tokenizer);
  }
  const Bytes chat = bundle_.section(SectionKind::chat_template);
  chat_template_.assign(reinterpret_cast<const char *>(chat.data), chat.size);
  const auto &screen = bundle_.plan.screen;
  for (const Call &call : bundle_.plan.calls) // a screened head reads its screen, and of its rows a few
    bytes_per_token_ +=
        bytes_for_one_row(screen && &call == &bundle_.plan.calls.back() ? Op::screen_q4 : call.op, call.dims);
  description_ = describe(*this);
  return weights.finish();
}

uint64_t Model::kv_bytes_per_token() const {
  const ModelInfo &m = bundle_.model;
  const uint64_t head =
      m.kv == "q8" ? uint64_t(m.head_dim) + sizeof(float) : uint64_t(m.head_dim) * sizeof(uint16_t);
  return 2 * uint64_t(m.layers) * uint64_t(m.kv_heads) * head;
}

} // namespace bitnet::runtime
