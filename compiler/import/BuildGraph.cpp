// See BuildGraph.h. Every linear layer reads int8 activations; quantisers are shared where the input is.
#include "compiler/import/BuildGraph.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::import {
namespace {

struct Quantized {
  Value q, s;
};

class GraphBuilder {
public:
  GraphBuilder(MLIRContext &context, const ModelConfig &config, const ScaleGroups &groups)
      : c_(config), groups_(groups), b_(&context), loc_(b_.getUnknownLoc()) {}

  OwningOpRef<ModuleOp> build() {
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc_);
    b_.setInsertionPointToEnd(module->getBody());
    func::FuncOp step = declareStep();
    b_.setInsertionPointToStart(step.addEntryBlock());

    auto input = [&](unsigned i) { return step.getArgument(i); };
    positions_ = input(1), sequences_ = input(2), slots_ = input(3), blockTable_ = input(4);
    Value table = matrix("token_embd.weight");
    Value x = EmbeddingOp::create(b_, loc_, rows(c_.width), input(0), table);
    SmallVector<Value> results(1);
    for (int32_t layer = 0; layer < c_.layers; ++layer) {
      Value cache = input(kInputs + layer);
      x = feedForward(layer, attention(layer, x, cache));
      results.push_back(cache);
    }
    // Only wanted rows reach the final norm and the head.
    Value wanted = GatherRowsOp::create(b_, loc_, x.getType(), x, input(5));
    Value normed = norm(wanted, "output_norm.weight");
    Value head = c_.tiedHead ? table : matrix("output.weight");
    results[0] = LinearOp::create(b_, loc_, rows(c_.vocab), normed, head);
    func::ReturnOp::create(b_, loc_, results);
    if (failed(verify(*module)))
      return {};
    return module;
  }

private:
  static constexpr unsigned kInputs = 6;

  func::FuncOp declareStep() {
    Type index = RankedTensorType::get({ShapedType::kDynamic}, b_.getI32Type());
    Type table = RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b_.getI32Type());
    SmallVector<Type> args = {index, index, index, index, table, index};
    args.append(c_.layers, KvCacheType::get(b_.getContext(), c_.kvHeads, c_.headDim));
    SmallVector<Type> results = {rows(c_.vocab)};
    results.append(args.begin() + kInputs, args.end());
    auto step = func::FuncOp::create(b_, loc_, "step", b_.getFunctionType(args, results));
    const char *names[kInputs] = {"tokens", "positions", "sequences", "slots", "block_table", "logit_rows"};
    for (unsigned i = 0; i < kInputs; ++i)
      step.setArgAttr(i, kInputAttr, b_.getStringAttr(names[i]));
    return step;
  }

  Value attention(int32_t layer, Value x, Value &cache) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    const int32_t qWidth = c_.heads * c_.headDim, kvWidth = c_.kvHeads * c_.headDim;
    Quantized in = quantize(norm(x, blk + "attn_norm.weight"));
    Value q = ternary(in, blk + "attn_q.weight", qWidth, c_.width);
    Value k = ternary(in, blk + "attn_k.weight", kvWidth, c_.width);
    Value v = ternary(in, blk + "attn_v.weight", kvWidth, c_.width);
    q = rope(q), k = rope(k);
    cache = KvAppendOp::create(b_, loc_, cache.getType(), k, v, slots_, cache);
    Value o = AttentionOp::create(b_, loc_, q.getType(), q, cache, positions_, sequences_, blockTable_);
    if (c_.attnSubNorm)
      o = subNorm(o, blk + "attn_sub_norm.weight");
    Value y = ternary(quantize(o), blk + "attn_output.weight", c_.width, qWidth);
    return AddOp::create(b_, loc_, x.getType(), x, y);
  }

  Value feedForward(int32_t layer, Value x) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    Quantized in = quantize(norm(x, blk + "ffn_norm.weight"));
    Value gate = ternary(in, blk + "ffn_gate.weight", c_.ffnWidth, c_.width);
    Value up = ternary(in, blk + "ffn_up.weight", c_.ffnWidth, c_.width);
    Value h = GatedActivationOp::create(b_, loc_, gate.getType(), gate, up, format::act_name(c_.act));
    if (c_.ffnSubNorm)
      h = subNorm(h, blk + "ffn_sub_norm.weight");
    Value y = ternary(quantize(h), blk + "ffn_down.weight", c_.width, c_.ffnWidth);
    return AddOp::create(b_, loc_, x.getType(), x, y);
  }

  Type rows(int32_t width) { return RankedTensorType::get({ShapedType::kDynamic, width}, b_.getF32Type()); }

  Value weight(const std::string &name, Type type) {
    return WeightOp::create(b_, loc_, type, b_.getStrArrayAttr({StringRef(name)}), DenseI32ArrayAttr());
  }
  Value matrix(const std::string &name) {
    return weight(name, RankedTensorType::get({c_.vocab, c_.width}, b_.getF16Type()));
  }

  Value norm(Value x, const std::string &name) { return norm(x, name, c_.normEps); }
  Value subNorm(Value x, const std::string &name) {
    return norm(x, name, c_.subNormEps > 0 ? c_.subNormEps : c_.normEps);
  }
  Value norm(Value x, const std::string &name, float eps) {
    Value gain = weight(name, RankedTensorType::get({width(x.getType())}, b_.getF32Type()));
    return RmsNormOp::create(b_, loc_, x.getType(), x, gain, b_.getF32FloatAttr(eps));
  }

  Quantized quantize(Value x) {
    Type q = RankedTensorType::get({ShapedType::kDynamic, width(x.getType())}, b_.getI8Type());
    Type s = RankedTensorType::get({ShapedType::kDynamic}, b_.getF32Type());
    auto op = QuantizeActivationOp::create(b_, loc_, q, s, x);
    return {op.getQ(), op.getS()};
  }

  Value ternary(Quantized in, const std::string &name, int32_t n, int32_t k) {
    auto group = groups_.find(name);
    Value w =
        weight(name, TernaryType::get(b_.getContext(), n, k, group == groups_.end() ? 0 : group->second));
    return TernaryLinearOp::create(b_, loc_, rows(n), in.q, in.s, w, Value());
  }

  Value rope(Value x) {
    return RopeOp::create(b_, loc_, x.getType(), x, positions_, b_.getF32FloatAttr(c_.ropeTheta),
                          b_.getI32IntegerAttr(c_.headDim), b_.getI32IntegerAttr(c_.context));
  }

  const ModelConfig &c_;
  const ScaleGroups &groups_;
  OpBuilder b_;
  Location loc_;
  Value positions_, sequences_, slots_, blockTable_;
};

} // namespace

OwningOpRef<ModuleOp> buildModule(MLIRContext &context, const ModelConfig &config,
                                  const ScaleGroups &groups) {
  context.loadDialect<BitNetDialect, func::FuncDialect>();
  return GraphBuilder(context, config, groups).build();
}

} // namespace bitnet::import
