// The interpreters as oracles: a row's logits do not depend on its company, and a wrong plan does not go
// unseen.
#include "compiler/bundle/PlanExport.h"
#include "compiler/import/BuildGraph.h"
#include "compiler/interpreter/GraphInterpreter.h"
#include "compiler/interpreter/PlanInterpreter.h"
#include "compiler/interpreter/RandomWeights.h"
#include "compiler/transforms/Passes.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

using namespace bitnet;
using namespace bitnet::compiler;

namespace {

constexpr int32_t kVocab = 36;

struct Model {
  Model() {
    import::ModelConfig c;
    c.layers = 2, c.width = 32, c.ffnWidth = 48, c.heads = 2, c.kvHeads = 1, c.headDim = 16;
    c.vocab = kVocab, c.context = 128, c.normEps = 1e-5f, c.ropeTheta = 1e4f;
    c.attnSubNorm = c.ffnSubNorm = true;
    module = import::buildModule(context, c);
    weights = std::make_unique<RandomWeights>(*module, 7);
    mlir::PassManager pm(&context);
    buildPipeline(pm, {});
    EXPECT_TRUE(mlir::succeeded(pm.run(*module)));
    plan = llvm::cantFail(exportPlan(*module));
  }
  /// Logits of the last run of the last step.
  std::vector<float> last(const Plan &plan, const std::string &steps) {
    StepOptions options;
    options.steps = steps;
    options.vocab = kVocab;
    PlanInterpreter interpreter = llvm::cantFail(PlanInterpreter::create(plan, *weights, kVocab));
    std::vector<float> logits;
    for (const StepInput &input : llvm::cantFail(makeSteps(options)))
      logits = llvm::cantFail(interpreter.step(input));
    return {logits.end() - kVocab, logits.end()};
  }
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<RandomWeights> weights;
  Plan plan;
};

TEST(Interpreter, ChunksOfAPromptDoNotMatter) {
  Model m;
  const std::vector<float> whole = m.last(m.plan, "0:9");
  EXPECT_EQ(whole, m.last(m.plan, "0:1,0:7,0:1"));
  EXPECT_EQ(whole, m.last(m.plan, "0:4,0:5"));
}

TEST(Interpreter, OtherSequencesDoNotMatter) {
  Model m;
  EXPECT_EQ(m.last(m.plan, "0:9"), m.last(m.plan, "1:3,2:2+0:4,1:1+2:5+0:5"));
}

TEST(Interpreter, EarlierRowsDoMatter) {
  Model m;
  EXPECT_NE(m.last(m.plan, "0:9"), m.last(m.plan, "1:9")); // other tokens
}

/// Moves each arena slice in turn onto offset 0: the logits change, or the slice was there already or never
/// matters.
TEST(Interpreter, SeesBuffersThatOverlap) {
  Model m;
  const std::vector<float> right = m.last(m.plan, "0:5,0:2");
  std::set<uint64_t> offsets;
  for (const PlanCall &call : m.plan.calls)
    for (const PlanArg &arg : call.args)
      if (arg.space == format::Space::arena && arg.offset != 0)
        offsets.insert(arg.offset);
  ASSERT_GT(offsets.size(), 4u);
  size_t seen = 0;
  for (uint64_t moved : offsets) {
    Plan wrong = m.plan;
    for (PlanCall &call : wrong.calls)
      for (PlanArg &arg : call.args)
        if (arg.space == format::Space::arena && arg.offset == moved)
          arg.offset = 0;
    seen += m.last(wrong, "0:5,0:2") != right;
  }
  EXPECT_GE(seen, offsets.size() - 2);
}

TEST(Interpreter, RefusesASliceBeyondTheArena) {
  Model m;
  m.plan.arenaBytes = 64;
  PlanInterpreter interpreter = llvm::cantFail(PlanInterpreter::create(m.plan, *m.weights, kVocab));
  StepOptions options;
  options.steps = "0:3";
  options.vocab = kVocab;
  auto logits = interpreter.step(llvm::cantFail(makeSteps(options)).front());
  ASSERT_FALSE(bool(logits));
  EXPECT_NE(llvm::toString(logits.takeError()).find("beyond the arena of 64 bytes"), std::string::npos);
}

} // namespace
