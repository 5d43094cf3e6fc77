// See tiny_kernels.h. The functions below lie in one section, call nothing and use no constants in memory, so
// that the section's bytes run wherever they are copied. Built without sanitizers and stack protector
// (CMakeLists.txt).
#include "test/runtime/tiny_kernels.h"
#include "runtime/format/layouts.h"

using bitnet::format::Buffer;

#define TINY_KERNEL extern "C" __attribute__((section("tiny_kernels"), used, noinline)) int
#define ARG(i) static_cast<const Buffer *>(args[i])
#define SCALAR(i) (*static_cast<const int32_t *>(args[i]))

// x[r, :] = token[r] (exact in f32)
TINY_KERNEL tiny_embed(void *const *args) {
  const auto *tokens = reinterpret_cast<const int32_t *>(ARG(0)->host);
  const Buffer *x = ARG(2);
  for (int32_t r = SCALAR(4); r < SCALAR(5); ++r)
    for (int32_t i = 0; i < x->dim[0].extent; ++i)
      reinterpret_cast<float *>(x->host)[r * x->dim[1].stride + i] = float(tokens[r]);
  return 0;
}

// y = x, whatever the position
TINY_KERNEL tiny_rope(void *const *args) {
  const Buffer *x = ARG(0), *y = ARG(4);
  for (int32_t r = SCALAR(6); r < SCALAR(7); ++r)
    for (int32_t h = 0; h < x->dim[1].extent; ++h)
      for (int32_t d = 0; d < x->dim[0].extent; ++d)
        reinterpret_cast<float *>(y->host)[r * y->dim[2].stride + h * y->dim[1].stride + d] =
            reinterpret_cast<const float *>(x->host)[r * x->dim[2].stride + h * x->dim[1].stride + d];
  return 0;
}

// K cache, head 0, d = 0: the value as an integer
TINY_KERNEL tiny_kv_append(void *const *args) {
  const Buffer *k = ARG(0), *cache = ARG(3);
  const auto *slots = reinterpret_cast<const int32_t *>(ARG(2)->host);
  const int32_t head_dim = k->dim[0].extent, heads = k->dim[1].extent;
  for (int32_t r = SCALAR(6); r < SCALAR(7); ++r)
    reinterpret_cast<uint16_t *>(cache->host)[bitnet::format::k_index(head_dim, heads, slots[r], 0, 0)] =
        uint16_t(reinterpret_cast<const float *>(k->host)[r * k->dim[2].stride]);
  return 0;
}

// o[r, :] = sum of the cached integers of positions 0..position[r]; units are (row, head)
TINY_KERNEL tiny_attention(void *const *args) {
  const Buffer *cache = ARG(1), *table = ARG(5), *o = ARG(6);
  const auto *positions = reinterpret_cast<const int32_t *>(ARG(3)->host);
  const auto *sequences = reinterpret_cast<const int32_t *>(ARG(4)->host);
  const int32_t head_dim = cache->dim[1].extent, kv_heads = cache->dim[3].extent;
  for (int32_t unit = SCALAR(8); unit < SCALAR(9); ++unit) {
    const int32_t r = unit / kv_heads, group = unit % kv_heads;
    const int32_t *blocks =
        reinterpret_cast<const int32_t *>(table->host) + sequences[r] * table->dim[1].stride;
    int32_t sum = 0;
    for (int32_t p = 0; p <= positions[r]; ++p) {
      const int32_t slot = blocks[p / bitnet::format::kKvBlockTokens] * bitnet::format::kKvBlockTokens +
                           p % bitnet::format::kKvBlockTokens;
      sum += reinterpret_cast<const uint16_t *>(
          cache->host)[bitnet::format::k_index(head_dim, kv_heads, slot, 0, 0)];
    }
    const int32_t per_group = o->dim[1].extent / kv_heads;
    for (int32_t h = group * per_group; h < (group + 1) * per_group; ++h)
      for (int32_t d = 0; d < head_dim; ++d)
        reinterpret_cast<float *>(o->host)[r * o->dim[2].stride + h * o->dim[1].stride + d] = float(sum);
  }
  return 0;
}

// y = a + b
TINY_KERNEL tiny_add(void *const *args) {
  const Buffer *a = ARG(0), *b = ARG(1), *y = ARG(2);
  for (int32_t r = SCALAR(4); r < SCALAR(5); ++r)
    for (int32_t i = 0; i < y->dim[0].extent; ++i)
      reinterpret_cast<float *>(y->host)[r * y->dim[1].stride + i] =
          reinterpret_cast<const float *>(a->host)[r * a->dim[1].stride + i] +
          reinterpret_cast<const float *>(b->host)[r * b->dim[1].stride + i];
  return 0;
}

TINY_KERNEL tiny_gather_rows(void *const *args) {
  const Buffer *x = ARG(0), *y = ARG(2);
  const auto *index = reinterpret_cast<const int32_t *>(ARG(1)->host);
  for (int32_t l = SCALAR(4); l < SCALAR(5); ++l)
    for (int32_t i = 0; i < y->dim[0].extent; ++i)
      reinterpret_cast<float *>(y->host)[l * y->dim[1].stride + i] =
          reinterpret_cast<const float *>(x->host)[index[l] * x->dim[1].stride + i];
  return 0;
}

// y[r, n] = x[r, 0] * 512 + n for the stripes of units [begin, end); every row, as real linear kernels do
TINY_KERNEL tiny_linear_f16(void *const *args) {
  const Buffer *x = ARG(0), *w = ARG(1), *y = ARG(2);
  int32_t stripes = w->dim[1].extent / 16, per_unit = 8;
  while (stripes % per_unit)
    --per_unit;
  const int32_t first = SCALAR(4) * per_unit * 16, last = SCALAR(5) * per_unit * 16;
  for (int32_t r = 0; r < SCALAR(3); ++r)
    for (int32_t n = first; n < last; ++n)
      reinterpret_cast<float *>(y->host)[r * y->dim[1].stride + n] =
          float(int32_t(reinterpret_cast<const float *>(x->host)[r * x->dim[1].stride]) * 512 + n);
  return 0;
}

// Fails, for the tests of a step that goes wrong.
TINY_KERNEL tiny_fail(void *const *) { return 7; }

// The linker defines these for a section whose name is a C identifier.
extern "C" const char __start_tiny_kernels[], __stop_tiny_kernels[];

namespace bitnet::test {

std::string tiny_code() {
  std::string code(__start_tiny_kernels, __stop_tiny_kernels);
  code.resize((code.size() + 4095) / 4096 * 4096, '\xcc'); // int3
  return code;
}

uint64_t tiny_entry(format::Op op) {
  using format::Op;
  const auto offset = [](int (*f)(void *const *)) {
    return uint64_t(reinterpret_cast<const char *>(f) - __start_tiny_kernels);
  };
  switch (op) {
  case Op::embed:
    return offset(tiny_embed);
  case Op::rope:
    return offset(tiny_rope);
  case Op::kv_append:
    return offset(tiny_kv_append);
  case Op::attention:
    return offset(tiny_attention);
  case Op::add:
    return offset(tiny_add);
  case Op::gather_rows:
    return offset(tiny_gather_rows);
  case Op::linear_f16:
    return offset(tiny_linear_f16);
  default:
    return offset(tiny_fail);
  }
}

} // namespace bitnet::test
