// See TwinCall.h.
#include "compiler/interpreter/TwinCall.h"
#include "codegen/reference/twins.h"

namespace bitnet::compiler {

llvm::Error runTwin(format::Op op, const format::OpDims &dims, bool overLogitRows,
                    llvm::ArrayRef<TwinArg> args, const StepExtents &extents) {
  if (const char *why = format::op_dims_error(op, dims))
    return llvm::createStringError("kernel '%s': %s", format::op_name(op), why);
  const format::Signature s = format::signature(op, dims);
  if (int32_t(args.size()) != s.n_args)
    return llvm::createStringError("kernel '%s': expected %d arguments, got %zu", format::op_name(op),
                                   s.n_args, args.size());
  const int32_t callRows = overLogitRows ? extents.logits : extents.rows;
  const format::Extents symbols{callRows, extents.rows, extents.kvBlocks, extents.sequences,
                                extents.sequenceBlocks};
  format::Dim shape[format::kMaxArgs][5] = {};
  format::Buffer buffers[format::kMaxArgs] = {};
  void *pointers[format::kMaxArgs + 3];
  for (int32_t i = 0; i < s.n_args; ++i) {
    const format::Arg &arg = s.args[i];
    int32_t stride = 1;
    for (int32_t d = 0; d < arg.rank; ++d) {
      const bool isRow = arg.extent[d] == format::kRows || arg.extent[d] == format::kSrcRows;
      if (isRow && args[i].rowStride)
        stride = int32_t(args[i].rowStride / int64_t(format::elem_bytes(arg.elem)));
      const int32_t extent = format::resolve_extent(arg.extent[d], symbols);
      shape[i][d] = {0, extent, stride, 0};
      stride *= extent;
    }
    buffers[i].host = static_cast<uint8_t *>(args[i].data);
    buffers[i].dimensions = arg.rank;
    buffers[i].dim = shape[i];
    pointers[i] = &buffers[i];
  }
  int32_t rows = callRows, begin = 0, end = format::work_units(s, rows, extents.lastPosition);
  pointers[s.n_args] = &rows;
  pointers[s.n_args + 1] = &begin;
  pointers[s.n_args + 2] = &end;
  if (codegen::run_twin(op, dims, pointers))
    return llvm::createStringError("kernel '%s': no scalar twin", format::op_name(op));
  return llvm::Error::success();
}

} // namespace bitnet::compiler
