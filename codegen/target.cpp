#include "codegen/target.h"

namespace bitnet::codegen {

using format::CpuVariant;
using Halide::Target;

Target halide_target(CpuVariant cpu) {
  Target t(Target::Linux, Target::X86, 64,
           {Target::NoRuntime, Target::NoAsserts, Target::NoBoundsQuery, Target::StrictFloat});
  switch (cpu) {
  case CpuVariant::avx512vnni:
    // The only x86 feature of Halide 21 that switches vpdpbusd on for 512 bits without adding AMX.
    t.set_features({Target::AVX512_Zen4, Target::AVX512_Cannonlake});
    [[fallthrough]];
  case CpuVariant::avx512:
    t.set_features({Target::AVX512_Skylake, Target::AVX512});
    [[fallthrough]];
  case CpuVariant::avx2:
    t.set_features({Target::AVX2, Target::FMA, Target::F16C, Target::AVX, Target::SSE41});
    break;
  case CpuVariant::portable:
  case CpuVariant::count:
    break;
  }
  return t;
}

int vector_bits(CpuVariant cpu) {
  switch (cpu) {
  case CpuVariant::avx512:
  case CpuVariant::avx512vnni:
    return 512;
  case CpuVariant::avx2:
    return 256;
  case CpuVariant::portable:
  case CpuVariant::count:
    break;
  }
  return 128;
}

int vector_registers(CpuVariant cpu) { return vector_bits(cpu) == 512 ? 32 : 16; }
bool has_dot4(CpuVariant cpu) { return cpu == CpuVariant::avx512vnni; }
bool has_pair_dot(CpuVariant cpu) { return cpu == CpuVariant::avx2 || cpu == CpuVariant::avx512; }

} // namespace bitnet::codegen
