#include "test/codegen/compiled_kernels.h"
#include <gtest/gtest.h>
#include <map>
#include <memory>

namespace bitnet::codegen {

format::KernelFn compiled(const KernelSpec &spec) {
  static std::map<std::string, std::unique_ptr<LoadedKernel>> kernels;
  auto &kernel = kernels[to_string(spec)];
  if (!kernel) {
    kernel = std::make_unique<LoadedKernel>();
    std::string error;
    if (!kernel->load(spec, &error))
      ADD_FAILURE() << error;
  }
  return kernel->function();
}

std::vector<format::CpuVariant> runnable_variants() {
  std::vector<format::CpuVariant> variants;
  for (int v = 0; v < int(format::CpuVariant::count); ++v)
    if (cpu_runs(format::CpuVariant(v)))
      variants.push_back(format::CpuVariant(v));
  return variants;
}

} // namespace bitnet::codegen
