// Runs compiled kernels in this process and compares them with their scalar twins, byte for byte. For the
// tests of codegen; needs no file, no system linker and no runtime.
//
//   KernelSpec spec = ...;
//   EXPECT_EQ(difference_from_twin(spec, {.rows = 5}, seed, [](CallBuffers &call) {
//   call.data<int32_t>("slots")[0] = 3; }), "");
#pragma once
#include "codegen/spec/kernel_spec.h"
#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bitnet::codegen {

/// Whether this machine has every feature of the variant; a test skips variants that it lacks.
bool cpu_runs(format::CpuVariant cpu);

/// One kernel's machine code, mapped into this process.
class LoadedKernel {
public:
  LoadedKernel() = default;
  ~LoadedKernel();
  LoadedKernel(const LoadedKernel &) = delete;
  LoadedKernel &operator=(const LoadedKernel &) = delete;
  /// Compiles, links and maps the kernel. False with a one-line *error.
  bool load(const KernelSpec &spec, std::string *error);
  format::KernelFn function() const { return entry; }

private:
  void *base = nullptr;
  size_t size = 0;
  format::KernelFn entry = nullptr;
};

/// The buffers of one call. Row dimensions are allocated for round_up(rows, kRowPad) rows and have a stride
/// wider than dense, so that a write outside the result is seen. Inputs start with seeded random values of
/// their type (weights of ternary linears with legal codes, every f16 finite, i32 all zero), outputs and all gaps
/// with a fixed pattern.
class CallBuffers {
public:
  CallBuffers(const KernelSpec &spec, format::Extents extents, uint64_t seed);

  /// First element of an argument; the distance of its rows in elements (0 if it has none); its size in
  /// elements without padding rows and gaps, for dense arguments.
  template <class T> T *data(const std::string &name) {
    return reinterpret_cast<T *>(bytes_of(index_of(name)));
  }
  int32_t row_stride(const std::string &name) const;
  /// Sets every element of an input, padding rows too.
  template <class T> void fill(const std::string &name, T value) {
    const size_t lines = arguments[size_t(index_of(name))].memory.size() - 3;
    std::fill_n(data<T>(name), lines * sizeof(Line) / sizeof(T), value);
  }
  int64_t elements(const std::string &name) const;
  /// The highest position of the call's rows: attention's chunks up to it are work units.
  int32_t last_position = 0;

  /// Makes calls read an input from elsewhere, in the same layout; not compared.
  void point(const std::string &name, void *host) { arguments[size_t(index_of(name))].elsewhere = host; }
  /// Makes the kernel and the twin write their (only) output over an input, as plan-memory may.
  void overwrite(const std::string &input) { overwritten = index_of(input); }

  /// Work units of the whole call.
  int32_t units() const { return format::work_units(signature, extents.rows, last_position); }
  /// Calls `kernel` for units [begin, end).
  int run(format::KernelFn kernel, int32_t begin, int32_t end);
  /// Calls the scalar twin for units [begin, end).
  int run_twin(int32_t begin, int32_t end);

  /// The first difference of any byte that both must agree on, or empty: everything but padding rows of
  /// outputs.
  std::string difference(const CallBuffers &expected) const;

private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  struct Argument {
    std::vector<format::Dim> dims;
    std::vector<Line> memory; ///< one guard line before, two after (format::kArenaSlack)
    int32_t row_dim = -1;
    void *elsewhere = nullptr;
  };
  int32_t index_of(const std::string &name) const;
  uint8_t *bytes_of(int32_t i) { return arguments[size_t(i)].memory[1].bytes; }
  const uint8_t *bytes_of(int32_t i) const { return arguments[size_t(i)].memory[1].bytes; }
  template <class Call> int with_arguments(int32_t begin, int32_t end, Call call);

  KernelSpec spec;
  format::Extents extents;
  format::Signature signature;
  std::vector<Argument> arguments;
  int32_t overwritten = -1;
};

/// Runs `kernel` (in several ranges of units) and the twin on the same inputs, which `prepare` may change.
/// Also runs a part of the units alone. Returns what differs, or empty.
std::string difference_from_twin(const KernelSpec &spec, format::KernelFn kernel, format::Extents extents,
                                 uint64_t seed, const std::function<void(CallBuffers &)> &prepare = {});

} // namespace bitnet::codegen
