// The q8 cache: int8 keys and values instead of f16. See Passes.td.
#include "compiler/transforms/Passes.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
#define GEN_PASS_DEF_QUANTIZECACHEPASS
#include "compiler/transforms/Passes.h.inc"
namespace {

Type quantized(Type type) {
  auto cache = dyn_cast<KvCacheType>(type);
  return cache ? KvCacheType::get(type.getContext(), cache.getHeads(), cache.getHeadDim(), true) : type;
}

struct QuantizeCache final : impl::QuantizeCachePassBase<QuantizeCache> {
  using QuantizeCachePassBase::QuantizeCachePassBase;

  void runOnOperation() override {
    if (kv == "f16")
      return;
    if (kv != "q8") {
      getOperation().emitError("kv: expected f16 or q8, got ") << kv;
      return signalPassFailure();
    }
    for (func::FuncOp func : getOperation().getOps<func::FuncOp>()) {
      SmallVector<Type> ins = llvm::map_to_vector(func.getArgumentTypes(), quantized);
      SmallVector<Type> outs = llvm::map_to_vector(func.getResultTypes(), quantized);
      func.setType(FunctionType::get(&getContext(), ins, outs));
      for (BlockArgument arg : func.getArguments())
        arg.setType(quantized(arg.getType()));
      func.walk([](KvAppendOp op) {
        op.getUpdated().setType(cast<KvCacheType>(quantized(op.getUpdated().getType())));
      });
    }
  }
};

} // namespace
} // namespace bitnet::compiler
