// The one place that distrusts a bundle. Everything a .bnx claims is checked here, once, and handed on as
// plain values (bundle.h): after this, no size, offset or index in the runtime is checked again. It cannot
// judge the machine code in the images: who runs a bundle trusts its maker, as with any program.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/checksums.h"
#include "runtime/format/bundle_header.h"
#include "runtime/format/checksum.h"
#include "runtime/format/layouts.h"
#include "runtime/format/quoted.h"
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

namespace bitnet::runtime {
namespace {
namespace fb = format::fb;
using format::Arg;

constexpr uint64_t kMaxIndexBytes = uint64_t(1) << 30; // flatbuffers end at 2^31
constexpr uint64_t kMaxArenaBytes = uint64_t(1) << 40;
constexpr int32_t kMaxStepRows = 1 << 16;

std::string number(uint64_t v) { return std::to_string(v); }
std::string number(int64_t v) { return std::to_string(v); }
std::string number(int32_t v) { return std::to_string(v); }
std::string text(const flatbuffers::String *s) { return s ? s->str() : std::string(); }

/// [offset, offset + size) inside [0, total), without overflow.
bool inside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

/// The elements of a vector lie at multiples of 8; FlatBuffers' verifier looks at the vector's length word
/// only.
template <typename T> bool aligned(const flatbuffers::Vector<T> *v) {
  return !v || v->size() == 0 || reinterpret_cast<uintptr_t>(v->Data()) % 8 == 0;
}
Status misaligned(const std::string &where) { return bad_bundle(where + ": misaligned vector in the index"); }

/// a * b, or false if it does not fit.
bool multiply(uint64_t a, uint64_t b, uint64_t *product) { return !__builtin_mul_overflow(a, b, product); }

class Validator {
public:
  explicit Validator(Bytes file) : file_(file) {}
  Status run(ChecksumPass &weights) {
    BITNET_RETURN_IF_ERROR(read_header());
    BITNET_RETURN_IF_ERROR(read_index());
    BITNET_RETURN_IF_ERROR(read_sections());
    BITNET_RETURN_IF_ERROR(check_sections(weights));
    BITNET_RETURN_IF_ERROR(read_model());
    BITNET_RETURN_IF_ERROR(read_kernels());
    BITNET_RETURN_IF_ERROR(read_images());
    BITNET_RETURN_IF_ERROR(read_plan());
    return read_tensors();
  }
  Result<Bytes> run_for(SectionKind kind) {
    BITNET_RETURN_IF_ERROR(read_header());
    BITNET_RETURN_IF_ERROR(read_index());
    BITNET_RETURN_IF_ERROR(read_sections());
    for (const Section &section : out_.sections)
      if (section.kind == kind)
        BITNET_RETURN_IF_ERROR(verify_checksums({section}));
    return out_.section(kind);
  }
  Bundle take() { return std::move(out_); }

private:
  Status read_header();
  Status read_index();
  Status read_sections();
  Status check_sections(ChecksumPass &weights);
  Status read_model();
  Status read_kernels();
  Status read_image(const fb::Image &image);
  Status read_images();
  Status read_plan();
  Status read_call(const fb::Call &call);
  Status read_choices(const flatbuffers::Vector<const fb::Choice *> *choices, Op op, const OpDims &dims,
                      const std::string &where, std::vector<Choice> *out);
  Status read_screen(const fb::Screen &screen);
  Status check_call_shape(const Call &call, const std::string &where);
  Status check_arg(const Arg &arg, const Slice &slice, const std::string &where);
  Status check_arena(const Arg &arg, const Slice &slice, const std::string &where);
  Status check_logits();
  Status read_tensors();

  Bytes file_;
  format::BundleHeader header_{};
  const fb::Bundle *index_ = nullptr;
  Bundle out_;
  uint64_t weights_bytes_ = 0;
  uint64_t padded_rows_ = 0; ///< max_rows rounded up to kRowPad: rows that kernels may touch
};

Status Validator::read_header() {
  if (file_.size < sizeof header_)
    return bad_bundle("header: expected at least 64 bytes, got " + number(uint64_t(file_.size)));
  std::memcpy(&header_, file_.data, sizeof header_);
  if (header_.magic != format::kBundleMagic)
    return bad_bundle(
        "header: expected a .bnx bundle, got another kind of file; compile the model with bitnetc");
  if (header_.header_checksum !=
      format::bytes_checksum(file_.data, offsetof(format::BundleHeader, header_checksum)))
    return bad_bundle(
        "header: its bytes do not match its checksum: the file is damaged; compile or copy it again");
  if (header_.min_reader > format::kBundleVersion)
    return unsupported("header: format version: expected at most " + number(int32_t(format::kBundleVersion)) +
                       ", got " + number(uint64_t(header_.min_reader)) +
                       "; use a newer runtime or compile again");
  if (header_.file_size != file_.size)
    return bad_bundle("header: file size: expected " + number(header_.file_size) + " bytes, got " +
                      number(uint64_t(file_.size)) + "; the file is cut or has grown, copy it again");
  return {};
}

Status Validator::read_index() {
  const uint64_t at = header_.index_offset, size = header_.index_size;
  if (at < sizeof header_ || at % 8 != 0 || size > kMaxIndexBytes || !inside(at, size, file_.size))
    return bad_bundle("header: index: expected 8-aligned bytes inside the file, got [" + number(at) + ", +" +
                      number(size) + ")");
  if (header_.index_checksum != format::bytes_checksum(file_.data + at, size))
    return bad_bundle(
        "index: its bytes do not match its checksum: the file is damaged; compile or copy it again");
  flatbuffers::Verifier verifier(file_.data + at, size, /*max_depth=*/16, /*max_tables=*/1 << 20);
  if (!fb::VerifyBundleBuffer(verifier))
    return bad_bundle("index: expected a flatbuffer of type BNX1");
  index_ = fb::GetBundle(file_.data + at);
  out_.file_bytes = file_.size;
  out_.compiler = text(index_->compiler());
  out_.packing = text(index_->packing());
  if (!index_->model() || !index_->sections() || !index_->kernels() || !index_->images() || !index_->plan() ||
      !index_->plan()->calls() || !index_->plan()->logits())
    return bad_bundle(
        "index: expected model, sections, kernels, images and plan, got an index without one of them");
  return {};
}

Status Validator::read_sections() {
  struct Range {
    uint64_t offset, size;
  };
  if (!aligned(index_->sections()))
    return misaligned("sections");
  std::vector<Range> taken{{0, sizeof header_}, {header_.index_offset, header_.index_size}};
  for (const fb::Section *s : *index_->sections()) {
    const std::string where = "section " + number(uint64_t(out_.sections.size()));
    if (s->kind() > SectionKind::MAX)
      return bad_bundle(where + ": kind: expected at most " + number(int32_t(SectionKind::MAX)) + ", got " +
                        number(int32_t(s->kind())));
    if (s->offset() % format::kSectionAlign != 0 || !inside(s->offset(), s->size(), file_.size))
      return bad_bundle(where + ": expected 4096-aligned bytes inside the file, got [" + number(s->offset()) +
                        ", +" + number(s->size()) + ")");
    if (s->size() > 0)
      taken.push_back({s->offset(), s->size()});
    out_.sections.push_back(
        {s->kind(), s->offset(), {file_.data + s->offset(), size_t(s->size())}, s->checksum()});
  }
  std::sort(taken.begin(), taken.end(), [](const Range &a, const Range &b) { return a.offset < b.offset; });
  for (size_t i = 1; i < taken.size(); ++i)
    if (taken[i].offset - taken[i - 1].offset < taken[i - 1].size)
      return bad_bundle("sections: two parts of the file overlap at byte " + number(taken[i].offset));
  for (SectionKind kind : fb::EnumValuesSectionKind()) {
    const auto n = std::count_if(out_.sections.begin(), out_.sections.end(),
                                 [&](const Section &s) { return s.kind == kind; });
    if (kind != SectionKind::code && n > 1)
      return bad_bundle(std::string("sections: expected one of kind ") + fb::EnumNameSectionKind(kind) +
                        ", got " + number(int64_t(n)));
    if (kind == SectionKind::weights && n == 0)
      return bad_bundle("sections: expected one of kind weights, got none");
  }
  weights_bytes_ = out_.section(SectionKind::weights).size;
  return {};
}

/// All but the weights at once: what follows reads them.
Status Validator::check_sections(ChecksumPass &weights) {
  std::vector<Section> large, others;
  for (const Section &s : out_.sections)
    (s.kind == SectionKind::weights ? large : others).push_back(s);
  weights.start(std::move(large));
  return verify_checksums(others);
}

Status Validator::read_model() {
  const fb::Model &m = *index_->model();
  const struct {
    const char *name;
    int32_t value, low, high;
  } ranges[] = {{"layers", m.layers(), 1, 4096},           {"width", m.width(), 16, 1 << 20},
                {"ffn_width", m.ffn_width(), 16, 1 << 20}, {"heads", m.heads(), 1, 4096},
                {"kv_heads", m.kv_heads(), 1, 4096},       {"head_dim", m.head_dim(), 4, 1024},
                {"vocab", m.vocab(), 1, 1 << 22},          {"context", m.context(), 1, 1 << 20}};
  for (const auto &r : ranges)
    if (r.value < r.low || r.value > r.high)
      return bad_bundle(std::string("model: ") + r.name + ": expected [" + number(r.low) + ", " +
                        number(r.high) + "], got " + number(r.value));
  if (m.heads() % m.kv_heads() != 0)
    return bad_bundle("model: heads: expected a multiple of kv_heads " + number(m.kv_heads()) + ", got " +
                      number(m.heads()));
  if (m.act() >= uint8_t(format::Act::count))
    return bad_bundle("model: act: unknown activation " + number(int32_t(m.act())));
  if (!(m.rope_theta() > 0) || !std::isfinite(m.rope_theta()) || !(m.norm_eps() >= 0 && m.norm_eps() <= 1))
    return bad_bundle("model: rope_theta and norm_eps: expected finite numbers above 0 and in [0, 1]");
  out_.model = {text(m.name()),
                text(m.family()),
                text(m.source()),
                text(m.head()),
                m.layers(),
                m.width(),
                m.ffn_width(),
                m.heads(),
                m.kv_heads(),
                m.head_dim(),
                m.vocab(),
                m.context(),
                m.rope_theta(),
                m.norm_eps(),
                format::Act(m.act()),
                m.ternary_weights(),
                m.kv() ? m.kv()->str() : "f16"};
  if (out_.model.kv != "f16" && out_.model.kv != "q8")
    return bad_bundle("model: kv: expected f16 or q8, got " + format::quoted(out_.model.kv));
  return {};
}

/// Reads op and dims; illegal ones are an error at `where`.
Status read_dims(uint8_t op, const fb::Dims *d, int32_t group, const std::string &where, OpDims *out) {
  if (op >= uint8_t(Op::count))
    return bad_bundle(where + ": unknown op " + number(int32_t(op)));
  if (!d)
    return bad_bundle(where + ": expected dims, got none");
  *out = {d->n(),
          d->k(),
          d->heads(),
          d->kv_heads(),
          d->head_dim(),
          d->context(),
          format::Epilogue(d->epilogue()),
          format::Act(d->act()),
          d->eps(),
          group};
  if (const char *why = format::op_dims_error(Op(op), *out))
    return bad_bundle(where + ": " + format::op_name(Op(op)) + ": " + why);
  return {};
}

Status Validator::read_kernels() {
  for (const fb::Kernel *k : *index_->kernels()) {
    const std::string where = "kernel " + number(uint64_t(out_.kernels.size()));
    OpDims dims;
    BITNET_RETURN_IF_ERROR(read_dims(k->op(), k->dims(), k->group(), where, &dims));
    if (k->rows() < 0 || (k->rows() > 0 && format::kRowPad % k->rows() != 0))
      return bad_bundle(where + ": rows: expected 0 or a divisor of 8, got " + number(k->rows()));
    out_.kernels.push_back({Op(k->op()), dims, k->rows(), text(k->name())});
  }
  return {};
}

Status Validator::read_image(const fb::Image &image) {
  if (image.variant() >= uint8_t(CpuVariant::count))
    return bad_bundle("image: unknown CPU variant " + number(int32_t(image.variant())));
  const auto variant = CpuVariant(image.variant());
  const std::string where = std::string("image ") + format::cpu_variant(variant).name;
  for (const Image &other : out_.images)
    if (other.variant == variant)
      return bad_bundle(where + ": there are two of this variant");
  const uint64_t known = (format::bit(format::CpuFeature::count) - 1),
                 needed = format::cpu_variant(variant).features;
  if ((image.features() & ~known) != 0 || (image.features() & needed) != needed)
    return bad_bundle(where + ": features: expected known bits with those of the variant");
  if (image.section() >= out_.sections.size() || out_.sections[image.section()].kind != SectionKind::code)
    return bad_bundle(where + ": section: expected a code section, got " + number(uint64_t(image.section())));
  const Bytes bytes = out_.sections[image.section()].bytes;
  if (image.ro_offset() == 0 || image.ro_offset() % 4096 != 0 || image.ro_offset() > bytes.size)
    return bad_bundle(where + ": code size: expected a multiple of 4096 up to " +
                      number(uint64_t(bytes.size)) + ", got " + number(image.ro_offset()));
  Image out{variant, image.features(), bytes, image.ro_offset(), {}, {}};
  if (!aligned(image.entries()) || !aligned(image.fixups()))
    return misaligned(where);
  const size_t n_entries = image.entries() ? image.entries()->size() : 0;
  if (n_entries != out_.kernels.size())
    return bad_bundle(where + ": entries: expected " + number(uint64_t(out_.kernels.size())) + ", got " +
                      number(uint64_t(n_entries)));
  for (size_t i = 0; i < n_entries; ++i) {
    const uint64_t entry = image.entries()->Get(flatbuffers::uoffset_t(i));
    if (entry >= out.ro_offset)
      return bad_bundle(where + ": entry " + number(uint64_t(i)) + " outside the code");
    out.entries.push_back(entry);
  }
  if (image.fixups())
    for (const fb::Fixup *f : *image.fixups()) {
      if (!inside(f->at(), 8, bytes.size) || f->target() > bytes.size)
        return bad_bundle(where + ": fixup at " + number(f->at()) + " outside the image");
      out.fixups.push_back({f->at(), f->target()});
    }
  out_.images.push_back(std::move(out));
  return {};
}

Status Validator::read_images() {
  for (const fb::Image *image : *index_->images())
    BITNET_RETURN_IF_ERROR(read_image(*image));
  return out_.images.empty() ? bad_bundle("images: expected at least one, got none") : Status();
}

Status Validator::read_plan() {
  const fb::Plan &p = *index_->plan();
  if (p.max_rows() < 1 || p.max_rows() > kMaxStepRows)
    return bad_bundle("plan: max_rows: expected [1, 65536], got " + number(p.max_rows()));
  if (p.arena_bytes() > kMaxArenaBytes)
    return bad_bundle("plan: arena: expected at most 2^40 bytes, got " + number(p.arena_bytes()));
  out_.plan.max_rows = p.max_rows();
  out_.plan.arena_bytes = p.arena_bytes();
  padded_rows_ = uint64_t((p.max_rows() + format::kRowPad - 1) / format::kRowPad * format::kRowPad);
  for (const fb::Call *call : *p.calls())
    BITNET_RETURN_IF_ERROR(read_call(*call));
  out_.plan.logits = {Space(p.logits()->space()), p.logits()->offset(), p.logits()->row_stride()};
  BITNET_RETURN_IF_ERROR(check_logits());
  return p.screen() ? read_screen(*p.screen()) : Status();
}

Status Validator::read_call(const fb::Call &call) {
  Call out{};
  out.label = text(call.label());
  std::string where = "call " + number(uint64_t(out_.plan.calls.size()));
  if (!out.label.empty())
    where += " " + format::quoted(out.label);
  BITNET_RETURN_IF_ERROR(read_dims(call.op(), call.dims(), call.group(), where, &out.dims));
  out.op = Op(call.op());
  out.over_logit_rows = call.over_logit_rows();
  BITNET_RETURN_IF_ERROR(check_call_shape(out, where));
  BITNET_RETURN_IF_ERROR(read_choices(call.choices(), out.op, out.dims, where, &out.choices));
  const format::Signature signature = format::signature(out.op, out.dims);
  if (!aligned(call.args()))
    return misaligned(where);
  const size_t n_args = call.args() ? call.args()->size() : 0;
  if (n_args != size_t(signature.n_args))
    return bad_bundle(where + ": " + format::op_name(out.op) + ": expected " + number(signature.n_args) +
                      " arguments, got " + number(uint64_t(n_args)));
  for (size_t i = 0; i < n_args; ++i) {
    const fb::Slice &s = *call.args()->Get(flatbuffers::uoffset_t(i));
    const Slice slice{Space(s.space()), s.offset(), s.row_stride()};
    BITNET_RETURN_IF_ERROR(
        check_arg(signature.args[i], slice, where + ": argument '" + signature.args[i].name + "'"));
    out.args.push_back(slice);
  }
  out_.plan.calls.push_back(std::move(out));
  return {};
}

/// What an op touches of the session's own memory.
struct Cache {
  bool keys, q8; ///< keys and values, as int8
  bool parts;    ///< the buffer for attention's chunks
};
Cache cache_of(Op op) {
  switch (op) {
  case Op::kv_append:
  case Op::attention:
    return {true, false, false};
  case Op::kv_append_q8:
  case Op::attention_q8:
    return {true, true, false};
  case Op::attention_chunk:
    return {true, false, true};
  case Op::attention_chunk_q8:
    return {true, true, true};
  case Op::attention_merge:
    return {false, false, true};
  default:
    return {};
  }
}

/// Sizes that a call must share with the model, because they bound what the session puts into tables and
/// caches.
Status Validator::check_call_shape(const Call &call, const std::string &where) {
  const ModelInfo &m = out_.model;
  const OpDims &d = call.dims;
  if (call.op == Op::embed && d.n < m.vocab)
    return bad_bundle(where + ": table rows: expected at least the vocabulary of " + number(m.vocab) +
                      ", got " + number(d.n));
  if (call.op == Op::rope && d.context < m.context)
    return bad_bundle(where + ": rope table: expected at least the context of " + number(m.context) +
                      ", got " + number(d.context));
  const Cache cache = cache_of(call.op);
  if (cache.keys && cache.q8 != (m.kv == "q8"))
    return bad_bundle(where + ": cache: expected an op over the model's " + m.kv + ", got " +
                      format::op_name(call.op));
  if ((cache.keys || cache.parts) && (d.kv_heads != m.kv_heads || d.head_dim != m.head_dim))
    return bad_bundle(where + ": cache shape: expected " + number(m.kv_heads) + " heads of " +
                      number(m.head_dim) + ", got " + number(d.kv_heads) + " of " + number(d.head_dim));
  if (cache.parts && d.heads != m.heads)
    return bad_bundle(where + ": chunks: expected " + number(m.heads) + " heads, got " + number(d.heads));
  if (call.op == Op::screen_q4 || call.op == Op::rescore_f16)
    return bad_bundle(where + ": " + format::op_name(call.op) + " is no call of a plan");
  // Inputs hold one value for each row of the step; only gather_rows has one for each wanted row.
  const bool reads_inputs = call.op == Op::embed || call.op == Op::rope || cache.keys || cache.parts;
  if (call.op == Op::gather_rows ? !call.over_logit_rows : reads_inputs && call.over_logit_rows)
    return bad_bundle(where + ": " + format::op_name(call.op) + " runs over the wrong kind of rows");
  return {};
}

Status Validator::read_choices(const flatbuffers::Vector<const fb::Choice *> *choices, Op op,
                               const OpDims &dims, const std::string &where, std::vector<Choice> *out) {
  int32_t last = 0;
  bool ended = false;
  if (choices)
    for (const fb::Choice *c : *choices) {
      if (ended || (c->max_rows() != 0 && c->max_rows() <= last))
        return bad_bundle(where + ": choices: expected ascending max_rows with 0 last");
      last = c->max_rows();
      ended = c->max_rows() == 0;
      if (c->kernel() == format::kNoKernel) {
        out->push_back({c->max_rows(), c->kernel()});
        continue;
      }
      if (cache_of(op).parts && (ended || last > format::kSplitRows))
        return bad_bundle(where + ": choices: expected no kernel for more than " +
                          number(format::kSplitRows) + " rows");
      if (c->kernel() >= out_.kernels.size())
        return bad_bundle(where + ": kernel: expected below " + number(uint64_t(out_.kernels.size())) +
                          ", got " + number(uint64_t(c->kernel())));
      const Kernel &k = out_.kernels[c->kernel()];
      if (k.op != op || !(k.dims == dims))
        return bad_bundle(where + ": kernel " + number(uint64_t(c->kernel())) + " is of another op or size");
      out->push_back({c->max_rows(), c->kernel()});
    }
  return ended ? Status() : bad_bundle(where + ": choices: expected ascending max_rows with 0 last");
}

/// A screen belongs to the head: a product of f16 rows, run last, over wanted rows, whose result is the
/// logits.
Status Validator::read_screen(const fb::Screen &screen) {
  const std::string where = "plan: screen";
  if (header_.version < 3) // of other parts, for kernels that take other arguments
    return unsupported(where + ": of a compiler before format version 3; compile the model again");
  Screen out{};
  BITNET_RETURN_IF_ERROR(read_dims(uint8_t(Op::screen_q4), screen.dims(), 0, where, &out.dims));
  const Call *head = out_.plan.calls.empty() ? nullptr : &out_.plan.calls.back();
  if (!head || head->op != Op::linear_f16 || !head->over_logit_rows || !(head->dims == out.dims) ||
      head->dims.k != out_.model.width || head->args.back().offset != out_.plan.logits.offset)
    return bad_bundle(where + ": expected a head of " + number(out.dims.n) + " rows of " +
                      number(out.dims.k) + " f16 values as the last call, got another call");
  BITNET_RETURN_IF_ERROR(read_choices(screen.choices(), Op::screen_q4, out.dims, where, &out.choices));
  for (const Choice &choice : out.choices)
    if (choice.kernel == format::kNoKernel)
      return bad_bundle(where + ": choices: expected a kernel for every number of rows");
  if (screen.rescore() >= out_.kernels.size() || out_.kernels[screen.rescore()].op != Op::rescore_f16 ||
      !(out_.kernels[screen.rescore()].dims == out.dims))
    return bad_bundle(where + ": rescore: kernel " + number(uint64_t(screen.rescore())) +
                      " is of another op or size, or does not exist");
  out.rescore = screen.rescore();
  out.offset = screen.offset();
  const format::ScreenLayout layout = format::screen_layout(out.dims.n, out.dims.k);
  if (out.offset % format::kTensorAlign != 0 || !inside(out.offset, layout.bytes, weights_bytes_))
    return bad_bundle(where + ": expected 64-aligned bytes inside the weights of " + number(weights_bytes_) +
                      ", got [" + number(out.offset) + ", +" + number(layout.bytes) + ")");
  // The head trusts the columns of the outliers.
  const uint8_t *words = out_.section(SectionKind::weights).data + out.offset + layout.outliers;
  uint32_t largest = 0;
  for (size_t i = 0; i < size_t(out.dims.n) * format::kScreenOutliers; ++i) {
    uint32_t word;
    std::memcpy(&word, words + i * sizeof word, sizeof word);
    largest = std::max(largest, word & 0xffff);
  }
  if (largest >= uint32_t(out.dims.k))
    return bad_bundle(where + ": outlier column: expected below " + number(out.dims.k) + ", got " +
                      number(uint64_t(largest)));
  out_.plan.screen = std::move(out);
  return {};
}

/// The input that an argument of this name reads (kernel_ops.h names both alike).
uint64_t input_named(const std::string &name) {
  constexpr const char *kNames[] = {"tokens", "positions", "sequences", "slots", "block_table", "logit_rows"};
  static_assert(sizeof kNames / sizeof *kNames == size_t(format::Input::count), "one name for each input");
  return uint64_t(std::find(std::begin(kNames), std::end(kNames), name) - std::begin(kNames));
}

Status Validator::check_arg(const Arg &arg, const Slice &slice, const std::string &where) {
  if (slice.space != arg.space)
    return bad_bundle(where + ": space: expected " + number(int32_t(arg.space)) + ", got " +
                      number(int32_t(slice.space)));
  if (arg.space == Space::arena)
    return check_arena(arg, slice, where);
  if (slice.row_stride != 0)
    return bad_bundle(where + ": row stride: expected 0 outside the arena, got " + number(slice.row_stride));
  switch (arg.space) {
  case Space::weights: {
    uint64_t bytes = format::elem_bytes(arg.elem);
    for (int i = 0; i < arg.rank; ++i)
      if (!multiply(bytes, uint64_t(arg.extent[i]), &bytes))
        return bad_bundle(where + ": its size overflows");
    if (slice.offset % format::kTensorAlign != 0 || !inside(slice.offset, bytes, weights_bytes_))
      return bad_bundle(where + ": expected 64-aligned bytes inside the weights of " +
                        number(weights_bytes_) + ", got [" + number(slice.offset) + ", +" + number(bytes) +
                        ")");
    return {};
  }
  case Space::parts:
    if (slice.offset != 0)
      return bad_bundle(where + ": offset: expected 0, got " + number(slice.offset));
    return {};
  case Space::k_cache:
  case Space::v_cache:
  case Space::k_scale:
  case Space::v_scale:
    if (slice.offset >= uint64_t(out_.model.layers))
      return bad_bundle(where + ": layer: expected below " + number(out_.model.layers) + ", got " +
                        number(slice.offset));
    return {};
  case Space::input:
    if (slice.offset != input_named(arg.name))
      return bad_bundle(where + ": input: expected " + number(input_named(arg.name)) + ", got " +
                        number(slice.offset));
    return {};
  case Space::arena:
  case Space::count:
    break;
  }
  return bad_bundle(where + ": unknown space");
}

/// The last dimension of an activation is rows; a step may touch padded_rows_ of them.
Status Validator::check_arena(const Arg &arg, const Slice &slice, const std::string &where) {
  const uint64_t elem = format::elem_bytes(arg.elem);
  uint64_t dense = elem; // bytes of one row
  for (int i = 0; i + 1 < arg.rank; ++i)
    if (!multiply(dense, uint64_t(arg.extent[i]), &dense))
      return bad_bundle(where + ": its size overflows");
  const uint64_t stride = slice.row_stride ? slice.row_stride : dense;
  // A per-row scalar is its own innermost dimension, whose stride is fixed.
  if (stride < dense || stride % elem != 0 || (arg.rank == 1 && stride != dense))
    return bad_bundle(where + ": row stride: expected a multiple of " + number(elem) + " from " +
                      number(dense) + ", got " + number(slice.row_stride));
  uint64_t bytes;
  if (!multiply(stride, padded_rows_, &bytes) ||
      bytes / elem > INT32_MAX) // kernels index elements with int32
    return bad_bundle(where + ": its size overflows");
  bytes -= stride - dense; // the last row need not be padded
  if (slice.offset % format::kTensorAlign != 0 || !inside(slice.offset, bytes, out_.plan.arena_bytes))
    return bad_bundle(where + ": expected 64-aligned bytes inside the arena of " +
                      number(out_.plan.arena_bytes) + ", got [" + number(slice.offset) + ", +" +
                      number(bytes) + ")");
  return {};
}

/// Logits are what the last call over wanted rows leaves at their offset.
Status Validator::check_logits() {
  Slice &logits = out_.plan.logits;
  const auto &calls = out_.plan.calls;
  for (auto call = calls.rbegin(); call != calls.rend(); ++call) {
    const format::Signature signature = format::signature(call->op, call->dims);
    for (int i = 0; call->over_logit_rows && i < signature.n_args; ++i) {
      const Arg &arg = signature.args[i];
      const Slice &slice = call->args[size_t(i)];
      if (!arg.output || arg.space != Space::arena || arg.elem != format::Elem::f32 || arg.rank != 2 ||
          slice.offset != logits.offset)
        continue;
      const uint64_t stride = slice.row_stride ? slice.row_stride : uint64_t(arg.extent[0]) * 4;
      if (logits.space != Space::arena || (logits.row_stride != 0 && logits.row_stride != stride))
        return bad_bundle("plan: logits: expected row stride " + number(stride) + " in the arena, got " +
                          number(logits.row_stride));
      const bool embeds = out_.model.embeds();
      const int32_t least = embeds ? out_.model.width : out_.model.vocab;
      if (arg.extent[0] < least)
        return bad_bundle(std::string("plan: logits: expected at least the ") +
                          (embeds ? "width of " : "vocabulary of ") + number(least) + ", got " +
                          number(arg.extent[0]));
      logits.row_stride = stride;
      return {};
    }
  }
  return bad_bundle("plan: logits: expected the output of a call over wanted rows, got arena offset " +
                    number(logits.offset));
}

Status Validator::read_tensors() {
  if (!index_->tensors())
    return {};
  for (const fb::Tensor *t : *index_->tensors()) {
    if (!inside(t->offset(), t->size(), weights_bytes_) || t->rows() < 0 || t->cols() < 0)
      return bad_bundle("tensor " + format::quoted(text(t->name())) +
                        ": expected bytes inside the weights, got [" + number(t->offset()) + ", +" +
                        number(t->size()) + ")");
    out_.tensors.push_back(
        {text(t->name()), text(t->packing()), t->rows(), t->cols(), t->offset(), t->size()});
  }
  return {};
}

} // namespace

Bytes Bundle::section(SectionKind kind) const {
  for (const Section &s : sections)
    if (s.kind == kind)
      return s.bytes;
  return {};
}

Result<Bundle> validate_bundle(Bytes file, ChecksumPass *weights) {
  Validator validator(file);
  ChecksumPass own;
  if (Status status = validator.run(weights ? *weights : own); !status.ok())
    return status;
  BITNET_RETURN_IF_ERROR(own.finish());
  return validator.take();
}

Result<Bytes> validate_section(Bytes file, SectionKind kind) { return Validator(file).run_for(kind); }

} // namespace bitnet::runtime
