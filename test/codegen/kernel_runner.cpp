#include "test/codegen/kernel_runner.h"
#include "codegen/compile.h"
#include "codegen/reference/twins.h"
#include "runtime/cpu/cpu.h"
#include "runtime/format/layouts.h"
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <sys/mman.h>

namespace bitnet::codegen {

using format::Arg;
using format::Elem;
using format::Op;

bool cpu_runs(format::CpuVariant cpu) {
  const uint64_t needed = format::cpu_variant(cpu).features;
  return (cpu::features() & needed) == needed;
}

LoadedKernel::~LoadedKernel() {
  if (base)
    munmap(base, size);
}

bool LoadedKernel::load(const KernelSpec &spec, std::string *error) {
  std::string object;
  KernelImage image;
  if (!compile_kernel(spec, Emit::object, &object, error) ||
      !link_image({object}, {symbol(spec)}, &image, error))
    return false;
  size = image.bytes.size();
  base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    base = nullptr;
    *error = "cannot map the kernel";
    return false;
  }
  auto *bytes = static_cast<uint8_t *>(base);
  std::memcpy(bytes, image.bytes.data(), size);
  for (const KernelImage::Fixup &fixup : image.fixups) {
    const uint64_t value = reinterpret_cast<uint64_t>(bytes) + fixup.target;
    std::memcpy(bytes + fixup.at, &value, sizeof value);
  }
  mprotect(base, size, PROT_READ | PROT_EXEC);
  entry = reinterpret_cast<format::KernelFn>(bytes + image.entries.at(0));
  return true;
}

namespace {

constexpr uint8_t kUntouched = 0xa5;

/// SplitMix64: the same numbers on every machine.
uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void fill_random(Op op, const Arg &arg, uint8_t *out, uint64_t *state) {
  const uint64_t bits = next_random(state);
  switch (arg.elem) {
  case Elem::f32: {
    const float value = (float(bits >> 40) * 0x1p-24f - 0.5f) * 4; // [-2, 2)
    std::memcpy(out, &value, sizeof value);
    break;
  }
  case Elem::f16: {
    const uint16_t value = uint16_t((bits & 0x8000) | (bits >> 16) % 0x7c00); // any finite f16
    std::memcpy(out, &value, sizeof value);
    break;
  }
  case Elem::i8:
    *out = uint8_t(int8_t(int64_t(bits % 255) - 127));
    break;
  case Elem::u8:
    *out = op == Op::linear_t2 || op == Op::skip_up || op == Op::skip_down
               ? uint8_t(bits % 3 | bits / 3 % 3 << 2 | bits / 9 % 3 << 4 | bits / 27 % 3 << 6)
           : op == Op::linear_t3 ? uint8_t((256 * (bits % 243) + 242) / 243)
                                 : uint8_t(bits);
    break;
  case Elem::i32:
    std::memset(out, 0, 4);
    break;
  }
}

int32_t padded(int32_t rows) { return (rows + format::kRowPad - 1) / format::kRowPad * format::kRowPad; }

/// What the layout says of codes beyond k: a base-3 line's last digits are 0.
void clear_codes_beyond(int32_t k, int32_t n, uint8_t *w) {
  const int32_t lines = format::t3_lines(k), places = k % 20 / 4;
  if (places == 0)
    return;
  for (int32_t stripe = 0; stripe < n / format::kRowTile; ++stripe) {
    uint8_t *line = w + (format::stripe_line(n, lines, stripe) + size_t(lines) - 1) * 64;
    for (int32_t i = 0; i < 64; ++i) {
      int32_t code[5] = {};
      for (int32_t p = 0; p < places; ++p)
        code[p] = format::t3_code(line[i], p);
      line[i] = format::t3_encode(code[0], code[1], code[2], code[3], code[4]);
    }
  }
}

/// Weights of linear_t5: each triple a legal one, with code 0 beyond k.
void fill_triples(int32_t n, int32_t k, uint8_t *w, uint64_t *state) {
  for (int32_t row = 0; row < n; ++row)
    for (int32_t col = 0; col < k; col += col % 32 == 31 ? 65 : 1) {
      int32_t code[3];
      for (int32_t place = 0; place < 3; ++place)
        code[place] = col + 32 * place < k ? int32_t(next_random(state) % 3) : 0;
      const uint8_t triple = format::t5_encode(code[0], code[1], code[2]);
      uint8_t *byte = w + format::t5_byte(n, k, row, col);
      for (int32_t b = 0; b < format::kT5Lines; ++b)
        byte[64 * b] = uint8_t(byte[64 * b] | (triple >> b & 1) << format::t5_shift(col));
    }
}

std::string value_text(Elem elem, const uint8_t *at) {
  std::ostringstream text;
  if (elem == Elem::f32) {
    float value;
    uint32_t bits;
    std::memcpy(&value, at, 4);
    std::memcpy(&bits, at, 4);
    text << value << " (0x" << std::hex << bits << ")";
    return text.str();
  }
  int32_t value = 0;
  std::memcpy(&value, at, format::elem_bytes(elem));
  text << (elem == Elem::i8 ? int8_t(value) : value);
  return text.str();
}

} // namespace

CallBuffers::CallBuffers(const KernelSpec &spec, format::Extents extents, uint64_t seed)
    : spec(spec), extents(extents), signature(format::signature(spec.op, spec.dims)) {
  uint64_t state = seed;
  for (int32_t i = 0; i < signature.n_args; ++i) {
    const Arg &arg = signature.args[i];
    Argument a;
    int64_t stride = 1;
    for (int32_t d = 0; d < arg.rank; ++d) {
      const bool row = arg.extent[d] == format::kRows || arg.extent[d] == format::kSrcRows;
      if (row) {
        a.row_dim = d;
        stride += d > 0 ? 16 : 0; // a column slice of a wider buffer
      }
      const int32_t extent = format::resolve_extent(arg.extent[d], extents);
      a.dims.push_back({0, extent, int32_t(stride), 0});
      stride *= row ? padded(extent) : extent;
    }
    const size_t elem = format::elem_bytes(arg.elem), used = size_t(stride) * elem;
    a.memory.resize(3 + (used + 63) / 64);
    std::memset(a.memory.data(), kUntouched, a.memory.size() * sizeof(Line));
    if (!arg.output)
      for (size_t at = 0; at < used; at += elem)
        fill_random(spec.op, arg, a.memory[1].bytes + at, &state);
    if (spec.op == Op::linear_t3 && std::string(arg.name) == "w")
      clear_codes_beyond(spec.dims.k, spec.dims.n, a.memory[1].bytes);
    if (spec.op == Op::linear_t5 && std::string(arg.name) == "w") {
      std::memset(a.memory[1].bytes, 0, used);
      fill_triples(spec.dims.n, spec.dims.k, a.memory[1].bytes, &state);
    }
    arguments.push_back(std::move(a));
  }
}

int32_t CallBuffers::index_of(const std::string &name) const {
  for (int32_t i = 0; i < signature.n_args; ++i)
    if (signature.args[i].name == name)
      return i;
  std::abort(); // a test names an argument that its op lacks
}

int32_t CallBuffers::row_stride(const std::string &name) const {
  const Argument &a = arguments[size_t(index_of(name))];
  return a.row_dim < 0 ? 0 : a.dims[size_t(a.row_dim)].stride;
}

int64_t CallBuffers::elements(const std::string &name) const {
  int64_t n = 1;
  for (const format::Dim &d : arguments[size_t(index_of(name))].dims)
    n *= d.extent;
  return n;
}

template <class Call> int CallBuffers::with_arguments(int32_t begin, int32_t end, Call call) {
  std::vector<format::Buffer> buffers(arguments.size());
  std::vector<void *> args;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool in_place = signature.args[i].output && overwritten >= 0;
    void *elsewhere = arguments[i].elsewhere;
    buffers[i].host =
        elsewhere ? static_cast<uint8_t *>(elsewhere) : bytes_of(in_place ? overwritten : int32_t(i));
    buffers[i].dimensions = int32_t(arguments[i].dims.size());
    buffers[i].dim = arguments[i].dims.data();
    args.push_back(&buffers[i]);
  }
  int32_t rows = extents.rows;
  for (int32_t *scalar : {&rows, &begin, &end})
    args.push_back(scalar);
  return call(args.data());
}

int CallBuffers::run(format::KernelFn kernel, int32_t begin, int32_t end) {
  return with_arguments(begin, end, kernel);
}

int CallBuffers::run_twin(int32_t begin, int32_t end) {
  return with_arguments(begin, end,
                        [&](void *const *args) { return codegen::run_twin(spec.op, spec.dims, args); });
}

std::string CallBuffers::difference(const CallBuffers &expected) const {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Arg &arg = signature.args[i];
    const Argument &a = arguments[i];
    const auto *got = reinterpret_cast<const uint8_t *>(a.memory.data());
    const auto *want = reinterpret_cast<const uint8_t *>(expected.arguments[i].memory.data());
    const size_t elem = format::elem_bytes(arg.elem);
    for (size_t at = 0; at < a.memory.size() * sizeof(Line); ++at) {
      if (got[at] == want[at])
        continue;
      const int64_t element = (int64_t(at) - 64) / int64_t(elem);
      const int64_t stride = a.row_dim < 0 ? 1 : a.dims[size_t(a.row_dim)].stride;
      const int64_t row = a.row_dim < 0 ? 0 : element / stride, column = element % stride;
      const bool in_gap = a.row_dim > 0 && column >= stride - 16;
      const bool written = overwritten >= 0 ? int32_t(i) == overwritten : arg.output;
      if (written && is_linear(spec.op) && at >= 64 && row >= extents.rows && row < padded(extents.rows) &&
          !in_gap)
        continue;
      std::ostringstream text;
      text << to_string(spec) << ", rows " << extents.rows << ": " << arg.name << " row " << row
           << " element " << column << (in_gap || at < 64 ? " (outside)" : "") << ": expected "
           << value_text(arg.elem, want + at / elem * elem) << ", got "
           << value_text(arg.elem, got + at / elem * elem);
      return text.str();
    }
  }
  return "";
}

std::string difference_from_twin(const KernelSpec &spec, format::KernelFn kernel, format::Extents extents,
                                 uint64_t seed, const std::function<void(CallBuffers &)> &prepare) {
  CallBuffers start(spec, extents, seed);
  if (prepare)
    prepare(start);
  const int32_t units = start.units();
  const auto compare = [&](const std::vector<int32_t> &cuts) -> std::string {
    CallBuffers got = start, want = start;
    for (size_t i = 0; i + 1 < cuts.size(); ++i)
      if (got.run(kernel, cuts[i], cuts[i + 1]) != 0)
        return to_string(spec) + ": the kernel returned an error";
    want.run_twin(cuts.front(), cuts.back());
    const std::string text = got.difference(want);
    return text.empty() ? "" : text + ", seed " + std::to_string(seed);
  };
  const std::string all = compare({0, units / 3, units / 2, units});
  return all.empty() ? compare({units / 3, units - units / 4}) : all;
}

} // namespace bitnet::codegen
