// The ops of the bitnet dialect: what the model computes, in f32 and int8, without a word about how. Formulas use r for a
// row, i for a column. Constraints are numbered; the verifier and the tests use the same numbers.
#ifndef DIALECTS_BITNET_BITNETOPS_TD
#define DIALECTS_BITNET_BITNETOPS_TD

include "dialects/BitNet/BitNetDialect.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

// The summary of a type constraint is the text of its error.
class BitNet_RowsOf<string elem, string text> : Type<
    And<[CPred<"::mlir::bitnet::isRows($_self)">,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getElementType()." # elem>]>,
    text, "::mlir::RankedTensorType">;
class BitNet_RowScalarOf<string elem, string text> : Type<
    And<[CPred<"::mlir::bitnet::isRowScalars($_self)">,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getElementType()." # elem>]>,
    text, "::mlir::RankedTensorType">;
class BitNet_StaticF<int rank, string elem, string text> : Type<
    And<[CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == " # rank>,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getElementType()." # elem>]>,
    text, "::mlir::RankedTensorType">;

def Rows : BitNet_RowsOf<"isF32()", "f32 rows, tensor<?xWIDTHxf32>">;
def RowsI8 : BitNet_RowsOf<"isInteger(8)", "int8 rows, tensor<?xWIDTHxi8>">;
def RowScales : BitNet_RowScalarOf<"isF32()", "one f32 for each row, tensor<?xf32>">;
def RowIndices : BitNet_RowScalarOf<"isInteger(32)", "one i32 for each row, tensor<?xi32>">;
def BlockTable : Type<CPred<"::mlir::bitnet::isBlockTable($_self)">, "a block table, tensor<?x?xi32>",
                      "::mlir::RankedTensorType">;
def Vector : BitNet_StaticF<1, "isF32()", "an f32 vector, tensor<WIDTHxf32>">;
def Matrix : BitNet_StaticF<2, "isF16()", "an f16 matrix, tensor<NxKxf16>">;
def Activation : ConfinedAttr<StrAttr, [AttrConstraint<CPred<"::mlir::bitnet::isActivation($_self)">,
                                                       "an activation: relu2, silu or gelu">]>;
def Epsilon : ConfinedAttr<F32Attr, [AttrConstraint<CPred<"::mlir::bitnet::isEpsilon($_self)">, "in [0, 1]">]>;

class BitNet_Op<string mnemonic, list<Trait> traits = []> : Op<BitNet_Dialect, mnemonic, traits # [Pure]> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def BitNet_WeightOp : BitNet_Op<"weight"> {
  let summary = "a named tensor of the checkpoint";
  let description = [{
    The tensor `names[0]`, or the rows of several ternary tensors, one after the other; `rows` then says how many each has.
    A dense tensor is rounded (half to even) to the result's element type.

    - C1: at least one name, none empty
    - C2: more than one name only for a ternary matrix
    - C3: `rows` has one positive entry a name, which add up to N (may be left out for one name)

    ```mlir
    %w = bitnet.weight ["blk.0.attn_q.weight", "blk.0.attn_k.weight"] {rows = array<i32: 64, 32>} : !bitnet.ternary<96 x 64>
    ```
  }];
  let arguments = (ins StrArrayAttr:$names, OptionalAttr<DenseI32ArrayAttr>:$rows);
  let results = (outs AnyTypeOf<[BitNet_TernaryType, BitNet_Int8MatrixType, Matrix, Vector]>:$value);
  let assemblyFormat = "$names attr-dict `:` type($value)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Rows of each named tensor.
    ::llvm::SmallVector<int32_t> partRows();
  }];
}

def BitNet_EmbeddingOp : BitNet_Op<"embedding"> {
  let summary = "rows of the embedding table";
  let description = [{
    y[r, i] = f32(table[tokens[r], i])

    - C1: y is as wide as the table

    ```mlir
    %y = bitnet.embedding %tokens, %table : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins RowIndices:$tokens, Matrix:$table);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_RmsNormOp : BitNet_Op<"rms_norm", [AllTypesMatch<["x", "y"]>]> {
  let summary = "root mean square normalisation";
  let description = [{
    y[r, i] = (x[r, i] * (1 / sqrt(mean(x[r]²) + eps))) * gain[i]; the order of the sum is that of the scalar twin. Where gain
    is narrower than x, it norms each head of that many columns by itself.

    - C1: the elements of gain divide the width of x

    ```mlir
    %y = bitnet.rms_norm %x, %gain {eps = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Rows:$x, Vector:$gain, Epsilon:$eps);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_QuantizeActivationOp : BitNet_Op<"quantize_activation"> {
  let summary = "absmax int8 quantisation of each row";
  let description = [{
    s[r] = 127 / max(max_i |x[r, i]|, 1e-5); q[r, i] = clamp(round_half_even(x[r, i] * s[r]), -127, 127)

    - C1: q is as wide as x

    ```mlir
    %q, %s = bitnet.quantize_activation %x : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    ```
  }];
  let arguments = (ins Rows:$x);
  let results = (outs RowsI8:$q, RowScales:$s);
  let hasVerifier = 1;
}

def BitNet_NormQuantizeOp : BitNet_Op<"norm_quantize"> {
  let summary = "rms_norm, then quantize_activation";
  let description = [{
    The numbers of the two ops, bit for bit.

    - C1: gain has one element a column of x
    - C2: q is as wide as x

    ```mlir
    %q, %s = bitnet.norm_quantize %x, %gain {eps = 1.0e-5 : f32}
           : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    ```
  }];
  let arguments = (ins Rows:$x, Vector:$gain, Epsilon:$eps);
  let results = (outs RowsI8:$q, RowScales:$s);
  let hasVerifier = 1;
}

def BitNet_TernaryLinearOp : BitNet_Op<"ternary_linear"> {
  let summary = "product of int8 rows with a ternary matrix";
  let description = [{
    y[r, n] = f32(Σ_i t[n, i] * q[r, i]) * (scale[n] / s[r]) [+ residual[r, n]]; the sum is exact in int32.

    With groups of columns g = 0, 1, ...: y[r, n] = acc / s[r] [+ residual[r, n]], where acc starts at 0 and each group in
    order makes it acc + f32(Σ_{i in g} t[n, i] * q[r, i]) * scale[n, g], in f32; the inner sums are exact in int32.

    - C1: q is as wide as w has columns
    - C2: y is as wide as w has rows
    - C3: residual has y's type

    ```mlir
    %y = bitnet.ternary_linear %q, %s, %w, %x
       : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins RowsI8:$q, RowScales:$s, BitNet_TernaryType:$w, Optional<Rows>:$residual);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_LinearOp : BitNet_Op<"linear"> {
  let summary = "product of f32 rows with a dense matrix (the head)";
  let description = [{
    y[r, n] = Σ_i f32(w[n, i]) * x[r, i], in kDotLanes partial sums (runtime/format/layouts.h). `screened`: only those y that
    the step asks for are exact, and a screen says which rows can matter for them.

    - C1: x is as wide as w has columns
    - C2: y is as wide as w has rows

    ```mlir
    %y = bitnet.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
    ```
  }];
  let arguments = (ins Rows:$x, Matrix:$w, UnitAttr:$screened);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_Int8LinearOp : BitNet_Op<"int8_linear"> {
  let summary = "product of int8 rows with an int8 matrix (the q8 head)";
  let description = [{
    y[r, n] = f32(Σ_i w[n, i] * q[r, i]) * (scale[n] / s[r])

    - C1: q is as wide as w has columns
    - C2: y is as wide as w has rows

    ```mlir
    %y = bitnet.int8_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.int8<96 x 64>) -> tensor<?x96xf32>
    ```
  }];
  let arguments = (ins RowsI8:$q, RowScales:$s, BitNet_Int8MatrixType:$w);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_RopeOp : BitNet_Op<"rope", [AllTypesMatch<["x", "y"]>]> {
  let summary = "rotary position embedding of every head";
  let description = [{
    With h = head_dim / 2, a = positions[r] * theta^(-j/h), for each head and j < h:
    y[j] = x[j] cos a - x[j+h] sin a; y[j+h] = x[j+h] cos a + x[j] sin a. Positions are below `context_length`. A scaled
    rotation has a = positions[r] * frequencies[j] instead, and cos a and sin a times `magnitude` (1 if left out).

    - C1: head_dim is a positive multiple of 4 that divides the width of x
    - C2: theta and context_length are positive
    - C3: there are h frequencies, all finite, and a magnitude, finite and positive, only with them

    ```mlir
    %y = bitnet.rope %x, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32}
       : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Rows:$x, RowIndices:$positions, F32Attr:$theta, I32Attr:$head_dim, I32Attr:$context_length,
                       OptionalAttr<DenseF64ArrayAttr>:$frequencies, OptionalAttr<F32Attr>:$magnitude);
  let results = (outs Rows:$y);
  let hasVerifier = 1;
}

def BitNet_KvAppendOp : BitNet_Op<"kv_append", [AllTypesMatch<["cache", "updated"]>]> {
  let summary = "the cache with keys and values of the rows written";
  let description = [{
    updated = cache, but slot slots[r] holds k[r] and v[r] (as the cache keeps them, saturated to ±65504) for every row r.

    - C1: k and v are H * D wide
    - C2: no other kv_append uses the same cache value

    ```mlir
    %c1 = bitnet.kv_append %k, %v, %slots, %c0
        : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
    ```
  }];
  let arguments = (ins Rows:$k, Rows:$v, RowIndices:$slots, BitNet_KvCacheType:$cache);
  let results = (outs BitNet_KvCacheType:$updated);
  let hasVerifier = 1;
}

def BitNet_AttentionOp : BitNet_Op<"attention", [AllTypesMatch<["q", "o"]>]> {
  let summary = "causal attention over the row's own sequence";
  let description = [{
    For each head h of q, with kv head g = h / (heads / H):
    o = Σ_p softmax_p(q · k[g, p] / sqrt(D)) v[g, p] over p = 0 .. positions[r] of sequence sequences[r], whose positions lie in
    the cache blocks of block_table[sequences[r]].

    - C1: q is a multiple of H * D wide

    ```mlir
    %o = bitnet.attention %q, %cache, %positions, %sequences, %block_table
       : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Rows:$q, BitNet_KvCacheType:$cache, RowIndices:$positions, RowIndices:$sequences,
                       BlockTable:$block_table);
  let results = (outs Rows:$o);
  let hasVerifier = 1;
}

def BitNet_GatedActivationOp : BitNet_Op<"gated_activation", [AllTypesMatch<["gate", "up", "h"]>]> {
  let summary = "activation of the gate times the other half";
  let description = [{
    h = act(gate) * up; act: relu2(x) = max(x, 0)², silu(x) = x / (1 + exp(-x)), gelu (tanh form).

    ```mlir
    %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x128xf32>, tensor<?x128xf32>) -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins Rows:$gate, Rows:$up, Activation:$act);
  let results = (outs Rows:$h);
}

def BitNet_GatedLinearOp : BitNet_Op<"gated_linear", [AllTypesMatch<["gate", "h"]>]> {
  let summary = "ternary_linear, then gated_activation with it as the other half";
  let description = [{
    h = act(gate) * ternary_linear(q, s, w), the numbers of the two ops, bit for bit.

    - C1: q is as wide as w has columns
    - C2: h is as wide as w has rows

    ```mlir
    %h = bitnet.gated_linear %q, %s, %w, %gate {act = "relu2"}
       : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<128 x 64>, tensor<?x128xf32>) -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins RowsI8:$q, RowScales:$s, BitNet_TernaryType:$w, Rows:$gate, Activation:$act);
  let results = (outs Rows:$h);
  let hasVerifier = 1;
}

def BitNet_AddOp : BitNet_Op<"add", [AllTypesMatch<["a", "b", "y"]>]> {
  let summary = "sum of two tensors";
  let description = [{
    y = a + b

    ```mlir
    %y = bitnet.add %a, %b : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Rows:$a, Rows:$b);
  let results = (outs Rows:$y);
}

def BitNet_GatherRowsOp : BitNet_Op<"gather_rows", [AllTypesMatch<["x", "y"]>]> {
  let summary = "the rows whose logits are wanted";
  let description = [{
    y[l, i] = x[index[l], i]; y has as many rows as index.

    ```mlir
    %y = bitnet.gather_rows %x, %index : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Rows:$x, RowIndices:$index);
  let results = (outs Rows:$y);
}

def BitNet_SplitOp : BitNet_Op<"split"> {
  let summary = "column slices that lie side by side";
  let description = [{
    The first piece is the first columns of x, and so on. Splitting a piece again folds into one split; a split into one
    piece folds away.

    - C1: at least one piece, and their widths add up to the width of x

    ```mlir
    %q, %k = bitnet.split %x : (tensor<?x96xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>)
    ```
  }];
  let arguments = (ins Rows:$x);
  let results = (outs Variadic<Rows>:$pieces);
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

#endif
