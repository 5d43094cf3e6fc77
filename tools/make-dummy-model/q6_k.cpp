#include "tools/make-dummy-model/q6_k.h"
#include "compiler/import/Codec.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitnet::dummy {
namespace {

constexpr int kGroup = 16, kGroups = kQ6Values / kGroup, kScalesAt = 192, kDAt = 208;

void encode_block(const float *values, uint8_t *out) {
  float largest[kGroups], of_all = 0;
  for (int g = 0; g < kGroups; ++g) {
    largest[g] = 0;
    for (int i = 0; i < kGroup; ++i)
      largest[g] = std::max(largest[g], std::fabs(values[kGroup * g + i]));
    of_all = std::max(of_all, largest[g]);
  }
  // The largest value of the block is 31 steps of scale 127.
  float d = of_all / (31 * 127);
  import::narrowRow(import::FloatType::f16, &d, 1, out + kDAt);
  d = import::widen(import::FloatType::f16, out + kDAt);
  std::memset(out, 0, kScalesAt);
  for (int g = 0; g < kGroups; ++g) {
    const int scale = d > 0 ? std::min(127, int(std::ceil(largest[g] / (31 * d)))) : 0;
    out[kScalesAt + g] = uint8_t(scale);
    for (int i = kGroup * g; i < kGroup * (g + 1); ++i) {
      const int step = scale ? std::clamp(int(std::lround(values[i] / (d * float(scale)))), -32, 31) : 0;
      const int code = step + 32, half = i / 128, r = i % 128;
      out[64 * half + r % 64] |= uint8_t((code & 15) << (r >= 64 ? 4 : 0));
      out[128 + 32 * half + r % 32] |= uint8_t((code >> 4) << 2 * (r / 32));
    }
  }
}

} // namespace

void encode_q6_k(const float *values, int32_t n, uint8_t *out) {
  for (; n > 0; n -= kQ6Values, values += kQ6Values, out += kQ6Bytes)
    encode_block(values, out);
}

} // namespace bitnet::dummy
