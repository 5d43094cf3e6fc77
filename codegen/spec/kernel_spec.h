// KernelSpec: the one thing that crosses from the compiler into codegen. A kernel is an op (runtime/format/kernel_ops.h)
// with its sizes, a row tile and a CPU variant. The text form is the cache key, the symbol name's source, and what
// `bitnetc --emit=specs` prints.
//
// Text form, one line:  <op> <field>=<value>... rows=<r> cpu=<variant>
//   linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni
// A linear kernel with a tile of its own says so before cpu: rows=4 stripes=2 tokens=4.
// Fields are those that the op uses, in the order of OpDims (a linear's act only with epilogue=gate, its group only where it has groups); eps prints as the
// shortest decimal that reads back equal.
// Symbol: linear_t2_n3840_k2560_epiloguenone_rows1__avx512vnni ('.', '-' and '+' of numbers become 'p', 'm' and '').
#pragma once
#include "runtime/format/cpu_variants.h"
#include "runtime/format/kernel_ops.h"
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::codegen {

/// What a linear kernel holds in registers: this many 16-row stripes times this many rows of the step. 0 = what the
/// generator chooses. Changes speed only.
struct KernelTile {
  int32_t stripes = 0; ///< divides format::weight_streams(n)
  int32_t tokens = 0;  ///< divides `rows`, and kRowPad where rows is 0
};

struct KernelSpec {
  format::Op op = format::Op::count;
  format::OpDims dims;
  /// Row tile: 1, 2, 4, 8 = the kernel computes ceil(R/rows)*rows rows; 0 = any number (see kernel_ops.h, kRowPad).
  int32_t rows = 0;
  format::CpuVariant cpu = format::CpuVariant::portable;
  KernelTile tile = {};
};

/// Text form without the cpu field (the bundle's kernel name), and with it.
std::string kernel_name(const KernelSpec &spec);
std::string to_string(const KernelSpec &spec);
std::string symbol(const KernelSpec &spec);
/// Parses to_string's form. On failure returns nullopt and sets *error to one line.
std::optional<KernelSpec> parse_kernel_spec(std::string_view text, std::string *error);
/// Why this spec cannot be generated (illegal dims or row tile), or empty.
std::string spec_error(const KernelSpec &spec);
/// Row tiles that exist for an op, ascending, 0 last; what the compiler may choose from.
/// Linear ops, skip_up and skip_down: {1, 2, 4, 8, 0}; the others: {0}.
struct RowTiles { int32_t tiles[5]; int32_t count; };
RowTiles row_tiles(format::Op op);

} // namespace bitnet::codegen
