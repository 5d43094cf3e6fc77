// Plan + kernel images + checkpoint → one .bnx file (runtime/format/bundle.fbs). Writes to a temporary file
// beside the target and renames it at the end, so that nothing half-written is ever seen under the final
// name.
#pragma once
#include "codegen/compile.h"
#include "compiler/bundle/Plan.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/pack/Pack.h"
#include <functional>

namespace bitnet::compiler {

/// Kernels of one CPU variant; entries are in the order of collectKernels.
struct VariantImage {
  format::CpuVariant variant;
  codegen::KernelImage image;
};

struct BundleInput {
  const import::Checkpoint *checkpoint = nullptr;
  const Plan *plan = nullptr;
  std::vector<VariantImage> images;
  std::string head; ///< "exact", "f16", "q8" or "none"
  std::string kv;   ///< "f16" or "q8"
  /// Called once everything is packed; JSON text that must not depend on time, paths or threads.
  std::function<std::string(const PackReport &)> report;
  int jobs = 1; ///< threads that pack
  /// Called now and then with packed bytes so far and in all; from one thread at a time. May be empty.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

struct BundleReport {
  PackReport pack;
  uint64_t fileBytes = 0, weightBytes = 0;
};

/// The distinct kernels of a plan (cpu = portable as a placeholder), in order of first use: the bundle's
/// kernel ids.
std::vector<codegen::KernelSpec> collectKernels(const Plan &plan);

llvm::Expected<BundleReport> writeBundle(const std::string &path, const BundleInput &input);

} // namespace bitnet::compiler
