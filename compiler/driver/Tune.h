// bitnetc --tune: which tile of each linear kernel is the fastest on this CPU, measured within a time budget
// and kept in the cache for later compiles. A tile never changes a number, and without results every compile
// gives the same bytes everywhere.
#pragma once
#include "codegen/spec/kernel_spec.h"
#include "compiler/driver/Options.h"
#include <map>

namespace bitnet::compiler {

struct TunedTile {
  codegen::KernelTile tile; ///< {} where the generator's own is the best
  double gain = 1;          ///< its time divided by that of the generator's own
};

/// What is known of this CPU with this version of the generators.
class TunedTiles {
public:
  /// Reads `cacheDir`'s file; empty if there is none, or no cache.
  explicit TunedTiles(const std::string &cacheDir);
  /// Puts the known tile into a spec of the variant that this CPU runs; nullptr if nothing is known.
  const TunedTile *apply(codegen::KernelSpec &spec) const;
  /// Measures those of the specs that this CPU runs and that are not known, the ones that matter most first,
  /// until `seconds` are over, and stores each result.
  llvm::Error measure(const std::vector<codegen::KernelSpec> &specs, int seconds, int jobs);

private:
  llvm::Error store() const;
  std::string cacheDir_, path_;
  std::map<std::string, TunedTile> known_; ///< by to_string(spec) without a tile
};

} // namespace bitnet::compiler
