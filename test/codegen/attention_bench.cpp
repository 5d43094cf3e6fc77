// How fast the attention kernels read their cache, or attention_merge its parts, and compute:
// codegen_attention_bench <context>[,...] <rows> <threads>[,...] '<kernel spec>'...  Not a test. Each spec is
// called for 30 layers whose caches are distinct memory, as a step does, its units cut over the threads;
// prints milliseconds for all layers, GB/s of cache, and billions of multiply-adds a second of q·k and p·v.
// Rows are the last of one sequence.
#include "runtime/format/layouts.h"
#include "test/codegen/kernel_runner.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

using namespace bitnet;
using namespace bitnet::codegen;

namespace {

constexpr int kLayers = 30;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Sums `bytes` at `at`, four stretches of 8 KB at a time.
__attribute__((noinline, target("avx2"))) uint64_t read_all(const uint8_t *at, size_t bytes) {
  typedef uint64_t Vector __attribute__((vector_size(32)));
  constexpr size_t kStretch = 8192;
  Vector sum[8] = {};
  for (size_t group = 0; group + 4 * kStretch <= bytes; group += 4 * kStretch)
    for (size_t i = 0; i < kStretch; i += 64)
      for (size_t s = 0; s < 8; ++s) {
        Vector v;
        std::memcpy(&v, at + group + s / 2 * kStretch + i + s % 2 * 32, sizeof v);
        sum[s] += v;
      }
  uint64_t total = 0;
  for (const Vector &v : sum)
    total += v[0] + v[1] + v[2] + v[3];
  return total;
}

std::unique_ptr<CallBuffers> layer_of(const KernelSpec &spec, int32_t context, int32_t rows, int layer) {
  format::Extents e;
  e.rows = rows;
  e.seqs = 1;
  e.kv_blocks = e.seq_blocks = (context + format::kKvBlockTokens - 1) / format::kKvBlockTokens;
  auto call = std::make_unique<CallBuffers>(spec, e, uint64_t(layer));
  call->last_position = context - 1;
  for (int32_t r = 0; r < rows; ++r)
    call->data<int32_t>("positions")[r] = context - rows + r;
  if (spec.op == format::Op::attention_merge)
    return call;
  for (int32_t b = 0; b < e.seq_blocks; ++b)
    call->data<int32_t>("block_table")[b] = b;
  if (spec.op == format::Op::attention_q8 || spec.op == format::Op::attention_chunk_q8)
    for (const char *scales : {"k_scale", "v_scale"})
      std::fill_n(call->data<float>(scales), call->elements(scales), 0.01f);
  else
    for (const char *cache : {"k_cache", "v_cache"}) {
      uint16_t *const values = call->data<uint16_t>(cache);
      std::transform(values, values + call->elements(cache), values,
                     [](uint16_t v) { return uint16_t((v & 0x83ff) | 0x3800); });
    }
  return call;
}

void measure(const KernelSpec &spec, int32_t context, int32_t rows, int threads) {
  LoadedKernel kernel;
  std::string error;
  const double before = now();
  if (!kernel.load(spec, &error)) {
    std::puts(error.c_str());
    return;
  }
  const double compiled = now() - before;
  const bool q8 = spec.op == format::Op::attention_q8 || spec.op == format::Op::attention_chunk_q8;
  const bool merge = spec.op == format::Op::attention_merge;
  if (merge && rows > format::kSplitRows) {
    std::printf("attention_merge: expected at most %d rows, got %d\n", format::kSplitRows, rows);
    return;
  }
  const std::vector<const char *> read = merge ? std::vector{"parts"} : std::vector{"k_cache", "v_cache"};
  const size_t element = merge ? 4 : q8 ? 1 : 2;
  std::vector<std::unique_ptr<CallBuffers>> layers;
  for (int l = 0; l < kLayers; ++l)
    layers.push_back(layer_of(spec, context, rows, l));

  // Each thread takes its share of the units, as the runtime's do, and they meet after each layer.
  std::atomic<int> round{0}, next{0}, done{0};
  const int32_t units = layers[0]->units(), parts = std::min(units, threads);
  bool reading = false; // plain loads of the same bytes instead
  std::atomic<uint64_t> sink{0};
  const auto take_parts = [&](int layer) {
    for (int part; (part = next.fetch_add(1)) < (layer + 1) * parts;) {
      const int64_t p = part - layer * parts;
      if (reading) {
        for (const char *from : read) {
          const size_t bytes = size_t(layers[0]->elements(from)) * element / size_t(parts);
          sink += read_all(layers[size_t(layer)]->data<uint8_t>(from) + size_t(p) * bytes, bytes);
        }
        continue;
      }
      layers[size_t(layer)]->run(kernel.function(), int32_t(units * p / parts),
                                 int32_t(units * (p + 1) / parts));
    }
  };
  std::vector<double> times, read_times;
  const auto token = [&] {
    for (int l = 0; l < kLayers; ++l) {
      done = 0;
      next = l * parts;
      ++round;
      take_parts(l);
      while (done < threads - 1) {
      }
    }
  };
  std::vector<std::thread> others;
  std::atomic<bool> stop{false};
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&] {
      for (int seen = 0; !stop;)
        if (round != seen) {
          take_parts(seen++ % kLayers);
          ++done;
        }
    });
  for (const double begin = now(); times.size() < 9 || (now() < begin + 0.5 && times.size() < 999);) {
    for (std::vector<double> *to : {&times, &read_times}) {
      reading = to == &read_times;
      const double start = now();
      token();
      to->push_back(now() - start);
    }
  }
  stop = true;
  for (std::thread &t : others)
    t.join();
  std::sort(times.begin(), times.end());
  std::sort(read_times.begin(), read_times.end());
  const format::OpDims &d = spec.dims;
  const double chunks = (context + format::kAttentionChunk - 1) / format::kAttentionChunk,
               terms = merge ? chunks : 2 * (context - rows / 2.0),
               bytes = merge ? 4.0 * kLayers * rows * chunks * d.heads * format::part_width(d.head_dim)
                             : 2.0 * kLayers * context * d.kv_heads * (q8 ? d.head_dim + 4 : 2 * d.head_dim),
               macs = kLayers * rows * terms * d.heads * d.head_dim;
  std::printf("%-70s T=%d R=%-4d %d threads %8.3f ms (best %8.3f)  %6.2f GB/s (read %6.2f)  %6.1f GMAC/s  "
              "(compiled in %.1f s)\n",
              to_string(spec).c_str(), context, rows, threads, times[times.size() / 2] * 1e3, times[0] * 1e3,
              bytes / times[times.size() / 2] * 1e-9, bytes / read_times[times.size() / 2] * 1e-9,
              macs / times[times.size() / 2] * 1e-9, compiled);
}

std::vector<int> numbers(const char *list) {
  std::vector<int> all;
  for (const char *at = list; *at; at += *at == ',')
    all.push_back(int(std::strtol(at, const_cast<char **>(&at), 10)));
  return all;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 5)
    return 2;
  for (int i = 4; i < argc; ++i) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(argv[i], &error);
    if (spec)
      for (const int context : numbers(argv[1]))
        for (const int threads : numbers(argv[3]))
          measure(*spec, context, std::atoi(argv[2]), threads);
    else
      std::puts(error.c_str());
  }
  return 0;
}
