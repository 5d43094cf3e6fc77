// See Check.h. What would stop a compile at once is one problem among others here: every tensor is looked at.
#include "compiler/driver/Check.h"
#include "compiler/bundle/ForEachIndex.h"
#include "compiler/driver/FrontEnd.h"
#include "compiler/driver/ModelReport.h"
#include "compiler/driver/Progress.h"
#include "compiler/import/Codec.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <mutex>
#include <thread>

using namespace llvm;

namespace bitnet::compiler {
using import::Checkpoint;
using import::ImportOptions;
using import::kDecodingBytes;
using import::MatrixFacts;
using import::ScaleGroups;
namespace {

class Doctor {
public:
  explicit Doctor(const Options &options) : options_(options) {
    if (!options_.jobs)
      options_.jobs = int(std::max(1u, std::thread::hardware_concurrency()));
  }

  void examine() {
    ImportOptions importing = importOptions(
        options_, [&](const std::string &line) { warnings_.push_back(withoutPath(line, options_.input)); });
    importing.everyProblem = true;
    Expected<std::unique_ptr<Checkpoint>> opened = import::openCheckpoint(options_.input, importing);
    if (!opened)
      return add(opened.takeError());
    checkpoint_ = std::move(*opened);
    Expected<import::Decision> head = decideHead(options_, checkpoint_->config());
    if (!head)
      return add(head.takeError());
    options_.head = head->value;
    mlir::MLIRContext context;
    mlir::ScopedDiagnosticHandler diagnostics(&context, [&](mlir::Diagnostic &d) {
      if (d.getSeverity() == mlir::DiagnosticSeverity::Error)
        problems_.push_back(d.str());
      return mlir::success();
    });
    ScaleGroups groups;
    if (Error e = findScaleGroups(*checkpoint_, options_, /*everyProblem=*/true, groups))
      add(std::move(e));
    Expected<mlir::OwningOpRef<mlir::ModuleOp>> graph = buildGraph(context, *checkpoint_, groups, options_);
    if (!graph)
      return add(graph.takeError());
    readWeights(**graph);
    suspect();
    if (Error e = runPasses(**graph, options_))
      add(std::move(e));
  }

  bool healthy() const { return problems_.empty(); }

  Json report() const {
    Json report = checkpoint_ ? modelReport(*checkpoint_, matrices_, rounded_, warnings_)
                              : Json{{"warnings", warnings_}};
    report["problems"] = problems_;
    report["would_compile"] = healthy();
    return report;
  }

  std::string text() const {
    std::string text;
    if (checkpoint_)
      text = reportText(report());
    else
      for (const std::string &warning : warnings_)
        text += "warning: " + warning + "\n";
    for (const std::string &problem : problems_)
      text += "problem: " + problem + "\n";
    return text + "would compile: " + (healthy() ? "yes" : "no") + "\n";
  }

private:
  void add(Error error) {
    for (std::string &message : messagesOf(std::move(error)))
      problems_.push_back(std::move(message));
  }

  /// A tensor that the graph asks for.
  struct Wanted {
    std::string name;
    bool ternary, f16;
    bool operator<(const Wanted &other) const { return name < other.name; }
    bool operator==(const Wanted &other) const { return name == other.name; }
  };

  /// Each one decoded once.
  void readWeights(mlir::ModuleOp module) {
    std::vector<Wanted> tensors;
    module.walk([&](mlir::bitnet::WeightOp op) {
      auto dense = dyn_cast<mlir::RankedTensorType>(op.getType());
      for (mlir::Attribute name : op.getNames())
        tensors.push_back({cast<mlir::StringAttr>(name).str(), isa<mlir::bitnet::TernaryType>(op.getType()),
                           dense && dense.getElementType().isF16()});
    });
    std::sort(tensors.begin(), tensors.end());
    tensors.erase(std::unique(tensors.begin(), tensors.end()), tensors.end());
    uint64_t done = 0;
    Progress bar("reading weights");
    std::mutex mutex; // all that is written below
    cantFail(forEachIndex(
        options_.jobs ? options_.jobs : int(std::max(1u, std::thread::hardware_concurrency())),
        tensors.size(),
        [&](size_t i) {
          Error error =
              tensors[i].ternary ? readTernary(tensors[i].name, mutex) : readDense(tensors[i], mutex);
          std::lock_guard<std::mutex> lock(mutex);
          if (error)
            add(std::move(error));
          bar.update(++done, tensors.size());
          return Error::success();
        },
        [&](size_t i) {
          return tensors[i].ternary ? checkpoint_->info(tensors[i].name).decodingBytes : uint64_t(0);
        },
        kDecodingBytes));
    // Whichever thread was first; and what kept a tensor's groups from being known is said once.
    std::sort(problems_.begin(), problems_.end());
    problems_.erase(std::unique(problems_.begin(), problems_.end()), problems_.end());
  }

  Error readTernary(const std::string &name, std::mutex &mutex) {
    Expected<import::TernaryMatrix> matrix = checkpoint_->ternary(name);
    if (!matrix)
      return matrix.takeError();
    const MatrixFacts facts = import::factsOf(*matrix);
    std::lock_guard<std::mutex> lock(mutex);
    matrices_[name] = facts;
    return Error::success();
  }

  Error readDense(const Wanted &tensor, std::mutex &mutex) {
    const import::TensorInfo info = checkpoint_->info(tensor.name);
    const int32_t rows = std::max(1, (1 << 20) / std::max(1, info.cols));
    uint64_t rounded = 0;
    for (int32_t begin = 0; begin < info.rows; begin += rows) {
      Expected<import::DenseTensor> part = checkpoint_->dense(tensor.name, begin, begin + rows);
      if (!part)
        return part.takeError();
      if (tensor.f16)
        for (float value : part->values)
          rounded += import::roundTo(import::FloatType::f16, value) != value;
    }
    std::lock_guard<std::mutex> lock(mutex);
    rounded_ += rounded;
    return Error::success();
  }

  /// Weights that decode and yet are hardly those of a trained model.
  void suspect() {
    for (std::string &line : emptyMatrices(matrices_))
      warnings_.push_back(std::move(line));
    const std::string layer = "blk." + std::to_string(checkpoint_->config().layers / 2) + ".";
    Expected<import::TernaryMatrix> gate = checkpoint_->ternary(layer + "ffn_gate.weight"),
                                    down = checkpoint_->ternary(layer + "ffn_down.weight");
    if (!gate || !down) { // reported above
      consumeError(gate.takeError());
      consumeError(down.takeError());
      return;
    }
    constexpr int32_t kEnough = 256; // neurons
    const double agreement = import::neuronAgreement(*gate, *down);
    if (gate->rows >= kEnough && agreement * std::sqrt(double(gate->rows)) < 4)
      warnings_.push_back(layer +
                          "ffn_gate, ffn_down: the gate's rows and down's columns have nothing in common "
                          "as to where they are 0; random weights, or read in another order than written");
  }

  Options options_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::map<std::string, MatrixFacts> matrices_;
  uint64_t rounded_ = 0; ///< values of f16 matrices that are not f16 in the checkpoint
  std::vector<std::string> warnings_, problems_;
};

} // namespace

bool check(const Options &options) {
  Doctor doctor(options);
  doctor.examine();
  if (options.json)
    outs() << doctor.report().dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  else
    outs() << doctor.text();
  outs().flush();
  return doctor.healthy();
}

} // namespace bitnet::compiler
