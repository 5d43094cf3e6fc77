// See WriteWeights.h. Threads take constants one at a time, the largest first, and write each piece in place,
// so memory is one decoded source tensor a thread and the bytes do not depend on the number of threads.
#include "compiler/bundle/WriteWeights.h"
#include "compiler/bundle/ForEachIndex.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>

using namespace llvm;

namespace bitnet::compiler {

WeightMap mapWeights(const Plan &plan) {
  WeightMap map;
  for (const Constant &c : plan.constants) {
    map.offsets.push_back(map.bytes);
    map.bytes += (packedBytes(c) + format::kTensorAlign - 1) / format::kTensorAlign * format::kTensorAlign;
  }
  return map;
}

namespace {

/// Memory that packing takes: the largest source matrix, decoded. Dense ones are read in pieces.
uint64_t decodingBytes(const Constant &c, const import::Checkpoint &checkpoint) {
  uint64_t bytes = 0;
  if (c.packing == Packing::t2 || c.packing == Packing::t3 || c.packing == Packing::u2 ||
      c.packing == Packing::d2)
    for (const std::string &name : c.names)
      bytes = std::max(bytes, checkpoint.info(name).decodingBytes);
  return bytes;
}

} // namespace

Error writeWeights(SectionFile &file, uint64_t sectionOffset, const WeightMap &map, const BundleInput &input,
                   PackReport &report) {
  const std::vector<Constant> &constants = input.plan->constants;
  std::vector<size_t> order(constants.size());
  std::iota(order.begin(), order.end(), size_t(0));
  // Row scales come after their matrix (stable sort), which has left them in the cache of CheckpointWeights.
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return packedBytes(constants[a]) > packedBytes(constants[b]); });

  const CheckpointWeights weights(*input.checkpoint);
  std::atomic<bool> failed{false}; // stops the other threads within their constants
  std::mutex mutex;                // report, progress
  uint64_t done = 0;

  auto packOne = [&](size_t index) -> Error {
    const Constant &c = constants[index];
    uint64_t at = sectionOffset + map.offsets[index];
    const uint64_t end = at + packedBytes(c);
    PackReport found;
    auto sink = [&](const uint8_t *bytes, size_t size) -> Error {
      if (size > end - at)
        return createStringError("packing '%s': more bytes than expected",
                                 c.names.empty() ? packingName(c.packing) : c.names.front().c_str());
      if (Error e = file.write(at, bytes, size))
        return e;
      at += size;
      std::lock_guard<std::mutex> lock(mutex);
      done += size;
      if (input.progress)
        input.progress(done, map.bytes);
      return failed ? createStringError("stopped") : Error::success();
    };
    if (Error e = packConstant(c, weights, sink, found))
      return e;
    if (at != end)
      return createStringError("packing '%s': fewer bytes than expected",
                               c.names.empty() ? packingName(c.packing) : c.names.front().c_str());
    std::lock_guard<std::mutex> lock(mutex);
    report.ternaryWeights += found.ternaryWeights;
    report.inexactF16 += found.inexactF16;
    return Error::success();
  };
  Error e = forEachIndex(
      input.jobs, order.size(),
      [&](size_t i) {
        Error error = packOne(order[i]);
        if (error)
          failed = true;
        return error;
      },
      [&](size_t i) { return decodingBytes(constants[order[i]], *input.checkpoint); },
      import::kDecodingBytes);
  report.matrices = weights.facts();
  return e;
}

} // namespace bitnet::compiler
