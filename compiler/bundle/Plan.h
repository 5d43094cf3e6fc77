// The execution plan as a plain struct: what the kernel dialect says after plan-memory, without MLIR. The
// bundle writer stores it, the plan interpreter runs it on the scalar twins.
#pragma once
#include "runtime/format/kernel_ops.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::compiler {

/// How a constant's bytes are made from the checkpoint's tensors (compiler/pack).
enum class Packing : uint8_t {
  t2,       ///< layout A of the rows of `names`, one matrix after the other
  t3,       ///< layout B of the same
  t5,       ///< layout C of the same
  rowScale, ///< f32 [rows]: scale of each ternary row of `names`
  f16,      ///< f16 rows of one dense matrix
  s8,       ///< int8 row stripes of one dense matrix (q8 head)
  s8Scale,  ///< f32 [rows]: max|row| / 127 of that matrix
  f32,      ///< a vector as it is (norm gains)
  ropeCos,  ///< f32 [rows = context, cols = head_dim/2]: cos(position * theta^(-2i/head_dim))
  ropeSin,
  screen,    ///< what an exact head looks at first, of one dense matrix (PackScreen.cpp)
  u2,        ///< neuron rows of one ternary matrix
  d2,        ///< neuron columns of one ternary matrix
  groupScale ///< f32 [rows, cols]: scale of each of cols equal groups of columns of each ternary row of
             ///< `names`
};
const char *packingName(Packing p);

struct Constant {
  Packing packing;
  std::vector<std::string> names;  ///< canonical tensor names (Checkpoint.h); empty for rope tables
  int32_t rows = 0, cols = 0;      ///< rows padded to a multiple of 16 for matrices (pad rows are zero)
  float theta = 0;                 ///< rope tables only
  std::vector<double> frequencies; ///< rope tables, in place of theta^(-2i/head_dim); may be empty
  float magnitude = 1;             ///< rope tables: factor of cos and sin
};

struct PlanArg {
  format::Space space;
  uint64_t offset =
      0; ///< arena: bytes; weights: index into Plan::constants; caches: layer; input: format::Input
  uint64_t rowStride = 0; ///< bytes between rows of an arena slice; 0 = dense
};

struct PlanChoice {
  int32_t maxRows;
  int32_t rows;
}; ///< use row tile `rows` while R <= maxRows (0 = any); rows -1: leave the call out

struct PlanCall {
  format::Op op;
  format::OpDims dims;
  bool overLogitRows = false;
  std::vector<PlanChoice> choices;
  std::vector<PlanArg> args; ///< in the order of format::signature(op, dims)
  std::string label;         ///< for people: "blk.3.attn_qkv"
};

/// The last call, a product of f16 rows, may be screened: runtime/exec/exact_head.h.
struct PlanScreen {
  format::OpDims dims;             ///< of screen_q4 and rescore_f16: those of the last call
  std::vector<PlanChoice> choices; ///< of screen_q4
  uint64_t constant;               ///< index into Plan::constants
};

struct Plan {
  int32_t maxRows = 0;
  uint64_t arenaBytes = 0;
  std::vector<Constant> constants;
  std::vector<PlanCall> calls;
  PlanArg logits; ///< arena slice f32 [L, rowStride/4]
  std::optional<PlanScreen> screen;
};

} // namespace bitnet::compiler
