// See PlanInterpreter.h.
#include "compiler/interpreter/PlanInterpreter.h"
#include "compiler/interpreter/TwinCall.h"
#include "compiler/pack/Pack.h"
#include "runtime/format/layouts.h"
#include <cstring>

namespace bitnet::compiler {

llvm::Expected<PlanInterpreter> PlanInterpreter::create(const Plan &plan, const WeightSource &weights,
                                                        int32_t vocab) {
  PlanInterpreter self(plan, vocab);
  // Old contents must never matter: a quiet NaN in every float.
  self.arena_.assign(plan.arenaBytes, 0xff);
  for (const Constant &c : plan.constants) {
    llvm::Expected<std::vector<uint8_t>> bytes = packConstant(c, weights);
    if (!bytes)
      return bytes.takeError();
    self.constants_.push_back(std::move(*bytes));
  }
  return self;
}

/// The slice's first byte, if `rows` rows of it lie in the arena.
llvm::Expected<uint8_t *> PlanInterpreter::arenaAt(const PlanArg &arg, int64_t rowBytes, int32_t rows) {
  const uint64_t stride = arg.rowStride ? arg.rowStride : uint64_t(rowBytes);
  const uint64_t end = arg.offset + (rows ? uint64_t(rows - 1) * stride + uint64_t(rowBytes) : 0);
  if (stride < uint64_t(rowBytes) || end > arena_.size())
    return llvm::createStringError(
        "plan: slice at %llu with %d rows ends at %llu, beyond the arena of %zu bytes",
        (unsigned long long)arg.offset, rows, (unsigned long long)end, arena_.size());
  return arena_.data() + arg.offset;
}

/// What the session owns: a half of a layer's cache, or the buffer for attention's chunks.
std::vector<uint8_t> &PlanInterpreter::cache(const PlanArg &arg, size_t bytes) {
  std::vector<uint8_t> &cache = caches_[{arg.space, arg.offset}];
  if (cache.size() < bytes)
    cache.resize(bytes);
  return cache;
}

llvm::Expected<std::vector<float>> PlanInterpreter::step(StepInput input) {
  if (input.rows() > plan_->maxRows)
    return llvm::createStringError("plan: expected at most %d rows, got %d", plan_->maxRows, input.rows());
  StepExtents extents{input.rows(),     int32_t(input.logitRows.size()), input.kvBlocks(),
                      input.nSequences, input.blocksPerSequence,         input.lastPosition()};
  const format::Extents symbols{extents.rows, extents.rows, extents.kvBlocks, extents.sequences,
                                extents.sequenceBlocks};
  for (const PlanCall &call : plan_->calls) {
    const int32_t rows = call.overLogitRows ? extents.logits : extents.rows;
    const PlanChoice *choice = call.choices.data();
    while (choice->maxRows && choice->maxRows < rows)
      ++choice;
    if (choice->rows < 0)
      continue;
    const format::Signature s = format::signature(call.op, call.dims);
    if (int32_t(call.args.size()) != s.n_args)
      return llvm::createStringError("plan: call '%s': expected %d arguments, got %zu", call.label.c_str(),
                                     s.n_args, call.args.size());
    std::vector<TwinArg> args;
    for (int32_t i = 0; i < s.n_args; ++i) {
      const PlanArg &arg = call.args[i];
      TwinArg out;
      switch (arg.space) {
      case format::Space::arena: {
        int64_t rowBytes = int64_t(format::elem_bytes(s.args[i].elem));
        bool isSource = false;
        for (int32_t d = 0; d < s.args[i].rank; ++d) {
          rowBytes *= s.args[i].extent[d] > 0 ? s.args[i].extent[d] : 1;
          isSource |= s.args[i].extent[d] == format::kSrcRows;
        }
        llvm::Expected<uint8_t *> data =
            arenaAt(arg, rowBytes, call.overLogitRows && !isSource ? extents.logits : extents.rows);
        if (!data)
          return data.takeError();
        out = {*data, int64_t(arg.rowStride)};
        break;
      }
      case format::Space::weights:
        out.data = constants_.at(arg.offset).data();
        break;
      case format::Space::k_cache:
      case format::Space::v_cache:
      case format::Space::k_scale:
      case format::Space::v_scale:
      case format::Space::parts: {
        size_t bytes = format::elem_bytes(s.args[i].elem);
        for (int32_t d = 0; d < s.args[i].rank; ++d)
          bytes *= size_t(format::resolve_extent(s.args[i].extent[d], symbols));
        out.data = cache(arg, bytes).data();
        break;
      }
      case format::Space::input:
        out.data = input.byInput().at(arg.offset)->data();
        break;
      case format::Space::count:
        break;
      }
      args.push_back(out);
    }
    if (llvm::Error e = runTwin(call.op, call.dims, call.overLogitRows, args, extents))
      return e;
  }
  const int64_t rowBytes = int64_t(vocab_) * 4;
  llvm::Expected<uint8_t *> logits = arenaAt(plan_->logits, rowBytes, extents.logits);
  if (!logits)
    return logits.takeError();
  const uint64_t stride = plan_->logits.rowStride ? plan_->logits.rowStride : uint64_t(rowBytes);
  std::vector<float> out(size_t(extents.logits) * vocab_);
  for (int32_t l = 0; l < extents.logits; ++l)
    std::memcpy(out.data() + size_t(l) * vocab_, *logits + uint64_t(l) * stride, size_t(rowBytes));
  return out;
}

} // namespace bitnet::compiler
