// How the bytes of a weight line become unsigned codes: the one description that every kernel of a byte-coded
// matrix unpacks by, whatever its schedule. A line is 64 bytes, of 16 output rows (lane) and of planes * 4
// inputs; plane p of the byte at j is the code of input `line * k_line + 4 * p + j`.
//   Σ weight * q = Σ code * q - offset * Σ q
// Which bytes a line is, and where lines lie, stands in format/layouts.h. Lines of linear_t5 are packed
// together, six in five; unpacked they are lines of linear_t2.
#pragma once
#include "codegen/spec/kernel_spec.h"
#include <Halide.h>

namespace bitnet::codegen {

struct Coding {
  int planes; ///< codes in a byte
  int offset; ///< code - weight
  int top;    ///< largest code
  /// Lines that are packed together, and the lines that they are packed in.
  int block = 1, packed = 1;
  /// Inputs in a line; lines of the blocks that k inputs fill, and what these are packed in.
  int k_line() const { return 4 * planes; }
  int lines(int k) const { return (k + block * k_line() - 1) / (block * k_line()) * block; }
  int packed_lines(int k) const { return lines(k) / block * packed; }
};

/// The coding of linear_t2, linear_t3, linear_t5, linear_s8 and screen_q4. The last line of linear_t3, the
/// last block of linear_t5 may hold codes of inputs beyond k: they are 0, and the activations there may be
/// read (format::kArenaSlack), whatever they are.
Coding coding_of(format::Op op);

/// Code of one plane (a constant once its loop is unrolled) of a byte. The byte is u8 or u16, and so is the
/// code.
Halide::Expr code_of(format::Op op, Halide::Expr byte, Halide::Expr plane);

/// x, with what Halide could prove about its range forgotten. A code that is known to be below 128 would be
/// narrowed to i8, and the u8 x i8 instructions be missed.
Halide::Expr opaque(Halide::Expr x);

/// The lines of a matrix.
class Lines {
public:
  /// `w`: (byte or word in a row, lane, packed line of a stream, stream), as the ABI has it or as words.
  Lines(const KernelSpec &spec, const Halide::ImageParam &w);
  /// The byte or word j of a line of a stripe (unit of a stream).
  Halide::Expr operator()(Halide::Expr j, Halide::Expr lane, Halide::Expr line, Halide::Expr unit,
                          Halide::Expr stream) const;
  /// Lines that are packed together are unpacked, to the stack, where a stage of `user` comes to a block in
  /// its loop over lines, which is cut into blocks for that.
  void unpack_in(Halide::Func user, Halide::Stage stage, Halide::VarOrRVar lines_loop);

private:
  Coding coding;
  int lines, words; ///< lines of a stripe; words of a row in a line
  Halide::ImageParam w;
  Halide::Func unpacked{"unpacked"},
      first{"first"}; ///< lines; a block's first packed line, all asked for ahead
};

} // namespace bitnet::codegen
