// The rows that an interpreter is given: batches of several sequences, written as text, with the cache slots
// that a session would give them.
#pragma once
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace bitnet::compiler {

/// What one step hands in; see format::Input. All sequences have the same number of blocks.
struct StepInput {
  std::vector<int32_t> tokens, positions, sequences, slots, blockTable, logitRows;
  int32_t nSequences = 0, blocksPerSequence = 0;

  int32_t rows() const { return int32_t(tokens.size()); }
  int32_t kvBlocks() const { return nSequences * blocksPerSequence; }
  int32_t lastPosition() const {
    return positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
  }
  /// By format::Input.
  std::array<std::vector<int32_t> *, 6> byInput() {
    return {&tokens, &positions, &sequences, &slots, &blockTable, &logitRows};
  }
};

struct StepOptions {
  /// Steps are separated by ',', the runs of a step by '+'; a run is SEQUENCE:ROWS, the sequence's next rows.
  std::string steps = "0:5,1:3,0:1+1:1,0:1,1:2";
  int32_t vocab = 0;
  uint64_t seed = 0;
  std::vector<int32_t> tokens; ///< of sequence 0, instead of seeded ones
};

/// Blocks of the sequences are interleaved in the cache, so that a wrong block table or slot shows. The last
/// row of each run wants logits.
llvm::Expected<std::vector<StepInput>> makeSteps(const StepOptions &options);

/// The generator behind seeded tokens and weights: a well mixed function of its argument (splitmix64's
/// finaliser).
uint64_t mix(uint64_t x);

} // namespace bitnet::compiler
