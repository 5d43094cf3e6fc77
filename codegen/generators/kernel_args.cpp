// The kernel ABI as Halide parameters (see generator.h) and the dispatch over ops.
#include "codegen/generators/generator.h"

namespace bitnet::codegen {

using format::Arg;
using format::Elem;
using format::Op;
using format::Space;

namespace {

Halide::Type type_of(Elem e) {
  switch (e) {
  case Elem::f32:
    return Halide::Float(32);
  case Elem::f16:
    return Halide::UInt(16);
  case Elem::i8:
    return Halide::Int(8);
  case Elem::u8:
    return Halide::UInt(8);
  case Elem::i32:
    return Halide::Int(32);
  }
  return {};
}

bool is_row_dimension(int32_t extent) { return extent == format::kRows || extent == format::kSrcRows; }

/// Promises of the ABI: minima 0, known extents, dense strides except for rows. Weights start on a cache
/// line.
void constrain(Halide::OutputImageParam buffer, const Arg &arg) {
  int64_t dense = 1; // 0 once an inner extent is only known at run time
  for (int32_t d = 0; d < arg.rank; ++d) {
    const int32_t extent = arg.extent[d];
    buffer.dim(d).set_min(0);
    if (extent > 0)
      buffer.dim(d).set_extent(extent);
    if (dense > 0 && (d == 0 || !is_row_dimension(extent)))
      buffer.dim(d).set_stride(int32_t(dense));
    dense = extent > 0 ? dense * extent : 0;
  }
  if (arg.space == Space::weights)
    buffer.set_host_alignment(64);
}

} // namespace

KernelArgs::KernelArgs(const KernelSpec &spec) : signature(format::signature(spec.op, spec.dims)) {
  for (int32_t i = 0; i < signature.n_args; ++i) {
    const Arg &arg = signature.args[i];
    if (arg.output)
      continue;
    const auto [at, _] = inputs.emplace(arg.name, Halide::ImageParam(type_of(arg.elem), arg.rank, arg.name));
    constrain(at->second, arg);
  }
}

Halide::ImageParam KernelArgs::dense_as(const std::string &name, Halide::Type type,
                                        const std::vector<int> &extents) {
  Halide::ImageParam &buffer = inputs.at(name);
  if (buffer.type() == type && buffer.dimensions() == int(extents.size())) // not the first to ask
    return buffer;
  buffer = Halide::ImageParam(type, int(extents.size()), name);
  buffer.set_host_alignment(64);
  int stride = 1;
  for (size_t d = 0; d < extents.size(); ++d) {
    buffer.dim(int(d)).set_bounds(0, extents[d]).set_stride(stride);
    stride *= extents[d];
  }
  return buffer;
}

Halide::ImageParam KernelArgs::as_words(const std::string &name) {
  Halide::ImageParam &bytes = inputs.at(name);
  if (bytes.type() == Halide::UInt(16)) // asked for before
    return bytes;
  Halide::ImageParam words(Halide::UInt(16), bytes.dimensions(), name);
  for (int32_t i = 0; i < signature.n_args; ++i)
    if (signature.args[i].name == name) {
      Arg arg = signature.args[i];
      arg.extent[0] /= 2;
      constrain(words, arg);
    }
  return bytes = words;
}

Generated KernelArgs::finish(const std::vector<Halide::Func> &outputs) {
  Generated result{Halide::Pipeline(outputs), {}};
  auto next_output = outputs.begin();
  for (int32_t i = 0; i < signature.n_args; ++i) {
    const Arg &arg = signature.args[i];
    if (arg.output)
      constrain(Halide::Func(*next_output++).output_buffer(), arg);
    else
      result.inputs.push_back(inputs.at(arg.name));
  }
  for (const Halide::Param<int32_t> &scalar : {rows, begin, end})
    result.inputs.push_back(scalar);
  return result;
}

Generated generate(const KernelSpec &spec) {
  switch (spec.op) {
  case Op::embed:
    return generate_embed(spec);
  case Op::rms_norm:
  case Op::quantize:
  case Op::norm_quant:
    return generate_norm(spec);
  case Op::gate:
  case Op::gate_quant:
  case Op::gate_norm_quant:
    return generate_gate(spec);
  case Op::add:
  case Op::gather_rows:
    return generate_rows(spec);
  case Op::linear_t2:
  case Op::linear_t3:
  case Op::linear_t5:
    return generate_linear_ternary(spec);
  case Op::linear_s8:
    return generate_linear_s8(spec);
  case Op::linear_f16:
    return generate_linear_f16(spec);
  case Op::rope:
    return generate_rope(spec);
  case Op::head_norm:
    return generate_head_norm(spec);
  case Op::kv_append:
    return generate_kv_append(spec);
  case Op::kv_append_q8:
    return generate_kv_append_q8(spec);
  case Op::attention:
  case Op::attention_q8:
  case Op::attention_chunk:
  case Op::attention_chunk_q8:
    return generate_attention(spec);
  case Op::attention_merge:
    return generate_attention_merge(spec);
  case Op::screen_q4:
    return generate_screen_q4(spec);
  case Op::rescore_f16:
    return generate_rescore_f16(spec);
  case Op::group_sums:
    return generate_group_sums(spec);
  case Op::skip_sum:
    return generate_skip_sum(spec);
  case Op::skip_up: // built, not generated (codegen/intrinsics)
  case Op::skip_down:
  case Op::count:
    break;
  }
  throw Halide::CompileError("no generator for this op");
}

} // namespace bitnet::codegen
