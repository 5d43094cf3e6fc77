// How fast a linear kernel streams its weights: codegen_linear_bench [--cache] <rows> '<kernel spec>'...
// Not a test. Calls the kernel on one thread over enough copies of the weights (and of scales of groups) to
// miss every cache (with --cache: on one copy), and prints microseconds a call, GB/s and GMAC/s, best and
// median, beside what plain loads of the same bytes reach (the matrix's 8 streams side by side, as a decode
// kernel reads them).
#include "runtime/format/layouts.h"
#include "test/codegen/kernel_runner.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/mman.h>

using namespace bitnet;
using namespace bitnet::codegen;

namespace {

constexpr size_t kFootprint = size_t(384) << 20;

/// Processor time of this thread: a kernel never waits, and other programs' turns do not count.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}
double seconds_of(const std::function<void()> &work) {
  const double start = now();
  work();
  return now() - start;
}

/// Sums `bytes` at `at` as decode kernels read: eight streams, one after the other in memory, side by side.
__attribute__((noinline, target("avx2"))) uint64_t read_all(const uint8_t *at, size_t bytes) {
  typedef uint64_t Vector __attribute__((vector_size(32)));
  const size_t stream = bytes / 8;
  Vector sum[8] = {};
  for (size_t i = 0; i + 64 <= stream; i += 64)
    for (size_t s = 0; s < 8; ++s)
      for (size_t half = 0; half < 64; half += 32) {
        Vector v;
        std::memcpy(&v, at + s * stream + i + half, sizeof v);
        sum[s] += v;
      }
  uint64_t total = 0;
  for (const Vector &v : sum)
    total += v[0] + v[1] + v[2] + v[3];
  return total;
}

bool has_matrix(const KernelSpec &spec) {
  const format::Signature signature = format::signature(spec.op, spec.dims);
  return std::any_of(signature.args, signature.args + signature.n_args,
                     [](const format::Arg &arg) { return !std::strcmp(arg.name, "w"); });
}

void measure_rows(const KernelSpec &spec, const LoadedKernel &kernel, CallBuffers &call, int32_t rows) {
  constexpr int kCalls = 2000;
  std::vector<double> times;
  for (int round = 0; round < 7; ++round)
    times.push_back(seconds_of([&] {
                      for (int c = 0; c < kCalls; ++c)
                        call.run(kernel.function(), 0, call.units());
                    }) /
                    kCalls);
  std::sort(times.begin(), times.end());
  std::printf("%-58s R=%-4d %8.2f us (best %8.2f)\n", to_string(spec).c_str(), rows, times[3] * 1e6,
              times[0] * 1e6);
}

void measure(const KernelSpec &spec, int32_t rows, bool cached) {
  LoadedKernel kernel;
  std::string error;
  if (!kernel.load(spec, &error)) {
    std::puts(error.c_str());
    return;
  }
  CallBuffers call(spec, {rows, rows, 16, 1, 16}, 1);
  if (spec.op == format::Op::screen_q4) // lines all over the input, as those of large inputs are
    for (int32_t row = 0; row < rows; ++row)
      for (int32_t i = 0; i < format::screen_high_lines(spec.dims.k); ++i)
        call.data<int32_t>("lines")[row * call.row_stride("lines") + i] =
            (row + i) * 7919 % format::q4_lines(spec.dims.k);
  if (!has_matrix(spec))
    return measure_rows(spec, kernel, call, rows);
  const size_t of_weights = size_t(call.elements("w")) * (spec.op == format::Op::linear_f16 ? 2 : 1),
               of_scales = spec.dims.group ? size_t(call.elements("group_scale")) * 4 : 0,
               bytes = of_weights + of_scales;
  const size_t copies = cached ? 1 : std::max<size_t>(1, kFootprint / bytes);
  void *memory = mmap(nullptr, copies * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, copies * bytes, MADV_HUGEPAGE);
  auto *weights = static_cast<uint8_t *>(memory);
  for (size_t c = 0; c < copies; ++c) {
    std::memcpy(weights + c * bytes, call.data<uint8_t>("w"), of_weights);
    if (of_scales)
      std::memcpy(weights + c * bytes + of_weights, call.data<uint8_t>("group_scale"), of_scales);
  }

  const size_t calls =
      std::max<size_t>(copies, cached ? size_t(0.02e12 / (double(spec.dims.n) * spec.dims.k * rows)) + 1 : 1);
  std::vector<double> kernel_times, read_times;
  for (int round = 0; round < 7; ++round) {
    kernel_times.push_back(seconds_of([&] {
                             for (size_t c = 0; c < calls; ++c) {
                               call.point("w", weights + c % copies * bytes);
                               if (of_scales)
                                 call.point("group_scale", weights + c % copies * bytes + of_weights);
                               call.run(kernel.function(), 0, call.units());
                             }
                           }) /
                           double(calls));
    volatile uint64_t sink = 0;
    read_times.push_back(seconds_of([&] {
                           for (size_t c = 0; c < copies; ++c)
                             sink = sink + read_all(weights + c * bytes, bytes);
                         }) /
                         double(copies));
  }
  munmap(memory, copies * bytes);
  std::sort(kernel_times.begin(), kernel_times.end());
  std::sort(read_times.begin(), read_times.end());
  const double median = kernel_times[3], best = kernel_times[0],
               macs = double(spec.dims.n) * spec.dims.k * rows;
  std::printf("%-58s R=%-4d %8.1f us (best %8.1f)  %6.2f GB/s (read %6.2f, share %3.0f %%)  %6.1f GMAC/s "
              "(best %.1f)\n",
              to_string(spec).c_str(), rows, median * 1e6, best * 1e6, double(bytes) / median * 1e-9,
              double(bytes) / read_times[3] * 1e-9, 100 * read_times[3] / median, macs / median * 1e-9,
              macs / best * 1e-9);
}

} // namespace

int main(int argc, char **argv) {
  const bool cached = argc > 1 && std::string(argv[1]) == "--cache";
  const int first = 1 + cached;
  for (int i = first + 1; i < argc; ++i) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(argv[i], &error);
    if (spec)
      measure(*spec, std::atoi(argv[first]), cached);
    else
      std::puts(error.c_str());
  }
  return argc > first + 1 ? 0 : 2;
}
