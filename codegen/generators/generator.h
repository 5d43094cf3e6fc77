// What every kernel generator starts from and ends with: the arguments of its op as Halide parameters, built
// from the one kernel ABI (runtime/format/kernel_ops.h), and the range of work units to compute. Generators
// live one op family a file (linear_*.cpp, norm.cpp, ...); each reads "Algorithm" then "Schedule". No target
// string and no file here.
//
// Outputs. A call gets whole buffers and computes only units [begin, end), so an output Func is an undefined
// pure definition plus one update over a reduction domain that ends in the units:
//   Func y("y"); y(i, r) = undef<float>();
//   RDom o(0, 16, args.begin, args.end - args.begin, "o");
//   y(o.x, o.y) = ...;  y.update().allow_race_conditions().vectorize(o.x);
// Everything else is computed at a loop of that update, with a constant size, in registers or on the stack
// (store_in(MemoryType::Stack), above 16 KB MemoryType::Register, for which Halide also uses the stack; Stack
// would then mean its heap): kernels never allocate. Give every Func, RDom and Var a name of its own, so that
// the same spec always gives the same bytes.
#pragma once
#include "codegen/spec/kernel_spec.h"
#include <Halide.h>
#include <map>
#include <string>
#include <vector>

namespace bitnet::codegen {

/// A kernel before code generation. `inputs` are the input buffers of the signature in order, then rows,
/// begin, end; the pipeline's outputs are the output buffers in order (compile.cpp puts them between the
/// two).
struct Generated {
  Halide::Pipeline pipeline;
  std::vector<Halide::Argument> inputs;
};

/// The arguments of one op: types, ranks, and all that the ABI promises about extents and strides.
class KernelArgs {
public:
  explicit KernelArgs(const KernelSpec &spec);

  /// Input buffer by its name in the signature. f16 is UInt(16); f32, i32, i8, u8 are themselves.
  Halide::ImageParam &operator[](const std::string &name) { return inputs.at(name); }
  /// A constant input read as elements of another type: its bytes, dense, with these extents.
  Halide::ImageParam dense_as(const std::string &name, Halide::Type type, const std::vector<int> &extents);
  /// An input of bytes read as words, two neighbouring bytes each: the innermost extent is half of its own.
  Halide::ImageParam as_words(const std::string &name);
  Halide::Param<int32_t> rows{"rows"}, begin{"begin"}, end{"end"};

  /// Puts the ABI's promises on the Funcs, which are the op's outputs in signature order.
  Generated finish(const std::vector<Halide::Func> &outputs);

private:
  format::Signature signature;
  std::map<std::string, Halide::ImageParam> inputs;
};

/// The most lanes, `most` (a power of two) at most, that divide an extent.
inline int lanes_for(int extent, int most = 16) {
  while (extent % most)
    most /= 2;
  return most;
}

/// Dispatches on the op. The spec is legal (spec_error is empty). Throws Halide::Error.
Generated generate(const KernelSpec &spec);

Generated generate_attention(const KernelSpec &spec); ///< attention, attention_q8, attention_chunk*
Generated generate_attention_merge(const KernelSpec &spec);
Generated generate_embed(const KernelSpec &spec);
Generated generate_group_sums(const KernelSpec &spec);
Generated generate_gate(const KernelSpec &spec); ///< gate, gate_quant, gate_norm_quant
Generated generate_head_norm(const KernelSpec &spec);
Generated generate_kv_append(const KernelSpec &spec);
Generated generate_kv_append_q8(const KernelSpec &spec);
Generated generate_linear_f16(const KernelSpec &spec);
Generated generate_rescore_f16(const KernelSpec &spec);
Generated generate_screen_q4(const KernelSpec &spec);
Generated generate_linear_s8(const KernelSpec &spec);
Generated generate_linear_ternary(const KernelSpec &spec); ///< linear_t2, linear_t3, linear_t5
Generated generate_norm(const KernelSpec &spec);           ///< rms_norm, quantize, norm_quant
Generated generate_rope(const KernelSpec &spec);
Generated generate_rows(const KernelSpec &spec); ///< add, gather_rows
Generated generate_skip_sum(const KernelSpec &spec);

} // namespace bitnet::codegen
