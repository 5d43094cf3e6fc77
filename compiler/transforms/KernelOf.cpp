// See KernelOf.h.
#include "compiler/transforms/KernelOf.h"
#include "dialects/BitNet/BitNet.h"
#include "runtime/format/layouts.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::bitnet;

namespace bitnet::compiler {
namespace {

int32_t widthOf(Value v) { return int32_t(width(v.getType())); }

KernelOf withWidth(format::Op op, Value x) {
  KernelOf k{op, {}};
  k.dims.k = widthOf(x);
  return k;
}

KernelOf norm(format::Op op, Value x, const llvm::APFloat &eps) {
  KernelOf k = withWidth(op, x);
  k.dims.eps = eps.convertToFloat();
  return k;
}

KernelOf matrix(format::Op op, int64_t rows, int64_t cols) {
  KernelOf k{op, {}};
  k.dims.n = paddedRows(rows);
  k.dims.k = int32_t(cols);
  return k;
}

/// How select-kernels packs this ternary matrix, if in another way than t2.
kernel::Packing stripePacking(Value weight) {
  Operation *op = weight.getDefiningOp();
  const auto packing = op ? op->getAttrOfType<StringAttr>(kPackingAttr) : StringAttr();
  for (kernel::Packing p : {kernel::Packing::t3, kernel::Packing::t5})
    if (packing && packing.getValue() == kernel::stringifyPacking(p))
      return p;
  return kernel::Packing::t2;
}

KernelOf ternaryMatrix(TypedValue<TernaryType> w) {
  const kernel::Packing packing = stripePacking(w);
  const format::Op op = packing == kernel::Packing::t3   ? format::Op::linear_t3
                        : packing == kernel::Packing::t5 ? format::Op::linear_t5
                                                         : format::Op::linear_t2;
  KernelOf k = matrix(op, w.getType().getRows(), w.getType().getCols());
  k.dims.group = int32_t(w.getType().getGroup());
  return k;
}

KernelOf gate(format::Op op, Value gate, StringRef act) {
  KernelOf k = withWidth(op, gate);
  k.dims.act = format::act_from_name(act.str().c_str());
  return k;
}

} // namespace

const char *kernelError(Operation *op, const KernelOf &kernel) {
  // The other ops' widths are exact; a linear's result may be padded, which its epilogue's argument is not.
  if (kernel.dims.epilogue != format::Epilogue::none && kernel.dims.n != widthOf(op->getResult(0)))
    return "a linear with a residual or gate must have a multiple of 16 rows";
  return format::op_dims_error(kernel.op, kernel.dims);
}

int32_t paddedRows(int64_t rows) {
  // Types bound rows by 2^31 - 1; sizes above that wrap to a negative number, which no kernel takes.
  return int32_t(uint32_t((rows + format::kRowTile - 1) / format::kRowTile * format::kRowTile));
}

SmallVector<PackedShape, 2> packedShapes(Value value) {
  using kernel::Packing;
  const Type weight = value.getType();
  if (auto t = dyn_cast<TernaryType>(weight)) {
    const int32_t rows = paddedRows(t.getRows());
    return {{stripePacking(value), rows, int32_t(t.getCols())},
            {t.getGroup() ? Packing::group_scale : Packing::row_scale, rows,
             int32_t(t.getGroup() ? t.groups() : t.getCols())}};
  }
  if (auto t = dyn_cast<Int8MatrixType>(weight)) {
    const int32_t rows = paddedRows(t.getRows());
    return {{Packing::s8, rows, int32_t(t.getCols())}, {Packing::s8_scale, rows, int32_t(t.getCols())}};
  }
  auto t = cast<RankedTensorType>(weight);
  if (t.getRank() == 2)
    return {{Packing::f16, paddedRows(t.getDimSize(0)), int32_t(t.getDimSize(1))}};
  return {{Packing::f32, 1, int32_t(t.getDimSize(0))}};
}

std::optional<KernelOf> kernelOf(Operation *op) {
  return TypeSwitch<Operation *, std::optional<KernelOf>>(op)
      .Case([](EmbeddingOp op) {
        auto table = cast<RankedTensorType>(op.getTable().getType());
        return matrix(format::Op::embed, table.getDimSize(0), table.getDimSize(1));
      })
      .Case([](RmsNormOp op) {
        KernelOf k = norm(format::Op::rms_norm, op.getX(), op.getEps());
        if (const int32_t head = widthOf(op.getGain()); head != k.dims.k) { // each head by itself
          k.op = format::Op::head_norm;
          k.dims.head_dim = head;
          k.dims.heads = k.dims.k / head;
          k.dims.k = 0;
        }
        return k;
      })
      .Case([](QuantizeActivationOp op) { return withWidth(format::Op::quantize, op.getX()); })
      .Case([](NormQuantizeOp op) { return norm(format::Op::norm_quant, op.getX(), op.getEps()); })
      .Case([](TernaryLinearOp op) {
        KernelOf k = ternaryMatrix(op.getW());
        if (op.getResidual())
          k.dims.epilogue = format::Epilogue::residual;
        return k;
      })
      .Case([](GatedLinearOp op) {
        KernelOf k = ternaryMatrix(op.getW());
        k.dims.epilogue = format::Epilogue::gate;
        k.dims.act = format::act_from_name(op.getAct().str().c_str());
        return k;
      })
      .Case([](LinearOp op) {
        auto w = cast<RankedTensorType>(op.getW().getType());
        return matrix(format::Op::linear_f16, w.getDimSize(0), w.getDimSize(1));
      })
      .Case([](Int8LinearOp op) {
        return matrix(format::Op::linear_s8, op.getW().getType().getRows(), op.getW().getType().getCols());
      })
      .Case([](RopeOp op) {
        KernelOf k{format::Op::rope, {}};
        k.dims.head_dim = int32_t(op.getHeadDim());
        k.dims.heads = widthOf(op.getX()) / k.dims.head_dim;
        k.dims.context = int32_t(op.getContextLength());
        return k;
      })
      .Case([](KvAppendOp op) {
        KernelOf k{op.getCache().getType().getQ8() ? format::Op::kv_append_q8 : format::Op::kv_append, {}};
        k.dims.kv_heads = int32_t(op.getCache().getType().getHeads());
        k.dims.head_dim = int32_t(op.getCache().getType().getHeadDim());
        return k;
      })
      .Case([](AttentionOp op) {
        KernelOf k{op.getCache().getType().getQ8() ? format::Op::attention_q8 : format::Op::attention, {}};
        k.dims.kv_heads = int32_t(op.getCache().getType().getHeads());
        k.dims.head_dim = int32_t(op.getCache().getType().getHeadDim());
        k.dims.heads = widthOf(op.getQ()) / k.dims.head_dim;
        return k;
      })
      .Case([](GatedActivationOp op) { return gate(format::Op::gate, op.getGate(), op.getAct()); })
      .Case([](AddOp op) { return withWidth(format::Op::add, op.getA()); })
      .Case([](GatherRowsOp op) { return withWidth(format::Op::gather_rows, op.getX()); })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace bitnet::compiler
