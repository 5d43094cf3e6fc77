// The packing cost model against this machine: where the model sees a clear order between the packings, the
// kernels have it. Measures, so it is disabled; on a quiet machine:
//   codegen_ternary_cost_speed_test --gtest_also_run_disabled_tests
#include "codegen/spec/ternary_cost.h"
#include "test/codegen/kernel_runner.h"
#include <cmath>
#include <cstring>
#include <ctime>
#include <gtest/gtest.h>
#include <sys/mman.h>

namespace bitnet::codegen {
namespace {

using format::CpuVariant;
using format::Op;

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

/// Median ns of one row over weights that no cache holds, and the bytes a call reads.
double measured_ns(Op op, CpuVariant cpu, double *bytes) {
  KernelSpec spec{op, {}, 1, cpu};
  spec.dims.n = 13824, spec.dims.k = 2560;
  LoadedKernel kernel;
  std::string error;
  EXPECT_TRUE(kernel.load(spec, &error)) << error;
  CallBuffers call(spec, {1}, 1);
  const size_t size = size_t(call.elements("w")), copies = (size_t(384) << 20) / size;
  *bytes = double(size);
  void *memory = mmap(nullptr, copies * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, copies * size, MADV_HUGEPAGE);
  for (size_t c = 0; c < copies; ++c)
    std::memcpy(static_cast<uint8_t *>(memory) + c * size, call.data<uint8_t>("w"), size);
  std::vector<double> times;
  for (int round = 0; round < 7; ++round) {
    const double start = thread_seconds();
    for (size_t c = 0; c < copies; ++c) {
      call.point("w", static_cast<uint8_t *>(memory) + c * size);
      call.run(kernel.function(), 0, call.units());
    }
    times.push_back((thread_seconds() - start) / double(copies) * 1e9);
  }
  munmap(memory, copies * size);
  std::sort(times.begin(), times.end());
  return times[3];
}

TEST(TernaryCost, DISABLED_HasTheMeasuredOrder) {
  for (int v = 0; v < int(CpuVariant::count); ++v) {
    const CpuVariant cpu = CpuVariant(v);
    if (!cpu_runs(cpu))
      continue;
    double bytes = 0, ignored = 0;
    const double t2 = measured_ns(Op::linear_t2, cpu, &bytes), t3 = measured_ns(Op::linear_t3, cpu, &ignored);
    // The machine of the table whose memory is most like this one's.
    const TernaryRates *like = nullptr;
    for (const TernaryRates &rates : ternary_rates())
      if (rates.cpu == cpu && (!like || std::fabs(std::log(rates.bytes_per_ns * t2 / bytes)) <
                                            std::fabs(std::log(like->bytes_per_ns * t2 / bytes))))
        like = &rates;
    ASSERT_TRUE(like);
    const double expected =
        ternary_ns(Op::linear_t3, 13824, 2560, *like) / ternary_ns(Op::linear_t2, 13824, 2560, *like);
    std::printf("%s: t2 %.0f us, t3 %.0f us; as %s: ratio %.2f, expected %.2f\n",
                format::cpu_variant(cpu).name, t2 * 1e-3, t3 * 1e-3, like->machine, t3 / t2, expected);
    if (std::fabs(std::log(expected)) > std::log(1.1)) {
      EXPECT_EQ(t3 > t2, expected > 1) << format::cpu_variant(cpu).name;
    }
  }
}

} // namespace
} // namespace bitnet::codegen
