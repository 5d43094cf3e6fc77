// Dense matrices: f16 rows (embedding and head), int8 row stripes (the q8 head), vectors and the rope
// tables.
#include "codegen/reference/scalar_math.h"
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace llvm;

namespace bitnet::compiler {

/// Reads 256 rows at a time.
Error forEachStripe(const Constant &c, const WeightSource &weights,
                    const std::function<Error(const float *values, int32_t firstRow)> &stripe) {
  const std::string &name = c.names.front();
  constexpr int32_t kBatch = 256;
  // The tensor may have fewer rows than the padded constant; its own row count is at most 15 smaller.
  std::vector<float> values;
  for (int32_t row = 0; row < c.rows; row += kBatch) {
    const int32_t end = std::min(row + kBatch, c.rows);
    Expected<import::DenseTensor> part = weights.dense(name, row, end);
    if (!part)
      return part.takeError();
    if (part->cols != c.cols)
      return createStringError("packing '%s': expected %d columns, got %d", name.c_str(), c.cols, part->cols);
    values.assign(size_t(end - row) * c.cols, 0.0f);
    std::copy(part->values.begin(), part->values.end(), values.begin());
    for (float v : part->values)
      if (!std::isfinite(v))
        return createStringError("tensor '%s': expected finite values, got %g in rows %d..%d", name.c_str(),
                                 double(v), row, end - 1);
    for (int32_t r = row; r < end; r += format::kRowTile)
      if (Error e = stripe(values.data() + size_t(r - row) * c.cols, r))
        return e;
  }
  return Error::success();
}

namespace {

/// Scale of an int8 row: max|w| / 127, 0 for a zero row. w ≈ q * scale.
float rowScale(const float *row, int32_t cols) {
  float top = 0;
  for (int32_t c = 0; c < cols; ++c)
    top = std::max(top, std::fabs(row[c]));
  return top / 127.0f;
}

} // namespace

Error packF16(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report) {
  std::vector<uint16_t> out(size_t(c.cols) * 16);
  return forEachStripe(c, weights, [&](const float *values, int32_t) {
    for (int32_t r = 0; r < 16; ++r)
      for (int32_t col = 0; col < c.cols; ++col) {
        const float v = values[size_t(r) * c.cols + col];
        const uint16_t h = codegen::f32_to_f16_saturated(v);
        report.inexactF16 += codegen::f16_to_f32(h) != v;
        out[format::f16_index(c.cols, r, col)] = h;
      }
    return sink(reinterpret_cast<const uint8_t *>(out.data()), out.size() * 2);
  });
}

Error packS8(const Constant &c, const WeightSource &weights, const Sink &sink) {
  std::vector<uint8_t> out(size_t(c.cols) * 16);
  StreamSink stripes(c.rows, format::s8_lines(c.cols), sink);
  return forEachStripe(c, weights, [&](const float *values, int32_t) {
    for (int32_t r = 0; r < 16; ++r) {
      const float *row = values + size_t(r) * c.cols;
      const float scale = rowScale(row, c.cols);
      for (int32_t col = 0; col < c.cols; ++col) {
        const float q = scale > 0 ? std::nearbyintf(row[col] / scale) : 0.0f; // half to even, |q| <= 127
        out[format::s8_byte(16, c.cols, r, col)] = uint8_t(int(std::clamp(q, -127.0f, 127.0f)) + 128);
      }
    }
    return stripes.stripe(out.data());
  });
}

Error packS8Scale(const Constant &c, const WeightSource &weights, const Sink &sink) {
  // The constant is a vector of rows; the matrix behind it knows its own width.
  Expected<import::DenseTensor> first = weights.dense(c.names.front(), 0, 1);
  if (!first)
    return first.takeError();
  Constant matrix = c;
  matrix.cols = first->cols;
  return forEachStripe(matrix, weights, [&](const float *values, int32_t) {
    float scales[16];
    for (int32_t r = 0; r < 16; ++r)
      scales[r] = rowScale(values + size_t(r) * matrix.cols, matrix.cols);
    return sink(reinterpret_cast<const uint8_t *>(scales), sizeof scales);
  });
}

Error packF32(const Constant &c, const WeightSource &weights, const Sink &sink) {
  Expected<import::DenseTensor> v = weights.dense(c.names.front(), 0, 1);
  if (!v)
    return v.takeError();
  if (v->values.size() != size_t(c.cols) * c.rows)
    return createStringError("packing '%s': expected %d values, got %zu", c.names.front().c_str(),
                             c.cols * c.rows, v->values.size());
  for (float x : v->values)
    if (!std::isfinite(x))
      return createStringError("tensor '%s': expected finite values, got %g", c.names.front().c_str(),
                               double(x));
  return sink(reinterpret_cast<const uint8_t *>(v->values.data()), v->values.size() * sizeof(float));
}

Error packRope(const Constant &c, const Sink &sink) {
  // angle = position * theta^(-2i/D), i < D/2 (Su et al., arXiv 2104.09864), or position * frequency[i], in
  // double, rounded once to f32.
  const bool isCos = c.packing == Packing::ropeCos;
  std::vector<float> row(size_t(c.cols));
  std::vector<double> frequency = c.frequencies;
  if (!frequency.empty() && frequency.size() != size_t(c.cols))
    return createStringError("rope tables: expected %d frequencies, got %zu", c.cols, frequency.size());
  frequency.resize(size_t(c.cols));
  for (int32_t i = 0; c.frequencies.empty() && i < c.cols; ++i)
    frequency[i] = std::pow(double(c.theta), -double(i) / c.cols);
  for (int32_t position = 0; position < c.rows; ++position) {
    for (int32_t i = 0; i < c.cols; ++i) {
      const double angle = position * frequency[i];
      row[i] = float(c.magnitude * (isCos ? std::cos(angle) : std::sin(angle)));
    }
    if (Error e = sink(reinterpret_cast<const uint8_t *>(row.data()), row.size() * sizeof(float)))
      return e;
  }
  return Error::success();
}

} // namespace bitnet::compiler
