// A checkpoint whose weights stay in their files until they are asked for. The container readers
// (GgufCheckpoint, HfCheckpoint, TorchCheckpoint) fill in CheckpointParts; from there on nothing depends on
// the container.
#pragma once
#include "compiler/import/ByteSource.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/import/Codec.h"
#include <map>

namespace bitnet::import {

enum class Encoding { f32, f16, bf16, i2s, tq1, tq2, hfPacked, gpuInt2, other };
const char *encodingName(Encoding encoding);
/// f32, f16 and bf16 only.
std::optional<FloatType> floatType(Encoding encoding);

/// A tensor of floats that scales a matrix: one value, or one a row.
struct ScaleTensor {
  std::shared_ptr<ByteSource> file;
  uint64_t offset = 0;
  FloatType type = FloatType::f32;
  int64_t count = 0;
  bool divide = false; ///< the file holds 1/scale
};

struct StoredTensor {
  std::shared_ptr<ByteSource> file;
  std::string storedName; ///< in the file
  std::string typeName;   ///< in the file, for messages: "q8_0", "I64"
  Encoding encoding = Encoding::other;
  uint64_t offset = 0, bytes = 0; ///< in the file; bytes fit the encoding and the shape
  int64_t rows = 1, cols = 0;     ///< of the logical matrix; a vector is one row
  std::optional<ScaleTensor> scale;
  int32_t pairedHeads = 0; ///< > 0: rows of this many heads are in GGUF llama's order (RoPE pairs 2j, 2j+1)
};

/// Sets rows and cols to those of a file's shape, outermost first; more than two dimensions give rows -1,
/// which no graph wants.
void setShape(StoredTensor &tensor, llvm::ArrayRef<uint64_t> shape);
/// "[2560, 640]", for messages.
std::string shapeText(llvm::ArrayRef<uint64_t> shape);

/// What to do with float weights that are not ternary as they stand.
enum class Ternarize {
  refuse,   ///< only exactly ternary tensors
  fallback, ///< absmean for tensors that are not exactly ternary
  always,   ///< absmean for all float tensors: the checkpoint says its weights are latent
};

struct CheckpointParts {
  ModelConfig config;
  std::vector<Decision> decisions;
  std::vector<uint8_t> tokenizer;
  std::string chatTemplate, source, where;     ///< where: starts errors, the path as given
  std::map<std::string, StoredTensor> tensors; ///< by canonical name (Checkpoint.h)
  I2SLayout i2sLayout = I2SLayout::blocks128;
  Ternarize ternarize = Ternarize::fallback;
  AbsMean absMean = AbsMean::wide;
};

class StoredCheckpoint final : public Checkpoint {
public:
  explicit StoredCheckpoint(CheckpointParts parts);
  llvm::Expected<TernaryMatrix> ternary(const std::string &name) const override;
  llvm::Expected<int32_t> scaleGroup(const std::string &name) const override;
  llvm::Expected<DenseTensor> dense(const std::string &name, int32_t begin, int32_t end) const override;

private:
  const CheckpointParts parts_; // immutable, so that ternary() and dense() need no lock
};

/// The names of a layer's ternary matrices without "blk.N." and ".weight", in the order of the graph.
extern const char *const kLinearNames[7];
/// "blk.3.attn_q.weight"
std::string layerTensor(int32_t layer, llvm::StringRef name);

/// Values of config: ranges, divisibility, multiples that the kernels need.
llvm::Error checkConfig(const ModelConfig &config, const std::string &where);
/// Every tensor of the graph is there, in the right shape and a known encoding, and nothing in a layer is
/// left over.
llvm::Error checkTensors(const CheckpointParts &parts, const std::function<void(const std::string &)> &warn);
/// Sets attnSubNorm, ffnSubNorm and tiedHead from the tensors that are there.
void inferGraph(CheckpointParts &parts);

} // namespace bitnet::import
