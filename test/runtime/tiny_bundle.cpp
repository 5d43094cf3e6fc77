// See tiny_bundle.h.
#include "test/runtime/tiny_bundle.h"
#include "runtime/format/bundle_header.h"
#include "runtime/format/checksum.h"
#include "runtime/format/layouts.h"
#include "test/runtime/section_checksum.h"
#include "test/runtime/tiny_kernels.h"
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <unistd.h>

namespace bitnet::test {
namespace fb = format::fb;
using namespace runtime;

namespace {

constexpr uint64_t kAlign = format::kTensorAlign;
uint64_t round_up(uint64_t v, uint64_t a) { return (v + a - 1) / a * a; }

/// Adds calls, and for each its kernel, arena slices and weights.
struct Builder {
  TinyBundle &tiny;
  const TinySizes &sizes;
  uint64_t weights = 0;

  uint64_t padded_rows() const { return round_up(uint64_t(sizes.max_rows), uint64_t(format::kRowPad)); }
  Slice arena(int32_t width) {
    const uint64_t at = tiny.bundle.plan.arena_bytes;
    tiny.bundle.plan.arena_bytes += round_up(padded_rows() * uint64_t(width) * 4, kAlign);
    return {Space::arena, at, 0};
  }
  Slice weight(uint64_t bytes, const char *name) {
    const uint64_t at = weights;
    weights += round_up(bytes, kAlign);
    tiny.bundle.tensors.push_back({name, "f32", 1, 1, at, bytes});
    return {Space::weights, at, 0};
  }
  static Slice input(format::Input i) { return {Space::input, uint64_t(i), 0}; }
  static Slice layer0(Space space) { return {space, 0, 0}; }

  void call(Op op, const OpDims &dims, bool over_logit_rows, std::vector<Slice> args) {
    const auto kernel = uint32_t(tiny.bundle.kernels.size());
    tiny.bundle.kernels.push_back({op, dims, 0, std::string(format::op_name(op)) + " tiny"});
    tiny.bundle.plan.calls.push_back({op,
                                      dims,
                                      over_logit_rows,
                                      {{0, kernel}},
                                      std::move(args),
                                      std::string("tiny.") + format::op_name(op)});
  }
};

fb::Dims to_fb(const OpDims &d) {
  return fb::Dims(d.n, d.k, d.heads, d.kv_heads, d.head_dim, d.context, uint8_t(d.act), uint8_t(d.epilogue),
                  d.eps);
}

/// Header space and sections, without an index.
std::string body(const TinyBundle &tiny, std::vector<fb::Section> *sections) {
  std::string file(sizeof(format::BundleHeader), '\0');
  for (const auto &p : tiny.payloads) {
    file.resize(round_up(file.size(), format::kSectionAlign));
    const auto *bytes = reinterpret_cast<const uint8_t *>(p.bytes.data());
    uint64_t offset = file.size(), size = p.bytes.size();
    if (tiny.move_section)
      tiny.move_section(sections->size(), &offset, &size);
    sections->emplace_back(p.kind, offset, size, test::section_checksum(bytes, p.bytes.size()));
    file += p.bytes;
  }
  file.resize(round_up(file.size(), format::kSectionAlign));
  return file;
}

} // namespace

TinyBundle::TinyBundle(const TinySizes &sizes) {
  const int32_t n = (sizes.vocab + 15) / 16 * 16, k = sizes.width, head_dim = sizes.width / 2;
  bundle.compiler = "test";
  bundle.packing = "none";
  bundle.model = {
      "tiny",   "test", "tiny_bundle",      "f16", 1, k, 16, 2, 1, head_dim, sizes.vocab, sizes.context,
      10000.0f, 1e-5f,  format::Act::relu2, 0};
  bundle.plan.max_rows = sizes.max_rows;

  Builder b{*this, sizes};
  const Slice x = b.arena(k), rotated = b.arena(k), o = b.arena(k), y = b.arena(k), picked = b.arena(k);
  // kv_append takes one head of head_dim: a column slice of a row of k values.
  const Slice head{Space::arena, rotated.offset, uint64_t(k) * 4};
  using format::Input;
  b.call(Op::embed, {n, k}, false,
         {b.input(Input::tokens), b.weight(uint64_t(n) * uint64_t(k) * 2, "embed"), x});
  const uint64_t table = uint64_t(head_dim / 2) * uint64_t(sizes.context) * 4;
  b.call(Op::rope, {0, 0, 2, 0, head_dim, sizes.context}, false,
         {x, b.input(Input::positions), b.weight(table, "cos"), b.weight(table, "sin"), rotated});
  b.call(Op::kv_append, {0, 0, 0, 1, head_dim}, false,
         {head, head, b.input(Input::slots), b.layer0(Space::k_cache), b.layer0(Space::v_cache)});
  b.call(Op::attention, {0, 0, 2, 1, head_dim}, false,
         {rotated, b.layer0(Space::k_cache), b.layer0(Space::v_cache), b.input(Input::positions),
          b.input(Input::sequences), b.input(Input::block_table), o});
  b.call(Op::add, {0, k}, false, {x, o, y});
  b.call(Op::gather_rows, {0, k}, true, {y, b.input(Input::logit_rows), picked});
  bundle.plan.logits = b.arena(n);
  b.call(Op::linear_f16, {n, k}, true,
         {picked, b.weight(uint64_t(n) * uint64_t(k) * 2, "head"), bundle.plan.logits});

  payloads = {{SectionKind::weights, std::string(b.weights, '\x01')}, {SectionKind::code, tiny_code()}};
  Image image{};
  image.variant = CpuVariant::portable;
  image.ro_offset = payloads[1].bytes.size();
  for (const Kernel &kernel : bundle.kernels)
    image.entries.push_back(tiny_entry(kernel.op));
  bundle.images.push_back(image);
  image_section = {1};
}

Call &TinyBundle::call(Op op) {
  for (Call &c : bundle.plan.calls)
    if (c.op == op)
      return c;
  std::abort();
}

void TinyBundle::add_screen() {
  const OpDims dims = bundle.plan.calls.back().dims;
  runtime::Screen screen{
      dims, {{0, uint32_t(bundle.kernels.size())}}, uint32_t(bundle.kernels.size() + 1), 0};
  for (const Op op : {Op::screen_q4, Op::rescore_f16}) {
    bundle.kernels.push_back({op, dims, 0, std::string(format::op_name(op)) + " tiny"});
    bundle.images[0].entries.push_back(tiny_entry(op));
  }
  std::string &weights = payloads[0].bytes;
  screen.offset = round_up(weights.size(), format::kTensorAlign);
  weights.resize(screen.offset + format::screen_layout(dims.n, dims.k).bytes, '\0');
  bundle.plan.screen = screen;
}

std::string TinyBundle::index() const {
  flatbuffers::FlatBufferBuilder b;
  std::vector<fb::Section> sections;
  body(*this, &sections);
  const ModelInfo &m = bundle.model;
  const auto model =
      fb::CreateModelDirect(b, m.name.c_str(), m.family.c_str(), m.source.c_str(), m.layers, m.width,
                            m.ffn_width, m.heads, m.kv_heads, m.head_dim, m.vocab, m.context, m.rope_theta,
                            m.norm_eps, uint8_t(m.act), m.ternary_weights, m.head.c_str(), m.kv.c_str());
  std::vector<flatbuffers::Offset<fb::Kernel>> kernels;
  for (const Kernel &k : bundle.kernels) {
    const fb::Dims dims = to_fb(k.dims);
    kernels.push_back(fb::CreateKernelDirect(b, uint8_t(k.op), &dims, k.rows, k.name.c_str(), k.dims.group));
  }
  std::vector<flatbuffers::Offset<fb::Image>> images;
  for (size_t i = 0; i < bundle.images.size(); ++i) {
    const Image &image = bundle.images[i];
    std::vector<fb::Fixup> fixups;
    for (const Fixup &f : image.fixups)
      fixups.emplace_back(f.at, f.target);
    images.push_back(fb::CreateImageDirect(b, uint8_t(image.variant), image.features, image_section[i],
                                           image.ro_offset, &image.entries, &fixups));
  }
  const auto slice = [](const Slice &s) { return fb::Slice(uint8_t(s.space), s.offset, s.row_stride); };
  std::vector<flatbuffers::Offset<fb::Call>> calls;
  for (const Call &c : bundle.plan.calls) {
    std::vector<fb::Choice> choices;
    for (const Choice &choice : c.choices)
      choices.emplace_back(choice.max_rows, choice.kernel);
    std::vector<fb::Slice> args;
    for (const Slice &s : c.args)
      args.push_back(slice(s));
    const fb::Dims dims = to_fb(c.dims);
    calls.push_back(fb::CreateCallDirect(b, uint8_t(c.op), &dims, c.over_logit_rows, &choices, &args,
                                         c.label.c_str(), c.dims.group));
  }
  const fb::Slice logits = slice(bundle.plan.logits);
  flatbuffers::Offset<fb::Screen> screen;
  if (const auto &s = bundle.plan.screen) {
    std::vector<fb::Choice> choices;
    for (const Choice &choice : s->choices)
      choices.emplace_back(choice.max_rows, choice.kernel);
    const fb::Dims dims = to_fb(s->dims);
    screen = fb::CreateScreenDirect(b, &dims, &choices, s->rescore, s->offset);
  }
  const auto plan =
      fb::CreatePlanDirect(b, bundle.plan.max_rows, bundle.plan.arena_bytes, &calls, &logits, screen);
  std::vector<flatbuffers::Offset<fb::Tensor>> tensors;
  for (const Tensor &t : bundle.tensors)
    tensors.push_back(
        fb::CreateTensorDirect(b, t.name.c_str(), t.packing.c_str(), t.rows, t.cols, t.offset, t.size));
  b.Finish(fb::CreateBundleDirect(b, bundle.compiler.c_str(), model, &sections, &kernels, &images, plan,
                                  &tensors, bundle.packing.c_str()),
           fb::BundleIdentifier());
  return {reinterpret_cast<const char *>(b.GetBufferPointer()), b.GetSize()};
}

std::string TinyBundle::file() const { return with_index(*this, index()); }

std::string with_index(const TinyBundle &bundle, const std::string &index) {
  std::vector<fb::Section> sections;
  std::string file = body(bundle, &sections);
  const format::BundleHeader header{format::kBundleMagic,
                                    format::kBundleVersion,
                                    format::kBundleMinReader,
                                    file.size(),
                                    index.size(),
                                    format::bytes_checksum(index.data(), index.size()),
                                    file.size() + index.size(),
                                    0,
                                    0};
  std::memcpy(file.data(), &header, sizeof header);
  seal_header(&file);
  return file + index;
}

void seal_header(std::string *file) {
  constexpr size_t at = offsetof(format::BundleHeader, header_checksum);
  if (file->size() < sizeof(format::BundleHeader))
    return;
  const uint64_t sum = format::bytes_checksum(file->data(), at);
  std::memcpy(file->data() + at, &sum, sizeof sum);
}

void reseal(std::string *file) {
  format::BundleHeader header;
  if (file->size() < sizeof header)
    return;
  std::memcpy(&header, file->data(), sizeof header);
  header.file_size = file->size();
  const uint64_t at = header.index_offset, size = header.index_size;
  if (at <= file->size() && size <= file->size() - at) {
    std::string index = file->substr(at, size); // aligned, unlike the bytes in the file
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(index.data()), size);
    if (fb::VerifyBundleBuffer(verifier))
      if (const auto *sections = fb::GetBundle(index.data())->sections();
          sections && reinterpret_cast<uintptr_t>(sections->Data()) % 8 == 0)
        for (const fb::Section *s : *sections)
          if (s->offset() <= file->size() && s->size() <= file->size() - s->offset()) {
            const auto *bytes = reinterpret_cast<const uint8_t *>(file->data()) + s->offset();
            *const_cast<fb::Section *>(s) = fb::Section(s->kind(), s->offset(), s->size(),
                                                        test::section_checksum(bytes, size_t(s->size())));
          }
    std::memcpy(file->data() + at, index.data(), size);
    header.index_checksum = format::bytes_checksum(index.data(), size);
  }
  std::memcpy(file->data(), &header, sizeof header);
  seal_header(file);
}

std::string write_file(const std::string &name, const std::string &bytes) {
  const char *folder = std::getenv("TMPDIR");
  const std::string path =
      std::string(folder && *folder ? folder : "/tmp") + "/bitnet-" + std::to_string(getpid()) + "-" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

} // namespace bitnet::test
