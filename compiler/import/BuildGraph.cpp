// See BuildGraph.h. Every linear layer reads int8 activations; quantisers are shared where the input is.
// Families differ in options only, so each option stands once, at the place where it matters.
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
    if (c_.embeds)
      results[0] = normed;
    else
      results[0] =
          LinearOp::create(b_, loc_, rows(c_.vocab), normed, c_.tiedHead ? table : matrix("output.weight"));
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
    SmallVector<Type> results = {rows(c_.embeds ? c_.width : c_.vocab)};
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
    SmallVector<Value> qkv =
        linears(norm(x, blk + "attn_norm.weight"),
                {{blk + "attn_q", qWidth}, {blk + "attn_k", kvWidth}, {blk + "attn_v", kvWidth}});
    Value q = qkv[0], k = qkv[1], v = qkv[2];
    if (c_.headNorms)
      q = headNorm(q, blk + "attn_q_norm.weight"), k = headNorm(k, blk + "attn_k_norm.weight");
    q = rope(layer, q), k = rope(layer, k);
    cache = KvAppendOp::create(b_, loc_, cache.getType(), k, v, slots_, cache);
    Value o = AttentionOp::create(b_, loc_, q.getType(), q, cache, positions_, sequences_, blockTable_);
    if (c_.attnSubNorm)
      o = subNorm(o, blk + "attn_sub_norm.weight");
    Value y = linears(o, {{blk + "attn_output", c_.width}}).front();
    if (c_.postNorms)
      y = norm(y, blk + "post_attention_norm.weight");
    return AddOp::create(b_, loc_, x.getType(), x, y);
  }

  Value feedForward(int32_t layer, Value x) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    SmallVector<Value> gateUp = linears(norm(x, blk + "ffn_norm.weight"),
                                        {{blk + "ffn_gate", c_.ffnWidth}, {blk + "ffn_up", c_.ffnWidth}});
    Value gate = gateUp[0];
    Value h = GatedActivationOp::create(b_, loc_, gate.getType(), gate, gateUp[1], format::act_name(c_.act));
    if (c_.ffnSubNorm)
      h = subNorm(h, blk + "ffn_sub_norm.weight");
    Value y = linears(h, {{blk + "ffn_down", c_.width}}).front();
    if (c_.postNorms)
      y = norm(y, blk + "post_ffw_norm.weight");
    return AddOp::create(b_, loc_, x.getType(), x, y);
  }

  struct Matrix {
    std::string name; ///< without ".weight"
    int32_t rows;
  };
  /// The products of x with matrices: of its int8 rows, or of those of a norm that each matrix has.
  SmallVector<Value> linears(Value x, ArrayRef<Matrix> matrices) {
    SmallVector<Value> products;
    Quantized shared;
    if (!c_.linearNorms)
      shared = quantize(x);
    for (const Matrix &m : matrices) {
      Quantized in =
          c_.linearNorms ? quantize(norm(x, m.name + "_norm_in.weight", c_.linearNormEps)) : shared;
      products.push_back(ternary(in, m.name + ".weight", m.rows, int32_t(width(x.getType()))));
    }
    return products;
  }

  Type rows(int32_t width) { return RankedTensorType::get({ShapedType::kDynamic, width}, b_.getF32Type()); }

  Value weight(const std::string &name, Type type) {
    return WeightOp::create(b_, loc_, type, b_.getStrArrayAttr({StringRef(name)}), DenseI32ArrayAttr());
  }
  Value matrix(const std::string &name) {
    return weight(name, RankedTensorType::get({c_.vocab, c_.width}, b_.getF16Type()));
  }

  /// eps 0: that of most norms.
  Value norm(Value x, const std::string &name, float eps = 0) {
    return normBy(x, name, int32_t(width(x.getType())), eps);
  }
  Value subNorm(Value x, const std::string &name) { return norm(x, name, c_.subNormEps); }
  Value headNorm(Value x, const std::string &name) { return normBy(x, name, c_.headDim, 0); }
  Value normBy(Value x, const std::string &name, int32_t columns, float eps) {
    Value gain = weight(name, RankedTensorType::get({columns}, b_.getF32Type()));
    return RmsNormOp::create(b_, loc_, x.getType(), x, gain, b_.getF32FloatAttr(eps > 0 ? eps : c_.normEps));
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

  Value rope(int32_t layer, Value x) {
    const bool local = size_t(layer) < c_.localLayers.size() && c_.localLayers[size_t(layer)];
    const float theta = local ? c_.localRopeTheta : c_.ropeTheta;
    DenseF64ArrayAttr frequencies;
    FloatAttr magnitude;
    if (!local && c_.ropeScaling.kind != RopeScaling::Kind::none) {
      frequencies = b_.getDenseF64ArrayAttr(ropeFrequencies(c_.ropeScaling, theta, c_.headDim));
      magnitude = b_.getF32FloatAttr(ropeMagnitude(c_.ropeScaling));
    }
    return RopeOp::create(b_, loc_, x.getType(), x, positions_, b_.getF32FloatAttr(theta),
                          b_.getI32IntegerAttr(c_.headDim), b_.getI32IntegerAttr(c_.context), frequencies,
                          magnitude);
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
