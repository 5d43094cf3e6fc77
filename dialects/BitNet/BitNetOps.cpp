// Verifiers and folds of the bitnet ops. Comments C1... name the constraints of BitNetOps.td.
#include "dialects/BitNet/BitNet.h"
#include <cmath>

using namespace mlir;
using namespace mlir::bitnet;

#define GET_OP_CLASSES
#include "dialects/BitNet/BitNetOps.cpp.inc"

/// what: expected X, got Y.
static LogicalResult expectSize(Operation *op, const char *what, int64_t expected, int64_t got) {
  if (expected == got)
    return success();
  return op->emitOpError() << what << ": expected " << expected << ", got " << got;
}

SmallVector<int32_t> WeightOp::partRows() {
  if (std::optional<ArrayRef<int32_t>> rows = getRows())
    return SmallVector<int32_t>(*rows);
  Type type = getValue().getType();
  if (auto t = dyn_cast<TernaryType>(type))
    return {int32_t(t.getRows())};
  if (auto t = dyn_cast<Int8MatrixType>(type))
    return {int32_t(t.getRows())};
  auto t = cast<RankedTensorType>(type);
  return {t.getRank() == 1 ? 1 : int32_t(t.getDimSize(0))};
}

LogicalResult WeightOp::verify() {
  // C1
  if (getNames().empty())
    return emitOpError("names: expected at least one, got none");
  for (Attribute name : getNames())
    if (cast<StringAttr>(name).empty())
      return emitOpError("names: expected tensor names, got an empty one");
  // C2
  auto ternary = dyn_cast<TernaryType>(getValue().getType());
  if (getNames().size() > 1 && !ternary)
    return emitOpError("names: expected one name for ")
           << getValue().getType() << ", got " << getNames().size();
  // C3
  if (!getRows()) {
    if (getNames().size() > 1)
      return emitOpError("rows: expected the rows of each of ") << getNames().size() << " names, got none";
    return success();
  }
  if (!ternary)
    return emitOpError("rows: expected only with a ternary matrix, got ") << getValue().getType();
  const ArrayRef<int32_t> rows = *getRows();
  if (failed(expectSize(*this, "entries of rows", getNames().size(), rows.size())))
    return failure();
  int64_t total = 0;
  for (int32_t part : rows) {
    if (part < 1)
      return emitOpError("rows: expected positive numbers, got ") << part;
    total += part;
  }
  return expectSize(*this, "sum of rows", ternary.getRows(), total);
}

LogicalResult EmbeddingOp::verify() { // C1
  return expectSize(*this, "width of the result", width(getTable().getType()), width(getY().getType()));
}

LogicalResult RmsNormOp::verify() { // C1
  const int64_t k = width(getX().getType()), gain = width(getGain().getType());
  if (gain < 1 || k % gain)
    return emitOpError("elements of gain: expected a divisor of ") << k << ", got " << gain;
  return success();
}

LogicalResult QuantizeActivationOp::verify() { // C1
  return expectSize(*this, "width of q", width(getX().getType()), width(getQ().getType()));
}

LogicalResult NormQuantizeOp::verify() {
  const int64_t k = width(getX().getType());
  if (failed(expectSize(*this, "elements of gain", k, width(getGain().getType())))) // C1
    return failure();
  return expectSize(*this, "width of q", k, width(getQ().getType())); // C2
}

/// C1 and C2 of the linear ops.
static LogicalResult verifyLinear(Operation *op, Value in, int64_t rows, int64_t cols, Value out) {
  if (failed(expectSize(op, "width of the input", cols, width(in.getType()))))
    return failure();
  return expectSize(op, "width of the result", rows, width(out.getType()));
}

LogicalResult TernaryLinearOp::verify() {
  TernaryType w = getW().getType();
  if (failed(verifyLinear(*this, getQ(), w.getRows(), w.getCols(), getY())))
    return failure();
  if (getResidual() && getResidual().getType() != getY().getType()) // C3
    return emitOpError("residual: expected ") << getY().getType() << ", got " << getResidual().getType();
  return success();
}

LogicalResult LinearOp::verify() {
  auto w = cast<RankedTensorType>(getW().getType());
  return verifyLinear(*this, getX(), w.getDimSize(0), w.getDimSize(1), getY());
}

LogicalResult Int8LinearOp::verify() {
  Int8MatrixType w = getW().getType();
  return verifyLinear(*this, getQ(), w.getRows(), w.getCols(), getY());
}

LogicalResult RopeOp::verify() {
  // C1
  const int64_t headDim = int32_t(getHeadDim()), k = width(getX().getType());
  if (headDim < 4 || headDim % 4 || k % headDim)
    return emitOpError("head_dim: expected a multiple of 4 that divides ") << k << ", got " << headDim;
  // C2
  if (!(getTheta().convertToFloat() > 0))
    return emitOpError("theta: expected a positive number, got ") << getTheta().convertToFloat();
  if (int32_t(getContextLength()) < 1)
    return emitOpError("context_length: expected a positive number, got ") << int32_t(getContextLength());
  // C3
  if (!getFrequencies())
    return getMagnitude() ? emitOpError("magnitude: expected only with frequencies") : success();
  const ArrayRef<double> frequencies = *getFrequencies();
  if (failed(expectSize(*this, "elements of frequencies", headDim / 2, frequencies.size())))
    return failure();
  for (double f : frequencies)
    if (!std::isfinite(f))
      return emitOpError("frequencies: expected finite numbers, got ") << f;
  if (getMagnitude() && !(getMagnitude()->isFinite() && getMagnitude()->convertToFloat() > 0))
    return emitOpError("magnitude: expected a positive number, got ") << getMagnitude()->convertToFloat();
  return success();
}

LogicalResult KvAppendOp::verify() {
  // C1
  const int64_t k = getCache().getType().getHeads() * getCache().getType().getHeadDim();
  if (failed(expectSize(*this, "width of k", k, width(getK().getType()))) ||
      failed(expectSize(*this, "width of v", k, width(getV().getType()))))
    return failure();
  // C2
  for (Operation *user : getCache().getUsers())
    if (isa<KvAppendOp>(user) && user != getOperation())
      return emitOpError("cache: expected a value that no other kv_append uses");
  return success();
}

LogicalResult AttentionOp::verify() {
  // C1
  const int64_t kv = getCache().getType().getHeads() * getCache().getType().getHeadDim();
  const int64_t k = width(getQ().getType());
  if (k % kv)
    return emitOpError("width of q: expected a multiple of ") << kv << ", got " << k;
  return success();
}

LogicalResult GatedLinearOp::verify() {
  TernaryType w = getW().getType();
  return verifyLinear(*this, getQ(), w.getRows(), w.getCols(), getH());
}

LogicalResult SplitOp::verify() { // C1
  if (getPieces().empty())
    return emitOpError("pieces: expected at least one, got none");
  int64_t total = 0;
  for (Value piece : getPieces())
    total += width(piece.getType());
  return expectSize(*this, "sum of the pieces' widths", width(getX().getType()), total);
}

LogicalResult SplitOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  if (getPieces().size() != 1)
    return failure();
  results.push_back(getX());
  return success();
}

namespace {
/// split(piece of split(x)) ==> one split of x, when nobody else uses the piece.
struct FlattenNestedSplit : OpRewritePattern<SplitOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SplitOp inner, PatternRewriter &rewriter) const override {
    auto outer = inner.getX().getDefiningOp<SplitOp>();
    if (!outer)
      return rewriter.notifyMatchFailure(inner, "not a piece of a split");
    if (!inner.getX().hasOneUse())
      return rewriter.notifyMatchFailure(inner, "the piece has another use");
    const unsigned at = cast<OpResult>(inner.getX()).getResultNumber();
    SmallVector<Type> types;
    for (Value piece : outer.getPieces()) {
      if (piece == inner.getX())
        llvm::append_range(types, inner.getResultTypes());
      else
        types.push_back(piece.getType());
    }
    rewriter.setInsertionPoint(outer);
    auto flat = SplitOp::create(rewriter, outer.getLoc(), types, outer.getX());
    const unsigned n = inner.getNumResults();
    for (unsigned i = 0; i < n; ++i)
      rewriter.replaceAllUsesWith(inner.getResult(i), flat.getResult(at + i));
    for (unsigned i = 0; i < outer.getNumResults(); ++i)
      if (i != at)
        rewriter.replaceAllUsesWith(outer.getResult(i), flat.getResult(i < at ? i : i + n - 1));
    rewriter.eraseOp(inner);
    rewriter.eraseOp(outer);
    return success();
  }
};
} // namespace

void SplitOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FlattenNestedSplit>(context);
}
