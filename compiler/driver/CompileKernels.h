// The kernels of a plan for each CPU variant: compiled by several threads, through the cache, linked into
// images.
#pragma once
#include "compiler/bundle/BundleWriter.h"
#include "compiler/driver/Options.h"

namespace bitnet::compiler {

struct KernelCounts {
  size_t kernels = 0, cacheHits = 0;
  std::vector<std::string> tuned; ///< a line for each kernel whose tile is not the generator's own
};

/// One image for each of options.targets.
llvm::Expected<std::vector<VariantImage>> compileImages(const Plan &plan, const Options &options,
                                                        KernelCounts &counts);
/// --emit=stmt|asm|obj: writes the text to options.output (or stdout), or objects into that folder.
llvm::Error emitKernels(const Plan &plan, const Options &options);
/// --emit=specs: a line for each kernel and variant.
std::string specsText(const Plan &plan, const Options &options);

} // namespace bitnet::compiler
