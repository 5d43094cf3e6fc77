// RUN: bitnet-opt %S/../interpreter/Inputs/relu2-ffn.mlir --bitnet-pipeline | FileCheck %s
// RUN: bitnet-opt %S/../interpreter/Inputs/relu2-ffn.mlir --bitnet-pipeline="skip=false" | FileCheck %s --check-prefix=DENSE
// RUN: bitnet-opt %S/../interpreter/Inputs/relu2-ffn.mlir --bitnet-pipeline="explain=true" 2>&1 | FileCheck %s --check-prefix=EXPLAIN
// RUN: bitnet-opt %S/../interpreter/Inputs/bitnet.mlir --bitnet-pipeline="explain=true" 2>&1 | FileCheck %s --check-prefix=SIZES
// RUN: bitnet-opt %s --bitnet-select-kernels="explain=true" --split-input-file --verify-diagnostics | FileCheck %s --check-prefix=SELECT

// The gate is read in full. Down leaves its sums in ranges, which skip_sum adds.
// CHECK: kernel.call "linear_t2" {{.*}}label = "blk.0.ffn_gate"
// CHECK: %[[U:.*]] = kernel.constant ["blk.0.ffn_up.weight"] {{.*}} : <u2, 272 x 256>
// CHECK: kernel.call "skip_up" {choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>, k = 256 : i32, label = "blk.0.ffn_up", n = 272 : i32} ins(%{{.*}}, %{{.*}}, %{{.*}}, %[[U]],
// CHECK: kernel.call "norm_quant" {{.*}} outs(%[[Q:.*]], %[[S:.*]], %[[SUM:.*]] :
// CHECK: %[[D:.*]] = kernel.constant ["blk.0.ffn_down.weight"] {{.*}} : <d2, 256 x 272>
// CHECK: kernel.call "skip_down" {{.*}}label = "blk.0.ffn_down"{{.*}} ins(%[[Q]], %[[D]] : {{.*}}) outs(%[[SUMS:.*]] : !kernel.slice<R x 2048 x i32>)
// CHECK: kernel.call "skip_sum" {{.*}}epilogue = "residual"{{.*}} ins(%[[SUMS]], %[[S]], %[[SUM]], %{{.*}}, %[[X:.*]] : {{.*}}) outs(%[[X]] :

// DENSE-NOT: skip_
// DENSE-NOT: <u2,
// DENSE-NOT: <d2,

// EXPLAIN: decided: skipping = skip_down for 1 products: relu2: many inputs of down are 0, their columns are not read
// EXPLAIN: decided: skipping = skip_up for 1 products: relu2: a neuron whose gate is shut gives 0, its row of up is not read
// EXPLAIN: decided: packing = t2 for {{[0-9]+}} matrices: t3 and t5 are not clearly faster on every measured machine, or do not fit
// SIZES: decided: skipping = off for 2 products: 112 x 64: k must be a multiple of 256
// SIZES: decided: skipping = off for 2 products: 64 x 112: n must be a multiple of 256

// expected-remark @+2 {{decided: skipping = off for 1 products: the activation is silu, which is never exactly 0; relu2 is}}
// expected-remark @+1 {{decided: packing = t2 for 1 matrices: t3 and t5 are not clearly faster on every measured machine, or do not fit}}
module {
// SELECT-LABEL: func @silu_is_never_0
// SELECT: bitnet.kernel = "linear_t2"
func.func @silu_is_never_0(%q: tensor<?x256xi8>, %s: tensor<?xf32>, %gate: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 256>
  %h = bitnet.gated_linear %q, %s, %w, %gate {act = "silu"}
     : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<64 x 256>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %h : tensor<?x64xf32>
}
}

// -----

// A weight that two products read has one packing, which one of them could not read.
// expected-remark @+1 {{decided: packing = t2 for 1 matrices: t3 and t5 are not clearly faster on every measured machine, or do not fit}}
module {
// SELECT-LABEL: func @a_shared_weight_stays_dense
// SELECT: bitnet.weight ["w"] {bitnet.packing = "t2"}
func.func @a_shared_weight_stays_dense(%q: tensor<?x256xi8>, %s: tensor<?xf32>, %gate: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 256>
  %h = bitnet.gated_linear %q, %s, %w, %gate {act = "relu2"}
     : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<64 x 256>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = bitnet.ternary_linear %q, %s, %w : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<64 x 256>) -> tensor<?x64xf32>
  return %h, %y : tensor<?x64xf32>, tensor<?x64xf32>
}
}

// -----

// expected-remark @+2 {{decided: skipping = off for 2 products: scales are those of 64 columns; kernels that skip take one a row}}
// expected-remark @+1 {{decided: packing = t2 for 2 matrices: columns that t3 or t5 packs together would belong to two groups of scales}}
module {
// SELECT-LABEL: func @scales_of_groups_stay_dense
// SELECT: bitnet.weight ["u"] {bitnet.packing = "t2"}
// SELECT: bitnet.gated_linear {{.*}} bitnet.kernel = "linear_t2"}
// SELECT: bitnet.weight ["d"] {bitnet.packing = "t2"}
// SELECT: bitnet.ternary_linear {{.*}} bitnet.kernel = "linear_t2"}
func.func @scales_of_groups_stay_dense(%q: tensor<?x256xi8>, %s: tensor<?xf32>, %gate: tensor<?x256xf32>) -> tensor<?x256xf32> {
  %u = bitnet.weight ["u"] : !bitnet.ternary<256 x 256, group 64>
  %h = bitnet.gated_linear %q, %s, %u, %gate {act = "relu2"}
     : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<256 x 256, group 64>, tensor<?x256xf32>) -> tensor<?x256xf32>
  %q1, %s1 = bitnet.quantize_activation %h : (tensor<?x256xf32>) -> (tensor<?x256xi8>, tensor<?xf32>)
  %d = bitnet.weight ["d"] : !bitnet.ternary<256 x 256, group 64>
  %y = bitnet.ternary_linear %q1, %s1, %d : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<256 x 256, group 64>) -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}
}
