// See FrontEnd.h.
#include "compiler/driver/FrontEnd.h"
#include "compiler/bundle/ForEachIndex.h"
#include "compiler/import/StoredCheckpoint.h"
#include "compiler/transforms/Passes.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/format/kernel_ops.h"
#include "llvm/Support/raw_ostream.h"
#include <iterator>
#include <mutex>

using namespace llvm;

namespace bitnet::compiler {
using import::Decision;
using import::ImportOptions;

namespace {

/// The head that suits the model. A screen reads a quarter of the f16 bytes but costs some steps around it,
/// which a head that stays in the caches does not win back.
Decision chooseHead(const import::ModelConfig &config) {
  if (config.embeds)
    return {"head", "none", "the model gives embeddings", "--set pooling=none"};
  constexpr int64_t kWorthAScreen = int64_t(16) << 20; // f16 bytes
  const int64_t bytes = int64_t(config.vocab) * config.width * 2;
  if (config.width > format::kMaxScreenWidth)
    return {"head", "f16",
            "a screen takes rows of at most " + std::to_string(format::kMaxScreenWidth) + " values", ""};
  if (bytes < kWorthAScreen)
    return {"head", "f16", "its " + std::to_string(bytes >> 10) + " KB are too few to gain from a screen",
            "--head=exact"};
  return {"head", "exact", "a 4-bit screen finds the rows that can matter; their logits are those of f16",
          "--head=f16"};
}

} // namespace

ImportOptions importOptions(const Options &options, std::function<void(const std::string &)> warn) {
  ImportOptions result;
  result.tokenizer = options.tokenizer;
  result.settings = options.settings;
  result.warn = std::move(warn);
  return result;
}

std::string withoutPath(const std::string &warning, const std::string &input) {
  StringRef text(warning), path = StringRef(input).rtrim('/');
  if (path.empty() || !text.consume_front(path))
    return warning;
  if (!text.consume_front("/"))
    text.consume_front(": ");
  return text.str();
}

std::vector<std::string> messagesOf(Error error) {
  std::vector<std::string> messages;
  handleAllErrors(std::move(error), [&](const ErrorInfoBase &info) { messages.push_back(info.message()); });
  return messages;
}

Expected<Decision> decideHead(const Options &options, const import::ModelConfig &config) {
  if (options.head.empty())
    return chooseHead(config);
  if (config.embeds)
    return createStringError("--head=%s: expected a model with a head, got one that gives embeddings; --set "
                             "pooling=none compiles it with its embedding as the head",
                             options.head.c_str());
  if (options.head == "exact" && config.width > format::kMaxScreenWidth)
    return createStringError("--head=exact: expected a width of at most %d, got %d; use f16 or q8",
                             format::kMaxScreenWidth, config.width);
  return Decision{"head", options.head, "asked for", ""};
}

Error findScaleGroups(const import::Checkpoint &checkpoint, const Options &options, bool everyProblem,
                      import::ScaleGroups &groups) {
  constexpr size_t kLinears = std::size(import::kLinearNames);
  std::mutex mutex; // problems, groups
  Error problems = Error::success();
  const auto nameOf = [&](size_t i) {
    return import::layerTensor(int32_t(i / kLinears), import::kLinearNames[i % kLinears]);
  };
  const auto ask = [&](const std::string &name) -> Error {
    Expected<int32_t> group = checkpoint.scaleGroup(name);
    if (!group)
      return group.takeError();
    if (*group % 16)
      return createStringError("%s: tensor '%s': expected scales of a multiple of 16 columns, got one for %d",
                               options.input.c_str(), name.c_str(), *group);
    if (*group) {
      std::lock_guard<std::mutex> lock(mutex);
      groups[name] = *group;
    }
    return Error::success();
  };
  Error first = forEachIndex(
      std::max(1, options.jobs), size_t(checkpoint.config().layers) * kLinears,
      [&](size_t i) -> Error {
        Error e = ask(nameOf(i));
        if (!everyProblem)
          return e;
        std::lock_guard<std::mutex> lock(mutex);
        problems = joinErrors(std::move(problems), std::move(e));
        return Error::success();
      },
      [&](size_t i) { return checkpoint.info(nameOf(i)).decodingBytes; }, import::kDecodingBytes);
  return joinErrors(std::move(first), std::move(problems));
}

Expected<mlir::OwningOpRef<mlir::ModuleOp>> buildGraph(mlir::MLIRContext &context,
                                                       const import::Checkpoint &checkpoint,
                                                       const import::ScaleGroups &groups,
                                                       const Options &options) {
  context.printOpOnDiagnostic(false); // one line for each error
  mlir::OwningOpRef<mlir::ModuleOp> module = import::buildModule(context, checkpoint.config(), groups);
  if (!module)
    return createStringError("%s: the graph could not be built (see above)", options.input.c_str());
  return module;
}

Error runPasses(mlir::ModuleOp module, const Options &options) {
  // Remarks are --explain's lines (compiler/transforms/Explain.h).
  mlir::ScopedDiagnosticHandler remarks(module.getContext(), [](mlir::Diagnostic &d) {
    if (d.getSeverity() != mlir::DiagnosticSeverity::Remark)
      return mlir::failure();
    errs() << d.str() << "\n";
    return mlir::success();
  });
  mlir::PassManager pm(module.getContext());
  PipelineOptions pipeline;
  pipeline.head = options.head == "none" ? "f16" : options.head; // there is nothing to choose for
  pipeline.kv = options.kv;
  pipeline.packing = options.packing;
  for (format::CpuVariant cpu : options.targets)
    pipeline.cpus.push_back(format::cpu_variant(cpu).name);
  pipeline.maxRows = options.maxRows;
  pipeline.fuse = options.fuse;
  pipeline.skip = options.skip;
  pipeline.explain = options.explain;
  buildPipeline(pm, pipeline);
  if (options.printIrAfterAll || !options.printIrAfter.empty()) {
    const std::string wanted = StringRef(options.printIrAfter).ltrim('-').str();
    bool known = options.printIrAfterAll;
    for (mlir::Pass &pass : pm.getPasses())
      known |= pass.getArgument() == wanted;
    if (!known)
      return createStringError(
          "--print-ir-after: no pass '%s' in the pipeline; compiler/README.md lists them", wanted.c_str());
    module.getContext()->disableMultithreading();
    pm.enableIRPrinting([](mlir::Pass *, mlir::Operation *) { return false; },
                        [=](mlir::Pass *pass, mlir::Operation *) {
                          return options.printIrAfterAll || pass->getArgument() == wanted;
                        },
                        /*printModuleScope=*/true, /*printAfterOnlyOnChange=*/false,
                        /*printAfterOnlyOnFailure=*/false, errs());
  }
  if (options.timePasses)
    pm.enableTiming();
  if (mlir::failed(pm.run(module)))
    return createStringError("%s: the passes failed (see above); this is a defect of the compiler",
                             options.input.c_str());
  return Error::success();
}

} // namespace bitnet::compiler
