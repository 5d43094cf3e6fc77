// See Labels.h.
#include "compiler/transforms/Labels.h"
#include "compiler/transforms/KernelOf.h"
#include "dialects/BitNet/BitNet.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {

/// {"blk.3.attn_q", "blk.3.attn_k"} → "blk.3.attn_qk"; {"blk.3.ffn_gate", "blk.3.ffn_up"} →
/// "blk.3.ffn_gate_up".
static std::string joined(ArrayRef<StringRef> names) {
  StringRef common = names.front();
  for (StringRef name : names)
    while (!name.starts_with(common))
      common = common.drop_back();
  std::string label = common.str();
  for (StringRef name : names) {
    StringRef word = name.drop_front(common.size());
    label += (label.size() > common.size() && word.size() > 1 ? "_" : "") + word.str();
  }
  return label;
}

std::string Labels::of(Operation *op) {
  SmallVector<StringRef> names;
  for (Value operand : op->getOperands())
    if (auto weight = operand.getDefiningOp<WeightOp>())
      for (Attribute name : weight.getNames()) {
        StringRef text = cast<StringAttr>(name).getValue();
        text.consume_back(".weight");
        names.push_back(text);
      }
  if (names.empty()) {
    std::optional<KernelOf> kernel = kernelOf(op);
    return layer_ + (kernel ? format::op_name(kernel->op) : "");
  }
  layer_ = names.front().take_front(names.front().rfind('.') + 1).str();
  return names.size() == 1 ? names.front().str() : joined(names);
}

} // namespace bitnet::compiler
