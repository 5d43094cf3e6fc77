// RUN: bitnet-opt %s | bitnet-opt | FileCheck %s
// RUN: bitnet-opt %s --mlir-print-op-generic | bitnet-opt | FileCheck %s

// CHECK-LABEL: func @weights
func.func @weights() {
  // CHECK: bitnet.weight ["a"] : !bitnet.ternary<64 x 48>
  %a = bitnet.weight ["a"] : !bitnet.ternary<64 x 48>
  // CHECK: bitnet.weight ["blk.0.attn_q.weight", "blk.0.attn_k.weight"] {rows = array<i32: 64, 32>} : !bitnet.ternary<96 x 64>
  %ab = bitnet.weight ["blk.0.attn_q.weight", "blk.0.attn_k.weight"] {rows = array<i32: 64, 32>} : !bitnet.ternary<96 x 64>
  // CHECK: bitnet.weight ["g"] : !bitnet.ternary<64 x 48, group 16>
  %g = bitnet.weight ["g"] : !bitnet.ternary<64 x 48, group 16>
  // CHECK: bitnet.weight ["c"] : !bitnet.int8<96 x 64>
  %c = bitnet.weight ["c"] : !bitnet.int8<96 x 64>
  // CHECK: bitnet.weight ["d"] {bitnet.packing = "f16"} : tensor<96x64xf16>
  %d = bitnet.weight ["d"] {bitnet.packing = "f16"} : tensor<96x64xf16>
  // CHECK: bitnet.weight ["e"] : tensor<64xf32>
  %e = bitnet.weight ["e"] : tensor<64xf32>
  return
}

// CHECK-LABEL: func @embedding
func.func @embedding(%tokens: tensor<?xi32>, %table: tensor<96x64xf16>) -> tensor<?x64xf32> {
  // CHECK: bitnet.embedding %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  %y = bitnet.embedding %tokens, %table : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @norms_and_quantizers
func.func @norms_and_quantizers(%x: tensor<?x64xf32>, %gain: tensor<64xf32>) {
  // CHECK: bitnet.rms_norm %{{.*}}, %{{.*}} {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %y = bitnet.rms_norm %x, %gain {eps = 1.0e-5 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: bitnet.quantize_activation %{{.*}} : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  %q0, %s0 = bitnet.quantize_activation %y : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  // CHECK: bitnet.norm_quantize %{{.*}}, %{{.*}} {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  %q1, %s1 = bitnet.norm_quantize %x, %gain {eps = 1.0e-5 : f32}
           : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return
}

// CHECK-LABEL: func @gates
func.func @gates(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<128 x 64>, %gate: tensor<?x128xf32>, %up: tensor<?x128xf32>) {
  // CHECK: bitnet.gated_activation %{{.*}}, %{{.*}} {act = "relu2"} : (tensor<?x128xf32>, tensor<?x128xf32>) -> tensor<?x128xf32>
  %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x128xf32>, tensor<?x128xf32>) -> tensor<?x128xf32>
  // CHECK: bitnet.gated_linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {act = "relu2"} : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<128 x 64>, tensor<?x128xf32>) -> tensor<?x128xf32>
  %h1 = bitnet.gated_linear %q, %s, %w, %gate {act = "relu2"}
      : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<128 x 64>, tensor<?x128xf32>) -> tensor<?x128xf32>
  return
}

// CHECK-LABEL: func @linears
func.func @linears(%x: tensor<?x64xf32>, %q: tensor<?x64xi8>, %s: tensor<?xf32>, %t: !bitnet.ternary<64 x 64>,
                   %f: tensor<96x64xf16>, %i: !bitnet.int8<96 x 64>) {
  // CHECK: bitnet.ternary_linear %{{.*}}, %{{.*}}, %{{[^,]*}} : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %a = bitnet.ternary_linear %q, %s, %t : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  // CHECK: bitnet.ternary_linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %b = bitnet.ternary_linear %q, %s, %t, %x
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: bitnet.linear %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
  %c = bitnet.linear %x, %f : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
  // CHECK: bitnet.int8_linear %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.int8<96 x 64>) -> tensor<?x96xf32>
  %d = bitnet.int8_linear %q, %s, %i : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.int8<96 x 64>) -> tensor<?x96xf32>
  return
}

// CHECK-LABEL: func @attention
// CHECK-SAME: bitnet.input = "positions"
func.func @attention(%q: tensor<?x64xf32>, %k: tensor<?x32xf32>, %v: tensor<?x32xf32>,
                     %positions: tensor<?xi32> {bitnet.input = "positions"}, %sequences: tensor<?xi32>,
                     %slots: tensor<?xi32>, %blocks: tensor<?x?xi32>, %c0: !bitnet.kv_cache<2 x 16>) {
  // CHECK: bitnet.rope %{{.*}}, %{{.*}} {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %r = bitnet.rope %q, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32}
     : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  // CHECK: bitnet.kv_append %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  %c1 = bitnet.kv_append %k, %v, %slots, %c0
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  // CHECK: bitnet.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
  %o = bitnet.attention %r, %c1, %positions, %sequences, %blocks
     : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
  return
}

// CHECK-LABEL: func @rows
func.func @rows(%x: tensor<?x64xf32>, %w: tensor<?x96xf32>, %index: tensor<?xi32>) {
  // CHECK: bitnet.add %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %a = bitnet.add %x, %x : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: bitnet.gather_rows %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %g = bitnet.gather_rows %a, %index : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  // CHECK: bitnet.split %{{.*}} : (tensor<?x96xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>)
  %q, %k = bitnet.split %w : (tensor<?x96xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>)
  return
}
