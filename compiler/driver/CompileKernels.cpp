// See CompileKernels.h.
#include "compiler/driver/CompileKernels.h"
#include "compiler/bundle/ForEachIndex.h"
#include "compiler/driver/Output.h"
#include "compiler/driver/Progress.h"
#include "compiler/driver/Tune.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cstdio>
#include <mutex>

using namespace llvm;

namespace bitnet::compiler {
namespace {

/// Some thousand kernels of 5 to 20 KB; a model has 20 to 60 for each variant.
constexpr uint64_t kMaxCacheBytes = uint64_t(128) << 20;

/// $XDG_CACHE_HOME/bitnet/kernels, ~/.cache/bitnet/kernels, or empty (no cache) without a home.
std::string cacheFolder(const Options &options) {
  if (!options.useCache)
    return "";
  if (!options.cacheDir.empty())
    return options.cacheDir;
  SmallString<128> path;
  if (!sys::path::cache_directory(path))
    return "";
  sys::path::append(path, "bitnet", "kernels");
  return std::string(path);
}

std::vector<codegen::KernelSpec> kernelsFor(const Plan &plan, format::CpuVariant variant) {
  std::vector<codegen::KernelSpec> kernels = collectKernels(plan);
  for (codegen::KernelSpec &spec : kernels)
    spec.cpu = variant;
  return kernels;
}

/// Gives the kernels for this CPU the tiles that were measured, where the bundle is for this CPU: what is
/// built for a named family is the same on every machine.
Error tuneTiles(std::vector<codegen::KernelSpec> &specs, const Options &options, const std::string &cache,
                std::vector<std::string> &lines) {
  if (!options.tuneSeconds && (!options.useTuned || options.targetText.find("host") == std::string::npos))
    return Error::success();
  TunedTiles tiles(cache);
  if (options.tuneSeconds)
    if (Error e = tiles.measure(specs, options.tuneSeconds, options.jobs))
      return e;
  for (codegen::KernelSpec &spec : specs) {
    const std::string name = codegen::to_string(spec);
    const TunedTile *tuned = tiles.apply(spec);
    if (!tuned || tuned->gain == 1)
      continue;
    char text[80];
    std::snprintf(text, sizeof text, ": tile of %d stripes x %d tokens, %.0f %% faster when measured here",
                  tuned->tile.stripes, tuned->tile.tokens, 100 * (1 / tuned->gain - 1));
    lines.push_back(name + text);
  }
  return Error::success();
}

} // namespace

Expected<std::vector<VariantImage>> compileImages(const Plan &plan, const Options &options,
                                                  KernelCounts &counts) {
  std::vector<codegen::KernelSpec> specs;
  for (format::CpuVariant v : options.targets)
    for (const codegen::KernelSpec &spec : kernelsFor(plan, v))
      specs.push_back(spec);
  std::vector<std::string> objects(specs.size());
  const std::string cache = cacheFolder(options);
  std::vector<std::string> tuned;
  if (Error e = tuneTiles(specs, options, cache, tuned))
    return e;

  std::mutex mutex; // counts and progress
  size_t done = 0, hits = 0;
  Progress bar("compiling kernels");
  auto compileOne = [&](size_t i) -> Error {
    bool hit = false;
    std::string error; // names the kernel
    if (!codegen::compile_kernel_cached(specs[i], cache, &objects[i], &hit, &error))
      return createStringError(error);
    std::lock_guard<std::mutex> lock(mutex);
    hits += hit;
    bar.update(++done, specs.size());
    return Error::success();
  };
  if (Error e = forEachIndex(options.jobs, specs.size(), compileOne))
    return e;
  counts = {specs.size(), hits, std::move(tuned)};
  if (hits < specs.size() && !cache.empty())
    codegen::trim_kernel_cache(cache, kMaxCacheBytes);

  std::vector<VariantImage> images;
  const size_t perVariant = specs.size() / options.targets.size();
  for (size_t v = 0; v < options.targets.size(); ++v) {
    const auto first = objects.begin() + ptrdiff_t(v * perVariant);
    std::vector<std::string> symbols;
    for (size_t i = v * perVariant; i < (v + 1) * perVariant; ++i)
      symbols.push_back(codegen::symbol(specs[i]));
    VariantImage image{options.targets[v], {}};
    std::string error;
    if (!codegen::link_image({first, first + ptrdiff_t(perVariant)}, symbols, &image.image, &error))
      return createStringError("linking %s kernels: %s", format::cpu_variant(image.variant).name,
                               error.c_str());
    images.push_back(std::move(image));
  }
  return images;
}

Error emitKernels(const Plan &plan, const Options &options) {
  const bool objects = options.emit == EmitKind::object;
  const codegen::Emit what = objects                              ? codegen::Emit::object
                             : options.emit == EmitKind::assembly ? codegen::Emit::assembly
                                                                  : codegen::Emit::stmt;
  if (objects)
    if (std::error_code e = sys::fs::create_directories(options.output))
      return createStringError("%s: cannot create: %s", options.output.c_str(), e.message().c_str());
  std::string all;
  for (format::CpuVariant v : options.targets)
    for (const codegen::KernelSpec &spec : kernelsFor(plan, v)) {
      std::string bytes, error;
      if (!codegen::compile_kernel(spec, what, &bytes, &error))
        return createStringError(error);
      if (!objects) {
        all += "// " + codegen::to_string(spec) + "\n" + bytes + "\n";
        continue;
      }
      SmallString<128> path(options.output);
      sys::path::append(path, codegen::symbol(spec) + ".o");
      if (Error e = writeFile(std::string(path), bytes))
        return e;
    }
  return objects ? Error::success() : writeText(options.output, all);
}

std::string specsText(const Plan &plan, const Options &options) {
  std::string s;
  for (format::CpuVariant v : options.targets)
    for (const codegen::KernelSpec &spec : kernelsFor(plan, v))
      s += codegen::to_string(spec) + "\n";
  return s;
}

} // namespace bitnet::compiler
