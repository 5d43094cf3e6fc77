// Byte layouts of packed constants and of the KV cache. The packers (compiler/pack), the kernels (codegen) and the
// scalar twins all address bytes through these functions; nobody else computes an offset.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bitnet::format {

/// Output rows that lie side by side in every weight layout: one 512-bit vector of 32-bit sums, no horizontal sum.
constexpr int32_t kRowTile = 16;

/// Streams. A decode kernel reads several stripes side by side, and prefetchers follow each of them only while its
/// addresses go on without a jump. So the stripes of a byte-coded matrix [n, k] are cut into `weight_streams(n)` streams
/// (the largest divisor of n/16 that is at most 8), one after the other in memory: stream s holds the stripes
/// s*U .. s*U + U - 1, U = `stream_stripes(n)`, and a kernel's work unit u is the stripe u of every stream.
/// A stream is `stream_lines` lines of 64 bytes long, an odd multiple of 8, so that the streams' current lines lie in
/// different sets of a first-level cache (at multiples of 4 KB they evict each other: 20-26 instead of 25-31 GB/s on Zen 4).
constexpr int32_t weight_streams(int32_t n) {
  int32_t streams = 8;
  while (n / kRowTile % streams)
    --streams;
  return streams;
}
constexpr int32_t stream_stripes(int32_t n) { return n / kRowTile / weight_streams(n); }
/// `lines`: of one stripe; the layout says how many.
constexpr int32_t stream_lines(int32_t n, int32_t lines) {
  const int32_t dense = stream_stripes(n) * lines;
  return weight_streams(n) == 1 ? dense : dense + (24 - dense % 16) % 16;
}
/// First line of a stripe.
constexpr size_t stripe_line(int32_t n, int32_t lines, int32_t stripe) {
  return size_t(stripe / stream_stripes(n)) * size_t(stream_lines(n, lines)) + size_t(stripe % stream_stripes(n)) * size_t(lines);
}
constexpr size_t streams_bytes(int32_t n, int32_t lines) { return size_t(weight_streams(n)) * size_t(stream_lines(n, lines)) * 64; }
static_assert(weight_streams(48) == 3 && stream_lines(48, 2) == 8 && stripe_line(48, 2, 2) == 16, "streams, worked example");

/// Layout A, "2-bit stripes" (linear_t2). Stripe = 16 rows; it has one line for each 16 inputs. In the line of inputs
/// 16*kb .. 16*kb+15:
///   byte 4*r + j   r = row in the stripe (0..15), j = 0..3
///   bits 2p+1..2p  p = 0..3: code of weight [16*rb + r][16*kb + 4*p + j]
/// code = t + 1: 0, 1, 2 for -1, 0, +1; 3 never occurs. Bytes of a matrix: n * k / 4, and up to 7.5 KB between streams.
constexpr int32_t t2_lines(int32_t k) { return k / 16; }
constexpr size_t t2_bytes(int32_t n, int32_t k) { return streams_bytes(n, t2_lines(k)); }
constexpr size_t t2_byte(int32_t n, int32_t k, int32_t row, int32_t col) {
  return (stripe_line(n, t2_lines(k), row / 16) + size_t(col / 16)) * 64 + size_t(row % 16) * 4 + size_t(col % 4);
}
constexpr int t2_shift(int32_t col) { return 2 * ((col % 16) / 4); }
static_assert(t2_byte(32, 32, 17, 21) == (8 + 1) * 64 + 1 * 4 + 1 && t2_shift(21) == 2, "layout A, worked example");

/// Scales of groups of columns (linear_t2 with groups): f32, a line of 16 rows side by side for each group of a stripe, in
/// streams as the weights'. `groups` = k / group. Bytes: 4 * n * groups, and what lies between streams.
constexpr size_t group_scale_bytes(int32_t n, int32_t groups) { return streams_bytes(n, groups); }
constexpr size_t group_scale_index(int32_t n, int32_t groups, int32_t row, int32_t group) {
  return (stripe_line(n, groups, row / kRowTile) + size_t(group)) * kRowTile + size_t(row % kRowTile);
}
static_assert(group_scale_index(32, 4, 17, 2) == (8 + 2) * 16 + 1, "scales of groups, worked example");

/// Layout B, "base 3" (linear_t3): five weights a byte. A stripe has one line for each 20 inputs, the last of which may be
/// partial. In the line of inputs 20*kb .. 20*kb+19:
///   byte 4*r + j   ceil(256 * v / 243), v = sum over p = 0..4 of code[16*rb + r][20*kb + 4*p + j] * 3^(4-p)
/// code = t + 1, and 0 beyond k, so that whatever is multiplied with it adds nothing. With q_p = byte * 3^p mod 256, digit p is
/// floor(3 * q_p / 256), and exactly 256 * digit = 3 * q_p - q_{p+1}: sums need no digit (codegen/generators/linear_int.cpp).
constexpr int32_t t3_lines(int32_t k) { return (k + 19) / 20; }
constexpr size_t t3_bytes(int32_t n, int32_t k) { return streams_bytes(n, t3_lines(k)); }
constexpr size_t t3_byte(int32_t n, int32_t k, int32_t row, int32_t col) {
  return (stripe_line(n, t3_lines(k), row / 16) + size_t(col / 20)) * 64 + size_t(row % 16) * 4 + size_t(col % 4);
}
constexpr int32_t t3_place(int32_t col) { return col % 20 / 4; }
/// Five codes, most significant first, as a byte; the code at a place of it.
constexpr uint8_t t3_encode(int32_t c0, int32_t c1, int32_t c2, int32_t c3, int32_t c4) {
  return uint8_t((256 * ((((c0 * 3 + c1) * 3 + c2) * 3 + c3) * 3 + c4) + 242) / 243);
}
constexpr int32_t t3_code(uint8_t byte, int32_t place) {
  uint32_t q = byte;
  for (int32_t p = 0; p < place; ++p)
    q = q * 3 % 256;
  return int32_t(q * 3 / 256);
}
static_assert(t3_byte(32, 32, 17, 21) == (8 + 1) * 64 + 1 * 4 + 1 && t3_place(21) == 0 && t3_place(19) == 4, "layout B, worked example");
static_assert(t3_code(t3_encode(2, 0, 1, 2, 1), 0) == 2 && t3_code(t3_encode(2, 0, 1, 2, 1), 4) == 1, "layout B, digits");

/// Layout C, "three in five bits" (linear_t5). A stripe is cut into blocks of 96 inputs, each of five lines which hold what
/// six lines of layout A would; the last block may be partial, then codes beyond k are 0. For inputs 96*kb .. 96*kb+95:
///   byte 4*r + j, bit 2p + 1 - i of line 5*kb + b   bit b of the triple of inputs 96*kb + 32*d + 16*i + 4*p + j, d = 0, 1, 2
///   r, j, p as in layout A; i = 0, 1
/// A triple c0, c1, c2 has two digits of two bits, A (bits 0, 1) and B (bits 2, 3), and a bit C (bit 4). The digits' unused
/// value 3 says that c2 is 2:
///   c2 < 2            A = c0                    B = c1   C = c2
///   c2 = 2, c0 < 2    A = 3                     B = c1   C = c0
///   c2 = 2, c0 = 2    A = 2, 0, 3 for c1 = 0, 1, 2   B = 3   C = 0
/// (That order of A makes the codes' bits functions of few others, codegen/generators/coding.cpp.)
constexpr int32_t kT5Lines = 5, kT5Inputs = 96;
constexpr int32_t t5_lines(int32_t k) { return (k + kT5Inputs - 1) / kT5Inputs * kT5Lines; }
constexpr size_t t5_bytes(int32_t n, int32_t k) { return streams_bytes(n, t5_lines(k)); }
/// Of the triple's bit 0; bit b is b lines on.
constexpr size_t t5_byte(int32_t n, int32_t k, int32_t row, int32_t col) {
  return (stripe_line(n, t5_lines(k), row / 16) + size_t(col / kT5Inputs * kT5Lines)) * 64 + size_t(row % 16) * 4 + size_t(col % 4);
}
constexpr int t5_shift(int32_t col) { return 2 * (col % 16 / 4) + 1 - col % 32 / 16; }
constexpr int32_t t5_place(int32_t col) { return col % kT5Inputs / 32; }
/// Three codes as a triple; the code at a place of it.
constexpr uint8_t t5_encode(int32_t c0, int32_t c1, int32_t c2) {
  return uint8_t(c2 < 2 ? c0 | c1 << 2 | c2 << 4 : c0 < 2 ? 3 | c1 << 2 | c0 << 4 : (c1 == 0 ? 2 : c1 == 1 ? 0 : 3) | 3 << 2);
}
constexpr int32_t t5_code(int32_t triple, int32_t place) {
  const int32_t a = triple & 3, b = triple >> 2 & 3, c = triple >> 4;
  if (b == 3)
    return place != 1 ? 2 : a == 2 ? 0 : a == 0 ? 1 : 2;
  if (a == 3)
    return place == 0 ? c : place == 1 ? b : 2;
  return place == 0 ? a : place == 1 ? b : c;
}
static_assert(t5_byte(32, 112, 17, 96 + 5) == (24 + 5) * 64 + 1 * 4 + 1 && t5_shift(96 + 5) == 3 && t5_shift(16 + 5) == 2 &&
              t5_place(64 + 5) == 2, "layout C, worked example");
static_assert(t5_code(t5_encode(2, 1, 0), 0) == 2 && t5_code(t5_encode(1, 0, 2), 0) == 1 && t5_code(t5_encode(2, 1, 2), 1) == 1,
              "layout C, triples");

/// Int8 stripes (linear_s8): one line for each 4 inputs; byte 4*r + j of line kb holds weight [16*rb + r][4*kb + j] + 128.
constexpr int32_t s8_lines(int32_t k) { return k / 4; }
constexpr size_t s8_bytes(int32_t n, int32_t k) { return streams_bytes(n, s8_lines(k)); }
constexpr size_t s8_byte(int32_t n, int32_t k, int32_t row, int32_t col) {
  return (stripe_line(n, s8_lines(k), row / 16) + size_t(col / 4)) * 64 + size_t(row % 16) * 4 + size_t(col % 4);
}

/// Neuron rows, "U2" (skip_up): row n is k/4 consecutive bytes (k % 256 == 0), so that a product can take some rows and
/// leave the others unread. Byte i of line l of a row, bits 2p+1..2p: code of weight [n][256*l + 64*p + i], codes as in
/// layout A. Bytes: n * k / 4.
constexpr size_t u2_bytes(int32_t n, int32_t k) { return size_t(n) * size_t(k) / 4; }
constexpr size_t u2_byte(int32_t k, int32_t row, int32_t col) {
  return size_t(row) * size_t(k / 4) + size_t(col / 256) * 64 + size_t(col % 64);
}
constexpr int u2_shift(int32_t col) { return 2 * ((col % 256) / 64); }
static_assert(u2_byte(512, 3, 256 + 2 * 64 + 5) == 3 * 128 + 64 + 5 && u2_shift(256 + 2 * 64 + 5) == 4, "U2, worked example");

/// Neuron columns, "D2" (skip_down): column k is n/4 consecutive bytes (n % 256 == 0). Byte b of line l of a column, bits
/// 2p+1..2p: code of weight [256*l + 64*t + 16*p + 4*g + j][k], where b = 16*g + 4*t + j, j < 4: unpacks of four columns'
/// lines by bytes and words then give, for each t, vectors of 16 neighbouring outputs. Bytes: n * k / 4.
constexpr size_t d2_bytes(int32_t n, int32_t k) { return size_t(n) * size_t(k) / 4; }
constexpr size_t d2_byte(int32_t n, int32_t row, int32_t col) {
  return size_t(col) * size_t(n / 4) + size_t(row / 256) * 64 + size_t(row % 16 / 4) * 16 + size_t(row % 256 / 64) * 4 +
         size_t(row % 4);
}
constexpr int d2_shift(int32_t row) { return 2 * (row % 64 / 16); }
static_assert(d2_byte(512, 256 + 64 * 3 + 16 * 2 + 4 + 2, 7) == 7 * 128 + 64 + 16 + 12 + 2 && d2_shift(32) == 4, "D2, worked example");

/// Ranges of skip_down's inputs whose sums are kept apart until skip_sum: that many threads can work on them.
constexpr int32_t kSkipRanges = 8;
/// First input of a range; range kSkipRanges begins at k.
constexpr int32_t skip_range_begin(int32_t k, int32_t range) { return k / 16 * range / kSkipRanges * 16; }

/// 4-bit stripes (screen_q4): one line for each 8 inputs; in line kb
///   byte 4*r + j   r = row in the stripe, j = 0..3
///   bits 4p+3..4p  p = 0, 1: code 0..15 of weight [16*rb + r][8*kb + 4*p + j]
constexpr int32_t q4_lines(int32_t k) { return k / 8; }
constexpr size_t q4_bytes(int32_t n, int32_t k) { return streams_bytes(n, q4_lines(k)); }
constexpr size_t q4_byte(int32_t n, int32_t k, int32_t row, int32_t col) {
  return (stripe_line(n, q4_lines(k), row / 16) + size_t(col / 8)) * 64 + size_t(row % 16) * 4 + size_t(col % 4);
}
constexpr int q4_shift(int32_t col) { return col % 8 / 4 * 4; }
/// Lines in which inputs may have more than 8 bits: as many, or all.
constexpr int32_t kScreenHighLines = 16;
constexpr int32_t screen_high_lines(int32_t k) { return q4_lines(k) < kScreenHighLines ? q4_lines(k) : kScreenHighLines; }
/// Beside the codes the screen has what they leave out of the kScreenOutliers largest weights of each row: word [row][j],
/// column in the low half; the high half is that of an f32 whose low half is 0.
constexpr int32_t kScreenOutliers = 8;
constexpr size_t outlier_index(int32_t row, int32_t j) { return size_t(row) * kScreenOutliers + size_t(j); }

/// A screen is one constant: where its parts start in it, and its bytes. n and k as in screen_q4; all parts start on lines.
///   codes 4-bit stripes · row_scale f32 [n] · norms f32 [n]: at least |row| · rest_norms f32 [n]: at least |its outliers|
///   · outliers · dither f32 [2, k] in (0, 1), of the weights and of what they are multiplied with
/// A weight is about row_scale * (code - 8 + dither) + outlier (compiler/pack/PackScreen.cpp).
struct ScreenLayout {
  size_t codes, row_scale, norms, rest_norms, outliers, dither, bytes;
};
constexpr ScreenLayout screen_layout(int32_t n, int32_t k) {
  const size_t row_scale = q4_bytes(n, k), of_rows = size_t(n) * 4, norms = row_scale + of_rows,
               rest_norms = norms + of_rows, outliers = rest_norms + of_rows,
               dither = outliers + of_rows * kScreenOutliers;
  return {0, row_scale, norms, rest_norms, outliers, dither, dither + size_t(k) * 8};
}

/// f16 rows (linear_f16, rescore_f16 and embed share them): row-major, so that one row is one stretch of memory.
constexpr size_t f16_index(int32_t k, int32_t row, int32_t col) { return size_t(row) * size_t(k) + size_t(col); }
/// Partial sums of a dot product with f16 rows: input i goes to lane i % kDotLanes, product and sum one after the other,
/// then a halving tree. Part of the definition of the numbers. 16 and not norm_lanes: a sum of 64 lanes fills 4 registers
/// of 512 bits, and too few rows could be read side by side.
constexpr int32_t kDotLanes = 16;

/// KV cache: blocks of 64 positions; a sequence's block table maps position / 64 to a physical block.
/// K [block][kv_head][tile of 16 positions][d][position % 16] f16: 16 positions are one vector, so q·k needs no
/// horizontal sum. V [block][kv_head][position % 64][d] f16: d is the vector.
constexpr int32_t kKvBlockTokens = 64;
constexpr int32_t kKvTile = 16;
constexpr size_t k_index(int32_t head_dim, int32_t kv_heads, int32_t slot, int32_t head, int32_t d) {
  return (((size_t(slot / kKvBlockTokens) * size_t(kv_heads) + size_t(head)) * (kKvBlockTokens / kKvTile) +
           size_t(slot % kKvBlockTokens / kKvTile)) * size_t(head_dim) + size_t(d)) * kKvTile + size_t(slot % kKvTile);
}
constexpr size_t v_index(int32_t head_dim, int32_t kv_heads, int32_t slot, int32_t head, int32_t d) {
  return ((size_t(slot / kKvBlockTokens) * size_t(kv_heads) + size_t(head)) * kKvBlockTokens +
          size_t(slot % kKvBlockTokens)) * size_t(head_dim) + size_t(d);
}

/// The same cache in int8, with an f32 scale for each position and kv head of K and of V.
/// K [block][kv_head][tile of 16 positions][d / 4][position % 16][d % 4] u8, stored k + 128: a 64-byte line holds 4
/// values of d of 16 positions. V [block][kv_head][position % 64 / 4][d][position % 4] i8: a dword holds 4 positions.
/// Scales [block][kv_head][position % 64].
constexpr size_t k_q8_index(int32_t head_dim, int32_t kv_heads, int32_t slot, int32_t head, int32_t d) {
  return (((size_t(slot / kKvBlockTokens) * size_t(kv_heads) + size_t(head)) * (kKvBlockTokens / kKvTile) +
           size_t(slot % kKvBlockTokens / kKvTile)) * size_t(head_dim / 4) + size_t(d / 4)) * 64 +
         size_t(slot % kKvTile) * 4 + size_t(d % 4);
}
constexpr size_t v_q8_index(int32_t head_dim, int32_t kv_heads, int32_t slot, int32_t head, int32_t d) {
  return (((size_t(slot / kKvBlockTokens) * size_t(kv_heads) + size_t(head)) * (kKvBlockTokens / 4) +
           size_t(slot % kKvBlockTokens / 4)) * size_t(head_dim) + size_t(d)) * 4 + size_t(slot % 4);
}
constexpr size_t kv_scale_index(int32_t kv_heads, int32_t slot, int32_t head) {
  return (size_t(slot / kKvBlockTokens) * size_t(kv_heads) + size_t(head)) * kKvBlockTokens +
         size_t(slot % kKvBlockTokens);
}
static_assert(k_q8_index(128, 5, 64 + 17, 2, 6) == ((((1 * 5 + 2) * 4 + 1) * 32) + 1) * 64 + 1 * 4 + 2, "int8 K");
static_assert(v_q8_index(128, 5, 64 + 17, 2, 6) == (((1 * 5 + 2) * 16 + 4) * 128 + 6) * 4 + 1, "int8 V");

/// Attention runs its online softmax over chunks of this many positions; part of the definition of the numbers.
constexpr int32_t kAttentionChunk = 256;
constexpr int32_t kBlocksPerChunk = kAttentionChunk / kKvBlockTokens;
/// A chunk's result for one query head: head_dim values of p·v, the maximum, and 15 times the sum of p.
/// Steps of at most kSplitRows rows have their chunks computed apart.
constexpr int32_t part_width(int32_t head_dim) { return head_dim + 16; }
constexpr int32_t kSplitRows = 8;

/// Partial sums of the float reductions (norms): element i goes to lane i % lanes, then a halving tree.
/// Depends on k only, never on the CPU; part of the definition of the numbers.
constexpr int32_t norm_lanes(int32_t k) { return k % 64 == 0 ? 64 : 16; }

/// Alignment of every tensor in the weights section and of every arena slice.
constexpr size_t kTensorAlign = 64;
/// Alignment of sections in the file (the largest common page size that matters here).
constexpr size_t kSectionAlign = 4096;

} // namespace bitnet::format
