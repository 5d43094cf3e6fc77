// BuildGraph: the options of a configuration show in the graph. What the graph computes is the interpreter's
// tests' business.
#include "compiler/import/BuildGraph.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include <gtest/gtest.h>

using namespace bitnet;
using namespace mlir::bitnet;

namespace {

::bitnet::import::ModelConfig config() {
  import::ModelConfig c;
  c.layers = 2, c.width = 64, c.ffnWidth = 112, c.heads = 4, c.kvHeads = 2, c.headDim = 16;
  c.vocab = 100, c.context = 128, c.normEps = 1e-5f, c.ropeTheta = 1e4f;
  c.attnSubNorm = c.ffnSubNorm = true;
  return c;
}

struct Graph {
  explicit Graph(const import::ModelConfig &c) : module(import::buildModule(context, c)) {}
  template <class Op> int count() {
    int n = 0;
    module->walk([&](Op) { ++n; });
    return n;
  }
  bool names(llvm::StringRef tensor) {
    bool found = false;
    module->walk([&](WeightOp op) {
      for (mlir::Attribute name : op.getNames())
        found |= mlir::cast<mlir::StringAttr>(name).getValue() == tensor;
    });
    return found;
  }
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST(BuildGraph, ReadsEachTensorOfEachLayer) {
  Graph g(config());
  ASSERT_TRUE(g.module);
  for (const char *name :
       {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.1.attn_q.weight",
        "blk.1.attn_k.weight", "blk.1.attn_v.weight", "blk.1.attn_sub_norm.weight",
        "blk.1.attn_output.weight", "blk.1.ffn_norm.weight", "blk.1.ffn_gate.weight", "blk.1.ffn_up.weight",
        "blk.1.ffn_sub_norm.weight", "blk.1.ffn_down.weight"})
    EXPECT_TRUE(g.names(name)) << name;
  EXPECT_EQ(g.count<TernaryLinearOp>(), 2 * 7);
  EXPECT_EQ(g.count<QuantizeActivationOp>(), 2 * 4); // q, k and v share one, gate and up share one
}

TEST(BuildGraph, NormsOfHeadsComeBeforeTheRotation) {
  import::ModelConfig c = config();
  c.headNorms = true;
  Graph g(c);
  EXPECT_TRUE(g.names("blk.1.attn_q_norm.weight") && g.names("blk.1.attn_k_norm.weight"));
  g.module->walk([](RopeOp rope) {
    auto norm = rope.getX().getDefiningOp<RmsNormOp>();
    ASSERT_TRUE(norm);
    EXPECT_EQ(norm.getGain().getType().getDimSize(0), 16);
    EXPECT_FALSE(rope.getFrequencies() || rope.getMagnitude());
  });
}

TEST(BuildGraph, NormsOfInputsMakeAQuantiserForEachMatrix) {
  import::ModelConfig c = config();
  c.linearNorms = true, c.linearNormEps = 1e-3f;
  Graph g(c);
  EXPECT_EQ(g.count<QuantizeActivationOp>(), 2 * 7);
  EXPECT_TRUE(g.names("blk.0.ffn_down_norm_in.weight"));
  g.module->walk([](QuantizeActivationOp op) {
    EXPECT_EQ(op.getX().getDefiningOp<RmsNormOp>().getEps().convertToFloat(), 1e-3f);
  });
}

TEST(BuildGraph, PostNormsStandBeforeTheSums) {
  import::ModelConfig c = config();
  c.postNorms = true;
  Graph g(c);
  EXPECT_TRUE(g.names("blk.0.post_attention_norm.weight") && g.names("blk.0.post_ffw_norm.weight"));
  g.module->walk([](AddOp add) { EXPECT_TRUE(add.getB().getDefiningOp<RmsNormOp>()); });
}

TEST(BuildGraph, LocalLayersTurnByTheirOwnBaseAndUnscaled) {
  import::ModelConfig c = config();
  c.localLayers = {true, false}, c.localRopeTheta = 500;
  c.ropeScaling.kind = import::RopeScaling::Kind::yarn;
  c.ropeScaling.factor = 4, c.ropeScaling.originalContext = 32;
  Graph g(c);
  int ropes = 0;
  g.module->walk([&](RopeOp rope) {
    const bool local = ropes++ < 2; // q and k of the first layer
    EXPECT_EQ(rope.getTheta().convertToFloat(), local ? 500.0f : 1e4f);
    EXPECT_EQ(rope.getFrequencies().has_value(), !local);
    EXPECT_FLOAT_EQ(local ? 1.1386294f : rope.getMagnitude()->convertToFloat(), 1.1386294f); // 0.1 ln 4 + 1
  });
  EXPECT_EQ(ropes, 4);
}

TEST(BuildGraph, AModelThatEmbedsEndsWithItsNorm) {
  import::ModelConfig c = config();
  c.embeds = true;
  Graph g(c);
  ASSERT_TRUE(g.module);
  EXPECT_EQ(g.count<LinearOp>(), 0);
  auto step = *g.module->getOps<mlir::func::FuncOp>().begin();
  auto result = mlir::cast<mlir::RankedTensorType>(step.getResultTypes().front());
  EXPECT_EQ(result.getDimSize(1), c.width);
}

TEST(BuildGraph, SubNormsAreOptions) {
  import::ModelConfig c = config();
  c.attnSubNorm = false;
  Graph one(c);
  EXPECT_EQ(one.count<RmsNormOp>(), 2 * 3 + 1);
  EXPECT_FALSE(one.names("blk.0.attn_sub_norm.weight"));
  EXPECT_TRUE(one.names("blk.0.ffn_sub_norm.weight"));
  c.ffnSubNorm = false;
  Graph none(c);
  EXPECT_EQ(none.count<RmsNormOp>(), 2 * 2 + 1);
}

TEST(BuildGraph, SubNormsMayHaveAnotherEpsilon) {
  for (float other : {0.0f, 0.25f}) {
    import::ModelConfig c = config();
    c.subNormEps = other;
    Graph g(c);
    g.module->walk([&](RmsNormOp op) {
      auto gain = op.getGain().getDefiningOp<WeightOp>();
      const bool sub = mlir::cast<mlir::StringAttr>(gain.getNames()[0]).getValue().contains("_sub_norm");
      EXPECT_EQ(op.getEps().convertToFloat(), sub && other > 0 ? other : c.normEps);
    });
  }
}

TEST(BuildGraph, UntiedHeadHasItsOwnTensor) {
  import::ModelConfig c = config();
  EXPECT_FALSE(Graph(c).names("output.weight"));
  c.tiedHead = false;
  EXPECT_TRUE(Graph(c).names("output.weight"));
}

TEST(BuildGraph, ScalesOfGroupsAreOfTheMatricesThatHaveThem) {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module =
      import::buildModule(context, config(), {{"blk.1.attn_k.weight", 32}});
  module->walk([](WeightOp op) {
    if (auto t = mlir::dyn_cast<TernaryType>(op.getValue().getType())) {
      EXPECT_EQ(t.getGroup(),
                mlir::cast<mlir::StringAttr>(op.getNames()[0]) == "blk.1.attn_k.weight" ? 32 : 0);
    }
  });
}

TEST(BuildGraph, ActivationIsTheConfigurations) {
  import::ModelConfig c = config();
  c.act = format::Act::silu;
  Graph g(c);
  g.module->walk([](GatedActivationOp op) { EXPECT_EQ(op.getAct(), "silu"); });
  EXPECT_EQ(g.count<GatedActivationOp>(), 2);
}

TEST(BuildGraph, IllegalSizesGiveNoModule) {
  import::ModelConfig c = config();
  c.headDim = 18; // not a multiple of 4
  std::string text;
  mlir::MLIRContext context;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    text += d.str();
    return mlir::success();
  });
  EXPECT_FALSE(import::buildModule(context, c));
  EXPECT_NE(text.find("head_dim: expected a multiple of 4 that divides 72, got 18"), std::string::npos)
      << text;
}

} // namespace
