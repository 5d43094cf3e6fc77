// The compiler's passes (Passes.td describes each) and the pipeline that bitnetc and `bitnet-opt
// --bitnet-pipeline` run.
#pragma once
#include "mlir/Pass/Pass.h"
#include <cstdint>
#include <string>

namespace bitnet::compiler {

#define GEN_PASS_DECL
#include "compiler/transforms/Passes.h.inc"

struct PipelineOptions {
  std::string head = "f16";      ///< exact, f16 or q8
  std::string kv = "f16";        ///< f16 or q8
  int32_t maxRows = 128;         ///< most rows of one step
  std::string packing = "auto";  ///< of ternary matrices: auto, t2, t3 or t5
  std::vector<std::string> cpus; ///< CPU variants that auto chooses for
  bool fuse = true;              ///< the fuse-* passes and merge-ropes; off only to compare
  bool skip = true;              ///< leave out neurons that cannot matter; off only to compare
  bool explain = false;          ///< remarks on what was chosen and why
};

/// From the bitnet dialect to a planned kernel-dialect function.
void buildPipeline(mlir::OpPassManager &pm, const PipelineOptions &options);

/// For bitnet-opt: each pass, and `bitnet-pipeline`.
void registerPassesAndPipeline();

} // namespace bitnet::compiler
