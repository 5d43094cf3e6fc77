// Runs an exported plan on the scalar twins: one arena, packed constants, KV cache, as the runtime does it,
// but serially and in plain C++. The oracle for lower-to-kernel, plan-memory and PlanExport.
#pragma once
#include "compiler/bundle/Plan.h"
#include "compiler/interpreter/Steps.h"
#include "compiler/pack/WeightSource.h"
#include <map>

namespace bitnet::compiler {

class PlanInterpreter {
public:
  /// Packs the constants. `plan` must outlive this; it is checked against the arena's and the signature's
  /// bounds as it runs.
  static llvm::Expected<PlanInterpreter> create(const Plan &plan, const WeightSource &weights, int32_t vocab);

  /// f32 [logit rows, vocab]. Positions of each sequence must follow those of the steps before.
  llvm::Expected<std::vector<float>> step(StepInput input);

private:
  explicit PlanInterpreter(const Plan &plan, int32_t vocab) : plan_(&plan), vocab_(vocab) {}
  llvm::Expected<uint8_t *> arenaAt(const PlanArg &arg, int64_t rowBytes, int32_t rows);
  std::vector<uint8_t> &cache(const PlanArg &arg, size_t bytes);

  const Plan *plan_;
  int32_t vocab_;
  std::vector<uint8_t> arena_;
  std::vector<std::vector<uint8_t>> constants_;
  std::map<std::pair<format::Space, uint64_t>, std::vector<uint8_t>> caches_; ///< by space and layer
};

} // namespace bitnet::compiler
