#include "codegen/generators/coding.h"
#include "codegen/generators/prefetch.h"
#include "runtime/format/layouts.h"

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
  case Op::linear_t5:
    return {4, 1, 2, 6, format::kT5Lines};
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
  case Op::linear_t5:
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

namespace {

const Halide::Var j("j"), lane("lane"), line("line"), unit("unit"), stream("stream");

/// Blocks that are asked for ahead of their use: unpacking leaves the processor too few lines in sight to
/// keep enough under way (n=13824 k=2560 from memory on Zen 4, by the time with linear_t2: on one core 1.47
/// without, 1.11, 1.04, 1.05 and 1.04 with 4, 8, 16 and 32 blocks, on two cores 1.11, 0.90, 0.87, 0.86 and
/// 0.83).
constexpr int kBlocksAhead = 32;

/// A constant with this value in each byte.
Expr in_each_byte(Halide::Type type, int value) {
  return Halide::Internal::make_const(type, uint64_t(value) * (0x01010101u >> (32 - type.bits())));
}

/// One of the six lines of layout A that five lines (layouts.h, layout C) are.
Expr line_of_six(const std::function<Expr(int)> &packed, Expr which) {
  const Expr a0 = packed(0), a1 = packed(1), b0 = packed(2), b1 = packed(3), c = packed(4);
  // The high and low bits of the three codes of triples, eight triples a byte. Where B is 3 (`both`), the
  // first and the last code are 2, and the second one is in A.
  const Expr both = b0 & b1;
  const Expr high[] = {both | (a1 & ~a0), b1 & (~b0 | a0), both | (a0 & a1)};
  const Expr low[] = {a0 & (~a1 | c), b0 & ~(b1 & a1), c & ~high[2]};
  // A code's bits side by side: those of the odd places are one line, those of the even places another.
  const Halide::Type type = a0.type();
  const Expr odd = in_each_byte(type, 0xaa), even = in_each_byte(type, 0x55);
  const auto line = [&](int i) {
    return select(which % 2 == 0, (high[i] & odd) | ((low[i] >> 1) & even),
                  ((high[i] << 1) & odd) | (low[i] & even));
  };
  return select(which / 2 == 0, line(0), which / 2 == 1, line(1), line(2));
}

} // namespace

Lines::Lines(const KernelSpec &spec, const Halide::ImageParam &w)
    : coding(coding_of(spec.op)), lines(coding.lines(spec.dims.k)), words(4 * 8 / w.type().bits()), w(w) {
  if (coding.block == 1)
    return;
  const int packed_lines = coding.packed_lines(spec.dims.k),
            stream_lines = format::stream_lines(spec.dims.n, packed_lines);
  const Halide::Var block("block");
  const Expr line_of_stream = unit * packed_lines + block * coding.packed;
  const Expr ahead = stream * stream_lines + line_of_stream + kBlocksAhead * coding.packed;
  Expr place = line_of_stream;
  for (int i = coding.packed; --i >= 0;)
    place = fetching(w, ahead + i, place);
  first(block, unit, stream) = unsafe_promise_clamped(place, 0, stream_lines - coding.packed);
  const auto packed = [&](int i) { return w(j, lane, first(line / coding.block, unit, stream) + i, stream); };
  unpacked(j, lane, line, unit, stream) = line_of_six(packed, line % coding.block);
}

Expr Lines::operator()(Expr j, Expr lane, Expr line, Expr unit, Expr stream) const {
  return coding.block == 1 ? w(j, lane, unit * lines + line, stream) : unpacked(j, lane, line, unit, stream);
}

void Lines::unpack_in(Halide::Func user, Halide::Stage stage, Halide::VarOrRVar lines_loop) {
  if (coding.block == 1)
    return;
  const Halide::VarOrRVar blocks("blocks", lines_loop.is_rvar), in_block("in_block", lines_loop.is_rvar);
  stage.split(lines_loop, blocks, in_block, coding.block);
  const Halide::Var block("block"), which("which");
  unpacked.compute_at({user, blocks}).store_in(Halide::MemoryType::Stack);
  unpacked.bound(j, 0, words).bound(lane, 0, format::kRowTile).align_bounds(line, coding.block);
  unpacked.split(line, block, which, coding.block).reorder(j, lane, which, stream, unit, block);
  unpacked.vectorize(j).vectorize(lane).unroll(which);
  first.compute_at(unpacked, stream);
}

} // namespace bitnet::codegen
