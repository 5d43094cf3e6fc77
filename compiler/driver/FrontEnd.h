// From a checkpoint's files to the kernel dialect: what compiling and checking share.
#pragma once
#include "compiler/driver/Options.h"
#include "compiler/import/BuildGraph.h"

namespace bitnet::compiler {

/// What the importer gets to know of the options; `warn` is called with each warning.
import::ImportOptions importOptions(const Options &options, std::function<void(const std::string &)> warn);

/// A warning of the importer without the path of the checkpoint, which differs from machine to machine.
std::string withoutPath(const std::string &warning, const std::string &input);

/// One message for each of several errors that were joined.
std::vector<std::string> messagesOf(llvm::Error error);

/// The head that suits the model, if the options name none; an error if they name one that the model cannot
/// have.
llvm::Expected<import::Decision> decideHead(const Options &options, const import::ModelConfig &config);

/// Adds the matrices that have scales of groups of columns; a tensor may have to be decoded for it. The first
/// error, or those of all tensors, joined.
llvm::Error findScaleGroups(const import::Checkpoint &checkpoint, const Options &options, bool everyProblem,
                            import::ScaleGroups &groups);

/// The model in the bitnet dialect; diagnostics of the context say what went wrong.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> buildGraph(mlir::MLIRContext &context,
                                                             const import::Checkpoint &checkpoint,
                                                             const import::ScaleGroups &groups,
                                                             const Options &options);

/// The passes; options.head must be decided.
llvm::Error runPasses(mlir::ModuleOp module, const Options &options);

} // namespace bitnet::compiler
