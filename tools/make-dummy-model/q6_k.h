// Q6_K (ggml type 14), the type that other engines keep embedding and head in: for models to compare with.
// 256 values in 210 bytes: ql[128], qh[64], scales[16] (i8), f16 d; value = d * scale[i / 16] * (code - 32).
// Code i of half h = i / 128, r = i % 128 has its low 4 bits in byte 64h + r % 64 of ql (high nibble: r >=
// 64) and its high 2 bits at bit 2 * (r / 32) of byte 32h + r % 32 of qh.
#pragma once
#include <cstdint>

namespace bitnet::dummy {

constexpr int32_t kQ6Values = 256, kQ6Bytes = 210;

/// n values (n % 256 == 0) to n / 256 blocks. Each 16 values share a scale that fits the largest of them,
/// without the search for the smallest error that ggml makes: the same speed, a slightly larger error.
void encode_q6_k(const float *values, int32_t n, uint8_t *out);

} // namespace bitnet::dummy
