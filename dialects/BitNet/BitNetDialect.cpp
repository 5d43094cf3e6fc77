// The bitnet dialect's types and the attributes it defines for other dialects' ops.
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "runtime/format/kernel_ops.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::bitnet;

#include "dialects/BitNet/BitNetDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/BitNet/BitNetTypes.cpp.inc"

namespace mlir::bitnet {

bool isRows(Type type) {
  auto t = dyn_cast<RankedTensorType>(type);
  return t && t.getRank() == 2 && t.isDynamicDim(0) && !t.isDynamicDim(1) && t.getDimSize(1) > 0;
}
bool isRowScalars(Type type) {
  auto t = dyn_cast<RankedTensorType>(type);
  return t && t.getRank() == 1 && t.isDynamicDim(0);
}
bool isBlockTable(Type type) {
  auto t = dyn_cast<RankedTensorType>(type);
  return t && t.getRank() == 2 && t.isDynamicDim(0) && t.isDynamicDim(1) && t.getElementType().isInteger(32);
}
int64_t width(Type type) { return cast<RankedTensorType>(type).getShape().back(); }

bool isActivation(Attribute attr) {
  auto name = dyn_cast<StringAttr>(attr);
  return name && ::bitnet::format::act_from_name(name.str().c_str()) != ::bitnet::format::Act::count;
}
bool isEpsilon(Attribute attr) {
  const float eps = cast<FloatAttr>(attr).getValue().convertToFloat();
  return eps >= 0 && eps <= 1;
}

void BitNetDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/BitNet/BitNetTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/BitNet/BitNetOps.cpp.inc"
      >();
}

LogicalResult BitNetDialect::verifyOperationAttribute(Operation *op, NamedAttribute attr) {
  if (attr.getName() == kKernelAttr) {
    auto name = dyn_cast<StringAttr>(attr.getValue());
    if (!name || ::bitnet::format::op_from_name(name.str().c_str()) == ::bitnet::format::Op::count)
      return op->emitOpError() << "attribute '" << kKernelAttr << "': expected the name of a kernel, got "
                               << attr.getValue();
    return success();
  }
  if (attr.getName() == kChoicesAttr || attr.getName() == kScreenChoicesAttr) {
    auto pairs = dyn_cast<DenseI32ArrayAttr>(attr.getValue());
    if (!pairs)
      return op->emitOpError() << "attribute '" << attr.getName().getValue()
                               << "': expected array<i32: ...>, got " << attr.getValue();
    return kernel::verifyChoices(op, pairs);
  }
  if (attr.getName() == kPackingAttr) {
    auto name = dyn_cast<StringAttr>(attr.getValue());
    if (!name || !kernel::symbolizePacking(name.getValue()))
      return op->emitOpError() << "attribute '" << kPackingAttr << "': expected the name of a packing, got "
                               << attr.getValue();
    return success();
  }
  return op->emitOpError() << "attribute '" << attr.getName().getValue() << "' is not known here";
}

LogicalResult BitNetDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned argument,
                                                      NamedAttribute attr) {
  auto name = dyn_cast<StringAttr>(attr.getValue());
  if (attr.getName() != kInputAttr || !name || !kernel::symbolizeInput(name.getValue()))
    return op->emitOpError() << "argument " << argument << ": expected " << kInputAttr
                             << " = one of \"tokens\", \"positions\", \"sequences\", \"slots\", "
                                "\"block_table\", \"logit_rows\", got "
                             << attr.getName().getValue() << " = " << attr.getValue();
  return success();
}

/// `<` A `x` B `>`, both positive.
static LogicalResult parseTwo(AsmParser &parser, int64_t &a, int64_t &b) {
  SmallVector<int64_t> dims;
  if (parser.parseLess())
    return failure();
  if (parser.parseInteger(a) || parser.parseKeyword("x") || parser.parseInteger(b) || parser.parseGreater())
    return failure();
  return success();
}
static void printTwo(AsmPrinter &printer, int64_t a, int64_t b) { printer << "<" << a << " x " << b << ">"; }
static LogicalResult verifyTwo(function_ref<InFlightDiagnostic()> emitError, int64_t a, int64_t b) {
  // The product bounds every later size computation.
  if (a < 1 || b < 1 || a > INT32_MAX || b > INT32_MAX)
    return emitError() << "expected positive 32-bit sizes, got " << a << " x " << b;
  return success();
}

#define BITNET_TWO_SIZED_TYPE(Name, first, second)                                                           \
  Type Name::parse(AsmParser &parser) {                                                                      \
    int64_t a = 0, b = 0;                                                                                    \
    SMLoc at = parser.getCurrentLocation();                                                                  \
    if (failed(parseTwo(parser, a, b)))                                                                      \
      return {};                                                                                             \
    return getChecked([&] { return parser.emitError(at); }, parser.getContext(), a, b);                      \
  }                                                                                                          \
  void Name::print(AsmPrinter &printer) const { printTwo(printer, first(), second()); }                      \
  LogicalResult Name::verify(function_ref<InFlightDiagnostic()> emitError, int64_t a, int64_t b) {           \
    return verifyTwo(emitError, a, b);                                                                       \
  }
BITNET_TWO_SIZED_TYPE(Int8MatrixType, getRows, getCols)
#undef BITNET_TWO_SIZED_TYPE

/// `<` rows `x` cols [`,` `group` G] `>`
Type TernaryType::parse(AsmParser &parser) {
  int64_t rows = 0, cols = 0, group = 0;
  SMLoc at = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseInteger(rows) || parser.parseKeyword("x") ||
      parser.parseInteger(cols))
    return {};
  if (succeeded(parser.parseOptionalComma())) {
    if (parser.parseKeyword("group") || parser.parseInteger(group))
      return {};
    if (group == 0) { // the form without groups has no word for it
      parser.emitError(at) << "group: expected a divisor of " << cols << ", got 0";
      return {};
    }
  }
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(at); }, parser.getContext(), rows, cols, group);
}
void TernaryType::print(AsmPrinter &printer) const {
  printer << "<" << getRows() << " x " << getCols();
  if (getGroup())
    printer << ", group " << getGroup();
  printer << ">";
}
LogicalResult TernaryType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t rows, int64_t cols,
                                  int64_t group) {
  if (failed(verifyTwo(emitError, rows, cols)))
    return failure();
  if (group < 0 || (group && cols % group))
    return emitError() << "group: expected a divisor of " << cols << ", got " << group;
  return success();
}

/// `<` heads `x` head_dim [`x` `q8`] `>`
Type KvCacheType::parse(AsmParser &parser) {
  int64_t heads = 0, headDim = 0;
  bool q8 = false;
  SMLoc at = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseInteger(heads) || parser.parseKeyword("x") ||
      parser.parseInteger(headDim))
    return {};
  if (succeeded(parser.parseOptionalKeyword("x"))) {
    if (parser.parseKeyword("q8"))
      return {};
    q8 = true;
  }
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(at); }, parser.getContext(), heads, headDim, q8);
}
void KvCacheType::print(AsmPrinter &printer) const {
  printer << "<" << getHeads() << " x " << getHeadDim() << (getQ8() ? " x q8>" : ">");
}
LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t heads,
                                  int64_t headDim, bool) {
  return verifyTwo(emitError, heads, headDim);
}

} // namespace mlir::bitnet
