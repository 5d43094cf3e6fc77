// Inside compiler/pack: one function for each packing, chosen in Pack.cpp.
#pragma once
#include "compiler/pack/Pack.h"
#include "runtime/format/layouts.h"

namespace bitnet::compiler {
using Sink = std::function<llvm::Error(const uint8_t *, size_t)>;

/// Hands on the stripes of a matrix in order, and zeros after the last one of each stream (layouts.h,
/// Streams).
class StreamSink {
public:
  StreamSink(int32_t n, int32_t lines, const Sink &sink)
      : stripes_(format::stream_stripes(n)), bytes_(size_t(lines) * 64),
        gap_((size_t(format::stream_lines(n, lines)) - size_t(stripes_) * size_t(lines)) * 64), sink_(sink) {}
  llvm::Error stripe(const uint8_t *bytes) {
    if (llvm::Error e = sink_(bytes, bytes_))
      return e;
    if (++written_ % stripes_ || gap_.empty())
      return llvm::Error::success();
    return sink_(gap_.data(), gap_.size());
  }

private:
  int32_t stripes_, written_ = 0;
  size_t bytes_;
  std::vector<uint8_t> gap_;
  const Sink &sink_;
};

llvm::Error packTernary(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packU2(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packD2(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packRowScale(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packGroupScale(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packF16(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report);
llvm::Error packS8(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packS8Scale(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packF32(const Constant &c, const WeightSource &weights, const Sink &sink);
llvm::Error packRope(const Constant &c, const Sink &sink);
llvm::Error packScreen(const Constant &c, const WeightSource &weights, const Sink &sink);

// The proofs (PackProof.cpp): do the packed bytes decode to the trits, each one? `trits` has `cols` a row.
bool t2StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe);
bool t3StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe);
bool t5StripeHolds(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe);
bool u2RowHolds(const int8_t *trits, int32_t cols, const uint8_t *row);
/// n <= kD2Columns columns of [rows, cols]; trits and bytes begin at the first of them.
bool d2ColumnsHold(const int8_t *trits, int32_t rows, int32_t cols, int32_t n, const uint8_t *columns);
/// Columns that D2 is packed by: what one pass over a row reads is a cache line.
constexpr int32_t kD2Columns = 64;

/// Calls `stripe` with f32 values [16, cols] of each 16-row stripe of a dense matrix, rows beyond the tensor
/// zero.
llvm::Error forEachStripe(const Constant &c, const WeightSource &weights,
                          const std::function<llvm::Error(const float *values, int32_t firstRow)> &stripe);
} // namespace bitnet::compiler
