// See PlanExport.h.
#include "compiler/bundle/PlanExport.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <map>
#include <tuple>

using namespace mlir;

namespace bitnet::compiler {
namespace {

class Exporter {
public:
  llvm::Expected<Plan> run(func::FuncOp step) {
    auto maxRows = step->getAttrOfType<IntegerAttr>(kernel::kMaxRowsAttr);
    auto arenaBytes = step->getAttrOfType<IntegerAttr>(kernel::kArenaBytesAttr);
    if (!maxRows || !arenaBytes)
      return llvm::createStringError("@%s: expected a memory plan, got none; run --bitnet-plan-memory first",
                                     step.getName().str().c_str());
    plan_.maxRows = int32_t(maxRows.getInt());
    plan_.arenaBytes = uint64_t(arenaBytes.getInt());
    for (Operation &op : step.getBody().front()) {
      if (auto call = dyn_cast<kernel::CallOp>(op))
        addCall(call);
      else if (auto screen = dyn_cast<kernel::ScreenOp>(op))
        addScreen(screen);
      else if (auto alloc = dyn_cast<kernel::AllocOp>(op); alloc && !alloc.getOffset())
        return llvm::createStringError("@%s: an alloc has no offset; run --bitnet-plan-memory first",
                                       step.getName().str().c_str());
    }
    plan_.logits = argument(step.getBody().front().getTerminator()->getOperand(0));
    return std::move(plan_);
  }

private:
  void addCall(kernel::CallOp op) {
    PlanCall call;
    call.op = op.op();
    call.dims = op.dims();
    call.overLogitRows = op.overLogitRows();
    call.choices = choicesOf(op.getChoices());
    for (Value v : op.arguments())
      call.args.push_back(argument(v));
    call.label = op.getLabel().value_or("").str();
    plan_.calls.push_back(std::move(call));
  }

  void addScreen(kernel::ScreenOp op) {
    plan_.screen = {op.dims(), choicesOf(op.getChoices()),
                    constant(op.getValue().getDefiningOp<kernel::ConstantOp>())};
  }

  static std::vector<PlanChoice> choicesOf(ArrayRef<int32_t> pairs) {
    std::vector<PlanChoice> choices;
    for (size_t i = 0; i < pairs.size(); i += 2)
      choices.push_back({pairs[i], pairs[i + 1]});
    return choices;
  }

  PlanArg argument(Value v) {
    if (isa<kernel::SliceType>(v.getType()))
      return slice(v);
    if (auto op = v.getDefiningOp<kernel::ConstantOp>())
      return {format::Space::weights, constant(op), 0};
    if (auto op = v.getDefiningOp<kernel::CacheOp>())
      return {spaceOf(op.getValue().getType().getHalf()), op.getLayer(), 0};
    auto op = cast<kernel::InputOp>(v.getDefiningOp());
    return {format::Space::input, uint64_t(op.getValue().getType().getInput()), 0};
  }

  static format::Space spaceOf(kernel::CacheHalf half) {
    switch (half) {
    case kernel::CacheHalf::k:
    case kernel::CacheHalf::k_q8:
      return format::Space::k_cache;
    case kernel::CacheHalf::v:
    case kernel::CacheHalf::v_q8:
      return format::Space::v_cache;
    case kernel::CacheHalf::k_scale:
      return format::Space::k_scale;
    case kernel::CacheHalf::v_scale:
      return format::Space::v_scale;
    case kernel::CacheHalf::parts:
      return format::Space::parts;
    }
    llvm_unreachable("no such half");
  }

  static PlanArg slice(Value v) {
    int64_t begin = 0;
    const int64_t elementBytes =
        cast<kernel::SliceType>(v.getType()).getElement().getIntOrFloatBitWidth() / 8;
    bool isView = false;
    while (auto view = v.getDefiningOp<kernel::ViewOp>()) {
      begin += int64_t(view.getBegin()) * elementBytes;
      v = view.getSource();
      isView = true;
    }
    auto alloc = cast<kernel::AllocOp>(v.getDefiningOp());
    return {format::Space::arena, *alloc.getOffset() + uint64_t(begin),
            isView ? uint64_t(alloc.getSlice().getType().rowBytes()) : 0};
  }

  uint64_t constant(kernel::ConstantOp op) {
    kernel::ConstType type = op.getValue().getType();
    Constant c;
    c.packing = packingOf(type.getPacking());
    for (Attribute name : op.getNames())
      c.names.push_back(cast<StringAttr>(name).str());
    c.rows = int32_t(type.getRows());
    c.cols = int32_t(type.getCols());
    c.theta = op.getTheta() ? op.getTheta()->convertToFloat() : 0;
    if (op.getFrequencies())
      c.frequencies = op.getFrequencies()->vec();
    c.magnitude = op.getMagnitude() ? op.getMagnitude()->convertToFloat() : 1;
    const auto [at, isNew] = constants_.try_emplace(
        {c.packing, c.names, c.rows, c.cols, c.theta, c.frequencies, c.magnitude}, plan_.constants.size());
    if (isNew)
      plan_.constants.push_back(std::move(c));
    return at->second;
  }

  Plan plan_;
  std::map<std::tuple<Packing, std::vector<std::string>, int32_t, int32_t, float, std::vector<double>, float>,
           uint64_t>
      constants_;
};

} // namespace

Packing packingOf(kernel::Packing p) {
  switch (p) {
  case kernel::Packing::t2:
    return Packing::t2;
  case kernel::Packing::t3:
    return Packing::t3;
  case kernel::Packing::t5:
    return Packing::t5;
  case kernel::Packing::row_scale:
    return Packing::rowScale;
  case kernel::Packing::f16:
    return Packing::f16;
  case kernel::Packing::s8:
    return Packing::s8;
  case kernel::Packing::s8_scale:
    return Packing::s8Scale;
  case kernel::Packing::f32:
    return Packing::f32;
  case kernel::Packing::rope_cos:
    return Packing::ropeCos;
  case kernel::Packing::rope_sin:
    return Packing::ropeSin;
  case kernel::Packing::screen:
    return Packing::screen;
  case kernel::Packing::u2:
    return Packing::u2;
  case kernel::Packing::d2:
    return Packing::d2;
  case kernel::Packing::group_scale:
    return Packing::groupScale;
  }
  llvm_unreachable("no such packing");
}

llvm::Expected<Plan> exportPlan(ModuleOp module) {
  SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
  if (functions.size() != 1)
    return llvm::createStringError("plan: expected a module with one function, got %zu", functions.size());
  return Exporter().run(functions.front());
}

} // namespace bitnet::compiler
