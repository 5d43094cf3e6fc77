// See tile_timer.h.
#include "codegen/tune/tile_timer.h"
#include "runtime/format/kernel_ops.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>
#include <numeric>
#include <sys/mman.h>

namespace bitnet::codegen {
namespace {

using format::Arg;
using format::Elem;
using format::Op;

constexpr size_t kFootprint = size_t(192) << 20; // of weights: several times the third-level cache
constexpr size_t kRounds = 7;
constexpr double kRoundSeconds = 0.002; // at least, of one tile
/// The fastest against the first: many short turns, for what slows a machine may last for milliseconds.
constexpr double kTurnSeconds = 0.0001, kDuelSeconds = 0.05; // at least, of one tile
constexpr size_t kFewestTurns = 15;

/// Processor time of this thread: a kernel never waits, and other programs' turns do not count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

class Memory {
public:
  Memory(size_t size, int protection) : size_(size) {
    void *p = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bytes_ = p == MAP_FAILED ? nullptr : static_cast<uint8_t *>(p);
    if (bytes_)
      madvise(bytes_, size, MADV_HUGEPAGE);
  }
  ~Memory() {
    if (bytes_)
      munmap(bytes_, size_);
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  uint8_t *bytes() const { return bytes_; }
  size_t size() const { return size_; }

private:
  size_t size_;
  uint8_t *bytes_;
};

/// An image ready to run, or nullptr.
std::unique_ptr<Memory> load(const KernelImage &image) {
  auto memory = std::make_unique<Memory>(image.bytes.size(), PROT_READ | PROT_WRITE);
  if (!memory->bytes())
    return nullptr;
  std::memcpy(memory->bytes(), image.bytes.data(), image.bytes.size());
  for (const KernelImage::Fixup &fixup : image.fixups) {
    const uint64_t value = reinterpret_cast<uint64_t>(memory->bytes()) + fixup.target;
    std::memcpy(memory->bytes() + fixup.at, &value, sizeof value);
  }
  return mprotect(memory->bytes(), memory->size(), PROT_READ | PROT_EXEC) == 0 ? std::move(memory) : nullptr;
}

/// Values that are legal in every reading: two-bit codes 0..2 (so an f16 is finite too), floats of 0.5
/// to 1.4.
void fill(Elem elem, uint8_t *bytes, size_t size) {
  uint64_t state = 1;
  for (size_t i = 0; i + 4 <= size; i += 4) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto random = uint32_t(state >> 32);
    if (elem == Elem::f32) {
      const float value = 0.5f + float(random % 8) * 0.125f;
      std::memcpy(bytes + i, &value, 4);
    } else {
      const uint32_t codes = random & ~((random & 0xaaaaaaaau) >> 1); // 3 becomes 2
      const uint32_t word = elem == Elem::i32 ? codes & 0xff : codes;
      std::memcpy(bytes + i, &word, 4);
    }
  }
}

/// A call's buffers; those of weights point into memory of their own.
class Call {
public:
  Call(const KernelSpec &spec, int32_t rows)
      : signature_(format::signature(spec.op, spec.dims)), rows_(rows),
        units_(signature_.units + signature_.units_per_row * rows) {
    const int32_t padded = (rows + format::kRowPad - 1) / format::kRowPad * format::kRowPad;
    for (int32_t i = 0; i < signature_.n_args; ++i) {
      const Arg &arg = signature_.args[i];
      size_t elements = 1, stored = 1;
      for (int32_t d = 0; d < arg.rank; ++d) {
        const int32_t extent = format::resolve_extent(arg.extent[d], {rows});
        shape_[i][d] = {0, extent, int32_t(elements), 0};
        elements *= size_t(extent);
        stored *= size_t(arg.extent[d] == format::kRows ? padded : extent);
      }
      bytes_[i] = elements * format::elem_bytes(arg.elem);
      memory_.push_back(
          std::make_unique<Memory>(stored * format::elem_bytes(arg.elem) + 64, PROT_READ | PROT_WRITE));
      buffers_[i].host = memory_.back()->bytes();
      buffers_[i].dimensions = arg.rank;
      buffers_[i].dim = shape_[i];
      if (buffers_[i].host)
        fill(arg.elem, buffers_[i].host, memory_.back()->size());
      args_[i] = &buffers_[i];
      if (std::strcmp(arg.name, "w") == 0)
        weights_ = i;
    }
    args_[signature_.n_args] = &rows_;
    args_[signature_.n_args + 1] = &begin_;
    args_[signature_.n_args + 2] = &units_;
  }
  bool ok() const {
    return weights_ >= 0 && std::all_of(memory_.begin(), memory_.end(), [](auto &m) { return m->bytes(); });
  }
  size_t weight_bytes() const { return bytes_[weights_]; }
  Elem weight_elem() const { return signature_.args[weights_].elem; }
  void read_weights_at(uint8_t *w) { buffers_[weights_].host = w; }
  void run(const Memory &code, uint64_t entry) {
    reinterpret_cast<format::KernelFn>(reinterpret_cast<uintptr_t>(code.bytes()) + entry)(args_);
  }
  /// What the kernel wrote, without pad rows (rows are the last dimension).
  std::vector<uint8_t> outputs() const {
    std::vector<uint8_t> all;
    for (int32_t i = 0; i < signature_.n_args; ++i)
      if (signature_.args[i].output)
        all.insert(all.end(), buffers_[i].host, buffers_[i].host + bytes_[i]);
    return all;
  }

private:
  format::Signature signature_;
  int32_t rows_, begin_ = 0, units_, weights_ = -1;
  format::Dim shape_[format::kMaxArgs][5] = {};
  size_t bytes_[format::kMaxArgs] = {};
  format::Buffer buffers_[format::kMaxArgs] = {};
  void *args_[format::kMaxArgs + 3] = {};
  std::vector<std::unique_ptr<Memory>> memory_;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

} // namespace

std::vector<KernelTile> tile_candidates(const KernelSpec &spec) {
  std::vector<KernelTile> tiles{{}};
  for (int32_t stripes : {1, 2, 4, 8})
    for (int32_t tokens : {1, 2, 4, 8}) {
      KernelSpec with = spec;
      with.tile = {stripes, tokens};
      // Of 16 outputs each: more than 32 only spill, too few wait for one another.
      const int32_t sums = stripes * tokens, fewest = spec.rows ? std::min(8, 2 * spec.rows) : 8;
      if (spec_error(with).empty() && sums <= 32 && sums >= fewest)
        tiles.push_back(with.tile);
    }
  return tiles;
}

bool time_tiles(const KernelSpec &spec, int32_t rows, const std::vector<KernelImage> &images,
                const std::function<bool()> &stop, TileTimes *result, std::string *error) {
  const auto fail = [&](const std::string &why) {
    *error = "tuning '" + to_string(spec) + "': " + why;
    return false;
  };
  std::vector<std::unique_ptr<Memory>> code;
  for (const KernelImage &image : images)
    if (!code.emplace_back(load(image)))
      return fail("cannot get executable memory");
  Call call(spec, rows);
  if (!call.ok())
    return fail("cannot get memory for its buffers");
  const size_t copy = (call.weight_bytes() + 4095) / 4096 * 4096,
               copies = std::max<size_t>(kFootprint / copy, 1);
  const Memory weights(copies * copy, PROT_READ | PROT_WRITE);
  if (!weights.bytes())
    return fail("cannot get memory for its weights");
  for (size_t c = 0; c < copies; ++c)
    fill(call.weight_elem(), weights.bytes() + c * copy, call.weight_bytes());

  size_t next = 0; // copy that the next call reads
  const auto seconds_of = [&](size_t tile, int calls) {
    const double start = now();
    for (int i = 0; i < calls; ++i) {
      call.read_weights_at(weights.bytes() + next++ % copies * copy);
      call.run(*code[tile], images[tile].entries.at(0));
    }
    return (now() - start) / calls;
  };
  std::vector<uint8_t> expected;
  double one_call = 0;
  for (size_t tile = 0; tile < images.size(); ++tile) {
    const double seconds = seconds_of(tile, 1);
    const std::vector<uint8_t> got = call.outputs();
    if (tile == 0) {
      expected = got;
      one_call = std::max(seconds, 1e-9);
    } else if (got != expected) {
      return fail("tile " + std::to_string(tile) + " changes the numbers; this is a defect of the generator");
    }
  }
  const auto calls_in = [&](double seconds) { return std::max(1, int(seconds / one_call)); };
  // Seconds of these tiles, [tile][round]; fewer rounds where it is told to stop.
  const auto rounds_of = [&](const std::vector<size_t> &tiles, size_t rounds, int calls) {
    std::vector<std::vector<double>> seconds(tiles.size());
    for (size_t round = 0; round < rounds && (round == 0 || !stop()); ++round)
      for (size_t i = 0; i < tiles.size(); ++i)
        seconds[i].push_back(seconds_of(tiles[i], calls));
    return seconds;
  };
  // A round's tiles ran one after the other: what slowed all of them is not in their ratios.
  const auto ratio = [](const std::vector<double> &seconds, const std::vector<double> &first) {
    std::vector<double> ratios;
    for (size_t round = 0; round < seconds.size(); ++round)
      ratios.push_back(seconds[round] / first[round]);
    return median(ratios);
  };
  *result = {};
  std::vector<size_t> all(images.size());
  std::iota(all.begin(), all.end(), size_t(0));
  const std::vector<std::vector<double>> seconds = rounds_of(all, kRounds, calls_in(kRoundSeconds));
  double least = 1;
  for (const size_t tile : all) {
    result->nanoseconds.push_back(median(seconds[tile]) * 1e9);
    if (const double r = ratio(seconds[tile], seconds[0]); r < least)
      least = r, result->fastest = tile;
  }
  result->complete = seconds[0].size() == kRounds;
  if (result->fastest > 0 && result->complete) {
    const int calls = calls_in(kTurnSeconds);
    const auto turns = std::max(kFewestTurns, size_t(kDuelSeconds / (one_call * calls)));
    const std::vector<std::vector<double>> again = rounds_of({0, result->fastest}, turns, calls);
    result->ratio = ratio(again[1], again[0]);
    result->complete = again[0].size() == turns;
  }
  return true;
}

} // namespace bitnet::codegen
