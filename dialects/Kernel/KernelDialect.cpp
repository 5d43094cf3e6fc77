// The kernel dialect's types and function attributes.
#include "dialects/Kernel/Kernel.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::kernel;

#include "dialects/Kernel/KernelDialect.cpp.inc"
#include "dialects/Kernel/KernelEnums.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Kernel/KernelTypes.cpp.inc"

namespace mlir::kernel {

static_assert(int(Input::tokens) == int(::bitnet::format::Input::tokens) &&
                  int(Input::logit_rows) == int(::bitnet::format::Input::logit_rows) &&
                  getMaxEnumValForInput() + 1 == int(::bitnet::format::Input::count),
              "Input has the numbers of format::Input");

void KernelDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Kernel/KernelTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Kernel/KernelOps.cpp.inc"
      >();
}

LogicalResult KernelDialect::verifyOperationAttribute(Operation *op, NamedAttribute attr) {
  const StringRef name = attr.getName().getValue();
  const unsigned bits = name == kMaxRowsAttr ? 32 : name == kArenaBytesAttr ? 64 : 0;
  auto number = dyn_cast<IntegerAttr>(attr.getValue());
  if (!bits)
    return op->emitOpError() << "attribute '" << name << "' is not known here";
  if (!number || !number.getType().isInteger(bits) || number.getInt() < (bits == 32))
    return op->emitOpError() << "attribute '" << name << "': expected a positive i" << bits << ", got "
                             << attr.getValue();
  return success();
}

static LogicalResult verifySizes(function_ref<InFlightDiagnostic()> emitError, int64_t a, int64_t b) {
  if (a < 1 || b < 1 || a > INT32_MAX || b > INT32_MAX)
    return emitError() << "expected positive 32-bit sizes, got " << a << " x " << b;
  return success();
}

int64_t SliceType::rowBytes() const { return getWidth() * (getElement().getIntOrFloatBitWidth() / 8); }

LogicalResult SliceType::verify(function_ref<InFlightDiagnostic()> emitError, RowSpace, int64_t width,
                                Type element) {
  if (!element.isF32() && !element.isInteger(8) && !element.isInteger(32))
    return emitError() << "element: expected f32, i8 or i32, got " << element;
  return verifySizes(emitError, width, 1);
}
LogicalResult ConstType::verify(function_ref<InFlightDiagnostic()> emitError, Packing, int64_t rows,
                                int64_t cols) {
  return verifySizes(emitError, rows, cols);
}
LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError, CacheHalf, int64_t heads,
                                int64_t headDim) {
  return verifySizes(emitError, heads, headDim);
}

} // namespace mlir::kernel
