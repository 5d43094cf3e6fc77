// The weight encodings: bytes of one tensor to trits and a scale, and back where an encoding has one
// canonical form. Nothing here knows files, names or models; a decoder says at which byte of the tensor it
// gave up and why.
#pragma once
#include "compiler/import/Checkpoint.h"
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::import {

/// What is wrong with the bytes of a tensor; `at` counts from the tensor's first byte.
struct Fault {
  uint64_t at = 0;
  std::string what;
};
/// Decoders set trits and scales of a matrix whose rows and cols are given; n_bytes must be what *Bytes says,
/// or it is a fault. Nothing thrown, nothing read outside [bytes, bytes + n_bytes).
using Decoded = std::optional<Fault>;

/// Which byte order wrote an I2_S tensor; the file does not say.
enum class I2SLayout {
  blocks128, ///< 128 elements in 32 bytes: every published file, all x86 builds since late 2025 and the
             ///< converters
  blocks64,  ///< 64 elements in 16 bytes: written by ARM builds since November 2025
  rows4,     ///< 4 rows share a byte: x86 builds without ACT_PARALLEL
};

// One file each: GgufI2S.cpp, GgufTQ1.cpp, GgufTQ2.cpp, GpuInt2.cpp, HfPacked.cpp.
uint64_t i2sBytes(int64_t rows, int64_t cols);
Decoded decodeI2S(const uint8_t *bytes, size_t nBytes, I2SLayout layout, TernaryMatrix &out);
void encodeI2S(const TernaryMatrix &matrix, std::vector<uint8_t> &out); ///< blocks128; cols % 128 == 0

uint64_t tq1Bytes(int64_t rows, int64_t cols);
Decoded decodeTQ1(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
void encodeTQ1(const TernaryMatrix &matrix,
               std::vector<uint8_t> &out); ///< the scale is rounded to f16; cols % 256 == 0

uint64_t tq2Bytes(int64_t rows, int64_t cols);
Decoded decodeTQ2(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
void encodeTQ2(const TernaryMatrix &matrix,
               std::vector<uint8_t> &out); ///< the scale is rounded to f16; cols % 256 == 0

/// Trits only: the scale is a tensor of its own. Scales are left as they are.
uint64_t hfPackedBytes(int64_t rows, int64_t cols);
Decoded decodeHfPacked(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
void encodeHfPacked(const TernaryMatrix &matrix, std::vector<uint8_t> &out);

/// Trits only, as above; rows % 16 == 0, cols % 32 == 0.
uint64_t gpuInt2Bytes(int64_t rows, int64_t cols);
Decoded decodeGpuInt2(const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
void encodeGpuInt2(const TernaryMatrix &matrix, std::vector<uint8_t> &out);

/// Floats of a checkpoint.
enum class FloatType { f32, f16, bf16 };
constexpr unsigned floatBytes(FloatType type) { return type == FloatType::f32 ? 4 : 2; }
float widen(FloatType type, const uint8_t *at);
void widenRow(FloatType type, const uint8_t *bytes, size_t n, float *out);
/// Round to nearest even; f16 overflows to infinity.
float roundTo(FloatType type, float value);
void narrowRow(FloatType type, const float *values, size_t n, uint8_t *out);

/// Weights that are ternary already: every |w| is 0 or one value s, exactly. False (and no claim about `out`)
/// for others.
bool decodeAlreadyTernary(FloatType type, const uint8_t *bytes, size_t nBytes, TernaryMatrix &out);
/// Which program's arithmetic makes latent weights ternary (AbsMean.cpp).
enum class AbsMean {
  wide,   ///< f32 throughout: transformers
  stored, ///< each step rounded to the stored type: the converter of microsoft/BitNet's gpu folder
};
/// Latent weights, made ternary by the rule of AbsMean.cpp.
Decoded decodeAbsMean(FloatType type, AbsMean arithmetic, const uint8_t *bytes, size_t nBytes,
                      TernaryMatrix &out);

/// Makes the one scale positive by flipping the trits, and the trits zero where the scale is. For encodings
/// that keep a sign.
void foldSign(TernaryMatrix &matrix);

} // namespace bitnet::import
