// Verifiers and folds of the kernel ops. A call is checked against the kernel ABI's own signature, so what
// passes here is what a compiled kernel accepts. Comments C1... name the constraints of KernelOps.td.
#include "dialects/Kernel/Kernel.h"
#include "mlir/IR/Builders.h"
#include "runtime/format/layouts.h"

using namespace mlir;
using namespace mlir::kernel;
namespace format = ::bitnet::format;

#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.cpp.inc"

bool mlir::kernel::isKernelName(Attribute attr) {
  return format::op_from_name(cast<StringAttr>(attr).str().c_str()) != format::Op::count;
}

LogicalResult mlir::kernel::verifyChoices(Operation *op, DenseI32ArrayAttr attr) { // C5
  ArrayRef<int32_t> choices = attr.asArrayRef();
  bool legal = !choices.empty() && choices.size() % 2 == 0;
  for (size_t i = 0; legal && i < choices.size(); i += 2) {
    const bool last = i + 2 == choices.size();
    const int32_t previous = i ? choices[i - 2] : 0, maxRows = choices[i], tile = choices[i + 1];
    legal = (last ? maxRows == 0 : maxRows > previous) &&
            (tile == -1 || tile == 0 || (tile > 0 && format::kRowPad % tile == 0));
  }
  if (legal)
    return success();
  return op->emitOpError(
             "choices: expected pairs (most rows, row tile -1, 0, 1, 2, 4 or 8), ascending, the last with "
             "0 rows, got ")
         << attr;
}

LogicalResult AllocOp::verify() { // C1
  if (getOffset() && (int64_t(*getOffset()) < 0 || *getOffset() % format::kTensorAlign))
    return emitOpError("offset: expected a multiple of ")
           << format::kTensorAlign << ", got " << int64_t(*getOffset());
  return success();
}

LogicalResult ViewOp::verify() {
  SliceType from = getSource().getType(), to = getSlice().getType();
  if (from.getRowSpace() != to.getRowSpace() || from.getElement() != to.getElement()) // C1
    return emitOpError("expected the row space and element type of ") << from << ", got " << to;
  const int64_t begin = int64_t(getBegin());
  if (begin < 0 || begin + to.getWidth() > from.getWidth()) // C2
    return emitOpError("columns: expected a part of [0, ")
           << from.getWidth() << "), got [" << begin << ", " << begin + to.getWidth() << ")";
  return success();
}

OpFoldResult ViewOp::fold(FoldAdaptor) {
  if (getSource().getType() == getSlice().getType())
    return getSource();
  auto inner = getSource().getDefiningOp<ViewOp>();
  if (!inner)
    return {};
  setBegin(getBegin() + inner.getBegin());
  getSourceMutable().assign(inner.getSource());
  return getSlice();
}

LogicalResult ConstantOp::verify() {
  const Packing packing = getValue().getType().getPacking();
  const size_t names = getNames().size();
  if (packing == Packing::rope_cos || packing == Packing::rope_sin) { // C1
    if (names || !getTheta() || !(getTheta()->convertToFloat() > 0))
      return emitOpError("expected no name and a positive theta for ") << getValue().getType();
    const int64_t cols = getValue().getType().getCols();
    if (getFrequencies() && int64_t(getFrequencies()->size()) != cols)
      return emitOpError("elements of frequencies: expected ")
             << cols << ", got " << getFrequencies()->size();
    return success();
  }
  if (!names || getTheta() || getFrequencies() || getMagnitude()) // C1
    return emitOpError("expected names and no theta for ") << getValue().getType();
  if (names > 1 && packing != Packing::t2 && packing != Packing::t3 && packing != Packing::t5 &&
      packing != Packing::row_scale && packing != Packing::group_scale) // C2
    return emitOpError("names: expected one for ") << getValue().getType() << ", got " << names;
  if (getRows().size() != names) // C3
    return emitOpError("entries of rows: expected ") << names << ", got " << getRows().size();
  int64_t total = 0;
  for (int32_t part : getRows()) {
    if (part < 1)
      return emitOpError("rows: expected positive numbers, got ") << part;
    total += part;
  }
  if (total > getValue().getType().getRows())
    return emitOpError("sum of rows: expected at most ")
           << getValue().getType().getRows() << ", got " << total;
  return success();
}

LogicalResult CacheOp::verify() { // C1
  if (int32_t(getLayer()) < 0)
    return emitOpError("layer: expected 0 or more, got ") << int32_t(getLayer());
  return success();
}

void CallOp::build(OpBuilder &builder, OperationState &state, format::Op op, const format::OpDims &dims,
                   ArrayRef<int32_t> choices, StringRef label, ValueRange ins, ValueRange outs) {
  // A size of 0 is one that the kernel does not have; eps is there whenever the kernel is a norm, even if 0.
  auto size = [&](int32_t v) { return v ? builder.getI32IntegerAttr(v) : IntegerAttr(); };
  const bool hasAct = op == format::Op::gate || op == format::Op::gate_quant ||
                      op == format::Op::gate_norm_quant || dims.epilogue == format::Epilogue::gate;
  build(builder, state, builder.getStringAttr(format::op_name(op)), size(dims.n), size(dims.k),
        size(dims.heads), size(dims.kv_heads), size(dims.head_dim), size(dims.context),
        dims.epilogue == format::Epilogue::none ? StringAttr()
                                                : builder.getStringAttr(format::epilogue_name(dims.epilogue)),
        hasAct ? builder.getStringAttr(format::act_name(dims.act)) : StringAttr(),
        dims.eps != 0 ? builder.getF32FloatAttr(dims.eps) : FloatAttr(), size(dims.group),
        builder.getDenseI32ArrayAttr(choices), label.empty() ? StringAttr() : builder.getStringAttr(label),
        ins, outs);
}

format::Op CallOp::op() { return format::op_from_name(getKernel().str().c_str()); }

format::OpDims CallOp::dims() {
  format::OpDims d;
  d.n = int32_t(getN().value_or(0));
  d.k = int32_t(getK().value_or(0));
  d.heads = int32_t(getHeads().value_or(0));
  d.kv_heads = int32_t(getKvHeads().value_or(0));
  d.head_dim = int32_t(getHeadDim().value_or(0));
  d.context = int32_t(getContextLength().value_or(0));
  if (getEpilogue()) // unknown: Epilogue::count, which no kernel accepts
    d.epilogue = format::epilogue_from_name(getEpilogue()->str().c_str());
  if (getAct())
    d.act = format::act_from_name(getAct()->str().c_str()); // unknown: Act::count, which no kernel accepts
  if (getEps())
    d.eps = getEps()->convertToFloat();
  d.group = int32_t(getGroup().value_or(0));
  return d;
}

bool CallOp::overLogitRows() {
  auto slice = dyn_cast<SliceType>(getOuts().empty() ? Type() : getOuts().front().getType());
  return slice && slice.getRowSpace() == RowSpace::L;
}

SmallVector<Value> CallOp::arguments() {
  SmallVector<Value> all(getIns());
  llvm::append_range(all, getOuts());
  return all;
}

/// Shape of a constant as a kernel sees it: elements and extents, innermost first.
static format::Arg constArg(ConstType type) {
  const int32_t rows = int32_t(type.getRows()), cols = int32_t(type.getCols());
  constexpr int32_t tile = format::kRowTile;
  format::Arg arg{};
  auto set = [&](format::Elem elem, std::initializer_list<int32_t> extents) {
    arg.elem = elem;
    for (int32_t e : extents)
      arg.extent[arg.rank++] = e;
  };
  switch (type.getPacking()) {
  case Packing::t2:
    set(format::Elem::u8,
        {4, tile, format::stream_lines(rows, format::t2_lines(cols)), format::weight_streams(rows)});
    break;
  case Packing::t3:
    set(format::Elem::u8,
        {4, tile, format::stream_lines(rows, format::t3_lines(cols)), format::weight_streams(rows)});
    break;
  case Packing::t5:
    set(format::Elem::u8,
        {4, tile, format::stream_lines(rows, format::t5_lines(cols)), format::weight_streams(rows)});
    break;
  case Packing::u2:
    set(format::Elem::u8, {64, cols / 256, rows});
    break;
  case Packing::d2:
    set(format::Elem::u8, {64, rows / 256, cols});
    break;
  case Packing::s8:
    set(format::Elem::u8,
        {4, tile, format::stream_lines(rows, format::s8_lines(cols)), format::weight_streams(rows)});
    break;
  case Packing::f16:
    set(format::Elem::f16, {cols, rows});
    break;
  case Packing::group_scale:
    set(format::Elem::f32, {tile, format::stream_lines(rows, cols), format::weight_streams(rows)});
    break;
  case Packing::row_scale:
  case Packing::s8_scale:
    set(format::Elem::f32, {rows});
    break;
  case Packing::f32:
    set(format::Elem::f32, {cols});
    break;
  case Packing::rope_cos:
  case Packing::rope_sin:
    set(format::Elem::f32, {cols, rows});
    break;
  case Packing::screen: // no kernel's argument
    break;
  }
  return arg;
}

static bool elementIs(Type element, format::Elem elem) {
  return (elem == format::Elem::f32 && element.isF32()) ||
         (elem == format::Elem::i8 && element.isInteger(8)) ||
         (elem == format::Elem::i32 && element.isInteger(32));
}

/// headDim 0: any.
static bool isCache(Type type, CacheHalf half, int32_t heads, int32_t headDim) {
  auto cache = dyn_cast<CacheType>(type);
  return cache && cache.getHalf() == half && cache.getHeads() == heads &&
         (!headDim || cache.getHeadDim() == headDim);
}

/// C3 for one argument.
static bool matches(const format::Arg &arg, Type type) {
  switch (arg.space) {
  case format::Space::arena: {
    auto slice = dyn_cast<SliceType>(type);
    int64_t width = 1;
    for (int32_t i = 0; i < arg.rank; ++i)
      width *= arg.extent[i] > 0 ? arg.extent[i] : 1;
    return slice && elementIs(slice.getElement(), arg.elem) && slice.getWidth() == width;
  }
  case format::Space::weights: {
    auto constant = dyn_cast<ConstType>(type);
    if (!constant)
      return false;
    const format::Arg got = constArg(constant);
    return got.elem == arg.elem && got.rank == arg.rank &&
           std::equal(got.extent, got.extent + got.rank, arg.extent);
  }
  case format::Space::k_cache:
  case format::Space::v_cache: {
    const bool k = arg.space == format::Space::k_cache, q8 = arg.elem != format::Elem::f16;
    const CacheHalf half = q8 ? (k ? CacheHalf::k_q8 : CacheHalf::v_q8) : k ? CacheHalf::k : CacheHalf::v;
    const int32_t headDim = q8 ? (k ? 4 * arg.extent[1] : arg.extent[1]) : arg.extent[k ? 1 : 0];
    return isCache(type, half, arg.extent[arg.rank - 2], headDim);
  }
  case format::Space::k_scale: // whatever the size of a head
    return isCache(type, CacheHalf::k_scale, arg.extent[1], 0);
  case format::Space::v_scale:
    return isCache(type, CacheHalf::v_scale, arg.extent[1], 0);
  case format::Space::parts:
    return isCache(type, CacheHalf::parts, arg.extent[1], arg.extent[0] - format::part_width(0));
  case format::Space::input: {
    auto input = dyn_cast<InputType>(type);
    return input && stringifyInput(input.getInput()) == arg.name;
  }
  case format::Space::count:
    break;
  }
  return false;
}

/// The argument in words: "arena f32 [2560, rows]".
static std::string describe(const format::Arg &arg) {
  constexpr const char *kSpaces[] = {"arena", "weights", "k_cache", "v_cache",
                                     "input", "k_scale", "v_scale", "parts"};
  constexpr const char *kElems[] = {"f32", "f16", "i8", "u8", "i32"};
  constexpr const char *kSymbols[] = {"rows",      "source rows",     "blocks",
                                      "sequences", "sequence blocks", "sequence chunks"};
  std::string text = std::string(kSpaces[size_t(arg.space)]) + " " + kElems[size_t(arg.elem)] + " [";
  for (int32_t i = 0; i < arg.rank; ++i) {
    text += i ? ", " : "";
    text += arg.extent[i] > 0 ? std::to_string(arg.extent[i]) : kSymbols[-arg.extent[i] - 1];
  }
  return text + "]";
}

LogicalResult CallOp::verify() {
  const format::OpDims d = dims();
  if (const char *why = format::op_dims_error(op(), d)) // C1
    return emitOpError("sizes of '") << getKernel() << "': " << why;

  const format::Signature s = format::signature(op(), d);
  const int64_t nOuts =
      std::count_if(s.args, s.args + s.n_args, [](const format::Arg &a) { return a.output; });
  if (int64_t(getOuts().size()) != nOuts || int64_t(getIns().size()) != s.n_args - nOuts) // C2
    return emitOpError("arguments of '")
           << getKernel() << "': expected " << s.n_args - nOuts << " inputs and " << nOuts << " outputs, got "
           << getIns().size() << " and " << getOuts().size();
  const SmallVector<Value> args = arguments();
  const RowSpace rows = overLogitRows() ? RowSpace::L : RowSpace::R;
  for (int32_t i = 0; i < s.n_args; ++i) {
    if (!matches(s.args[i], args[i].getType())) // C3
      return emitOpError("argument '") << s.args[i].name << "' of '" << getKernel() << "': expected "
                                       << describe(s.args[i]) << ", got " << args[i].getType();
    auto slice = dyn_cast<SliceType>(args[i].getType());
    if (!slice)
      continue;
    const bool isSource = llvm::is_contained(s.args[i].extent, format::kSrcRows);
    const RowSpace expected = isSource ? RowSpace::R : op() == format::Op::gather_rows ? RowSpace::L : rows;
    if (slice.getRowSpace() != expected) // C4
      return emitOpError("argument '")
             << s.args[i].name << "' of '" << getKernel() << "': expected rows of space "
             << stringifyRowSpace(expected) << ", got " << slice;
  }
  return verifyChoices(*this, getChoicesAttr()); // C5
}

format::OpDims ScreenOp::dims() {
  format::OpDims d;
  d.n = int32_t(getValue().getType().getRows());
  d.k = int32_t(getValue().getType().getCols());
  return d;
}

LogicalResult ScreenOp::verify() {
  auto head = dyn_cast_if_present<CallOp>(getOperation()->getPrevNode());
  if (!head || head.op() != format::Op::linear_f16 || !head.overLogitRows()) // C1
    return emitOpError("expected a call of linear_f16 over logit rows before it");
  if (getValue().getType().getPacking() != Packing::screen || !(dims() == head.dims())) // C2
    return emitOpError("expected a screen of ")
           << head.dims().n << " x " << head.dims().k << ", got " << getValue().getType();
  if (const char *why = format::op_dims_error(format::Op::screen_q4, dims())) // C2
    return emitOpError("sizes of 'screen_q4': ") << why;
  return verifyChoices(*this, getChoicesAttr()); // C3
}
