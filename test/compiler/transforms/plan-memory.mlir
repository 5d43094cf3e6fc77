// RUN: bitnet-opt %s --bitnet-plan-memory="max-rows=12" --split-input-file | FileCheck %s
// RUN: not bitnet-opt %S/Inputs/add.mlir --bitnet-plan-memory 2>&1 | FileCheck %s --check-prefix=NOT-LOWERED
// RUN: not bitnet-opt %s --split-input-file --bitnet-plan-memory="max-rows=0" 2>&1 | FileCheck %s --check-prefix=NO-ROWS
// NOT-LOWERED: error: 'func.func' op expected one block, no arguments and the logits as result; run --bitnet-lower-to-kernel first
// NO-ROWS: error: max-rows: expected 1 to 4096, got 0

// 12 rows are padded to 16: a slice of 64 f32 takes 4096 bytes. %a is dead when %c is made, %b is not.
// CHECK-LABEL: func @reuses_dead_buffers
// CHECK-SAME: attributes {kernel.arena_bytes = 8192 : i64, kernel.max_rows = 12 : i32}
// CHECK: %[[A:.*]] = kernel.alloc {offset = 0 : i64}
// CHECK: %[[B:.*]] = kernel.alloc {offset = 4096 : i64}
// CHECK: %[[C:.*]] = kernel.alloc {offset = 0 : i64}
// CHECK: return %[[C]]
func.func @reuses_dead_buffers() -> !kernel.slice<R x 64 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %gain = kernel.constant ["g"] {rows = array<i32: 1>} : !kernel.const<f32, 1 x 64>
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%a : !kernel.slice<R x 64 x f32>)
  %b = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "rms_norm" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %gain : !kernel.slice<R x 64 x f32>, !kernel.const<f32, 1 x 64>) outs(%b : !kernel.slice<R x 64 x f32>)
  %c = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "rms_norm" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%b, %gain : !kernel.slice<R x 64 x f32>, !kernel.const<f32, 1 x 64>) outs(%c : !kernel.slice<R x 64 x f32>)
  return %c : !kernel.slice<R x 64 x f32>
}

// -----

// CHECK-LABEL: func @adds_in_place
// CHECK-SAME: kernel.arena_bytes = 8192 : i64
// CHECK: kernel.call "add" {{.*}} ins(%[[A:.*]], %[[B:.*]] : {{.*}}) outs(%[[A]] :
// CHECK: return %[[A]]
func.func @adds_in_place() -> !kernel.slice<R x 64 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%a : !kernel.slice<R x 64 x f32>)
  %b = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%b : !kernel.slice<R x 64 x f32>)
  %y = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %b : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%y : !kernel.slice<R x 64 x f32>)
  return %y : !kernel.slice<R x 64 x f32>
}

// -----

// The second add reads %a again.
// CHECK-LABEL: func @keeps_an_input_that_is_read_later
// CHECK: %[[A:.*]] = kernel.alloc {offset = 0 : i64}
// CHECK: %[[Y:.*]] = kernel.alloc {offset = 4096 : i64}
// CHECK: kernel.call "add" {{.*}} ins(%[[A]], %[[A]] : {{.*}}) outs(%[[Y]] :
// CHECK: kernel.call "add" {{.*}} ins(%[[Y]], %[[A]] : {{.*}}) outs(%[[Y]] :
func.func @keeps_an_input_that_is_read_later() -> !kernel.slice<R x 64 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%a : !kernel.slice<R x 64 x f32>)
  %y = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%y : !kernel.slice<R x 64 x f32>)
  %z = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%y, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%z : !kernel.slice<R x 64 x f32>)
  return %z : !kernel.slice<R x 64 x f32>
}

// -----

// Each rope turns its own columns of the shared buffer: the other's columns are not in its way.
// CHECK-LABEL: func @ropes_columns_in_place
// CHECK: %[[QK:.*]] = kernel.alloc {offset = 0 : i64}
// CHECK: %[[Q:.*]] = kernel.view %[[QK]][0]
// CHECK: %[[K:.*]] = kernel.view %[[QK]][32]
// CHECK: kernel.call "rope" {{.*}} ins(%[[Q]], {{.*}}) outs(%[[Q]] :
// CHECK: kernel.call "rope" {{.*}} ins(%[[K]], {{.*}}) outs(%[[K]] :
// CHECK: kernel.call "add" {{.*}} ins(%[[Q]], %[[K]] : {{.*}}) outs(%[[Q]] :
// CHECK: return %[[Q]]
func.func @ropes_columns_in_place() -> !kernel.slice<R x 32 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %positions = kernel.input : !kernel.input<positions>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %cos = kernel.constant [] {theta = 1.0e4 : f32} : !kernel.const<rope_cos, 128 x 8>
  %sin = kernel.constant [] {theta = 1.0e4 : f32} : !kernel.const<rope_sin, 128 x 8>
  %qk = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%qk : !kernel.slice<R x 64 x f32>)
  %q = kernel.view %qk[0] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 32 x f32>
  %k = kernel.view %qk[32] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 32 x f32>
  %qr = kernel.alloc : !kernel.slice<R x 32 x f32>
  kernel.call "rope" {choices = array<i32: 0, 0>, heads = 2 : i32, head_dim = 16 : i32, context_length = 128 : i32}
    ins(%q, %positions, %cos, %sin : !kernel.slice<R x 32 x f32>, !kernel.input<positions>, !kernel.const<rope_cos, 128 x 8>, !kernel.const<rope_sin, 128 x 8>)
    outs(%qr : !kernel.slice<R x 32 x f32>)
  %kr = kernel.alloc : !kernel.slice<R x 32 x f32>
  kernel.call "rope" {choices = array<i32: 0, 0>, heads = 2 : i32, head_dim = 16 : i32, context_length = 128 : i32}
    ins(%k, %positions, %cos, %sin : !kernel.slice<R x 32 x f32>, !kernel.input<positions>, !kernel.const<rope_cos, 128 x 8>, !kernel.const<rope_sin, 128 x 8>)
    outs(%kr : !kernel.slice<R x 32 x f32>)
  %y = kernel.alloc : !kernel.slice<R x 32 x f32>
  kernel.call "add" {choices = array<i32: 0, 0>, k = 32 : i32}
    ins(%qr, %kr : !kernel.slice<R x 32 x f32>, !kernel.slice<R x 32 x f32>) outs(%y : !kernel.slice<R x 32 x f32>)
  return %y : !kernel.slice<R x 32 x f32>
}

// -----

// A view of the whole qk is read after the first rope, which therefore keeps its own output.
// CHECK-LABEL: func @keeps_columns_that_overlap_a_later_read
// CHECK: kernel.alloc {offset = 0 : i64} : <R x 64 x f32>
// CHECK: %[[OUT:.*]] = kernel.alloc {offset = 4096 : i64} : <R x 32 x f32>
// CHECK: kernel.call "rope" {{.*}} outs(%[[OUT]] :
func.func @keeps_columns_that_overlap_a_later_read() -> !kernel.slice<R x 64 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %positions = kernel.input : !kernel.input<positions>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %cos = kernel.constant [] {theta = 1.0e4 : f32} : !kernel.const<rope_cos, 128 x 8>
  %sin = kernel.constant [] {theta = 1.0e4 : f32} : !kernel.const<rope_sin, 128 x 8>
  %qk = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%qk : !kernel.slice<R x 64 x f32>)
  %q = kernel.view %qk[0] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 32 x f32>
  %qr = kernel.alloc : !kernel.slice<R x 32 x f32>
  kernel.call "rope" {choices = array<i32: 0, 0>, heads = 2 : i32, head_dim = 16 : i32, context_length = 128 : i32}
    ins(%q, %positions, %cos, %sin : !kernel.slice<R x 32 x f32>, !kernel.input<positions>, !kernel.const<rope_cos, 128 x 8>, !kernel.const<rope_sin, 128 x 8>)
    outs(%qr : !kernel.slice<R x 32 x f32>)
  return %qk : !kernel.slice<R x 64 x f32>
}

// -----

// %y holds rows that are read before the add fills it anew: it cannot be another buffer than before.
// CHECK-LABEL: func @keeps_an_output_that_was_used_before
// CHECK: kernel.call "add" {{.*}} ins(%{{.*}}, %[[Y:.*]] : {{.*}}) outs(%[[Y]] :
// CHECK: return %[[Y]]
func.func @keeps_an_output_that_was_used_before() -> !kernel.slice<R x 64 x f32> {
  %tokens = kernel.input : !kernel.input<tokens>
  %t = kernel.constant ["t"] {rows = array<i32: 96>} : !kernel.const<f16, 96 x 64>
  %y = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%y : !kernel.slice<R x 64 x f32>)
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "embed" {choices = array<i32: 0, 0>, n = 96 : i32, k = 64 : i32}
    ins(%tokens, %t : !kernel.input<tokens>, !kernel.const<f16, 96 x 64>) outs(%a : !kernel.slice<R x 64 x f32>)
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %y : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%y : !kernel.slice<R x 64 x f32>)
  return %y : !kernel.slice<R x 64 x f32>
}
