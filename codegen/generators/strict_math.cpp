// See strict_math.h. Each function mirrors the one of the same name in codegen/reference/scalar_math.h.
#include "codegen/generators/strict_math.h"

namespace bitnet::codegen {
using Halide::cast;
using Halide::Expr;
using Halide::Float;
using Halide::Int;
using Halide::reinterpret;
using Halide::select;
using Halide::UInt;
namespace {

Expr f(float x) { return Expr(x); }
Expr u(uint32_t x) { return Expr(x); }

/// x * sigmoid(z), z having the sign of x.
Expr times_sigmoid(Expr x, Expr z) {
  const Expr e = exp_nonpositive(abs(z) * f(-1.0f));
  return select(z < f(0.0f), x * e, x) / (f(1.0f) + e);
}

} // namespace

Expr sel_max(Expr a, Expr b) { return select(a > b, a, b); }
Expr sel_min(Expr a, Expr b) { return select(a < b, a, b); }

Expr round_to_int8(Expr x) {
  const Expr c = sel_min(sel_max(x, f(-127.0f)), f(127.0f));
  return cast(Int(8), reinterpret(Int(32), c + f(kRoundMagic)));
}

Expr exp_nonpositive(Expr x) {
  const Expr xc = sel_max(x, f(-87.0f));
  const Expr t = xc * f(1.44269504f) + f(kRoundMagic);
  const Expr n = t - f(kRoundMagic);
  const Expr r = (xc - n * f(0.693359375f)) - n * f(-2.12194440e-4f);
  Expr p = f(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = p * r + f(c);
  const Expr y = ((p * (r * r)) + r) + f(1.0f);
  const Expr power = reinterpret(Float(32), (reinterpret(UInt(32), t) + u(127)) << u(23));
  return select(x < f(-87.0f), f(0.0f), y * power);
}

Expr activation(format::Act act, Expr x) {
  switch (act) {
  case format::Act::silu:
    return times_sigmoid(x, x);
  case format::Act::gelu:
    return times_sigmoid(x, (x * ((x * x) * f(0.044715f) + f(1.0f))) * f(1.5957691216f));
  default: {
    const Expr r = sel_max(x, f(0.0f));
    return r * r;
  }
  }
}

Expr f16_to_f32(Expr bits, format::CpuVariant cpu) {
  if (format::cpu_variant(cpu).features & format::bit(format::CpuFeature::f16c))
    return cast(Float(32), reinterpret(Float(16), bits));
  const Expr wide = cast(UInt(32), bits);
  const Expr magnitude = reinterpret(Float(32), (wide & u(0x7fff)) << u(13)) * f(0x1p112f);
  return reinterpret(Float(32), reinterpret(UInt(32), magnitude) | ((wide & u(0x8000)) << u(16)));
}

Expr f32_to_f16_saturated(Expr x) {
  const Expr b = reinterpret(UInt(32), sel_min(sel_max(x, f(-65504.0f)), f(65504.0f)));
  const Expr magnitude = b & u(0x7fffffff);
  const Expr denormal =
      reinterpret(UInt(32), reinterpret(Float(32), magnitude) * f(0x1p24f) + f(kRoundMagic)) & u(0xffff);
  const Expr normal = ((magnitude + u(0xfff) + ((magnitude >> u(13)) & u(1))) >> u(13)) - u(0x1c000);
  return cast(UInt(16), ((b >> u(16)) & u(0x8000)) | select(magnitude < u(0x38800000), denormal, normal));
}

Halide::Func halving_tree(Halide::Func lanes, int n, const std::vector<Halide::Var> &rest,
                          Expr (*combine)(Expr, Expr), const Halide::LoopLevel &at) {
  Halide::Func level = lanes;
  for (int half = n / 2; half >= 1; half /= 2) {
    Halide::Var lane("lane");
    std::vector<Halide::Var> args{lane};
    args.insert(args.end(), rest.begin(), rest.end());
    std::vector<Expr> low(args.begin(), args.end()), high = low;
    high[0] = lane + half;
    Halide::Func next(lanes.name() + "_half" + std::to_string(half));
    next(args) = combine(level(low), level(high));
    next.compute_at(at).store_in(Halide::MemoryType::Register).bound(lane, 0, half);
    if (half > 1)
      next.vectorize(lane, half);
    level = next;
  }
  return level;
}

} // namespace bitnet::codegen
