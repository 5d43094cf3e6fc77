// bitnetc's command line: one table gives parsing, --help and the errors.
#pragma once
#include "runtime/format/cpu_variants.h"
#include "llvm/Support/Error.h"
#include <string>
#include <utility>
#include <vector>

namespace bitnet::compiler {

enum class EmitKind { bnx, bitnet, kernel, specs, stmt, assembly, object, tokenizer };

/// What bitnetc is to do with the checkpoint: `bitnetc check MODEL` only looks at it.
enum class Command { compile, check };

struct Options {
  Command command = Command::compile;
  std::string input, output, tokenizer, cacheDir, kv = "f16", packing = "auto", printIrAfter;
  std::string head; ///< exact, f16 or q8; empty: what suits the model
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<format::CpuVariant> targets;
  std::string targetText = "host";
  EmitKind emit = EmitKind::bnx;
  int tuneSeconds = 0; ///< 0: do not measure
  int jobs = 0, maxRows = 128;
  bool printIrAfterAll = false, timePasses = false, json = false, verbose = false, fuse = true, skip = true,
       explain = false, useCache = true, useTuned = true;
  bool help = false, version = false, listTargets = false;
};

/// A usage error (exit status 2) is any error of this function.
llvm::Expected<Options> parseOptions(const std::vector<std::string> &args);
std::string helpText();
/// Name, CPU features and whether this CPU has them, a line each.
std::string targetsText();
/// "avx512,avx2" → variants, ascending, without duplicates. "host" = the best variant of this CPU.
llvm::Expected<std::vector<format::CpuVariant>> parseTargets(const std::string &text);

} // namespace bitnet::compiler
