#include "codegen/generators/coding.h"

namespace bitnet::codegen {

using format::Op;
using Halide::cast;
using Halide::Expr;

namespace {

/// x, with what Halide could prove about its range forgotten. A code that is known to be below 128 would be
/// narrowed to i8, and the u8 x i8 instructions be missed.
Expr opaque(Expr x) {
  using Halide::Internal::Call;
  return Call::make(x.type(), Call::return_second, {Expr(0), x}, Call::PureIntrinsic);
}

} // namespace

Coding coding_of(Op op) { return op == Op::linear_t2 ? Coding{4, 1, 2} : Coding{1, 128, 255}; }

Expr code_of(Op op, Expr byte, Expr plane) {
  if (op == Op::linear_s8)
    return byte;
  return opaque((byte >> cast<uint8_t>(plane * 2)) & cast<uint8_t>(3));
}

} // namespace bitnet::codegen
