// A checkpoint whose weights stay in their files until they are asked for. The container readers
// (GgufCheckpoint, HfCheckpoint, TorchCheckpoint) fill in CheckpointParts; from there on nothing depends on
// the container.
#pragma once
#include "compiler/import/ByteSource.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/import/Codec.h"
#include <map>

namespace bitnet::import {

/// A tensor of floats that scales a matrix: one value, one a row, or one a group of columns, row-major.
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
  const Codec *codec = nullptr;   ///< null: an encoding that has none
  uint64_t offset = 0, bytes = 0; ///< in the file
  int64_t rows = 1, cols = 0;     ///< of the logical matrix; a vector is one row
  std::optional<ScaleTensor> scale;
  std::optional<ScaleTensor> bias; ///< mlx: value = scale * code + bias, as many as there are scales
  float times = 1, plus = 0; ///< a dense tensor's values are the file's * times + plus
  int32_t pairedHeads = 0; ///< > 0: rows of this many heads are in GGUF llama's order (RoPE pairs 2j, 2j+1)
};

/// Sets rows and cols to those of a file's shape, outermost first; more than two dimensions give rows -1,
/// which no graph wants.
void setShape(StoredTensor &tensor, llvm::ArrayRef<uint64_t> shape);
/// Of a float tensor.
inline std::optional<FloatType> floatType(const StoredTensor &tensor) {
  return tensor.codec ? tensor.codec->floats : std::nullopt;
}
/// Rows of values can be had without the rest of the tensor.
bool hasDenseRows(const StoredTensor &tensor);
/// "[2560, 640]", for messages.
std::string shapeText(llvm::ArrayRef<uint64_t> shape);

struct CheckpointParts {
  ModelConfig config;
  std::vector<Decision> decisions;
  std::vector<uint8_t> tokenizer;
  int32_t tokenizerSize = 0;
  std::string chatTemplate, source, where;     ///< where: starts errors, the path as given
  std::map<std::string, StoredTensor> tensors; ///< by canonical name (Checkpoint.h)
  /// What the file would call a tensor, by canonical name; empty: just so.
  std::function<std::string(const std::string &)> nameInFile;
  CodecSettings decoding;
  bool trainedWithInt8 = true; ///< else that activations are int8 is a decision of ours
};

class StoredCheckpoint final : public Checkpoint {
public:
  explicit StoredCheckpoint(CheckpointParts parts);
  TensorInfo info(const std::string &name) const override;
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
/// left over. The first problem, or each one, joined.
llvm::Error checkTensors(const CheckpointParts &parts, const std::function<void(const std::string &)> &warn,
                         bool everyProblem);
/// Makes the context no longer than the window of layers that see no more; a Decision if that changes it.
void limitToWindow(CheckpointParts &parts);
/// Whether the model has no head but gives embeddings: what is wanted, what the reader found, or, where it found
/// nothing, whether the tensors are those of such a model. Before inferGraph.
void decidePooling(const std::optional<bool> &wanted, CheckpointParts &parts);
/// gemma3: the reader multiplied the embeddings (`times`), but where the same matrix is the head it is not. After
/// decidePooling.
void keepHeadUnscaled(CheckpointParts &parts);
/// Sets attnSubNorm, ffnSubNorm (any layer has it, or the family) and linearNorms where tensors ask for them, and
/// tiedHead.
void inferGraph(CheckpointParts &parts);

} // namespace bitnet::import
