// See describe.h. Keys are part of the interface: append, do not rename.
#include "runtime/exec/describe.h"
#include "runtime/exec/model.h"
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace bitnet::runtime {
namespace {
using Json = nlohmann::ordered_json;

std::string hex(uint64_t v) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, v);
  return text;
}

/// The double that prints as the float was meant: 1e-05, not 9.999999747378752e-06.
double shortest(float v) {
  char text[32];
  for (int digits = 6; digits <= 9; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, double(v));
    if (std::strtof(text, nullptr) == v)
      break;
  }
  return std::strtod(text, nullptr);
}

Json model_json(const ModelInfo &m) {
  return {{"name", m.name},
          {"family", m.family},
          {"source", m.source},
          {"head", m.head},
          {"kv", m.kv},
          {"layers", m.layers},
          {"width", m.width},
          {"ffn_width", m.ffn_width},
          {"heads", m.heads},
          {"kv_heads", m.kv_heads},
          {"head_dim", m.head_dim},
          {"vocab", m.vocab},
          {"context", m.context},
          {"rope_theta", shortest(m.rope_theta)},
          {"norm_eps", shortest(m.norm_eps)},
          {"activation", format::act_name(m.act)},
          {"ternary_weights", m.ternary_weights}};
}

Json images_json(const Bundle &bundle) {
  Json list = Json::array();
  for (const Image &image : bundle.images) {
    Json features = Json::array();
    for (uint8_t f = 0; f < uint8_t(format::CpuFeature::count); ++f)
      if (image.features & format::bit(format::CpuFeature(f)))
        features.push_back(format::cpu_feature_name(format::CpuFeature(f)));
    const auto &variant = format::cpu_variant(image.variant);
    list.push_back({{"variant", variant.name},
                    {"target", variant.target},
                    {"features", features},
                    {"bytes", image.bytes.size},
                    {"code_bytes", image.ro_offset},
                    {"fixups", image.fixups.size()}});
  }
  return list;
}

Json plan_json(const Bundle &bundle) {
  Json kernels = Json::array();
  for (const Kernel &k : bundle.kernels)
    kernels.push_back(k.name);
  Json calls = Json::array();
  for (const Call &call : bundle.plan.calls) {
    Json choices = Json::array();
    for (const Choice &c : call.choices)
      choices.push_back(
          {{"max_rows", c.max_rows},
           {"kernel", c.kernel == format::kNoKernel ? Json() : Json(bundle.kernels[c.kernel].name)}});
    calls.push_back({{"label", call.label}, {"op", format::op_name(call.op)}, {"choices", choices}});
  }
  return {{"max_rows", bundle.plan.max_rows},
          {"arena_bytes", bundle.plan.arena_bytes},
          {"call_count", bundle.plan.calls.size()},
          {"kernels", kernels},
          {"calls", calls}};
}

/// What the compiler found out about the checkpoint (compiler/driver/ModelReport.h), or null for what is no
/// such report: the section is bytes of a file like any other.
Json report_json(Bytes section) {
  constexpr size_t kMostBytes = 1 << 20;
  constexpr int kMostDepth = 8; // printing nests as deep as the text
  if (section.size > kMostBytes)
    return nullptr;
  bool deep = false;
  Json report = Json::parse(
      section.data, section.data + section.size,
      [&](int depth, Json::parse_event_t, Json &) { return !(deep |= depth > kMostDepth); },
      /*allow_exceptions=*/false);
  return report.is_discarded() || deep ? Json() : report;
}

} // namespace

std::string describe(const Model &model) {
  const Bundle &bundle = model.bundle();
  Json sections = Json::array();
  for (const Section &s : bundle.sections)
    sections.push_back({{"kind", format::fb::EnumNameSectionKind(s.kind)},
                        {"offset", s.offset},
                        {"bytes", s.bytes.size},
                        {"checksum", hex(s.checksum)}});
  Json tensors = Json::array();
  for (const Tensor &t : bundle.tensors)
    tensors.push_back({{"name", t.name},
                       {"packing", t.packing},
                       {"rows", t.rows},
                       {"cols", t.cols},
                       {"offset", t.offset},
                       {"bytes", t.size}});
  const Json all = {{"compiler", bundle.compiler},
                    {"file_bytes", bundle.file_bytes},
                    {"weight_bytes", bundle.section(SectionKind::weights).size},
                    {"bytes_per_token", model.bytes_per_token()},
                    {"kv_bytes_per_token", model.kv_bytes_per_token()},
                    {"packing", bundle.packing},
                    {"cpu", format::cpu_variant(model.variant()).name},
                    {"model", model_json(bundle.model)},
                    {"sections", sections},
                    {"images", images_json(bundle)},
                    {"plan", plan_json(bundle)},
                    {"tensors", tensors},
                    {"tokenizer", model.tokenizer() != nullptr},
                    {"chat_template", !model.chat_template().empty()},
                    {"report", report_json(bundle.section(SectionKind::report))}};
  // Names come from the checkpoint and may be any bytes; bad UTF-8 is replaced, not refused.
  return all.dump(1, ' ', false, Json::error_handler_t::replace);
}

} // namespace bitnet::runtime
