// See Steps.h.
#include "compiler/interpreter/Steps.h"
#include "runtime/format/layouts.h"
#include "llvm/ADT/SmallVector.h"
#include <map>

namespace bitnet::compiler {

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

namespace {

struct Run {
  int32_t sequence, rows;
};

llvm::Expected<std::vector<std::vector<Run>>> parse(llvm::StringRef text) {
  constexpr int32_t kMostSequences = 64, kMostRows = 4096;
  std::vector<std::vector<Run>> steps;
  llvm::SmallVector<llvm::StringRef> stepTexts, runTexts;
  text.split(stepTexts, ',');
  for (llvm::StringRef stepText : stepTexts) {
    steps.emplace_back();
    runTexts.clear();
    stepText.split(runTexts, '+');
    for (llvm::StringRef runText : runTexts) {
      auto [sequence, rows] = runText.split(':');
      Run run;
      if (sequence.getAsInteger(10, run.sequence) || rows.getAsInteger(10, run.rows) || run.sequence < 0 ||
          run.sequence >= kMostSequences || run.rows < 1 || run.rows > kMostRows)
        return llvm::createStringError(
            "--steps: expected SEQUENCE:ROWS with sequence < %d and 1 to %d rows, got '%s'", kMostSequences,
            kMostRows, runText.str().c_str());
      steps.back().push_back(run);
    }
  }
  return steps;
}

} // namespace

llvm::Expected<std::vector<StepInput>> makeSteps(const StepOptions &options) {
  llvm::Expected<std::vector<std::vector<Run>>> steps = parse(options.steps);
  if (!steps)
    return steps.takeError();
  std::map<int32_t, int32_t> length;
  int32_t nSequences = 1, longest = 0;
  for (const std::vector<Run> &step : *steps)
    for (const Run &run : step) {
      nSequences = std::max(nSequences, run.sequence + 1);
      longest = std::max(longest, length[run.sequence] += run.rows);
    }
  const int32_t blocks = (longest + format::kKvBlockTokens - 1) / format::kKvBlockTokens;

  std::vector<StepInput> inputs;
  length.clear();
  for (const std::vector<Run> &step : *steps) {
    StepInput in;
    in.nSequences = nSequences;
    in.blocksPerSequence = blocks;
    for (int32_t s = 0; s < nSequences; ++s)
      for (int32_t b = 0; b < blocks; ++b)
        in.blockTable.push_back(b * nSequences + (nSequences - 1 - s));
    for (const Run &run : step) {
      for (int32_t i = 0; i < run.rows; ++i) {
        const int32_t position = length[run.sequence]++;
        const bool given = run.sequence == 0 && size_t(position) < options.tokens.size();
        const uint64_t random = mix(mix(mix(options.seed) ^ uint64_t(run.sequence)) ^ uint64_t(position));
        in.tokens.push_back(given ? options.tokens[position] : int32_t(random % uint64_t(options.vocab)));
        in.positions.push_back(position);
        in.sequences.push_back(run.sequence);
        in.slots.push_back(in.blockTable[run.sequence * blocks + position / format::kKvBlockTokens] *
                               format::kKvBlockTokens +
                           position % format::kKvBlockTokens);
      }
      in.logitRows.push_back(in.rows() - 1);
    }
    inputs.push_back(std::move(in));
  }
  return inputs;
}

} // namespace bitnet::compiler
