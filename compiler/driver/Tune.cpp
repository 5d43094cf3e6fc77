// See Tune.h. The file is text: a line with the CPU and the version, then a line for each kernel; what is not
// understood is measured again. It appears by rename, after each kernel, so an interrupted run keeps what it
// has found.
#include "compiler/driver/Tune.h"
#include "codegen/compile.h"
#include "codegen/tune/tile_timer.h"
#include "compiler/bundle/ForEachIndex.h"
#include "compiler/driver/Output.h"
#include "compiler/driver/Progress.h"
#include "runtime/cpu/cpu.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>

using namespace llvm;

namespace bitnet::compiler {
namespace {

/// Below this a difference may be chance: medians of the same code, run in turn, differ by 1 to 2 %.
constexpr double kWorthwhile = 0.97;

bool isHead(const codegen::KernelSpec &spec) {
  return spec.op == format::Op::linear_f16 || spec.op == format::Op::screen_q4;
}
/// Rows that a kernel for any number of rows is measured with. A head's many rows are few or rare.
int32_t manyRows(const codegen::KernelSpec &spec) { return isHead(spec) ? 8 : 64; }

std::string header() {
  return std::string("bitnet tiles: cpu ") + cpu::model() + "; generators " + codegen::generators_version();
}

std::string keyOf(codegen::KernelSpec spec) {
  spec.tile = {};
  return codegen::to_string(spec);
}

bool runsHere(const codegen::KernelSpec &spec) { return spec.cpu == cpu::best_variant(cpu::features()); }

/// One token first, then prompts, which need one row of the head, then few rows; large matrices before small
/// ones.
bool mattersMore(const codegen::KernelSpec &a, const codegen::KernelSpec &b) {
  const auto rank = [](const codegen::KernelSpec &spec) {
    return spec.rows == 1 ? 0 : spec.rows > 0 ? 1 + spec.rows : isHead(spec) ? 100 : 1;
  };
  if (rank(a) != rank(b))
    return rank(a) < rank(b);
  return int64_t(a.dims.n) * a.dims.k > int64_t(b.dims.n) * b.dims.k;
}

} // namespace

TunedTiles::TunedTiles(const std::string &cacheDir) : cacheDir_(cacheDir) {
  if (cacheDir.empty())
    return;
  SmallString<128> path(cacheDir);
  char name[40];
  std::snprintf(name, sizeof name, "tiles-%016llx.txt",
                static_cast<unsigned long long>(xxh3_64bits(header())));
  sys::path::append(path, name);
  path_ = std::string(path);
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != header())
    return;
  while (std::getline(file, line)) {
    TunedTile tuned;
    int length = 0;
    if (std::sscanf(line.c_str(), "%d %d %lf %n", &tuned.tile.stripes, &tuned.tile.tokens, &tuned.gain,
                    &length) != 3 ||
        !(tuned.gain > 0 && tuned.gain <= 1))
      continue;
    std::string error;
    std::optional<codegen::KernelSpec> spec = codegen::parse_kernel_spec(line.substr(size_t(length)), &error);
    if (!spec)
      continue;
    const std::string key = keyOf(*spec);
    spec->tile = tuned.tile;
    if (codegen::spec_error(*spec).empty())
      known_[key] = tuned;
  }
}

const TunedTile *TunedTiles::apply(codegen::KernelSpec &spec) const {
  if (!runsHere(spec))
    return nullptr;
  const auto found = known_.find(keyOf(spec));
  if (found == known_.end())
    return nullptr;
  spec.tile = found->second.tile;
  return &found->second;
}

Error TunedTiles::store() const {
  if (path_.empty())
    return Error::success();
  if (std::error_code e = sys::fs::create_directories(cacheDir_))
    return createStringError("%s: cannot create: %s", cacheDir_.c_str(), e.message().c_str());
  std::ostringstream text;
  text << header() << "\n";
  for (const auto &[key, tuned] : known_)
    text << tuned.tile.stripes << " " << tuned.tile.tokens << " " << tuned.gain << " " << key << "\n";
  return writeFile(path_, text.str());
}

Error TunedTiles::measure(const std::vector<codegen::KernelSpec> &specs, int seconds, int jobs) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const auto over = [&] { return spent() >= seconds; };

  std::vector<codegen::KernelSpec> wanted;
  for (const codegen::KernelSpec &spec : specs)
    if (runsHere(spec) && !known_.count(keyOf(spec)) && codegen::tile_candidates(spec).size() > 1)
      wanted.push_back(spec);
  std::stable_sort(wanted.begin(), wanted.end(), mattersMore);

  Progress bar("tuning kernels");
  for (const codegen::KernelSpec &spec : wanted) {
    if (over())
      break;
    const std::vector<codegen::KernelTile> tiles = codegen::tile_candidates(spec);
    std::vector<codegen::KernelImage> images(tiles.size());
    if (Error e = forEachIndex(jobs, tiles.size(), [&](size_t i) -> Error {
          if (i > 0 && over())
            return Error::success();
          codegen::KernelSpec with = spec;
          with.tile = tiles[i];
          std::string object, error;
          bool hit;
          const bool made = codegen::compile_kernel_cached(with, cacheDir_, &object, &hit, &error) &&
                            codegen::link_image({object}, {codegen::symbol(with)}, &images[i], &error);
          // A tile that the generator cannot make is none; its own must be.
          return made || i > 0 ? Error::success() : createStringError(error);
        }))
      return e;
    std::vector<codegen::KernelImage> made;
    std::vector<codegen::KernelTile> madeTiles;
    for (size_t i = 0; i < tiles.size(); ++i)
      // The generator's own tile by its sizes is the same code once more.
      if (!images[i].entries.empty() && (i == 0 || images[i].bytes != made[0].bytes)) {
        made.push_back(std::move(images[i]));
        madeTiles.push_back(tiles[i]);
      }
    if (over())
      break;
    codegen::TileTimes times;
    std::string error;
    if (!codegen::time_tiles(spec, spec.rows ? spec.rows : manyRows(spec), made, over, &times, &error))
      return createStringError(error);
    if (!times.complete)
      break; // half of the choice is no choice
    TunedTile tuned;
    if (times.ratio < kWorthwhile)
      tuned = {madeTiles[times.fastest], times.ratio};
    known_[keyOf(spec)] = tuned;
    if (Error e = store())
      return e;
    bar.update(uint64_t(std::min(spent(), double(seconds)) * 1000), uint64_t(seconds) * 1000);
  }
  return Error::success();
}

} // namespace bitnet::compiler
