// Layouts A ("2-bit stripes"), B ("base 3") and C ("three in five bits") of runtime/format/layouts.h, and the
// scales that go with them.
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"
#include <cstring>

using namespace llvm;

namespace bitnet::compiler {

void packT2Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out) {
  // Code of a zero weight is 1 in all four fields of a byte; absent rows keep it.
  std::memset(out, 0x55, size_t(cols) * 4);
  for (int32_t r = 0; r < rows; ++r) {
    const int8_t *row = trits + size_t(r) * cols;
    for (int32_t kb = 0; kb < cols / 16; ++kb) {
      const int8_t *t = row + 16 * kb;
      uint8_t *line = out + size_t(kb) * 64 + size_t(r) * 4;
      for (int32_t j = 0; j < 4; ++j)
        line[j] = uint8_t((t[j] + 1) | (t[4 + j] + 1) << 2 | (t[8 + j] + 1) << 4 | (t[12 + j] + 1) << 6);
    }
  }
}

void packT3Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out) {
  const int32_t lines = format::t3_lines(cols);
  for (int32_t line = 0; line < lines; ++line)
    for (int32_t r = 0; r < format::kRowTile; ++r)
      for (int32_t j = 0; j < 4; ++j) {
        int32_t code[5];
        for (int32_t p = 0; p < 5; ++p) {
          const int32_t col = 20 * line + 4 * p + j;
          code[p] = col >= cols ? 0 : r < rows ? trits[size_t(r) * cols + col] + 1 : 1;
        }
        out[size_t(line) * 64 + size_t(r) * 4 + j] =
            format::t3_encode(code[0], code[1], code[2], code[3], code[4]);
      }
}

void packT5Stripe(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out) {
  uint64_t spread[3][3][3]; // bit b of a triple as bit 8 * b
  for (int32_t c0 = 0; c0 < 3; ++c0)
    for (int32_t c1 = 0; c1 < 3; ++c1)
      for (int32_t c2 = 0; c2 < 3; ++c2) {
        spread[c0][c1][c2] = 0;
        for (int b = 0; b < format::kT5Lines; ++b)
          spread[c0][c1][c2] |= uint64_t(format::t5_encode(c0, c1, c2) >> b & 1) << 8 * b;
      }
  for (int32_t r = 0; r < format::kRowTile; ++r)
    for (int32_t first = 0; first < cols; first += format::kT5Inputs)
      for (int32_t j = 0; j < 4; ++j) {
        const auto code = [&](int32_t col) {
          return col >= cols ? 0 : r < rows ? trits[size_t(r) * size_t(cols) + size_t(col)] + 1 : 1;
        };
        uint64_t bytes = 0; // of the block's five lines
        for (int32_t col = first + j; col < first + 32; col += 4)
          bytes |= spread[code(col)][code(col + 32)][code(col + 64)] << format::t5_shift(col);
        for (int b = 0; b < format::kT5Lines; ++b)
          out[size_t(first / format::kT5Inputs * format::kT5Lines + b) * 64 + size_t(r) * 4 + size_t(j)] =
              uint8_t(bytes >> 8 * b);
      }
}

namespace {

/// A ternary packing's lines of a stripe, its packer and its proof.
struct StripePacking {
  int32_t (*lines)(int32_t cols);
  void (*pack)(const int8_t *trits, int32_t rows, int32_t cols, uint8_t *out);
  bool (*holds)(const int8_t *trits, int32_t rows, int32_t cols, const uint8_t *stripe);
};
StripePacking stripePacking(Packing p) {
  switch (p) {
  case Packing::t3:
    return {format::t3_lines, packT3Stripe, t3StripeHolds};
  case Packing::t5:
    return {format::t5_lines, packT5Stripe, t5StripeHolds};
  default:
    return {format::t2_lines, packT2Stripe, t2StripeHolds};
  }
}

/// Rows of several matrices, one after the other, cut into stripes of 16 that may span two matrices.
struct StripeWriter {
  const Constant &constant;
  StripePacking packing;
  StreamSink sink;
  PackReport &report;
  std::vector<int8_t> trits; // [16, cols], filled rows
  std::vector<uint8_t> bytes;
  int32_t filled = 0, written = 0;

  Error flush() {
    packing.pack(trits.data(), filled, constant.cols, bytes.data());
    if (!packing.holds(trits.data(), filled, constant.cols, bytes.data()))
      return createStringError("packing '%s': rows %d..%d do not decode to what was read",
                               constant.names.front().c_str(), written, written + filled - 1);
    written += format::kRowTile;
    filled = 0;
    return sink.stripe(bytes.data());
  }

  Error add(const import::TernaryMatrix &m) {
    for (int32_t r = 0; r < m.rows; ++r) {
      std::memcpy(trits.data() + size_t(filled) * m.cols, m.trits.data() + size_t(r) * m.cols,
                  size_t(m.cols));
      if (++filled == format::kRowTile)
        if (Error e = flush())
          return e;
    }
    report.ternaryWeights += uint64_t(m.rows) * uint64_t(m.cols);
    return Error::success();
  }
};

} // namespace

Error packTernary(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report) {
  const StripePacking packing = stripePacking(c.packing);
  const int32_t lines = packing.lines(c.cols);
  StripeWriter out{c,
                   packing,
                   StreamSink(c.rows, lines, sink),
                   report,
                   std::vector<int8_t>(size_t(16) * c.cols),
                   std::vector<uint8_t>(size_t(lines) * 64)};
  for (const std::string &name : c.names) {
    Expected<import::TernaryMatrix> m = weights.ternary(name);
    if (!m)
      return m.takeError();
    if (m->cols != c.cols)
      return createStringError("packing '%s': expected %d columns, got %d", name.c_str(), c.cols, m->cols);
    if (Error e = out.add(*m))
      return e;
  }
  while (out.filled || out.written < c.rows)
    if (Error e = out.flush())
      return e;
  if (out.written != c.rows)
    return createStringError("packing '%s': expected %d rows, got %d", c.names.front().c_str(), c.rows,
                             out.written);
  return Error::success();
}

namespace {

/// The scales of the constant's matrices, `groups` a row, 0 for the rows beyond them.
Expected<std::vector<float>> scalesOf(const Constant &c, const WeightSource &weights, int32_t groups) {
  std::vector<float> scales;
  for (const std::string &name : c.names) {
    Expected<std::vector<float>> part = weights.scales(name, groups);
    if (!part)
      return part.takeError();
    scales.insert(scales.end(), part->begin(), part->end());
  }
  const size_t expected = size_t(c.rows) * size_t(groups);
  if (scales.size() > expected)
    return createStringError("packing scales of '%s': expected at most %d rows, got %zu",
                             c.names.front().c_str(), c.rows, scales.size() / size_t(groups));
  scales.resize(expected, 0.0f);
  return scales;
}

} // namespace

Error packRowScale(const Constant &c, const WeightSource &weights, const Sink &sink) {
  Expected<std::vector<float>> scales = scalesOf(c, weights, 1);
  if (!scales)
    return scales.takeError();
  return sink(reinterpret_cast<const uint8_t *>(scales->data()), scales->size() * sizeof(float));
}

Error packGroupScale(const Constant &c, const WeightSource &weights, const Sink &sink) {
  Expected<std::vector<float>> scales = scalesOf(c, weights, c.cols);
  if (!scales)
    return scales.takeError();
  std::vector<float> out(size_t(format::group_scale_bytes(c.rows, c.cols)) / sizeof(float), 0.0f);
  for (int32_t row = 0; row < c.rows; ++row)
    for (int32_t group = 0; group < c.cols; ++group)
      out[format::group_scale_index(c.rows, c.cols, row, group)] =
          (*scales)[size_t(row) * size_t(c.cols) + size_t(group)];
  for (int32_t row = 0; row < c.rows; ++row) // the proof
    for (int32_t group = 0; group < c.cols; ++group)
      if (out[format::group_scale_index(c.rows, c.cols, row, group)] !=
          (*scales)[size_t(row) * size_t(c.cols) + size_t(group)])
        return createStringError("packing scales of '%s': row %d, group %d does not read back as it was",
                                 c.names.front().c_str(), row, group);
  return sink(reinterpret_cast<const uint8_t *>(out.data()), out.size() * sizeof(float));
}

} // namespace bitnet::compiler
