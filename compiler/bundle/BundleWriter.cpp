// See BundleWriter.h. Order in the file: header, weights, code images, tokenizer, chat template, report,
// index.
#include "compiler/bundle/BundleWriter.h"
#include "compiler/bundle/SectionFile.h"
#include "compiler/bundle/WriteWeights.h"
#include "runtime/format/bundle_generated.h"
#include "runtime/format/bundle_header.h"
#include "runtime/format/checksum.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
namespace fb = bitnet::format::fb;

namespace bitnet::compiler {
namespace {

/// How ternary weights are packed: "t2", "t3", "t5" or several.
std::string ternaryPackings(const Plan &plan) {
  std::string names;
  for (Packing p : {Packing::t2, Packing::t3, Packing::t5})
    for (const Constant &c : plan.constants)
      if (c.packing == p) {
        names += (names.empty() ? "" : "+") + std::string(packingName(p));
        break;
      }
  return names;
}

codegen::KernelSpec specOf(format::Op op, const format::OpDims &dims, int32_t rows) {
  codegen::KernelSpec spec;
  spec.op = op;
  spec.dims = dims;
  spec.rows = rows;
  return spec;
}
codegen::KernelSpec specOf(const PlanCall &call, const PlanChoice &choice) {
  return specOf(call.op, call.dims, choice.rows);
}

uint32_t kernelId(const std::vector<codegen::KernelSpec> &kernels, const codegen::KernelSpec &spec) {
  uint32_t id = 0;
  while (id < kernels.size() &&
         !(kernels[id].op == spec.op && kernels[id].dims == spec.dims && kernels[id].rows == spec.rows))
    ++id;
  return id;
}

fb::Dims toFb(const format::OpDims &d) {
  return fb::Dims(d.n, d.k, d.heads, d.kv_heads, d.head_dim, d.context, uint8_t(d.act), uint8_t(d.epilogue),
                  d.eps);
}

/// Sections already in the file, and what the index says of them.
struct Sections {
  SectionFile &file;
  int jobs;
  std::vector<fb::Section> list;

  Error record(fb::SectionKind kind, uint64_t offset, uint64_t size) {
    Expected<uint64_t> sum = file.checksum(offset, size, jobs);
    if (!sum)
      return sum.takeError();
    list.emplace_back(kind, offset, size, *sum);
    return Error::success();
  }
  Error add(fb::SectionKind kind, const void *bytes, uint64_t size) {
    const uint64_t offset = file.reserve(size);
    if (Error e = file.write(offset, bytes, size))
      return e;
    return record(kind, offset, size);
  }
};

struct IndexBuilder {
  const BundleInput &input;
  const WeightMap &weights;
  const std::vector<codegen::KernelSpec> &kernels;
  const std::vector<fb::Section> &sections;
  flatbuffers::FlatBufferBuilder b{};

  fb::Slice slice(const PlanArg &arg) const {
    const uint64_t offset = arg.space == format::Space::weights ? weights.offsets[arg.offset] : arg.offset;
    return fb::Slice(uint8_t(arg.space), offset, arg.rowStride);
  }

  flatbuffers::Offset<fb::Model> model(uint64_t ternaryWeights) {
    const import::ModelConfig &c = input.checkpoint->config();
    return fb::CreateModelDirect(b, c.name.c_str(), c.family.c_str(), input.checkpoint->source().c_str(),
                                 c.layers, c.width, c.ffnWidth, c.heads, c.kvHeads, c.headDim, c.vocab,
                                 c.context, c.ropeTheta, c.normEps, uint8_t(c.act), ternaryWeights,
                                 input.head.c_str(), input.kv.c_str());
  }

  flatbuffers::Offset<fb::Screen> screen() {
    if (!input.plan->screen)
      return 0;
    const PlanScreen &s = *input.plan->screen;
    std::vector<fb::Choice> choices;
    for (const PlanChoice &choice : s.choices)
      choices.emplace_back(choice.maxRows,
                           kernelId(kernels, specOf(format::Op::screen_q4, s.dims, choice.rows)));
    const fb::Dims dims = toFb(s.dims);
    return fb::CreateScreenDirect(b, &dims, &choices,
                                  kernelId(kernels, specOf(format::Op::rescore_f16, s.dims, 0)),
                                  weights.offsets[s.constant]);
  }

  flatbuffers::Offset<fb::Plan> plan() {
    const Plan &p = *input.plan;
    std::vector<flatbuffers::Offset<fb::Call>> calls;
    for (const PlanCall &call : p.calls) {
      std::vector<fb::Choice> choices;
      for (const PlanChoice &choice : call.choices)
        choices.emplace_back(choice.maxRows,
                             choice.rows < 0 ? format::kNoKernel : kernelId(kernels, specOf(call, choice)));
      std::vector<fb::Slice> args;
      for (const PlanArg &arg : call.args)
        args.push_back(slice(arg));
      const fb::Dims dims = toFb(call.dims);
      calls.push_back(fb::CreateCallDirect(b, uint8_t(call.op), &dims, call.overLogitRows, &choices, &args,
                                           call.label.c_str(), call.dims.group));
    }
    const fb::Slice logits = slice(p.logits);
    return fb::CreatePlanDirect(b, p.maxRows, p.arenaBytes, &calls, &logits, screen());
  }

  /// Code sections follow the weights section, one for each image.
  std::vector<flatbuffers::Offset<fb::Image>> images() {
    std::vector<flatbuffers::Offset<fb::Image>> out;
    for (const VariantImage &v : input.images) {
      std::vector<fb::Fixup> fixups;
      for (const auto &f : v.image.fixups)
        fixups.emplace_back(f.at, f.target);
      out.push_back(fb::CreateImageDirect(b, uint8_t(v.variant), format::cpu_variant(v.variant).features,
                                          uint32_t(1 + out.size()), v.image.ro_offset, &v.image.entries,
                                          &fixups));
    }
    return out;
  }

  void finish(uint64_t ternaryWeights) {
    auto modelOffset = model(ternaryWeights);
    std::vector<flatbuffers::Offset<fb::Kernel>> kernelList;
    for (const codegen::KernelSpec &spec : kernels) {
      const fb::Dims dims = toFb(spec.dims);
      kernelList.push_back(fb::CreateKernelDirect(b, uint8_t(spec.op), &dims, spec.rows,
                                                  codegen::kernel_name(spec).c_str(), spec.dims.group));
    }
    auto imageList = images();
    auto planOffset = plan();
    std::vector<flatbuffers::Offset<fb::Tensor>> tensors;
    for (size_t i = 0; i < input.plan->constants.size(); ++i) {
      const Constant &c = input.plan->constants[i];
      std::string name;
      for (const std::string &part : c.names)
        name += (name.empty() ? "" : " | ") + part;
      tensors.push_back(fb::CreateTensorDirect(b, name.c_str(), packingName(c.packing), c.rows, c.cols,
                                               weights.offsets[i], packedBytes(c)));
    }
    b.Finish(fb::CreateBundleDirect(b, BITNET_VERSION, modelOffset, &sections, &kernelList, &imageList,
                                    planOffset, &tensors, ternaryPackings(*input.plan).c_str()),
             fb::BundleIdentifier());
  }
};

} // namespace

std::vector<codegen::KernelSpec> collectKernels(const Plan &plan) {
  std::vector<codegen::KernelSpec> kernels;
  const auto add = [&](const codegen::KernelSpec &spec) {
    if (kernelId(kernels, spec) == kernels.size())
      kernels.push_back(spec);
  };
  for (const PlanCall &call : plan.calls)
    for (const PlanChoice &choice : call.choices)
      if (choice.rows >= 0)
        add(specOf(call, choice));
  if (plan.screen) {
    for (const PlanChoice &choice : plan.screen->choices)
      add(specOf(format::Op::screen_q4, plan.screen->dims, choice.rows));
    add(specOf(format::Op::rescore_f16, plan.screen->dims, 0));
  }
  return kernels;
}

Expected<BundleReport> writeBundle(const std::string &path, const BundleInput &input) {
  Expected<SectionFile> file = SectionFile::create(path);
  if (!file)
    return file.takeError();
  file->reserve(sizeof(format::BundleHeader));

  BundleReport report;
  const WeightMap weights = mapWeights(*input.plan);
  const uint64_t weightsAt = file->reserve(weights.bytes);
  if (Error e = file->fill(weightsAt, weights.bytes, input.jobs))
    return e;
  if (Error e = writeWeights(*file, weightsAt, weights, input, report.pack))
    return e;

  Sections sections{*file, input.jobs, {}};
  if (Error e = sections.record(fb::SectionKind::weights, weightsAt, weights.bytes))
    return e;
  for (const VariantImage &v : input.images)
    if (Error e = sections.add(fb::SectionKind::code, v.image.bytes.data(), v.image.bytes.size()))
      return e;
  const import::Checkpoint &ckpt = *input.checkpoint;
  if (!ckpt.tokenizer().empty())
    if (Error e = sections.add(fb::SectionKind::tokenizer, ckpt.tokenizer().data(), ckpt.tokenizer().size()))
      return e;
  if (!ckpt.chatTemplate().empty())
    if (Error e = sections.add(fb::SectionKind::chat_template, ckpt.chatTemplate().data(),
                               ckpt.chatTemplate().size()))
      return e;
  const std::string text = input.report ? input.report(report.pack) : "{}";
  if (Error e = sections.add(fb::SectionKind::report, text.data(), text.size()))
    return e;

  const std::vector<codegen::KernelSpec> kernels = collectKernels(*input.plan);
  IndexBuilder index{input, weights, kernels, sections.list};
  index.finish(report.pack.ternaryWeights);
  const uint64_t indexAt = file->reserve(index.b.GetSize());
  if (Error e = file->write(indexAt, index.b.GetBufferPointer(), index.b.GetSize()))
    return e;

  format::BundleHeader header{};
  header.magic = format::kBundleMagic;
  header.version = format::kBundleVersion;
  header.min_reader = format::kBundleMinReader;
  header.index_offset = indexAt;
  header.index_size = index.b.GetSize();
  header.index_checksum = format::bytes_checksum(index.b.GetBufferPointer(), index.b.GetSize());
  header.file_size = file->size();
  header.header_checksum = format::bytes_checksum(&header, offsetof(format::BundleHeader, header_checksum));
  if (Error e = file->write(0, &header, sizeof header))
    return e;
  report.fileBytes = file->size();
  report.weightBytes = weights.bytes;
  if (Error e = file->commit())
    return e;
  return report;
}

} // namespace bitnet::compiler
