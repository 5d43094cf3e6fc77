// See WriteWeights.h. Threads take constants one at a time, the largest first, those of scales right after
// their matrices', and write each piece in place. So memory is one decoded source tensor a thread and the
// bytes do not depend on the number of threads.
#include "compiler/bundle/WriteWeights.h"
#include "compiler/bundle/ForEachIndex.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

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

/// What one thread packs from one decoding: a constant, and those of the scales of the same matrices.
using Work = std::vector<size_t>;

std::vector<Work> workOf(const std::vector<Constant> &constants) {
  std::vector<Work> all;
  std::map<std::vector<std::string>, size_t> ofMatrices; // in `all`
  const auto isScale = [](const Constant &c) {
    return c.packing == Packing::rowScale || c.packing == Packing::groupScale;
  };
  for (size_t i = 0; i < constants.size(); ++i)
    if (!isScale(constants[i])) {
      ofMatrices.emplace(constants[i].names, all.size());
      all.push_back({i});
    }
  for (size_t i = 0; i < constants.size(); ++i)
    if (isScale(constants[i])) {
      auto [at, isNew] = ofMatrices.emplace(constants[i].names, all.size());
      if (isNew)
        all.emplace_back();
      all[at->second].push_back(i);
    }
  std::stable_sort(all.begin(), all.end(), [&](const Work &a, const Work &b) {
    return packedBytes(constants[a[0]]) > packedBytes(constants[b[0]]);
  });
  return all;
}

/// Memory that packing takes: the largest source matrix, decoded. Dense ones are read in pieces.
uint64_t decodingBytes(const Constant &c, const import::Checkpoint &checkpoint) {
  uint64_t bytes = 0;
  if (c.packing == Packing::t2 || c.packing == Packing::t3 || c.packing == Packing::t5 ||
      c.packing == Packing::u2 || c.packing == Packing::d2)
    for (const std::string &name : c.names)
      bytes = std::max(bytes, checkpoint.info(name).decodingBytes);
  return bytes;
}

} // namespace

Error writeWeights(SectionFile &file, uint64_t sectionOffset, const WeightMap &map, const BundleInput &input,
                   PackReport &report) {
  const std::vector<Constant> &constants = input.plan->constants;
  const std::vector<Work> works = workOf(constants);
  std::atomic<bool> failed{false}; // stops the other threads within their constants
  std::mutex mutex;                // report, progress
  uint64_t done = 0;

  auto packOne = [&](size_t index, const WeightSource &weights) -> Error {
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
  return forEachIndex(
      input.jobs, works.size(),
      [&](size_t i) -> Error {
        const CheckpointWeights weights(*input.checkpoint); // which keeps the scales for as long as that
        for (const size_t index : works[i])
          if (Error error = packOne(index, weights)) {
            failed = true;
            return error;
          }
        std::lock_guard<std::mutex> lock(mutex);
        report.matrices.insert(weights.facts().begin(), weights.facts().end());
        return Error::success();
      },
      [&](size_t i) { return decodingBytes(constants[works[i][0]], *input.checkpoint); },
      import::kDecodingBytes);
}

} // namespace bitnet::compiler
