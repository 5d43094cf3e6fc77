// x86-64 feature detection. AVX needs the OS to save ymm (XCR0 bits 1, 2), AVX-512 also opmask and zmm (bits
// 5, 6, 7).
#include "runtime/cpu/cpu.h"
#include <cpuid.h>
#include <initializer_list>
#include <sched.h>
#include <string>
#include <unistd.h>

namespace bitnet::cpu {
namespace {
using format::CpuFeature;

struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
Leaf cpuid(unsigned leaf, unsigned subleaf = 0) {
  Leaf r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d); // leaves zeros where the CPU has no such leaf
  return r;
}

uint64_t xcr0() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

uint64_t detect() {
  const Leaf one = cpuid(1), seven = cpuid(7), extended = cpuid(0x80000001);
  const auto has = [](unsigned word, int at) { return (word >> at & 1) != 0; };
  const uint64_t saved = has(one.c, 27) ? xcr0() : 0; // OSXSAVE
  const bool ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;

  const struct {
    CpuFeature feature;
    bool there;
  } table[] = {
      {CpuFeature::sse41, has(one.c, 19)},
      {CpuFeature::avx, ymm && has(one.c, 28)},
      {CpuFeature::f16c, ymm && has(one.c, 29)},
      {CpuFeature::fma, ymm && has(one.c, 12)},
      {CpuFeature::avx2, ymm && has(seven.b, 5)},
      {CpuFeature::bmi1, has(seven.b, 3)},
      {CpuFeature::bmi2, has(seven.b, 8)},
      {CpuFeature::lzcnt, has(extended.c, 5)},
      {CpuFeature::movbe, has(one.c, 22)},
      {CpuFeature::popcnt, has(one.c, 23)},
      {CpuFeature::avx512f, zmm && has(seven.b, 16)},
      {CpuFeature::avx512cd, zmm && has(seven.b, 28)},
      {CpuFeature::avx512dq, zmm && has(seven.b, 17)},
      {CpuFeature::avx512bw, zmm && has(seven.b, 30)},
      {CpuFeature::avx512vl, zmm && has(seven.b, 31)},
      {CpuFeature::avx512ifma, zmm && has(seven.b, 21)},
      {CpuFeature::avx512vbmi, zmm && has(seven.c, 1)},
      {CpuFeature::avx512vnni, zmm && has(seven.c, 11)},
      {CpuFeature::avx512vbmi2, zmm && has(seven.c, 6)},
      {CpuFeature::avx512bitalg, zmm && has(seven.c, 12)},
      {CpuFeature::avx512vpopcntdq, zmm && has(seven.c, 14)},
      {CpuFeature::gfni, has(seven.c, 8)},
      {CpuFeature::vaes, ymm && has(seven.c, 9)},
      {CpuFeature::vpclmulqdq, ymm && has(seven.c, 10)},
  };
  static_assert(sizeof table / sizeof *table == size_t(CpuFeature::count), "every feature is asked for");
  uint64_t bits = 0;
  for (const auto &row : table)
    if (row.there)
      bits |= format::bit(row.feature);
  return bits;
}
/// Text in the bytes of registers.
std::string text(std::initializer_list<unsigned> words) {
  std::string s;
  for (const unsigned word : words)
    for (int i = 0; i < 4; ++i)
      if (const char c = char(word >> 8 * i & 0xff); c >= ' ' && c <= '~')
        s += c;
  return s;
}

std::string identify() {
  const Leaf zero = cpuid(0), one = cpuid(1);
  const unsigned base = one.a >> 8 & 15, family = base == 15 ? base + (one.a >> 20 & 255) : base;
  const unsigned model = (one.a >> 4 & 15) | (base == 6 || base == 15 ? one.a >> 12 & 0xf0 : 0);
  std::string brand;
  for (unsigned leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const Leaf l = cpuid(leaf);
    brand += text({l.a, l.b, l.c, l.d});
  }
  brand.erase(brand.find_last_not_of(' ') + 1);
  return text({zero.b, zero.d, zero.c}) + " " + std::to_string(family) + "." + std::to_string(model) + "." +
         std::to_string(one.a & 15) + (brand.empty() ? "" : " ") + brand;
}
} // namespace

const char *model() {
  static const std::string all = identify();
  return all.c_str();
}

uint64_t features() {
  static const uint64_t bits = detect();
  return bits;
}

format::CpuVariant best_variant(uint64_t features) {
  auto best = format::CpuVariant::portable;
  for (uint8_t i = 0; i < uint8_t(format::CpuVariant::count); ++i) {
    const auto &info = format::cpu_variant(format::CpuVariant(i));
    if ((info.features & ~features) == 0 && info.rank > format::cpu_variant(best).rank)
      best = format::CpuVariant(i);
  }
  return best;
}

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return CPU_COUNT(&set);
  const long online = sysconf(_SC_NPROCESSORS_ONLN); // more than 1024 CPUs do not fit cpu_set_t
  return online > 0 ? int(online) : 1;
}

} // namespace bitnet::cpu
