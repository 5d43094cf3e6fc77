// The ops of the kernel dialect. What a kernel computes is defined in runtime/format/kernel_ops.h and by its scalar twin;
// here it only has a name, sizes and arguments.
#ifndef DIALECTS_KERNEL_KERNELOPS_TD
#define DIALECTS_KERNEL_KERNELOPS_TD

include "dialects/Kernel/KernelDialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Kernel_Op<string mnemonic, list<Trait> traits = []> : Op<Kernel_Dialect, mnemonic, traits>;

def KernelName : ConfinedAttr<StrAttr, [AttrConstraint<CPred<"::mlir::kernel::isKernelName($_self)">,
                                                       "the name of a kernel (runtime/format/kernel_ops.h)">]>;

def Kernel_AllocOp : Kernel_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a slice of the arena";
  let description = [{
    Dense rows, as many as a step may have, rounded up to kRowPad. `offset` is the byte offset in the arena, which
    plan-memory fills in; slices whose contents are never needed at the same time may overlap.

    - C1: offset is not negative and a multiple of kTensorAlign

    ```mlir
    %x = kernel.alloc {offset = 0 : i64} : !kernel.slice<R x 2560 x f32>
    ```
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$offset);
  let results = (outs Kernel_SliceType:$slice);
  let assemblyFormat = "attr-dict `:` type($slice)";
  let hasVerifier = 1;
}

def Kernel_ViewOp : Kernel_Op<"view", [Pure]> {
  let summary = "columns of a slice";
  let description = [{
    Columns `[begin, begin + width)` of the source, whose row stride it keeps. A view of a view folds into one; a view of
    all columns folds away.

    - C1: row space and element type are the source's
    - C2: the columns lie in the source

    ```mlir
    %k = kernel.view %qkv[2560] : !kernel.slice<R x 3840 x f32> -> !kernel.slice<R x 640 x f32>
    ```
  }];
  let arguments = (ins Kernel_SliceType:$source, I64Attr:$begin);
  let results = (outs Kernel_SliceType:$slice);
  let assemblyFormat = "$source `[` $begin `]` attr-dict `:` type($source) `->` type($slice)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Kernel_ConstantOp : Kernel_Op<"constant", [Pure]> {
  let summary = "packed bytes of checkpoint tensors";
  let description = [{
    The bytes that compiler/pack makes from the rows of the named tensors, one after the other; `rows` says how many each
    has. Rows up to the type's are padding. The rope tables have no tensor, but a theta, or the frequencies and the magnitude of
    a scaled rotation (bitnet.rope).

    - C1: rope tables have no name, a positive theta, and no frequencies or one a column; the others have names and none of these
    - C2: several names only with t2, t3, t5 and their scales
    - C3: rows has one positive entry a name, and their sum is at most the type's rows

    ```mlir
    %w = kernel.constant ["output.weight"] {rows = array<i32: 100>} : !kernel.const<f16, 112 x 64>
    ```
  }];
  let arguments = (ins StrArrayAttr:$names, DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$rows, OptionalAttr<F32Attr>:$theta,
                       OptionalAttr<DenseF64ArrayAttr>:$frequencies, OptionalAttr<F32Attr>:$magnitude);
  let results = (outs Kernel_ConstType:$value);
  let assemblyFormat = "$names attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Kernel_InputOp : Kernel_Op<"input", [Pure]> {
  let summary = "what the step hands in";
  let description = [{
    ```mlir
    %tokens = kernel.input : !kernel.input<tokens>
    ```
  }];
  let results = (outs Kernel_InputType:$value);
  let assemblyFormat = "attr-dict `:` type($value)";
}

def Kernel_CacheOp : Kernel_Op<"cache", [Pure]> {
  let summary = "keys or values of one layer";
  let description = [{
    - C1: layer is not negative

    ```mlir
    %k = kernel.cache 3 : !kernel.cache<k, 5 x 128>
    ```
  }];
  let arguments = (ins I32Attr:$layer);
  let results = (outs Kernel_CacheType:$value);
  let assemblyFormat = "$layer attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Kernel_CallOp : Kernel_Op<"call", [AttrSizedOperandSegments, MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "one kernel over the rows of a step";
  let description = [{
    Runs `kernel` with the sizes n ... group (format::OpDims; a size that the kernel does not have is left out) on arguments in the
    order of format::signature, inputs before outputs. `choices` are pairs (most rows, row tile), ascending in the first, the
    last of which is 0 (any number of rows); row tile -1 means that the call is left out.

    - C1: the sizes are legal for the kernel
    - C2: as many inputs and outputs as the signature has
    - C3: each argument has the kind, element type and extents of the signature
    - C4: all slices have one row space, but for the source of gather_rows (R, and its result L)
    - C5: choices are pairs, ascend, end with 0, and each row tile is -1, 0, 1, 2, 4 or 8

    ```mlir
    kernel.call "norm_quant" {choices = array<i32: 0, 0>, eps = 1.0e-5 : f32, k = 64 : i32, label = "blk.0.attn_norm"}
      ins(%x, %gain : !kernel.slice<R x 64 x f32>, !kernel.const<f32, 1 x 64>)
      outs(%q, %s, %sum : !kernel.slice<R x 64 x i8>, !kernel.slice<R x 1 x f32>, !kernel.slice<R x 1 x i32>)
    ```
  }];
  let arguments = (ins KernelName:$kernel,
    OptionalAttr<I32Attr>:$n, OptionalAttr<I32Attr>:$k, OptionalAttr<I32Attr>:$heads, OptionalAttr<I32Attr>:$kv_heads,
    OptionalAttr<I32Attr>:$head_dim, OptionalAttr<I32Attr>:$context_length, OptionalAttr<StrAttr>:$epilogue, OptionalAttr<StrAttr>:$act,
    OptionalAttr<F32Attr>:$eps, OptionalAttr<I32Attr>:$group, DenseI32ArrayAttr:$choices, OptionalAttr<StrAttr>:$label,
    Variadic<AnyTypeOf<[Kernel_SliceType, Kernel_ConstType, Kernel_CacheType, Kernel_InputType]>>:$ins,
    Variadic<AnyTypeOf<[Kernel_SliceType, Kernel_CacheType]>>:$outs);
  let assemblyFormat = [{
    $kernel attr-dict `ins` `(` $ins `:` type($ins) `)` `outs` `(` $outs `:` type($outs) `)`
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::bitnet::format::Op":$op, "const ::bitnet::format::OpDims &":$dims,
    "::llvm::ArrayRef<int32_t>":$choices, "::llvm::StringRef":$label, "::mlir::ValueRange":$ins,
    "::mlir::ValueRange":$outs)>];
  let extraClassDeclaration = [{
    ::bitnet::format::Op op();
    /// The sizes as the kernel ABI has them.
    ::bitnet::format::OpDims dims();
    /// Rows of this call are the wanted logit rows.
    bool overLogitRows();
    /// All arguments in the order of the signature: inputs, then outputs.
    ::llvm::SmallVector<::mlir::Value> arguments();
  }];
}

def Kernel_ScreenOp : Kernel_Op<"screen", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "lets the head compute only the rows that can matter";
  let description = [{
    Says that the call before it, the last one, is the head, and that `value` is the screen of its matrix: the runtime may
    run the kernels screen_q4 and rescore_f16 of the same sizes in its place, where not all logits are wanted
    (runtime/exec/exact_head.h). `choices` are those of screen_q4, as of a call.

    - C1: the op before is a call of linear_f16 over logit rows
    - C2: value is a screen of that call's rows and columns, and screen_q4 takes these sizes
    - C3: choices are pairs, ascend, end with 0, and each row tile is one that kernels have

    ```mlir
    kernel.screen %screen {choices = array<i32: 1, 1, 0, 0>} : !kernel.const<screen, 112 x 64>
    ```
  }];
  let arguments = (ins Kernel_ConstType:$value, DenseI32ArrayAttr:$choices);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Sizes of screen_q4 and rescore_f16.
    ::bitnet::format::OpDims dims();
  }];
}

#endif
