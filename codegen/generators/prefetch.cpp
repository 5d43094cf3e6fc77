// See prefetch.h. An external function of Halide's that has the name of an LLVM intrinsic is that intrinsic:
// llvm.prefetch(address, 0 = to read, 2 = second level, 1 = data). It is declared because the module that
// Halide starts from has a prefetch of its own. An intrinsic without a result has none to use, hence
// return_second.
#include "codegen/generators/prefetch.h"

namespace bitnet::codegen {
using Halide::Expr;
using Halide::Internal::Call;

Expr fetching(const Halide::ImageParam &buffer, Expr line, Expr value) {
  const Halide::Type pointer = Halide::type_of<void *>();
  const Expr argument = Halide::Internal::Variable::make(Halide::type_of<halide_buffer_t *>(),
                                                         buffer.name() + ".buffer", buffer.parameter());
  const Expr start = Call::make(pointer, Call::buffer_get_host, {argument}, Call::Extern);
  const Expr address = Halide::reinterpret(pointer, Halide::reinterpret<int64_t>(start) +
                                                        Halide::cast<int64_t>(line) * kFetchBytes);
  const Expr fetch = Call::make(Halide::Int(32), "llvm.prefetch.p0", {address, 0, 2, 1}, Call::Extern);
  return Call::make(value.type(), Call::return_second, {fetch, value}, Call::PureIntrinsic);
}

} // namespace bitnet::codegen
