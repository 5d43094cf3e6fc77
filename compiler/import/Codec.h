// The weight encodings: bytes of one tensor to trits and scales, or to floats, and back where an encoding has
// one canonical form. A codec is a file in codecs/ and a line in the table of Codec.cpp; a container finds it
// by name. Nothing here knows files, names or models; a decoder says at which byte of the tensor it gave up
// and why.
#pragma once
#include "compiler/import/Checkpoint.h"
#include "compiler/import/Floats.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace bitnet::import {

/// What is wrong with the bytes of a tensor; `at` counts from the tensor's first byte.
struct Fault {
  uint64_t at = 0;
  std::string what;
};
using Decoded = std::optional<Fault>;

/// Which byte order wrote an I2_S tensor; the file does not say.
enum class I2SLayout {
  blocks128, ///< 128 elements in 32 bytes: every published file, all x86 builds since late 2025 and the
             ///< converters
  blocks64,  ///< 64 elements in 16 bytes: written by ARM builds since November 2025
  rows4,     ///< 4 rows share a byte: x86 builds without ACT_PARALLEL
};

/// What to do with float weights that are not ternary as they stand.
enum class Ternarize {
  refuse,   ///< only exactly ternary tensors
  fallback, ///< absmean for tensors that are not exactly ternary
  always,   ///< absmean for all float tensors: the checkpoint says its weights are latent
};

/// Which program's arithmetic makes latent weights ternary (codecs/AbsMean.cpp).
enum class AbsMean {
  wide,   ///< f32 throughout: transformers
  stored, ///< each step rounded to the stored type: the converter of microsoft/BitNet's gpu folder
};

/// The tiles of bitnet.cpp's generated kernel for one shape of matrix, which TL1 and TL2 bytes are ordered by
/// (kernel_config.ini: m, k, bm, bk, bmm). All positive.
struct TlKernel {
  int32_t rows = 0, cols = 0;
  int32_t tileRows = 0, tileCols = 0, stripe = 0; ///< BM, BK, bm
};

/// What decoding needs beyond the bytes.
struct CodecSettings {
  I2SLayout i2sLayout = I2SLayout::blocks128;
  std::vector<TlKernel> tlKernels; ///< of two for one shape the first counts
  Ternarize ternarize = Ternarize::fallback;
  AbsMean absMean = AbsMean::wide;
};

/// A matrix as it is stored: its bytes and, for a codec that has them in tensors of their own (mlx), a scale
/// and a bias for each group of columns, row-major.
struct Encoded {
  const uint8_t *bytes = nullptr;
  size_t nBytes = 0;
  llvm::ArrayRef<float> scales = {}, biases = {};
};

/// How a matrix lies in its bytes: stripes of `rows` rows, one after the other, each `head` bytes and then
/// one block of `bytes` bytes for each `cols` columns; after the last stripe `tail` bytes.
struct Blocks {
  int32_t cols = 1;
  uint32_t bytes = 0;
  int32_t rows = 1;
  uint32_t head = 0, tail = 0;
};

struct Codec {
  const char *name; ///< as in messages and, where it is a ggml type, in ggml: "tq1_0"
  Blocks blocks;
  /// The finest scales that the bytes themselves can hold.
  enum class Scales { none, matrix, row, group } scales;

  /// Sets trits and scales of a matrix whose rows and cols are given and whose size is that of the bytes.
  /// Scales may have a sign here, and be finer than they need to be. Null: only dense.
  Decoded (*decode)(const Encoded &in, const CodecSettings &settings, TernaryMatrix &out) = nullptr;
  /// The canonical bytes of a matrix with scales that are no finer than `scales`, rounded to the stored type;
  /// a fault where the encoding cannot say it. Null: none is canonical.
  Decoded (*encode)(const TernaryMatrix &matrix, const CodecSettings &settings,
                    std::vector<uint8_t> &out) = nullptr;
  /// n values of whole blocks as floats. Null: trit * scale.
  Decoded (*dequantize)(const Encoded &in, size_t n, float *out) = nullptr;

  /// Whether all scales in the bytes are equal, so that decoding would give one for the matrix. Null: a look
  /// at the weights must tell.
  bool (*oneScale)(const Encoded &in) = nullptr;
  /// Where `blocks` cannot say it: the bytes of a matrix, which is whole blocks.
  uint64_t (*size)(int64_t rows, int64_t cols) = nullptr;
  /// The order of the bytes, or a scale in the tail, goes over all rows: there is no decoding a part of them.
  bool whole = false;
  std::optional<FloatType> floats = std::nullopt;
  /// A warning for the user of such a file, e.g. that no original was there to check against.
  const char *caution = nullptr;
};

/// All of them, in the order of the table.
llvm::ArrayRef<const Codec *> codecs();
/// nullptr for a name that has no codec.
const Codec *codecNamed(llvm::StringRef name);

/// Bytes of a matrix; nothing if it is not whole blocks, is empty, or has more than 2^50 weights.
std::optional<uint64_t> encodedBytes(const Codec &codec, int64_t rows, int64_t cols);
/// "a multiple of 4 rows and a multiple of 64 columns", for messages; empty if any matrix is whole blocks.
std::string blockRule(const Codec &codec);

/// Checks size and shape, decodes, and brings the scales into the coarsest form.
Decoded decodeTernary(const Codec &codec, const Encoded &in, const CodecSettings &settings, int32_t rows,
                      int32_t cols, TernaryMatrix &out);
/// The same for values: ternary codecs give trit * scale. rows * cols floats.
Decoded decodeDense(const Codec &codec, const Encoded &in, const CodecSettings &settings, int32_t rows,
                    int32_t cols, float *out);
/// Checks shape and scales and encodes; a fault's byte means nothing.
Decoded encodeTernary(const Codec &codec, const TernaryMatrix &matrix, const CodecSettings &settings,
                      std::vector<uint8_t> &out);

/// The scale of a place.
float scaleAt(const TernaryMatrix &matrix, int64_t row, int64_t col);
/// Same values, one form: no scale is negative, one that scales no weight is 0, and scales are those of the
/// whole matrix, else of rows, else of the largest groups that allow it. How a model is packed then does not
/// depend on the encoding that it came in.
void toCoarsest(TernaryMatrix &matrix);

/// Weights of a float tensor that are ternary already: within a scale of the whole matrix, of a row, or of a
/// group of at least 32 columns, every |w| is 0 or one value, exactly. False, and no claim about `out`, for
/// others.
bool decodeAlreadyTernary(FloatType type, const uint8_t *bytes, int32_t rows, int32_t cols,
                          TernaryMatrix &out);
/// Latent weights, made ternary by the rule of codecs/AbsMean.cpp.
Decoded decodeAbsMean(FloatType type, AbsMean arithmetic, const uint8_t *bytes, int32_t rows, int32_t cols,
                      TernaryMatrix &out);

} // namespace bitnet::import
