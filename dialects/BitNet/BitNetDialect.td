// The bitnet dialect's name and its types. Ops are in BitNetOps.td.
#ifndef DIALECTS_BITNET_BITNETDIALECT_TD
#define DIALECTS_BITNET_BITNETDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"

def BitNet_Dialect : Dialect {
  let name = "bitnet";
  let cppNamespace = "::mlir::bitnet";
  let summary = "what a ternary language model computes";
  let description = [{
    Value-semantic tensors `[rows, width]`; the number of rows is dynamic and never changes inside a step, so it is
    always `?`. Weights are named, their bytes are never in the IR.

    Attributes that stand beside the ops' own:
    - `bitnet.input = "positions"` on a function argument: what the step hands in (runtime/format, Input).
    - `bitnet.kernel = "linear_t2"` and `bitnet.choices = array<i32: maxRows, rows, ...>`: the kernel that select-kernels
      chose for an op, and the row tile to use while a step has at most maxRows rows (0: any number).
    - `bitnet.packing = "t2"`: how select-kernels wants a weight packed.
  }];
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
}

class BitNet_Type<string name, string typeMnemonic> : TypeDef<BitNet_Dialect, name> {
  let mnemonic = typeMnemonic;
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def BitNet_TernaryType : BitNet_Type<"Ternary", "ternary"> {
  let summary = "a ternary matrix with its scales";
  let description = [{
    `!bitnet.ternary<N x K>`: N output rows of K weights t in {-1, 0, +1}; the value of a weight is t times the scale of its
    row (one scale for a whole tensor is the same scale for each of its rows). `!bitnet.ternary<N x K, group G>`: each G
    neighbouring columns of a row share a scale of their own; G divides K. How a file encoded it is forgotten.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$cols, "int64_t":$group);
  let builders = [TypeBuilder<(ins "int64_t":$rows, "int64_t":$cols),
                              [{ return $_get($_ctxt, rows, cols, 0); }]>];
  let extraClassDeclaration = [{
    /// Scales of a row.
    int64_t groups() const { return getGroup() ? getCols() / getGroup() : 1; }
  }];
}

def BitNet_Int8MatrixType : BitNet_Type<"Int8Matrix", "int8"> {
  let summary = "an int8 matrix with a scale for each row";
  let description = [{
    `!bitnet.int8<N x K>`: a dense tensor of the checkpoint, each row quantised to int8 when it is packed:
    scale = max|w| / 127, q = round_half_even(w / scale).
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$cols);
}

def BitNet_KvCacheType : BitNet_Type<"KvCache", "kv_cache"> {
  let summary = "keys and values of one layer, all sequences";
  let description = [{
    `!bitnet.kv_cache<H x D>`: for every position of every sequence, H heads of D keys and D values, kept as f16, or, in
    `!bitnet.kv_cache<H x D x q8>`, as int8 with a scale for the keys and one for the values of each head. A value of this type is the whole state of the cache at one point of the step; each is used by at most one kv_append, so that the
    state can live in one place.
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$head_dim, "bool":$q8);
  let builders = [TypeBuilder<(ins "int64_t":$heads, "int64_t":$head_dim),
                              [{ return $_get($_ctxt, heads, head_dim, false); }]>];
}

#endif
