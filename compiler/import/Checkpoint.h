// A checkpoint as the rest of the compiler sees it: one model configuration, named tensors that are decoded on demand,
// one tokenizer, one chat template. Which container or encoding they came from ends here.
#pragma once
#include "compiler/import/RopeScaling.h"
#include "runtime/format/kernel_ops.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::import {

/// The decoder graph of spec'd families (one graph with options). Sizes are checked: heads divide, all positive.
struct ModelConfig {
  std::string name;         ///< general.name, or the folder's name
  std::string family;       ///< "bitnet-b1.58", "llama", ...
  int32_t layers = 0, width = 0, ffnWidth = 0, heads = 0, kvHeads = 0, headDim = 0, vocab = 0, context = 0;
  float normEps = 0, ropeTheta = 0;
  float subNormEps = 0; ///< of the two sub-norms; 0: normEps
  format::Act act = format::Act::relu2;
  bool attnSubNorm = false, ffnSubNorm = false; ///< norm before o_proj / down_proj
  bool tiedHead = true;                         ///< head = embedding
  RopeScaling ropeScaling;
  bool headNorms = false;   ///< a norm on each head of q and k, before the rotation
  bool postNorms = false;   ///< a norm on what attention and feed-forward network add to the residual stream
  bool linearNorms = false; ///< a norm on the input of each of a layer's seven matrices
  float linearNormEps = 0;  ///< of these; 0: normEps
  std::vector<bool> localLayers; ///< layers that turn by localRopeTheta, unscaled; none: no layer
  float localRopeTheta = 0;
  int32_t window = 0;     ///< > 0: some layers see so many positions only, so the context can be no longer
  bool embeds = false;    ///< no head: a step gives the rows of the last norm, for last-token pooling
};

/// A ternary matrix, row-major trits {-1,0,+1} as int8 [rows, cols]; value = trit * scale of its place.
/// scales has 1 element (per tensor), `rows` elements, or rows * (cols / groupCols), row-major: one for each group of
/// groupCols neighbouring columns of a row. A Checkpoint hands out the coarsest of these that has the same values.
struct TernaryMatrix {
  int32_t rows = 0, cols = 0;
  int32_t groupCols = 0; ///< a divisor of cols; 0: a scale is that of a whole row
  std::vector<int8_t> trits;
  std::vector<float> scales;
};

/// A dense matrix or vector, widened to f32, row-major.
struct DenseTensor {
  int32_t rows = 0, cols = 0;
  std::vector<float> values;
};

/// What is known of a tensor before it is decoded.
struct TensorInfo {
  std::string encoding;       ///< "i2_s", "f16"
  int32_t rows = 0, cols = 0; ///< a vector is one row
  uint64_t decodingBytes = 0; ///< memory that ternary() of it takes, bytes of the file included
};

/// Matrices that are decoded at one time take this much together, or one alone more: with the compiler itself and the
/// rest under 2 GB, however many threads there are.
constexpr uint64_t kDecodingBytes = uint64_t(1) << 30;

/// A decision that the file did not make (activation, EOS, pre-tokenizer, scale direction ...), for the report.
struct Decision { std::string what, value, reason, flag; };

/// Canonical tensor names are GGUF's: token_embd.weight, output.weight, output_norm.weight, blk.N.attn_norm.weight,
/// blk.N.{attn_q,attn_k,attn_v,attn_output,ffn_gate,ffn_up,ffn_down}.weight, blk.N.{attn_sub_norm,ffn_norm,ffn_sub_norm}.weight,
/// blk.N.{attn_q_norm,attn_k_norm,post_attention_norm,post_ffw_norm}.weight; and for the norms on the inputs of matrices
/// blk.N.attn_q_norm_in.weight and so on.
/// Rows of attn_q and attn_k are in the half-split (NEOX) order whatever the file had.
class Checkpoint {
public:
  virtual ~Checkpoint() = default;
  const ModelConfig &config() const { return config_; }
  const std::vector<Decision> &decisions() const { return decisions_; }
  /// Serialized runtime/format/tokenizer.fbs, or empty when the checkpoint has no tokenizer.
  const std::vector<uint8_t> &tokenizer() const { return tokenizer_; }
  /// Its highest id + 1, or 0.
  int32_t tokenizerSize() const { return tokenizerSize_; }
  /// Jinja source, or empty.
  const std::string &chatTemplate() const { return chatTemplate_; }
  /// One line for people: "gguf v3, 332 tensors, i2_s".
  const std::string &source() const { return source_; }

  /// Of a tensor that the graph needs, by its canonical name.
  virtual TensorInfo info(const std::string &name) const = 0;
  /// Decodes a ternary matrix; the error names file, tensor and byte offset. Thread-safe.
  virtual llvm::Expected<TernaryMatrix> ternary(const std::string &name) const = 0;
  /// groupCols of ternary(name), which the graph must know before any weight is packed. Decodes the tensor where its first
  /// rows do not tell. Thread-safe.
  virtual llvm::Expected<int32_t> scaleGroup(const std::string &name) const = 0;
  /// Decodes rows [begin, min(end, rows)) of a dense tensor (embedding, norms, head); a vector is one row. Thread-safe.
  virtual llvm::Expected<DenseTensor> dense(const std::string &name, int32_t begin, int32_t end) const = 0;

protected:
  ModelConfig config_;
  std::vector<Decision> decisions_;
  std::vector<uint8_t> tokenizer_;
  int32_t tokenizerSize_ = 0;
  std::string chatTemplate_, source_;
};

struct ImportOptions {
  std::string tokenizer;                                    ///< --tokenizer: a file that replaces the checkpoint's
  std::vector<std::pair<std::string, std::string>> settings;///< --set key=value, e.g. activation=silu, context=2048
  std::function<void(const std::string &)> warn;            ///< one line each; may be empty
  bool everyProblem = false;                                ///< join an error for each wrong tensor, not the first alone
};

/// The keys of --set, for help texts and errors.
struct SettingInfo { std::string key, help; };
std::vector<SettingInfo> importSettings();

/// Opens a .gguf, .safetensors or .pt file, or a folder that holds a checkpoint (OpenCheckpoint.cpp has the order
/// in which it looks). Reads headers and metadata and checks that every
/// tensor the graph needs is there with the right shape and a known encoding; weights are read on demand.
llvm::Expected<std::unique_ptr<Checkpoint>> openCheckpoint(const std::string &path, const ImportOptions &options);

struct ImportedTokenizer; // TokenizerImport.h
/// The tokenizer alone, without a look at weights or configuration: of a checkpoint as above, or of a tokenizer file
/// (tokenizer.json, a tiktoken rank file, a SentencePiece model). An error if there is none.
llvm::Expected<ImportedTokenizer> openTokenizer(const std::string &path, const ImportOptions &options);

} // namespace bitnet::import
