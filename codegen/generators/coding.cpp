#include "codegen/generators/coding.h"

namespace bitnet::codegen {

using format::Op;
using Halide::cast;
using Halide::Expr;
using Halide::select;

Expr opaque(Expr x) {
  using Halide::Internal::Call;
  return Call::make(x.type(), Call::return_second, {Expr(0), x}, Call::PureIntrinsic);
}

Coding coding_of(Op op) {
  switch (op) {
  case Op::linear_t2:
    return {4, 1, 2};
  case Op::linear_t3:
    return {5, 1, 2};
  case Op::screen_q4:
    return {2, 8, 15};
  default:
    return {1, 128, 255};
  }
}

Expr code_of(Op op, Expr byte, Expr plane) {
  const Halide::Type type = byte.type();
  switch (op) {
  case Op::linear_t2:
    return opaque((byte >> cast(type, plane * 2)) & cast(type, 3));
  case Op::screen_q4:
    return opaque((byte >> cast(type, plane * 4)) & cast(type, 15));
  case Op::linear_t3: { // digit of 256 * v / 243 (format/layouts.h): moved up to the top, then cut off there
    const Expr power = select(plane == 0, 1, plane == 1, 3, plane == 2, 9, plane == 3, 27, 81);
    const Expr q = (byte * cast(type, power)) & cast(type, 255);
    return opaque(
        select(q >= cast(type, 171), cast(type, 2), q >= cast(type, 86), cast(type, 1), cast(type, 0)));
  }
  default:
    return byte;
  }
}

} // namespace bitnet::codegen
