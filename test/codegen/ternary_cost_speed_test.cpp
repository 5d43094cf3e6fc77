// The packing cost model against this machine: where the model sees a clear order between the packings, the
// kernels have it, alone and where two cores share the memory. Measures, so it is disabled; on a quiet
// machine with two cores:
//   codegen_ternary_cost_speed_test --gtest_also_run_disabled_tests
#include "codegen/spec/ternary_cost.h"
#include "test/codegen/kernel_runner.h"
#include <atomic>
#include <cmath>
#include <cstring>
#include <ctime>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <sys/mman.h>
#include <thread>

namespace bitnet::codegen {
namespace {

using format::CpuVariant;
using format::Op;

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

constexpr int32_t kRows = 13824, kColumns = 2560;
constexpr int kRounds = 9;

/// One row's kernel with copies of its weights that no cache holds.
class Stream {
public:
  Stream(Op op, CpuVariant cpu) : spec_{op, {}, 1, cpu} {
    spec_.dims.n = kRows, spec_.dims.k = kColumns;
    std::string error;
    EXPECT_TRUE(kernel_.load(spec_, &error)) << error;
    call_ = std::make_unique<CallBuffers>(spec_, format::Extents{1}, 1);
    size_ = size_t(call_->elements("w"));
    copies_ = (size_t(192) << 20) / size_;
    void *memory = mmap(nullptr, copies_ * size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, copies_ * size_, MADV_HUGEPAGE);
    memory_ = static_cast<uint8_t *>(memory);
    for (size_t c = 0; c < copies_; ++c)
      std::memcpy(memory_ + c * size_, call_->data<uint8_t>("w"), size_);
  }
  ~Stream() { munmap(memory_, copies_ * size_); }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  double bytes() const { return double(size_); }
  /// ns of a call, over all copies.
  double run() {
    return ns_of([&](uint8_t *weights) {
      call_->point("w", weights);
      call_->run(kernel_.function(), 0, call_->units());
    });
  }
  /// ns of plain loads of the same bytes, eight streams side by side as the kernels read them.
  double read() {
    typedef uint64_t Vector __attribute__((vector_size(16)));
    Vector sums[8] = {};
    const double ns = ns_of([&](const uint8_t *weights) {
      const size_t stream = size_ / 8 / 64 * 64;
      for (size_t at = 0; at < stream; at += 64)
        for (size_t s = 0; s < 8; ++s)
          for (size_t part = 0; part < 64; part += sizeof(Vector)) {
            Vector v;
            std::memcpy(&v, weights + s * stream + at + part, sizeof v);
            sums[s] ^= v;
          }
    });
    for (const Vector &sum : sums)
      sink_ = sink_ ^ sum[0] ^ sum[1];
    return ns;
  }

private:
  template <class Pass> double ns_of(Pass pass) {
    const double start = thread_seconds();
    for (size_t c = 0; c < copies_; ++c)
      pass(memory_ + c * size_);
    return (thread_seconds() - start) / double(copies_) * 1e9;
  }

  KernelSpec spec_;
  LoadedKernel kernel_;
  std::unique_ptr<CallBuffers> call_;
  size_t size_ = 0, copies_ = 0;
  uint8_t *memory_ = nullptr;
  volatile uint64_t sink_ = 0;
};

constexpr Op kOps[] = {Op::linear_t2, Op::linear_t3, Op::linear_t5};
struct Measured {
  double ns[std::size(kOps)], bytes_per_ns; ///< medians; of a core
};

/// Rows of each packing and plain loads in turn, on so many threads at once, each with weights of its own:
/// the threads share the memory.
Measured measure(CpuVariant cpu, int threads) {
  std::vector<std::unique_ptr<Stream>> of[std::size(kOps)];
  for (size_t op = 0; op < std::size(kOps); ++op)
    for (int t = 0; t < threads; ++t)
      of[op].push_back(std::make_unique<Stream>(kOps[op], cpu));
  const auto round = [&](std::vector<std::unique_ptr<Stream>> &streams, double (Stream::*work)()) {
    std::vector<double> times(streams.size());
    std::atomic<int> ready{0};
    std::vector<std::thread> running;
    for (size_t t = 0; t < streams.size(); ++t)
      running.emplace_back([&, t] {
        for (++ready; ready < threads;) {
        }
        times[t] = (*streams[t].*work)();
      });
    for (std::thread &thread : running)
      thread.join();
    return *std::max_element(times.begin(), times.end());
  };
  std::vector<double> ns[std::size(kOps)], read_ns;
  for (int r = 0; r < kRounds; ++r) {
    for (size_t op = 0; op < std::size(kOps); ++op)
      ns[op].push_back(round(of[op], &Stream::run));
    read_ns.push_back(round(of[0], &Stream::read));
  }
  const auto median = [](std::vector<double> &times) {
    std::sort(times.begin(), times.end());
    return times[kRounds / 2];
  };
  Measured measured;
  for (size_t op = 0; op < std::size(kOps); ++op)
    measured.ns[op] = median(ns[op]);
  measured.bytes_per_ns = of[0][0]->bytes() / median(read_ns);
  return measured;
}

class MeasuredOrder : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(MeasuredOrder, DISABLED_IsTheModels) {
  const auto [variant, threads] = GetParam();
  const CpuVariant cpu = CpuVariant(variant);
  const char *name = format::cpu_variant(cpu).name;
  if (!cpu_runs(cpu))
    GTEST_SKIP() << name;
  const Measured measured = measure(cpu, threads);
  // The machine of the table whose memory is most like what a core got here, with just that much of it.
  const auto distance = [&](const TernaryRates &rates) {
    return std::fabs(std::log(rates.bytes_per_ns / measured.bytes_per_ns));
  };
  const TernaryRates *like = nullptr;
  for (const TernaryRates &rates : ternary_rates())
    if (rates.cpu == cpu && (!like || distance(rates) < distance(*like)))
      like = &rates;
  ASSERT_TRUE(like);
  TernaryRates rates = *like;
  rates.bytes_per_ns = measured.bytes_per_ns;
  const double t2 = ternary_ns(Op::linear_t2, kRows, kColumns, rates);
  for (size_t op = 0; op < std::size(kOps); ++op) {
    const double model = ternary_ns(kOps[op], kRows, kColumns, rates) / t2,
                 ratio = measured.ns[op] / measured.ns[0];
    std::printf("%s, %d threads, %.1f GB/s a core, as %s: %s %.0f us, by t2 %.2f (model %.2f)\n", name,
                threads, measured.bytes_per_ns, like->machine, format::op_name(kOps[op]),
                measured.ns[op] * 1e-3, ratio, model);
    if (std::fabs(std::log(model)) > std::log(1.08)) {
      EXPECT_EQ(ratio > 1, model > 1) << format::op_name(kOps[op]);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(VariantsAndThreads, MeasuredOrder,
                         testing::Combine(testing::Range(0, int(CpuVariant::count)), testing::Values(1, 2)));

} // namespace
} // namespace bitnet::codegen
