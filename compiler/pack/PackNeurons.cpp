// U2 and D2: ternary matrices by neuron (runtime/format/layouts.h), so that a kernel can leave neurons out.
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"
#include <algorithm>

using namespace llvm;

namespace bitnet::compiler {
namespace {

/// The one matrix of the constant, whose rows are not padded.
Expected<import::TernaryMatrix> matrixOf(const Constant &c, const WeightSource &weights) {
  Expected<import::TernaryMatrix> m = weights.ternary(c.names.front());
  if (m && (m->rows != c.rows || m->cols != c.cols))
    return createStringError("packing '%s': expected %d x %d, got %d x %d", c.names.front().c_str(), c.rows,
                             c.cols, m->rows, m->cols);
  return m;
}

Error decodesWrong(const Constant &c, int32_t first, int32_t last) {
  return createStringError("packing '%s': %ss %d..%d do not decode to what was read", c.names.front().c_str(),
                           c.packing == Packing::u2 ? "row" : "column", first, last);
}

} // namespace

Error packU2(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report) {
  Expected<import::TernaryMatrix> m = matrixOf(c, weights);
  if (!m)
    return m.takeError();
  std::vector<uint8_t> row(size_t(c.cols) / 4);
  for (int32_t r = 0; r < c.rows; ++r) {
    const int8_t *trits = m->trits.data() + size_t(r) * size_t(c.cols);
    for (int32_t line = 0; line < c.cols / 256; ++line)
      for (int32_t i = 0; i < 64; ++i) {
        const int8_t *t = trits + line * 256 + i;
        row[size_t(line * 64 + i)] =
            uint8_t((t[0] + 1) | (t[64] + 1) << 2 | (t[128] + 1) << 4 | (t[192] + 1) << 6);
      }
    if (!u2RowHolds(trits, c.cols, row.data()))
      return decodesWrong(c, r, r);
    if (Error e = sink(row.data(), row.size()))
      return e;
  }
  report.ternaryWeights += uint64_t(c.rows) * uint64_t(c.cols);
  return Error::success();
}

Error packD2(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report) {
  Expected<import::TernaryMatrix> m = matrixOf(c, weights);
  if (!m)
    return m.takeError();
  const size_t columnBytes = size_t(c.rows) / 4;
  std::vector<uint8_t> piece;
  for (int32_t first = 0; first < c.cols; first += kD2Columns) {
    const int32_t n = std::min(kD2Columns, c.cols - first);
    piece.assign(columnBytes * size_t(n), 0);
    for (int32_t r = 0; r < c.rows; ++r) {
      const int8_t *trits = m->trits.data() + size_t(r) * size_t(c.cols) + first;
      uint8_t *byte = piece.data() + format::d2_byte(c.rows, r, 0);
      const int shift = format::d2_shift(r);
      for (int32_t k = 0; k < n; ++k)
        byte[size_t(k) * columnBytes] |= uint8_t((trits[k] + 1) << shift);
    }
    if (!d2ColumnsHold(m->trits.data() + first, c.rows, c.cols, n, piece.data()))
      return decodesWrong(c, first, first + n - 1);
    if (Error e = sink(piece.data(), piece.size()))
      return e;
  }
  report.ternaryWeights += uint64_t(c.rows) * uint64_t(c.cols);
  return Error::success();
}

} // namespace bitnet::compiler
