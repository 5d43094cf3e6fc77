// How the bytes of a weight line become unsigned codes: the one description that every kernel of a byte-coded
// matrix unpacks by, whatever its schedule. A line is 64 bytes, w(j, lane, line): of 16 output rows (lane)
// and of planes * 4 inputs; plane p of the byte at j is the code of input `line * k_line + 4 * p + j`.
//   Σ weight * q = Σ code * q - offset * Σ q
// Which bytes a line is, and where lines lie, stands in format/layouts.h.
#pragma once
#include "codegen/spec/kernel_spec.h"
#include <Halide.h>

namespace bitnet::codegen {

struct Coding {
  int planes; ///< codes in a byte
  int offset; ///< code - weight
  int top;    ///< largest code
  /// Inputs in a line, and lines that n inputs fill.
  int k_line() const { return 4 * planes; }
  int lines(int k) const { return (k + k_line() - 1) / k_line(); }
};

/// The coding of linear_t2, linear_t3, linear_s8 and screen_q4. The last line of linear_t3 may hold codes of
/// inputs beyond k: they are 0, and the activations there may be read (format::kArenaSlack), whatever they
/// are.
Coding coding_of(format::Op op);

/// Code of one plane (a constant once its loop is unrolled) of a byte. The byte is u8 or u16, and so is the
/// code.
Halide::Expr code_of(format::Op op, Halide::Expr byte, Halide::Expr plane);

/// x, with what Halide could prove about its range forgotten. A code that is known to be below 128 would be
/// narrowed to i8, and the u8 x i8 instructions be missed.
Halide::Expr opaque(Halide::Expr x);

} // namespace bitnet::codegen
