// The reference of the passes: what each rewrites (before ==> after), what it assumes, what holds afterwards. All run on a
// module. compiler/README.md lists them in the order of the pipeline.
#ifndef COMPILER_TRANSFORMS_PASSES_TD
#define COMPILER_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

class BitNetPass<string name> : Pass<"bitnet-" # name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::mlir::bitnet::BitNetDialect", "::mlir::func::FuncDialect"];
}

def FuseGatedLinearPass : BitNetPass<"fuse-gated-linear"> {
  let summary = "ternary_linear multiplies by the activated gate";
  let description = [{
    ```mlir
    %up = bitnet.ternary_linear %q, %s, %w
    %h = bitnet.gated_activation %gate, %up {act}
    ```
    ==>
    ```mlir
    %h = bitnet.gated_linear %q, %s, %w, %gate {act}
    ```
    where nothing else reads %up. Run it before merge-projections, which would make gate|up one product. Same numbers, bit for
    bit: the product is rounded to f32 before the activated gate multiplies it.
  }];
}

def MergeProjectionsPass : BitNetPass<"merge-projections"> {
  let summary = "one ternary_linear for projections of the same input";
  let description = [{
    ```mlir
    %a = bitnet.ternary_linear %q, %s, %wa
    %b = bitnet.ternary_linear %q, %s, %wb
    ```
    ==>
    ```mlir
    %w = bitnet.weight ["a", "b"] {rows = array<i32: ...>}
    %y = bitnet.ternary_linear %q, %s, %w
    %a, %b = bitnet.split %y
    ```
    Makes q|k|v one product (and gate|up, where fuse-gated-linear did not run): fewer dispatches, longer ones. Assumes that equal
    inputs are one value (run cse first). Leaves alone linears with a residual or a gate, and those whose scales are of
    another number of columns. The numbers do not change: rows of a product are independent.
  }];
}

def QuantizeHeadPass : BitNetPass<"quantize-head"> {
  let summary = "int8 rows or a screen for the head, if asked";
  let description = [{
    With head=q8:
    ```mlir
    %w = bitnet.weight ["output.weight"] : tensor<VxKxf16>
    %y = bitnet.linear %x, %w
    ```
    ==>
    ```mlir
    %w = bitnet.weight ["output.weight"] : !bitnet.int8<V x K>
    %q, %s = bitnet.quantize_activation %x
    %y = bitnet.int8_linear %q, %s, %w
    ```
    With head=exact:
    ```mlir
    %y = bitnet.linear %x, %w {screened}
    ```
    With head=f16 nothing happens. Run it before fuse-norm-quant, which then takes in the final norm. q8 is the one choice that
    changes the numbers, which is why it must be asked for.
  }];
  let options = [Option<"head", "head", "std::string", "\"f16\"", "what the head's weights are kept as: exact (f16 and a screen), f16 or q8">];
}

def QuantizeCachePass : BitNetPass<"quantize-cache"> {
  let summary = "int8 keys and values, if asked";
  let description = [{
    With kv=q8, for each cache of a function:
    ```mlir
    %c1 = bitnet.kv_append %k, %v, %slots, %c0 : (..., !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
    ```
    ==>
    ```mlir
    %c1 = bitnet.kv_append %k, %v, %slots, %c0 : (..., !bitnet.kv_cache<2 x 16 x q8>) -> !bitnet.kv_cache<2 x 16 x q8>
    ```
    With kv=f16 nothing happens. It changes the numbers, which is why it must be asked for.
  }];
  let options = [Option<"kv", "kv", "std::string", "\"f16\"", "what the cache is kept as: f16 or q8">];
}

def FuseNormQuantPass : BitNetPass<"fuse-norm-quant"> {
  let summary = "rms_norm + quantize_activation in one op";
  let description = [{
    ```mlir
    %y = bitnet.rms_norm %x, %gain {eps}
    %q, %s = bitnet.quantize_activation %y
    ```
    ==>
    ```mlir
    %q, %s = bitnet.norm_quantize %x, %gain {eps}
    ```
    where nothing else reads %y. Same numbers, bit for bit.
  }];
}

def FuseResidualAddPass : BitNetPass<"fuse-residual-add"> {
  let summary = "ternary_linear adds the residual";
  let description = [{
    ```mlir
    %a = bitnet.ternary_linear %q, %s, %w
    %y = bitnet.add %x, %a
    ```
    ==>
    ```mlir
    %y = bitnet.ternary_linear %q, %s, %w, %x
    ```
    where nothing else reads %a. Same numbers, bit for bit: the product is rounded to f32 before the sum, and f32 addition is
    commutative.
  }];
}

def MergeRopesPass : BitNetPass<"merge-ropes"> {
  let summary = "neighbouring slices are turned by one rope";
  let description = [{
    ```mlir
    %q, %k, %v = bitnet.split %x
    %a = bitnet.rope %q, %positions {context_length, head_dim, theta}
    %b = bitnet.rope %k, %positions {context_length, head_dim, theta}
    ```
    ==>
    ```mlir
    %qk, %v = bitnet.split %x
    %ab = bitnet.rope %qk, %positions {context_length, head_dim, theta}
    %a, %b = bitnet.split %ab
    ```
    where nothing else reads %q and %k. Same numbers: every head is turned on its own. What it saves is one hand-out of work to
    the threads per layer, so it needs merge-projections before it.
  }];
}

def SelectKernelsPass : BitNetPass<"select-kernels"> {
  let summary = "a kernel and row tiles for every op, a packing for every weight";
  let description = [{
    ```mlir
    %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
    %y = bitnet.ternary_linear %q, %s, %w
    ```
    ==>
    ```mlir
    %w = bitnet.weight ["w"] {bitnet.packing = "t2"} : !bitnet.ternary<64 x 64>
    %y = bitnet.ternary_linear %q, %s, %w {bitnet.kernel = "linear_t2", bitnet.choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>}
    ```
    A ternary matrix becomes t2 (2 bits a weight), t3 (five weights a byte) or t5 (three weights in five bits):
    packing=auto takes what the measured rates of all of `cpus` (codegen/spec/ternary_cost.h) say is clearly faster than t2
    everywhere. One whose scales are those of groups of columns becomes t2 whatever is asked for, and never skips.
    `choices` are pairs: use this row tile while the step has at most that many rows (0: any). An op whose sizes no kernel
    takes is an error here, so that later passes can rely on it.

    With skip, products of a relu2 FFN leave out what is exactly 0 where the kernels take their sizes: up by "skip_up" from
    weights packed "u2", down by "skip_down" from "d2". The numbers downstream are the same, bit for bit. With explain, a
    remark says what was chosen and why.
  }];
  let options = [
    Option<"packing", "packing", "std::string", "\"auto\"", "of ternary matrices: auto, t2, t3 or t5">,
    ListOption<"cpus", "cpus", "std::string", "CPU variants that will run the kernels, for packing=auto">,
    Option<"skip", "skip", "bool", "true", "leave out neurons that cannot matter">,
    Option<"explain", "explain", "bool", "false", "say what was chosen and why">];
}

def LowerToKernelPass : BitNetPass<"lower-to-kernel"> {
  let summary = "bitnet ops to kernel calls";
  let description = [{
    ```mlir
    func.func @step(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, ...) -> (tensor<?xVxf32>, !bitnet.kv_cache...)
    ```
    ==>
    ```mlir
    func.func @step() -> !kernel.slice<L x V x f32>
    ```
    Every tensor gets an alloc of its own, a split becomes views of one, weights become packed constants, cache values become
    the cache they all are. Assumes select-kernels. Afterwards no bitnet op is left (checked).
  }];
  let dependentDialects = ["::mlir::kernel::KernelDialect"];
}

def PlanMemoryPass : BitNetPass<"plan-memory"> {
  let summary = "offsets in one arena";
  let description = [{
    ```mlir
    %a = kernel.alloc : !kernel.slice<R x 64 x f32>
    ```
    ==>
    ```mlir
    %a = kernel.alloc {offset = 0 : i64} : !kernel.slice<R x 64 x f32>
    ```
    First, kernels that may write over an input (rope; the residual or gate of linear_t2; add) do so where nothing reads that
    input later. Then each alloc lives from its first to its last call, and gets the lowest offset where no alloc that lives at
    the same time lies: the widest first, those for logit rows last, since a step rarely touches more than one of their rows.
    The function gets `kernel.max_rows` and `kernel.arena_bytes`.
  }];
  let dependentDialects = ["::mlir::kernel::KernelDialect"];
  let options = [Option<"maxRows", "max-rows", "int32_t", "128", "most rows of one step">];
}

#endif
