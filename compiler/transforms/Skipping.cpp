// See Skipping.h. The kernels' own limits on sizes are kernel_ops.h's.
#include "compiler/transforms/Skipping.h"
#include "runtime/format/kernel_ops.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
namespace {

/// The activation of the gate that made the rows behind q, or empty.
StringRef actBehind(Value q) {
  Operation *op = q.getDefiningOp();
  Value x;
  if (auto quantize = dyn_cast_or_null<QuantizeActivationOp>(op)) {
    x = quantize.getX();
    if (auto norm = x.getDefiningOp<RmsNormOp>())
      x = norm.getX();
  } else if (auto norm = dyn_cast_or_null<NormQuantizeOp>(op)) {
    x = norm.getX();
  } else {
    return {};
  }
  if (auto gated = x.getDefiningOp<GatedLinearOp>())
    return gated.getAct();
  if (auto gated = x.getDefiningOp<GatedActivationOp>())
    return gated.getAct();
  return {};
}

Skipping skipping(format::Op op, const char *packing, StringRef act, TernaryType w) {
  if (act != format::act_name(format::Act::relu2))
    return {nullptr, nullptr, "the activation is " + act.str() + ", which is never exactly 0; relu2 is"};
  if (w.getGroup())
    return {nullptr, nullptr,
            "scales are those of " + std::to_string(w.getGroup()) +
                " columns; kernels that skip take one a row"};
  format::OpDims dims;
  dims.n = int32_t(w.getRows()), dims.k = int32_t(w.getCols());
  if (const char *why = format::op_dims_error(op, dims))
    return {nullptr, nullptr, std::to_string(dims.n) + " x " + std::to_string(dims.k) + ": " + why};
  return {format::op_name(op), packing, ""};
}

} // namespace

Skipping skippingOf(WeightOp weight) {
  auto w = dyn_cast<TernaryType>(weight.getValue().getType());
  if (!w || !weight->hasOneUse())
    return {};
  Operation *user = *weight->user_begin();
  if (auto up = dyn_cast<GatedLinearOp>(user))
    return skipping(format::Op::skip_up, "u2", up.getAct(), w);
  if (auto down = dyn_cast<TernaryLinearOp>(user))
    if (StringRef act = actBehind(down.getQ()); !act.empty())
      return skipping(format::Op::skip_down, "d2", act, w);
  return {};
}

} // namespace bitnet::compiler
