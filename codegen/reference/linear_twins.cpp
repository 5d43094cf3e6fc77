// Scalar twins of the linear ops: each output by itself, from the bytes that layouts.h addresses.
#include "codegen/reference/op_twins.h"
#include "codegen/reference/scalar_math.h"
#include "codegen/reference/twin_args.h"
#include "runtime/format/layouts.h"

namespace bitnet::codegen {

using format::Epilogue;
using format::Op;
using format::OpDims;

namespace {

/// Calls body(n, r) for every output row n of the call's work units and every row r of the step.
template <class Body> void for_outputs(const OpDims &d, const TwinArgs &a, Body body) {
  const int32_t units = format::stream_stripes(d.n);
  for (int32_t r = 0; r < a.rows(); ++r)
    for (int32_t stream = 0; stream < format::weight_streams(d.n); ++stream)
      for (int32_t stripe = stream * units + a.begin(); stripe < stream * units + a.end(); ++stripe)
        for (int32_t lane = 0; lane < format::kRowTile; ++lane)
          body(stripe * format::kRowTile + lane, r);
}

/// f16 weights [k] times x [k], in the lanes that layouts.h defines.
float f16_dot(const uint16_t *w, const float *x, int32_t k) {
  float lanes[format::kDotLanes] = {};
  for (int32_t i = 0; i < k; ++i) {
    float &lane = lanes[i % format::kDotLanes];
    lane = lane + f16_to_f32(w[i]) * x[i];
  }
  return halving_tree(lanes, format::kDotLanes, [](float a, float b) { return a + b; });
}

/// `other` is the residual's or the gate's element.
float finished(const OpDims &d, float value, float other) {
  switch (d.epilogue) {
  case Epilogue::residual:
    return other + value;
  case Epilogue::gate:
    return activation(d.act, other) * value;
  default:
    return value;
  }
}

/// linear_t2, linear_t3 and linear_t5: code(w, n, k) is that of weight [n, k].
template <class Code> int ternary_twin(Op op, const OpDims &d, void *const *args, Code code) {
  const TwinArgs a(op, d, args);
  enum { q, s, sum, w, scale, other }; // sum, scale: of groups, if there are; other: the epilogue's, likewise
  const int32_t y = d.epilogue == Epilogue::none ? other : other + 1;
  for_outputs(d, a, [&](int32_t n, int32_t r) {
    const auto dot = [&](int32_t begin, int32_t end) {
      int32_t sum_of_codes = 0; // at most 2 * 127 * k
      for (int32_t k = begin; k < end; ++k)
        sum_of_codes += code(a.data<uint8_t>(w), n, k) * a.row<int8_t>(q, r)[k];
      return sum_of_codes;
    };
    float value = 0;
    if (d.group) {
      const int32_t groups = d.k / d.group;
      for (int32_t g = 0; g < groups; ++g) {
        const int32_t exact = dot(g * d.group, (g + 1) * d.group) - a.row<int32_t>(sum, r)[g];
        value = value + float(exact) * a.data<float>(scale)[format::group_scale_index(d.n, groups, n, g)];
      }
      value = value / a.data<float>(s)[r];
    } else {
      value = float(dot(0, d.k) - a.data<int32_t>(sum)[r]) * (a.data<float>(scale)[n] / a.data<float>(s)[r]);
    }
    a.row<float>(y, r)[n] = finished(d, value, d.epilogue == Epilogue::none ? 0 : a.row<float>(other, r)[n]);
  });
  return 0;
}

} // namespace

int linear_t2_twin(const OpDims &d, void *const *args) {
  return ternary_twin(Op::linear_t2, d, args, [&](const uint8_t *w, int32_t n, int32_t k) {
    return w[format::t2_byte(d.n, d.k, n, k)] >> format::t2_shift(k) & 3;
  });
}

int linear_t3_twin(const OpDims &d, void *const *args) {
  return ternary_twin(Op::linear_t3, d, args, [&](const uint8_t *w, int32_t n, int32_t k) {
    return format::t3_code(w[format::t3_byte(d.n, d.k, n, k)], format::t3_place(k));
  });
}

int linear_t5_twin(const OpDims &d, void *const *args) {
  return ternary_twin(Op::linear_t5, d, args, [&](const uint8_t *w, int32_t n, int32_t k) {
    const uint8_t *byte = w + format::t5_byte(d.n, d.k, n, k);
    int32_t triple = 0;
    for (int b = 0; b < format::kT5Lines; ++b)
      triple |= (byte[64 * b] >> format::t5_shift(k) & 1) << b;
    return format::t5_code(triple, format::t5_place(k));
  });
}

int group_sums_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::group_sums, d, args);
  for (int32_t r = a.begin(); r < a.end(); ++r)
    for (int32_t g = 0; g < d.k / d.group; ++g) {
      int32_t sum = 0;
      for (int32_t i = g * d.group; i < (g + 1) * d.group; ++i)
        sum += a.row<int8_t>(0, r)[i];
      a.row<int32_t>(1, r)[g] = sum;
    }
  return 0;
}

int linear_s8_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::linear_s8, d, args);
  enum { q, s, sum, w, row_scale, y };
  for_outputs(d, a, [&](int32_t n, int32_t r) {
    int32_t dot = 0; // |dot| <= 255 * 127 * k
    for (int32_t k = 0; k < d.k; ++k)
      dot += int32_t(a.data<uint8_t>(w)[format::s8_byte(d.n, d.k, n, k)]) * a.row<int8_t>(q, r)[k];
    const float scale = a.data<float>(row_scale)[n] / a.data<float>(s)[r];
    a.row<float>(y, r)[n] = float(dot - 128 * a.data<int32_t>(sum)[r]) * scale;
  });
  return 0;
}

int linear_f16_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::linear_f16, d, args);
  enum { x, w, y };
  for_outputs(d, a, [&](int32_t n, int32_t r) {
    a.row<float>(y, r)[n] =
        f16_dot(a.data<uint16_t>(w) + format::f16_index(d.k, n, 0), a.row<float>(x, r), d.k);
  });
  return 0;
}

int rescore_f16_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::rescore_f16, d, args);
  enum { x, index, w, y };
  for (int32_t c = a.begin(); c < a.end(); ++c)
    a.data<float>(y)[c] = f16_dot(a.data<uint16_t>(w) + format::f16_index(d.k, a.data<int32_t>(index)[c], 0),
                                  a.data<float>(x), d.k);
  return 0;
}

int screen_q4_twin(const OpDims &d, void *const *args) {
  const TwinArgs a(Op::screen_q4, d, args);
  enum { q, lines, map, w, row_scale, y };
  for_outputs(d, a, [&](int32_t n, int32_t r) {
    const int8_t *low = a.row<int8_t>(q, r), *high = low + d.k;
    int32_t dot = 0; // |dot| <= 15 * (127 * k + 128 * 127 * 128)
    for (int32_t k = 0; k < d.k; ++k) {
      const int32_t code = a.data<uint8_t>(w)[format::q4_byte(d.n, d.k, n, k)] >> format::q4_shift(k) & 15;
      dot += code * (128 * high[k] + low[k]);
    }
    const float *m = a.row<float>(map, r);
    a.row<float>(y, r)[n] = (float(dot) * m[0] + m[1]) * a.data<float>(row_scale)[n];
  });
  return 0;
}

} // namespace bitnet::codegen
