// The kernel dialect's name, enums and types. Ops are in KernelOps.td.
#ifndef DIALECTS_KERNEL_KERNELDIALECT_TD
#define DIALECTS_KERNEL_KERNELDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::mlir::kernel";
  let summary = "which kernels run, in order, on which bytes";
  let description = [{
    A step is a function without arguments: kernel calls in the order of execution, on slices of one arena, packed
    constants, cache halves and the step's inputs. It returns the slice that holds the logits.

    plan-memory puts two attributes on the function: `kernel.max_rows` (most rows of a step) and `kernel.arena_bytes`.
  }];
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

class Kernel_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::mlir::kernel";
  let genSpecializedAttr = 0;
}

def RowSpace : Kernel_Enum<"RowSpace", "what a slice has a row for: R = each row of the step, L = each wanted logit row", [
  I32EnumAttrCase<"R", 0>, I32EnumAttrCase<"L", 1>]>;

// The order is that of format::Input.
def Input : Kernel_Enum<"Input", "what a step hands in", [
  I32EnumAttrCase<"tokens", 0>, I32EnumAttrCase<"positions", 1>, I32EnumAttrCase<"sequences", 2>,
  I32EnumAttrCase<"slots", 3>, I32EnumAttrCase<"block_table", 4>, I32EnumAttrCase<"logit_rows", 5>]>;

// Names are those of format::Space's that a session owns.
def CacheHalf : Kernel_Enum<"CacheHalf", "keys, values, their scales, or attention's chunks", [
  I32EnumAttrCase<"k", 0>, I32EnumAttrCase<"v", 1>, I32EnumAttrCase<"k_scale", 2>, I32EnumAttrCase<"v_scale", 3>,
  I32EnumAttrCase<"k_q8", 4>, I32EnumAttrCase<"v_q8", 5>, I32EnumAttrCase<"parts", 6>]>;

// Names and meaning are those of the compiler's Packing (compiler/bundle/Plan.h, compiler/pack).
def Packing : Kernel_Enum<"Packing", "how a constant's bytes are made", [
  I32EnumAttrCase<"t2", 0>, I32EnumAttrCase<"row_scale", 1>, I32EnumAttrCase<"f16", 2>, I32EnumAttrCase<"s8", 3>,
  I32EnumAttrCase<"s8_scale", 4>, I32EnumAttrCase<"f32", 5>, I32EnumAttrCase<"rope_cos", 6>,
  I32EnumAttrCase<"rope_sin", 7>, I32EnumAttrCase<"t3", 8>, I32EnumAttrCase<"screen", 9>, I32EnumAttrCase<"u2", 10>,
  I32EnumAttrCase<"d2", 11>, I32EnumAttrCase<"group_scale", 12>, I32EnumAttrCase<"t5", 13>]>;

class Kernel_Type<string name, string typeMnemonic> : TypeDef<Kernel_Dialect, name> {
  let mnemonic = typeMnemonic;
  let genVerifyDecl = 1;
}

def Kernel_SliceType : Kernel_Type<"Slice", "slice"> {
  let summary = "rows in the arena";
  let description = [{
    `!kernel.slice<R x 2560 x f32>`: for each row of the row space, `width` elements. One number a row has width 1. A
    slice made by alloc is dense, one made by view has the row stride of what it was cut from.
  }];
  let parameters = (ins EnumParameter<RowSpace>:$row_space, "int64_t":$width, "::mlir::Type":$element);
  let assemblyFormat = "`<` $row_space `x` $width `x` $element `>`";
  let extraClassDeclaration = [{
    /// Bytes of one dense row.
    int64_t rowBytes() const;
  }];
}

def Kernel_ConstType : Kernel_Type<"Const", "const"> {
  let summary = "packed bytes in the bundle";
  let description = [{
    `!kernel.const<t2, 3840 x 2560>`: the bytes that a packing makes of a matrix of this many rows (padded) and columns. The
    packings row_scale and s8_scale make one f32 of each row, group_scale one of each group of columns, which are its own
    columns. A vector (f32) has one row.
  }];
  let parameters = (ins EnumParameter<Packing>:$packing, "int64_t":$rows, "int64_t":$cols);
  let assemblyFormat = "`<` $packing `,` $rows `x` $cols `>`";
}

def Kernel_CacheType : Kernel_Type<"Cache", "cache"> {
  let summary = "one half of a layer's KV cache";
  let description = [{
    `!kernel.cache<k, H x D>`: keys (k, or k_q8 with k_scale) or values of one layer. `!kernel.cache<parts, H x D>` is no
    layer's: what attention_chunk leaves for attention_merge, for H query heads.
  }];
  let parameters = (ins EnumParameter<CacheHalf>:$half, "int64_t":$heads, "int64_t":$head_dim);
  let assemblyFormat = "`<` $half `,` $heads `x` $head_dim `>`";
}

def Kernel_InputType : Kernel_Type<"Input", "input"> {
  let summary = "i32 values that the step hands in";
  let parameters = (ins EnumParameter<Input>:$input);
  let assemblyFormat = "`<` $input `>`";
  let genVerifyDecl = 0;
}

#endif
