// See built_kernels.h. The build makes the table (CMakeLists.txt): a line KERNEL(op, rows, variant, object
// file, assembly file) for each.
#include "codegen/intrinsics/built_kernels.h"
#include "codegen/entry_symbol.h"

// The files' bytes as symbols <op>_<rows>_<variant>_<form> ... _end.
#define BITNET_BYTES(name, file)                                                                             \
  asm(".section .rodata\n" #name ":\n.incbin \"" file "\"\n" #name "_end:\n.byte 0\n.previous");
#define KERNEL(op, rows, variant, object, assembly)                                                          \
  BITNET_BYTES(bitnet_built_##op##_##rows##_##variant##_o, object)                                           \
  BITNET_BYTES(bitnet_built_##op##_##rows##_##variant##_s, assembly)
#include "codegen/intrinsics/built_kernels.inc"
#undef KERNEL

extern "C" {
#define KERNEL(op, rows, variant, object, assembly)                                                          \
  extern const char bitnet_built_##op##_##rows##_##variant##_o[],                                            \
      bitnet_built_##op##_##rows##_##variant##_o_end[], bitnet_built_##op##_##rows##_##variant##_s[],        \
      bitnet_built_##op##_##rows##_##variant##_s_end[];
#include "codegen/intrinsics/built_kernels.inc"
#undef KERNEL
}

namespace bitnet::codegen {
namespace {

struct Built {
  format::Op op;
  int32_t rows;
  format::CpuVariant cpu;
  const char *object, *object_end, *assembly, *assembly_end;
};
const Built kBuilt[] = {
#define KERNEL(op, rows, variant, object, assembly)                                                          \
  {format::Op::op,                                                                                           \
   rows,                                                                                                     \
   format::CpuVariant::variant,                                                                              \
   bitnet_built_##op##_##rows##_##variant##_o,                                                               \
   bitnet_built_##op##_##rows##_##variant##_o_end,                                                           \
   bitnet_built_##op##_##rows##_##variant##_s,                                                               \
   bitnet_built_##op##_##rows##_##variant##_s_end},
#include "codegen/intrinsics/built_kernels.inc"
#undef KERNEL
};

constexpr char kName[] = "bitnet_kernel"; ///< of the entry in every object

} // namespace

bool is_built(format::Op op) { return op == format::Op::skip_up || op == format::Op::skip_down; }

bool built_kernel(const KernelSpec &spec, Emit what, std::string *bytes, std::string *error) {
  for (const Built &b : kBuilt) {
    if (b.op != spec.op || b.rows != spec.rows || b.cpu != spec.cpu)
      continue;
    if (what == Emit::object) {
      bytes->assign(b.object, b.object_end);
      if (rename_symbol(kName, symbol(spec), bytes))
        return true;
      *error = "expected the entry symbol in the object, got none";
      return false;
    }
    if (what == Emit::assembly) {
      bytes->assign(b.assembly, b.assembly_end);
      const std::string name = symbol(spec);
      for (size_t at = 0; (at = bytes->find(kName, at)) != bytes->npos; at += name.size())
        bytes->replace(at, sizeof kName - 1, name);
      return true;
    }
    *error = "expected a kernel that Halide makes, got one written in intrinsics, which has no stmt";
    return false;
  }
  *error = "this build has no such kernel";
  return false;
}

} // namespace bitnet::codegen
