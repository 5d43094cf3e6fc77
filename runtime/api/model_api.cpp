// The C functions of models (bitnet.h, "model").
#include "runtime/api/bitnet.h"
#include "runtime/cpu/cpu.h"
#include "runtime/exec/model.h"
#include <memory>

using namespace bitnet::runtime;

const char *bitnet_version(void) { return BITNET_VERSION; }

const char *bitnet_cpu_variant(void) {
  return bitnet::format::cpu_variant(bitnet::cpu::best_variant(bitnet::cpu::features())).name;
}

const char *bitnet_cpu_features(void) {
  static const std::string names = [] {
    std::string list;
    for (int f = 0; f < int(bitnet::format::CpuFeature::count); ++f)
      if (bitnet::cpu::features() & bitnet::format::bit(bitnet::format::CpuFeature(f)))
        list += (list.empty() ? "" : ",") +
                std::string(bitnet::format::cpu_feature_name(bitnet::format::CpuFeature(f)));
    return list;
  }();
  return names.c_str();
}

int32_t bitnet_available_cpus(void) { return bitnet::cpu::available_cpus(); }

bitnet_status bitnet_model_open(const char *path, const bitnet_model_options *options, bitnet_model **model,
                                bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!path || !model)
      return invalid_argument("bitnet_model_open: expected a path and a place for the model, got NULL");
    *model = nullptr;
    auto opened = Model::open(path, options && options->cpu ? options->cpu : "");
    if (!opened.ok())
      return std::move(opened).status();
    *model = new bitnet_model{std::move(*opened)};
    return {};
  });
}

void bitnet_model_close(bitnet_model *model) { delete model; }

void bitnet_model_get_info(const bitnet_model *model, bitnet_model_info *info) {
  if (!info)
    return;
  *info = {};
  if (!model)
    return;
  const Model &m = *model->impl;
  const Bundle &bundle = m.bundle();
  info->name = bundle.model.name.c_str();
  info->family = bundle.model.family.c_str();
  info->cpu = bitnet::format::cpu_variant(m.variant()).name;
  info->head = bundle.model.head.c_str();
  info->layers = bundle.model.layers;
  info->width = bundle.model.width;
  info->ffn_width = bundle.model.ffn_width;
  info->heads = bundle.model.heads;
  info->kv_heads = bundle.model.kv_heads;
  info->head_dim = bundle.model.head_dim;
  info->vocab = bundle.model.vocab;
  info->context = bundle.model.context;
  info->max_rows = bundle.plan.max_rows;
  info->bos = m.tokenizer() ? m.tokenizer()->bos() : -1;
  info->eos = m.tokenizer() ? m.tokenizer()->eos() : -1;
  info->ternary_weights = bundle.model.ternary_weights;
  info->file_bytes = bundle.file_bytes;
  info->weight_bytes = bundle.section(SectionKind::weights).size;
  info->bytes_per_token = m.bytes_per_token();
  info->kv_bytes_per_token = m.kv_bytes_per_token();
  info->kv = bundle.model.kv.c_str();
}

const char *bitnet_model_describe(const bitnet_model *model) {
  return model ? model->impl->description().c_str() : nullptr;
}
