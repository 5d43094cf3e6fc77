// bitnet-interpret: runs IR of either level on the scalar twins and prints a digest of what it computes. The
// oracle of the passes' tests: two modules that mean the same print the same line.
#include "compiler/bundle/PlanExport.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/interpreter/GraphInterpreter.h"
#include "compiler/interpreter/PlanInterpreter.h"
#include "compiler/interpreter/RandomWeights.h"
#include "dialects/BitNet/BitNet.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include <algorithm>

using namespace bitnet::compiler;
namespace cl = llvm::cl;

static cl::OptionCategory category("bitnet-interpret");
static cl::opt<std::string> file(cl::Positional, cl::desc("FILE.mlir (- for standard input)"), cl::init("-"),
                                 cl::cat(category));
static cl::opt<std::string> steps("steps", cl::cat(category), cl::init(StepOptions().steps),
                                  cl::desc("steps separated by ',', each runs SEQUENCE:ROWS joined by '+'"));
static cl::opt<uint64_t> seed("seed", cl::desc("of weights and tokens"), cl::init(1), cl::cat(category));
static cl::list<int32_t> tokens("tokens", cl::CommaSeparated, cl::cat(category),
                                cl::desc("ids of sequence 0 instead of seeded ones"));
static cl::opt<std::string> weights("weights", cl::cat(category),
                                    cl::desc("checkpoint to read weights from instead of seeded ones"));
static cl::opt<int32_t>
    printLogits("print-logits", cl::init(0), cl::cat(category),
                cl::desc("first values to print of each row of a step's result, and its argmax"));

namespace {

/// Either interpreter, behind what this program needs: the result rows of a step.
struct Machine {
  int64_t width = 0; ///< f32 columns of the first result
  std::unique_ptr<GraphInterpreter> graph;
  std::unique_ptr<PlanInterpreter> plan;

  llvm::Expected<std::vector<uint8_t>> step(const StepInput &input) {
    if (graph)
      return graph->step(input);
    llvm::Expected<std::vector<float>> logits = plan->step(input);
    if (!logits)
      return logits.takeError();
    auto *bytes = reinterpret_cast<const uint8_t *>(logits->data());
    return std::vector<uint8_t>(bytes, bytes + logits->size() * 4);
  }
};

void printRows(const std::vector<uint8_t> &bytes, int64_t width, size_t step) {
  auto *values = reinterpret_cast<const float *>(bytes.data());
  for (size_t row = 0; row < bytes.size() / 4 / size_t(width); ++row) {
    const float *v = values + row * size_t(width);
    llvm::outs() << "step " << step << " row " << row << ": argmax " << std::max_element(v, v + width) - v;
    for (int64_t i = 0; i < std::min<int64_t>(printLogits, width); ++i)
      llvm::outs() << (i ? " " : " values ") << llvm::format("%.9g", double(v[i]));
    llvm::outs() << "\n";
  }
}

/// Rows of the embedding table: what token ids are drawn from.
int32_t vocabularyOf(mlir::ModuleOp module) {
  int64_t rows = 1;
  module.walk([&](mlir::bitnet::EmbeddingOp op) {
    rows = mlir::cast<mlir::RankedTensorType>(op.getTable().getType()).getDimSize(0);
  });
  module.walk([&](mlir::kernel::CallOp op) {
    if (op.op() == bitnet::format::Op::embed)
      if (auto table = op.getIns()[1].getDefiningOp<mlir::kernel::ConstantOp>())
        rows = table.getRows().front(); // without the padding
  });
  return int32_t(rows);
}

llvm::Error run() {
  mlir::DialectRegistry registry;
  registry.insert<mlir::bitnet::BitNetDialect, mlir::kernel::KernelDialect, mlir::func::FuncDialect>();
  mlir::MLIRContext context(registry);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceFile<mlir::ModuleOp>(file, &context);
  if (!module)
    return llvm::createStringError("%s: not valid IR (see above)", file.c_str());
  llvm::SmallVector<mlir::func::FuncOp> functions(module->getOps<mlir::func::FuncOp>());
  if (functions.size() != 1 || functions.front().isDeclaration() || functions.front().getNumResults() == 0)
    return llvm::createStringError("%s: expected one function with results, got %zu functions", file.c_str(),
                                   functions.size());
  mlir::func::FuncOp function = functions.front();

  std::unique_ptr<bitnet::import::Checkpoint> checkpoint;
  std::unique_ptr<WeightSource> source = std::make_unique<RandomWeights>(*module, seed);
  if (!weights.empty()) {
    auto opened = bitnet::import::openCheckpoint(weights, {});
    if (!opened)
      return opened.takeError();
    checkpoint = std::move(*opened);
    source = std::make_unique<CheckpointWeights>(*checkpoint);
  }

  StepOptions options;
  options.steps = steps;
  options.vocab = vocabularyOf(*module);
  options.seed = seed;
  options.tokens.assign(tokens.begin(), tokens.end());
  for (int32_t token : options.tokens)
    if (token < 0 || token >= options.vocab)
      return llvm::createStringError("--tokens: expected ids in [0, %d), got %d", options.vocab, token);
  llvm::Expected<std::vector<StepInput>> inputs = makeSteps(options);
  if (!inputs)
    return inputs.takeError();

  Machine machine;
  Plan plan;
  mlir::Type first = function.getResultTypes().front();
  if (auto slice = mlir::dyn_cast<mlir::kernel::SliceType>(first)) {
    machine.width = slice.getWidth();
    llvm::Expected<Plan> exported = exportPlan(*module);
    if (!exported)
      return exported.takeError();
    plan = std::move(*exported);
    llvm::Expected<PlanInterpreter> interpreter =
        PlanInterpreter::create(plan, *source, int32_t(machine.width));
    if (!interpreter)
      return interpreter.takeError();
    machine.plan = std::make_unique<PlanInterpreter>(std::move(*interpreter));
  } else if (mlir::bitnet::isRows(first)) {
    machine.width = mlir::bitnet::width(first);
    machine.graph = std::make_unique<GraphInterpreter>(function, *source, seed);
  } else {
    return llvm::createStringError("%s: expected rows as the first result", file.c_str());
  }

  std::vector<uint8_t> all;
  for (const auto &[i, input] : llvm::enumerate(*inputs)) {
    llvm::Expected<std::vector<uint8_t>> rows = machine.step(input);
    if (!rows)
      return rows.takeError();
    if (printLogits > 0)
      printRows(*rows, machine.width, i);
    all.insert(all.end(), rows->begin(), rows->end());
  }
  llvm::outs() << "digest " << llvm::format("%016llx", (unsigned long long)llvm::xxh3_64bits(all)) << " of "
               << all.size() << " bytes\n";
  return llvm::Error::success();
}

} // namespace

int main(int argc, char **argv) {
  cl::HideUnrelatedOptions(category);
  cl::SetVersionPrinter([](llvm::raw_ostream &os) { os << "bitnet-interpret " BITNET_VERSION "\n"; });
  cl::ParseCommandLineOptions(argc, argv, "runs bitnet or kernel IR on the scalar twins, prints a digest\n");
  if (llvm::Error e = run()) {
    llvm::WithColor::error() << llvm::toString(std::move(e)) << "\n";
    return 1;
  }
  return 0;
}
