// The weights section: where each constant of the plan goes, and packing them there with several threads.
#pragma once
#include "compiler/bundle/BundleWriter.h"
#include "compiler/bundle/SectionFile.h"

namespace bitnet::compiler {

/// offsets[i] is constant i's place in the section; all are multiples of kTensorAlign.
struct WeightMap {
  std::vector<uint64_t> offsets;
  uint64_t bytes = 0;
};
WeightMap mapWeights(const Plan &plan);

llvm::Error writeWeights(SectionFile &file, uint64_t sectionOffset, const WeightMap &map,
                         const BundleInput &input, PackReport &report);

} // namespace bitnet::compiler
