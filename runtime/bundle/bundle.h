// A validated bundle as plain values: what the bytes of a .bnx say, once validate.cpp has checked all of it.
// The rest of the runtime reads this and never the FlatBuffers index. Views (Bytes) point into the mapped
// file.
#pragma once
#include "runtime/base/status.h"
#include "runtime/format/bundle_generated.h"
#include "runtime/format/cpu_variants.h"
#include "runtime/format/kernel_ops.h"
#include <optional>
#include <string>
#include <vector>

namespace bitnet::runtime {

using format::CpuVariant;
using format::Op;
using format::OpDims;
using format::Space;
using SectionKind = format::fb::SectionKind;

struct Bytes {
  const uint8_t *data = nullptr;
  size_t size = 0;
};

struct Section {
  SectionKind kind;
  uint64_t offset; ///< in the file
  Bytes bytes;
  uint64_t checksum;
};

struct Kernel {
  Op op;
  OpDims dims; ///< legal
  int32_t rows;
  std::string name;
};

struct Fixup {
  uint64_t at, target; ///< *(u64*)(base + at) = base + target; both inside the image
};

struct Image {
  CpuVariant variant;
  uint64_t features; ///< needed bits, at least those of the variant
  Bytes bytes;
  uint64_t ro_offset; ///< [0, ro_offset) code, the rest read-only data; multiple of 4096 unless it is the end
  std::vector<uint64_t> entries; ///< one for each kernel, inside the code
  std::vector<Fixup> fixups;
};

struct Slice {
  Space space;
  uint64_t offset;
  uint64_t row_stride; ///< bytes; 0 = dense
};

struct Choice {
  int32_t max_rows; ///< 0 in the last one: any number
  uint32_t kernel;
};

struct Call {
  Op op;
  OpDims dims;
  bool over_logit_rows;
  std::vector<Choice> choices;
  std::vector<Slice>
      args; ///< in the order of format::signature(op, dims); every byte they reach is inside its space
  std::string label;
};

/// See bundle.fbs. Its dims are those of the last call, which is the head.
struct Screen {
  OpDims dims;
  std::vector<Choice> choices; ///< kernels screen_q4
  uint32_t rescore;            ///< kernel rescore_f16
  uint64_t offset;             ///< in the weights; the whole screen is inside
};

struct Plan {
  int32_t max_rows = 0;
  uint64_t arena_bytes = 0;
  std::vector<Call> calls;
  Slice logits{}; ///< arena: f32 [max_rows, logits_stride], at least vocab wide; without a head, width
  std::optional<Screen> screen;
};

struct ModelInfo {
  std::string name, family, source, head;
  int32_t layers, width, ffn_width, heads, kv_heads, head_dim, vocab, context;
  float rope_theta, norm_eps;
  format::Act act;
  uint64_t ternary_weights;
  std::string kv = "f16"; ///< what the cache is kept as: f16 or q8
  /// No head: steps give hidden states only.
  bool embeds() const { return head == "none"; }
};

struct Tensor {
  std::string name, packing;
  int32_t rows, cols;
  uint64_t offset, size; ///< inside the weights section
};

struct Bundle {
  uint64_t file_bytes = 0;
  std::string compiler, packing;
  ModelInfo model;
  std::vector<Section> sections;
  std::vector<Kernel> kernels;
  std::vector<Image> images; ///< at least one; no two of the same variant
  Plan plan;
  std::vector<Tensor> tensors;

  /// The one section of this kind, or empty.
  Bytes section(SectionKind kind) const;
};

class ChecksumPass;

/// Checks everything that the file claims, checksums included. The error does not name the file: the caller
/// does. With `weights` the checksum of the weights, which nothing here depends on, is only begun there: what
/// is made of the bundle must not leave the caller's hands before weights->finish().
Result<Bundle> validate_bundle(Bytes file, ChecksumPass *weights = nullptr);

/// The one section of this kind, or empty, of a file of which nothing else is wanted: checks header, index,
/// where the sections lie and the checksum of this one, which takes no pass over the weights.
Result<Bytes> validate_section(Bytes file, SectionKind kind);

} // namespace bitnet::runtime
