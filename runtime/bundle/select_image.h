// Which of a bundle's images this CPU runs.
#pragma once
#include "runtime/bundle/bundle.h"

namespace bitnet::runtime {

/// Index into bundle.images: the variant named `forced`, or if that is empty the best one that a CPU with
/// these features (cpu::features()) can run. The error does not name the file: the caller does.
Result<size_t> select_image(const Bundle &bundle, uint64_t cpu_features, const std::string &forced);

} // namespace bitnet::runtime
