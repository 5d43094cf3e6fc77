// See Compile.h. Each stage is one call; what a stage decided goes into the report that the bundle keeps.
#include "compiler/driver/Compile.h"
#include "compiler/bundle/PlanExport.h"
#include "compiler/driver/CompileKernels.h"
#include "compiler/driver/FrontEnd.h"
#include "compiler/driver/ModelReport.h"
#include "compiler/driver/Output.h"
#include "compiler/driver/Progress.h"
#include "compiler/import/TokenizerImport.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <optional>
#include <thread>

using namespace llvm;

namespace bitnet::compiler {
using import::Decision;
namespace {

/// Wall time of the stages, for --time-passes, -v and --json.
class Stages {
public:
  void end(const char *name) {
    const auto now = std::chrono::steady_clock::now();
    seconds_.emplace_back(name, std::chrono::duration<double>(now - start_).count());
    start_ = now;
  }
  const std::vector<std::pair<const char *, double>> &seconds() const { return seconds_; }

private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<std::pair<const char *, double>> seconds_;
};

std::string moduleText(mlir::ModuleOp module) {
  std::string text;
  raw_string_ostream os(text);
  module.print(os);
  return text + "\n";
}

Decision cacheDecision(const std::string &kv) {
  if (kv != "f16")
    return {"kv", kv, "asked for", ""};
  return {"kv", kv, "keys and values to 11 bits; int8 would halve what a long context reads", "--kv=q8"};
}

void sayDecisions(const std::vector<Decision> &decisions) {
  for (const Decision &d : decisions)
    errs() << "decided: " << d.what << " = " << d.value << ": " << d.reason
           << (d.flag.empty() ? "" : "; " + d.flag) << "\n";
}

std::string defaultOutput(const std::string &input) {
  SmallString<128> path(StringRef(input).rtrim('/'));
  if (!sys::fs::is_directory(input))
    sys::path::replace_extension(path, "bnx");
  else
    path += ".bnx";
  return std::string(path);
}

/// Outputs appear by rename, which would put a file in the place of a device, and the bundle in the place of
/// its own source. `folder`: the output is a folder of objects.
Error checkOutput(const std::string &output, const std::string &input, bool folder) {
  sys::fs::file_status status;
  if (folder || sys::fs::status(output, status) || status.type() == sys::fs::file_type::regular_file) {
    if (sys::fs::equivalent(output, input))
      return createStringError(
          "%s: expected an output other than the checkpoint, got the same file; -o names "
          "another",
          output.c_str());
    return Error::success();
  }
  return createStringError("%s: expected a file to write, got %s", output.c_str(),
                           sys::fs::is_directory(status) ? "a folder" : "a device, pipe or socket");
}

void sayResult(const Options &options, const import::Checkpoint &checkpoint, const BundleReport &bundle,
               const KernelCounts &kernels, const Stages &stages) {
  if (options.json) {
    Json targets = Json::array();
    for (format::CpuVariant v : options.targets)
      targets.push_back(format::cpu_variant(v).name);
    Json times = Json::object();
    for (const auto &[name, seconds] : stages.seconds())
      times[name] = seconds;
    Json j = {{"output", options.output},
              {"source", checkpoint.source()},
              {"targets", targets},
              {"ternary_weights", bundle.pack.ternaryWeights},
              {"mismatches", 0}, // packing stops at the first one
              {"inexact_f16", bundle.pack.inexactF16},
              {"file_bytes", bundle.fileBytes},
              {"weight_bytes", bundle.weightBytes},
              {"kernels", kernels.kernels},
              {"kernel_cache_hits", kernels.cacheHits},
              {"tuned_kernels", kernels.tuned},
              {"decisions", decisionsJson(checkpoint.decisions())},
              {"seconds", times}};
    outs() << j.dump() << "\n";
    return;
  }
  errs() << "wrote " << options.output << ": " << llvm::format("%.1f", double(bundle.fileBytes) / 1e6)
         << " MB, " << withCommas(bundle.pack.ternaryWeights) << " ternary weights, 0 mismatches, "
         << kernels.kernels << " kernels (" << kernels.cacheHits << " cached)\n";
  if (bundle.pack.inexactF16)
    errs() << "note: " << bundle.pack.inexactF16 << " values of the embedding were rounded to f16\n";
}

/// --emit=tokenizer: weights, graph and kernels are not looked at.
Error writeTokenizer(const Options &options, const import::ImportOptions &importOptions) {
  Expected<import::ImportedTokenizer> tokenizer = import::openTokenizer(options.input, importOptions);
  if (!tokenizer)
    return tokenizer.takeError();
  if (Error e = writeFile(options.output, {tokenizer->bytes.begin(), tokenizer->bytes.end()}))
    return e;
  if (options.json) {
    Json j = {{"output", options.output},
              {"tokens", tokenizer->size},
              {"file_bytes", tokenizer->bytes.size()},
              {"decisions", decisionsJson(tokenizer->decisions)}};
    outs() << j.dump() << "\n";
    return Error::success();
  }
  if (options.verbose)
    sayDecisions(tokenizer->decisions);
  errs() << "wrote " << options.output << ": a tokenizer of " << tokenizer->size << " tokens\n";
  return Error::success();
}

} // namespace

Error compile(const Options &given) {
  Options options = given;
  if (!options.jobs)
    options.jobs = std::max(1u, std::thread::hardware_concurrency());
  Stages stages;
  const bool toStdout = options.emit != EmitKind::bnx && (options.output.empty() || options.output == "-");
  if (options.output.empty() && !toStdout)
    options.output = defaultOutput(options.input);
  if (!toStdout)
    if (Error e = checkOutput(options.output, options.input, options.emit == EmitKind::object))
      return e;

  std::vector<std::string> warnings;
  const auto warn = [&](const std::string &line) {
    errs() << "warning: " << line << "\n";
    warnings.push_back(withoutPath(line, options.input));
  };
  const import::ImportOptions importing = importOptions(options, warn);
  if (options.emit == EmitKind::tokenizer)
    return writeTokenizer(options, importing);
  Expected<std::unique_ptr<import::Checkpoint>> opened = import::openCheckpoint(options.input, importing);
  if (!opened)
    return opened.takeError();
  const import::Checkpoint &checkpoint = **opened;
  const bool explains = options.verbose || options.explain;
  if (options.verbose)
    errs() << "source: " << checkpoint.source() << "\n";
  Expected<Decision> head = decideHead(options, checkpoint.config());
  if (!head)
    return head.takeError();
  options.head = head->value;
  if (explains) {
    sayDecisions(checkpoint.decisions());
    sayDecisions({*head, cacheDecision(options.kv)});
  }
  stages.end("import");

  mlir::MLIRContext context;
  import::ScaleGroups groups;
  if (Error e = findScaleGroups(checkpoint, options, /*everyProblem=*/false, groups))
    return e;
  Expected<mlir::OwningOpRef<mlir::ModuleOp>> graph = buildGraph(context, checkpoint, groups, options);
  if (!graph)
    return graph.takeError();
  mlir::ModuleOp module = **graph;
  if (options.emit == EmitKind::bitnet)
    return writeText(options.output, moduleText(module));
  if (Error e = runPasses(module, options))
    return e;
  if (options.emit == EmitKind::kernel)
    return writeText(options.output, moduleText(module));
  Expected<Plan> plan = exportPlan(module);
  if (!plan)
    return plan.takeError();
  stages.end("passes");

  if (options.emit == EmitKind::specs)
    return writeText(options.output, specsText(*plan, options));
  if (options.emit != EmitKind::bnx)
    return emitKernels(*plan, options);
  KernelCounts counts;
  Expected<std::vector<VariantImage>> images = compileImages(*plan, options, counts);
  if (!images)
    return images.takeError();
  stages.end("kernels");

  std::optional<Progress> bar("packing weights");
  BundleInput input;
  input.checkpoint = &checkpoint;
  input.plan = &*plan;
  input.images = std::move(*images);
  input.head = options.head;
  input.kv = options.kv;
  input.report = [&](const PackReport &packed) {
    bar.reset(); // all is packed; it would stand before the next line
    for (const std::string &line : emptyMatrices(packed.matrices))
      warn(line);
    return modelReport(checkpoint, packed.matrices, packed.inexactF16, warnings)
        .dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  input.jobs = options.jobs;
  input.progress = [&](uint64_t done, uint64_t total) { bar->update(done, total); };
  Expected<BundleReport> bundle = writeBundle(options.output, input);
  if (!bundle)
    return bundle.takeError();
  stages.end("bundle");
  if (explains || options.tuneSeconds)
    for (const std::string &line : counts.tuned)
      errs() << "tuned: " << line << "\n";
  if (options.verbose || options.timePasses)
    for (const auto &[name, seconds] : stages.seconds())
      errs() << "time: " << name << " " << llvm::format("%.2f", seconds) << " s\n";
  sayResult(options, checkpoint, *bundle, counts, stages);
  return Error::success();
}

} // namespace bitnet::compiler
