// bitnet-opt: reads IR of either level, runs passes, writes IR. For tests and for looking at what the
// compiler does.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "dialects/Kernel/Kernel.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::bitnet::BitNetDialect, mlir::kernel::KernelDialect, mlir::func::FuncDialect>();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  mlir::registerSymbolDCEPass();
  bitnet::compiler::registerPassesAndPipeline();
  llvm::cl::AddExtraVersionPrinter([](llvm::raw_ostream &os) { os << "bitnet-opt " BITNET_VERSION "\n"; });
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "bitnet-opt: passes of the ternary model compiler\n", registry));
}
