// Plans of whole models: what a reader of the bundle relies on.
#include "compiler/bundle/PlanExport.h"
#include "compiler/import/BuildGraph.h"
#include "compiler/transforms/Passes.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>
#include <set>

using namespace bitnet;
using namespace bitnet::compiler;

namespace {

/// The shape of the 2B-4T model.
::bitnet::import::ModelConfig shape2B() {
  import::ModelConfig c;
  c.layers = 30, c.width = 2560, c.ffnWidth = 6912, c.heads = 20, c.kvHeads = 5, c.headDim = 128;
  c.vocab = 128256, c.context = 4096, c.normEps = 1e-5f, c.ropeTheta = 5e5f;
  c.attnSubNorm = c.ffnSubNorm = true;
  return c;
}

Plan planOf(const import::ModelConfig &config, const PipelineOptions &options) {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module = import::buildModule(context, config);
  mlir::PassManager pm(&context);
  buildPipeline(pm, options);
  EXPECT_TRUE(mlir::succeeded(pm.run(*module)));
  llvm::Expected<Plan> plan = exportPlan(*module);
  EXPECT_TRUE(bool(plan)) << llvm::toString(plan.takeError());
  return std::move(*plan);
}

size_t packed(const Plan &plan, Packing packing) {
  return size_t(std::count_if(plan.constants.begin(), plan.constants.end(),
                              [&](const Constant &c) { return c.packing == packing; }));
}

TEST(PlanExport, LayerOf2BHasFifteenCalls) {
  const Plan plan = planOf(shape2B(), {});
  // norm, qkv, rope, append, attention in two steps and whole, sub-norm, output, norm, gate, up, sub-norm,
  // down and its sum; embed, gather, norm, head.
  EXPECT_EQ(plan.calls.size(), 30u * 15 + 4);
  std::set<std::tuple<int, int, int>> linears;
  for (const PlanCall &call : plan.calls)
    if (call.op == format::Op::linear_t2)
      linears.insert({call.dims.n, call.dims.k, int(call.dims.epilogue)});
  EXPECT_EQ(linears,
            (std::set<std::tuple<int, int, int>>{{3840, 2560, 0}, {2560, 2560, 1}, {6912, 2560, 0}}));
}

TEST(PlanExport, AnExactHeadHasAScreen) {
  PipelineOptions options;
  options.head = "exact";
  const Plan plan = planOf(shape2B(), options);
  ASSERT_TRUE(plan.screen);
  EXPECT_EQ(plan.screen->dims, plan.calls.back().dims);
  EXPECT_EQ(plan.constants[plan.screen->constant].packing, Packing::screen);
  EXPECT_EQ(packed(plan, Packing::f16), 1u); // beside it the rows, which the embedding shares
  EXPECT_FALSE(planOf(shape2B(), {}).screen);
}

TEST(PlanExport, EqualConstantsAreOne) {
  const Plan plan = planOf(shape2B(), {});
  EXPECT_EQ(packed(plan, Packing::f16), 1u); // the tied head reads the embedding's bytes
  EXPECT_EQ(packed(plan, Packing::ropeCos), 1u);
  EXPECT_EQ(packed(plan, Packing::t2), 30u * 3);
  EXPECT_EQ(packed(plan, Packing::u2), 30u);
  EXPECT_EQ(packed(plan, Packing::d2), 30u);
  EXPECT_EQ(packed(plan, Packing::rowScale), 30u * 5);
}

TEST(PlanExport, ArenaHoldsTheWidestMomentOnly) {
  // With 128 rows: x, gate|up in f32 and the quantised h live at once; the logits take the rest's place.
  const Plan plan = planOf(shape2B(), {});
  const uint64_t logits = 128ull * 128256 * 4, layer = 128ull * (2560 * 4 + 13824 * 4 + 6912 + 8 * 2);
  EXPECT_LE(plan.arenaBytes, std::max(logits + 128 * 2560 * 4, layer));
  EXPECT_EQ(plan.maxRows, 128);
}

TEST(PlanExport, RopeAndResidualsAreInPlace) {
  const Plan plan = planOf(shape2B(), {});
  for (const PlanCall &call : plan.calls) {
    const bool isRope = call.op == format::Op::rope;
    if (!isRope && !(call.op == format::Op::linear_t2 && call.dims.epilogue != format::Epilogue::none))
      continue;
    const PlanArg &in = isRope ? call.args[0] : call.args[5], &out = call.args.back();
    EXPECT_EQ(in.offset, out.offset) << call.label;
    EXPECT_EQ(in.rowStride, out.rowStride) << call.label;
  }
}

TEST(PlanExport, HeadAndMaxRowsAreOptions) {
  PipelineOptions options;
  options.head = "q8";
  options.maxRows = 8;
  const Plan plan = planOf(shape2B(), options);
  EXPECT_EQ(plan.maxRows, 8);
  EXPECT_EQ(plan.calls.back().op, format::Op::linear_s8);
  EXPECT_TRUE(plan.calls.back().overLogitRows);
  EXPECT_EQ(packed(plan, Packing::s8), 1u);
}

TEST(PlanExport, IsDeterministic) {
  const Plan a = planOf(shape2B(), {}), b = planOf(shape2B(), {});
  ASSERT_EQ(a.calls.size(), b.calls.size());
  EXPECT_EQ(a.arenaBytes, b.arenaBytes);
  for (size_t i = 0; i < a.calls.size(); ++i)
    for (size_t j = 0; j < a.calls[i].args.size(); ++j)
      EXPECT_EQ(a.calls[i].args[j].offset, b.calls[i].args[j].offset) << a.calls[i].label;
}

TEST(PlanExport, RefusesAModuleWithoutPlan) {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module = import::buildModule(context, shape2B());
  llvm::Expected<Plan> plan = exportPlan(*module);
  ASSERT_FALSE(bool(plan));
  EXPECT_EQ(llvm::toString(plan.takeError()),
            "@step: expected a memory plan, got none; run --bitnet-plan-memory first");
}

} // namespace
