// The order of the passes. What each needs from those before it stands in Passes.td.
#include "compiler/transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

namespace bitnet::compiler {

void buildPipeline(mlir::OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(mlir::createCSEPass());
  if (options.fuse)
    pm.addPass(createFuseGatedLinearPass());
  pm.addPass(createMergeProjectionsPass());
  QuantizeHeadPassOptions head;
  head.head = options.head;
  pm.addPass(createQuantizeHeadPass(head));
  QuantizeCachePassOptions cache;
  cache.kv = options.kv;
  pm.addPass(createQuantizeCachePass(cache));
  if (options.fuse) {
    pm.addPass(createFuseNormQuantPass());
    pm.addPass(createFuseResidualAddPass());
    pm.addPass(createMergeRopesPass());
  }
  pm.addPass(mlir::createCanonicalizerPass());
  SelectKernelsPassOptions kernels;
  kernels.packing = options.packing;
  kernels.cpus = {options.cpus.begin(), options.cpus.end()};
  kernels.skip = options.skip;
  kernels.explain = options.explain;
  pm.addPass(createSelectKernelsPass(kernels));
  pm.addPass(createLowerToKernelPass());
  PlanMemoryPassOptions memory;
  memory.maxRows = options.maxRows;
  pm.addPass(createPlanMemoryPass(memory));
}

namespace {
#define GEN_PASS_REGISTRATION
#include "compiler/transforms/Passes.h.inc"

struct CommandLineOptions : mlir::PassPipelineOptions<CommandLineOptions> {
  Option<std::string> head{*this, "head", llvm::cl::desc("exact, f16 or q8"), llvm::cl::init("f16")};
  Option<std::string> kv{*this, "kv", llvm::cl::desc("f16 or q8"), llvm::cl::init("f16")};
  Option<int32_t> maxRows{*this, "max-rows", llvm::cl::desc("most rows of one step"), llvm::cl::init(128)};
  Option<std::string> packing{*this, "packing", llvm::cl::desc("auto, t2, t3 or t5"), llvm::cl::init("auto")};
  ListOption<std::string> cpus{*this, "cpus", llvm::cl::desc("CPU variants that packing=auto chooses for")};
  Option<bool> fuse{*this, "fuse", llvm::cl::desc("run the fuse-* passes and merge-ropes"),
                    llvm::cl::init(true)};
  Option<bool> skip{*this, "skip", llvm::cl::desc("leave out neurons that cannot matter"),
                    llvm::cl::init(true)};
  Option<bool> explain{*this, "explain", llvm::cl::desc("remarks on what was chosen and why"),
                       llvm::cl::init(false)};
};
} // namespace

void registerPassesAndPipeline() {
  registerBitNetPasses();
  mlir::PassPipelineRegistration<CommandLineOptions>(
      "bitnet-pipeline", "the passes that bitnetc runs, from the bitnet dialect to a memory plan",
      [](mlir::OpPassManager &pm, const CommandLineOptions &o) {
        buildPipeline(
            pm,
            {o.head, o.kv, o.maxRows, o.packing, {o.cpus.begin(), o.cpus.end()}, o.fuse, o.skip, o.explain});
      });
}

} // namespace bitnet::compiler
