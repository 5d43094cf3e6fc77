// RUN: bitnet-opt %s --bitnet-select-kernels --bitnet-lower-to-kernel --canonicalize --split-input-file | FileCheck %s

// A matrix of 100 rows is padded to 112; only the first 100 columns of its product go on.
// CHECK-LABEL: func @head() -> !kernel.slice<L x 100 x f32>
// CHECK-DAG: %[[TOKENS:.*]] = kernel.input : <tokens>
// CHECK-DAG: %[[ROWS:.*]] = kernel.input : <logit_rows>
// CHECK: %[[T:.*]] = kernel.constant ["t"] {rows = array<i32: 100>} : <f16, 112 x 64>
// CHECK: %[[X:.*]] = kernel.alloc : <R x 64 x f32>
// CHECK: kernel.call "embed" {{.*}}label = "t"{{.*}} ins(%[[TOKENS]], %[[T]] : {{.*}}) outs(%[[X]] :
// CHECK: %[[G:.*]] = kernel.alloc : <L x 64 x f32>
// CHECK: kernel.call "gather_rows" {{.*}} ins(%[[X]], %[[ROWS]] : {{.*}}) outs(%[[G]] :
// CHECK: %[[Y:.*]] = kernel.alloc : <L x 112 x f32>
// CHECK: kernel.call "linear_f16" {choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>, k = 64 : i32, label = "t", n = 112 : i32} ins(%[[G]], %[[T]] : {{.*}}) outs(%[[Y]] :
// CHECK: %[[V:.*]] = kernel.view %[[Y]][0] : <L x 112 x f32> -> <L x 100 x f32>
// CHECK: return %[[V]]
func.func @head(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %rows: tensor<?xi32> {bitnet.input = "logit_rows"}) -> tensor<?x100xf32> {
  %t = bitnet.weight ["t"] : tensor<100x64xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<100x64xf16>) -> tensor<?x64xf32>
  %g = bitnet.gather_rows %x, %rows : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %y = bitnet.linear %g, %t : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}

// -----

// Pieces of a split are views: no copy. A ternary matrix is two constants, row scales of int8 rows two slices.
// CHECK-LABEL: func @projections
// CHECK: kernel.call "quantize" {{.*}} outs(%[[Q:.*]], %[[S:.*]], %[[SUM:.*]] : !kernel.slice<R x 64 x i8>, !kernel.slice<R x 1 x f32>, !kernel.slice<R x 1 x i32>)
// CHECK: %[[W:.*]] = kernel.constant ["blk.0.attn_k.weight", "blk.0.attn_v.weight"] {rows = array<i32: 32, 32>} : <t2, 64 x 64>
// CHECK: %[[WS:.*]] = kernel.constant ["blk.0.attn_k.weight", "blk.0.attn_v.weight"] {rows = array<i32: 32, 32>} : <row_scale, 64 x 64>
// CHECK: %[[KV:.*]] = kernel.alloc : <R x 64 x f32>
// CHECK: kernel.call "linear_t2" {{.*}} ins(%[[Q]], %[[S]], %[[SUM]], %[[W]], %[[WS]] : {{.*}}) outs(%[[KV]] :
// CHECK-DAG: %[[K:.*]] = kernel.view %[[KV]][0] : <R x 64 x f32> -> <R x 32 x f32>
// CHECK-DAG: %[[V:.*]] = kernel.view %[[KV]][32] : <R x 64 x f32> -> <R x 32 x f32>
// CHECK: kernel.call "kv_append" {{.*}} ins(%[[K]], %[[V]], %{{.*}} : {{.*}}) outs(%{{.*}}, %{{.*}} : !kernel.cache<k, 2 x 16>, !kernel.cache<v, 2 x 16>)
func.func @projections(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %slots: tensor<?xi32> {bitnet.input = "slots"},
                       %c0: !bitnet.kv_cache<2 x 16>) -> (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>) {
  %t = bitnet.weight ["t"] : tensor<96x64xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %x : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  %w = bitnet.weight ["blk.0.attn_k.weight", "blk.0.attn_v.weight"] {rows = array<i32: 32, 32>} : !bitnet.ternary<64 x 64>
  %kv = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %k, %v = bitnet.split %kv : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %c1 = bitnet.kv_append %k, %v, %slots, %c0
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  return %x, %c1 : tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>
}

// -----

// The two rope ops share their tables.
// CHECK-LABEL: func @rope_tables_are_shared
// CHECK: kernel.constant [] {theta = 1.000000e+04 : f32} : <rope_cos, 128 x 8>
// CHECK: kernel.constant [] {theta = 1.000000e+04 : f32} : <rope_sin, 128 x 8>
// CHECK-NOT: kernel.constant []
func.func @rope_tables_are_shared(%tokens: tensor<?xi32> {bitnet.input = "tokens"},
                                  %positions: tensor<?xi32> {bitnet.input = "positions"}) -> tensor<?x64xf32> {
  %t = bitnet.weight ["t"] : tensor<96x64xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  %a = bitnet.rope %x, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %b = bitnet.rope %a, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return %b : tensor<?x64xf32>
}

// -----

// The head's rows are still f16; the screen of the same tensor comes after the call, which is the last.
// CHECK-LABEL: func @screened_head
// CHECK: %[[SCREEN:.*]] = kernel.constant ["t"] {rows = array<i32: 100>} : <screen, 112 x 64>
// CHECK: kernel.call "linear_f16" {{.*}}k = 64 : i32{{.*}}n = 112 : i32
// CHECK-NEXT: kernel.screen %[[SCREEN]] {choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>} : <screen, 112 x 64>
func.func @screened_head(%tokens: tensor<?xi32> {bitnet.input = "tokens"},
                         %rows: tensor<?xi32> {bitnet.input = "logit_rows"}) -> tensor<?x100xf32> {
  %t = bitnet.weight ["t"] : tensor<100x64xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<100x64xf16>) -> tensor<?x64xf32>
  %l = bitnet.gather_rows %x, %rows : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %y = bitnet.linear %l, %t {screened}
     : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}

// -----

// Scales of groups take the sums of groups, made once for the products that want the same.
// CHECK-LABEL: func @scales_of_groups
// CHECK: kernel.call "quantize" {{.*}} outs(%[[Q:.*]], %[[S:.*]], %[[SUM:.*]] :
// CHECK: kernel.call "group_sums" {choices = array<i32: 0, 0>, group = 16 : i32, k = 64 : i32, label = "blk.0.a.group_sums"} ins(%[[Q]] : !kernel.slice<R x 64 x i8>) outs(%[[SUMS:.*]] : !kernel.slice<R x 4 x i32>)
// CHECK: kernel.call "linear_t2" {{.*}}group = 16 : i32{{.*}} ins(%[[Q]], %[[S]], %[[SUMS]], %{{.*}}, %{{.*}} : {{.*}}, !kernel.const<t2, 64 x 64>, !kernel.const<group_scale, 64 x 4>)
// CHECK: kernel.call "linear_t2" {{.*}}group = 16 : i32{{.*}} ins(%[[Q]], %[[S]], %[[SUMS]],
// CHECK: kernel.call "group_sums" {{.*}}group = 32 : i32{{.*}} outs(%[[OTHER:.*]] : !kernel.slice<R x 2 x i32>)
// CHECK: kernel.call "linear_t2" {{.*}}group = 32 : i32{{.*}} ins(%[[Q]], %[[S]], %[[OTHER]],
// CHECK: kernel.call "linear_t2" {{.*}} ins(%[[Q]], %[[S]], %[[SUM]], %{{.*}}, %{{.*}} : {{.*}}, !kernel.const<row_scale, 64 x 64>
// CHECK-NOT: group_sums
func.func @scales_of_groups(%tokens: tensor<?xi32> {bitnet.input = "tokens"}) -> tensor<?x64xf32> {
  %t = bitnet.weight ["t"] : tensor<96x64xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %x : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  %wa = bitnet.weight ["blk.0.a.weight"] : !bitnet.ternary<64 x 64, group 16>
  %a = bitnet.ternary_linear %q, %s, %wa : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64, group 16>) -> tensor<?x64xf32>
  %wb = bitnet.weight ["blk.0.b.weight"] : !bitnet.ternary<64 x 64, group 16>
  %b = bitnet.ternary_linear %q, %s, %wb, %a
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64, group 16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %wc = bitnet.weight ["blk.0.c.weight"] : !bitnet.ternary<64 x 64, group 32>
  %c = bitnet.ternary_linear %q, %s, %wc, %b
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64, group 32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %wd = bitnet.weight ["blk.0.d.weight"] : !bitnet.ternary<64 x 64>
  %d = bitnet.ternary_linear %q, %s, %wd, %c
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %d : tensor<?x64xf32>
}

// -----

// A norm whose gain is a head's; a scaled rotation, whose tables another does not share.
// CHECK-LABEL: func @head_norm_and_scaled_rope
// CHECK: kernel.call "head_norm" {{.*}}eps = 9.99999997E-7 : f32, head_dim = 32 : i32, heads = 2 : i32
// CHECK: kernel.constant [] {frequencies = array<f64: 1.000000e+00, 5.000000e-01>, magnitude = 1.500000e+00 : f32, theta = 1.000000e+04 : f32} : <rope_cos, 128 x 2>
// CHECK: kernel.constant [] {theta = 1.000000e+04 : f32} : <rope_cos, 128 x 2>
func.func @head_norm_and_scaled_rope(%tokens: tensor<?xi32> {bitnet.input = "tokens"},
                                     %positions: tensor<?xi32> {bitnet.input = "positions"}) -> tensor<?x64xf32> {
  %t = bitnet.weight ["t"] : tensor<96x64xf16>
  %g = bitnet.weight ["g"] : tensor<32xf32>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  %n = bitnet.rms_norm %x, %g {eps = 1.0e-6 : f32} : (tensor<?x64xf32>, tensor<32xf32>) -> tensor<?x64xf32>
  %a = bitnet.rope %n, %positions {context_length = 128 : i32, frequencies = array<f64: 1.0, 0.5>, head_dim = 4 : i32, magnitude = 1.5 : f32, theta = 1.0e4 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %b = bitnet.rope %a, %positions {context_length = 128 : i32, head_dim = 4 : i32, theta = 1.0e4 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return %b : tensor<?x64xf32>
}
