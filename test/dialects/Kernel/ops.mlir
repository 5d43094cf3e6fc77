// RUN: bitnet-opt %s | bitnet-opt | FileCheck %s
// RUN: bitnet-opt %s --mlir-print-op-generic | bitnet-opt | FileCheck %s

// CHECK-LABEL: func @leaves
func.func @leaves() {
  // CHECK: kernel.alloc {offset = 0 : i64} : <R x 2560 x f32>
  %a = kernel.alloc {offset = 0 : i64} : !kernel.slice<R x 2560 x f32>
  // CHECK: kernel.alloc : <L x 1 x i32>
  %b = kernel.alloc : !kernel.slice<L x 1 x i32>
  %qkv = kernel.alloc : !kernel.slice<R x 3840 x f32>
  // CHECK: kernel.view %{{.*}}[2560] : <R x 3840 x f32> -> <R x 640 x f32>
  %k = kernel.view %qkv[2560] : !kernel.slice<R x 3840 x f32> -> !kernel.slice<R x 640 x f32>
  // CHECK: kernel.constant ["a", "b"] {rows = array<i32: 64, 30>} : <t2, 96 x 64>
  %t = kernel.constant ["a", "b"] {rows = array<i32: 64, 30>} : !kernel.const<t2, 96 x 64>
  // CHECK: kernel.constant ["output.weight"] {rows = array<i32: 100>} : <f16, 112 x 64>
  %w = kernel.constant ["output.weight"] {rows = array<i32: 100>} : !kernel.const<f16, 112 x 64>
  // CHECK: kernel.constant [] {theta = 1.000000e+04 : f32} : <rope_cos, 128 x 8>
  %c = kernel.constant [] {theta = 1.0e4 : f32} : !kernel.const<rope_cos, 128 x 8>
  // CHECK: kernel.input : <tokens>
  %tokens = kernel.input : !kernel.input<tokens>
  // CHECK: kernel.cache 3 : <k, 5 x 128>
  %kc = kernel.cache 3 : !kernel.cache<k, 5 x 128>
  return
}

// CHECK-LABEL: func @call
// CHECK-SAME: attributes {kernel.arena_bytes = 1024 : i64, kernel.max_rows = 8 : i32}
func.func @call() attributes {kernel.arena_bytes = 1024 : i64, kernel.max_rows = 8 : i32} {
  %x = kernel.alloc : !kernel.slice<R x 64 x f32>
  %q = kernel.alloc : !kernel.slice<R x 64 x i8>
  %s = kernel.alloc : !kernel.slice<R x 1 x f32>
  %sum = kernel.alloc : !kernel.slice<R x 1 x i32>
  %gain = kernel.constant ["blk.0.attn_norm.weight"] {rows = array<i32: 1>} : !kernel.const<f32, 1 x 64>
  // CHECK: kernel.call "norm_quant" {choices = array<i32: 0, 0>, eps = {{.*}} : f32, k = 64 : i32, label = "blk.0.attn_norm"} ins(%{{.*}}, %{{.*}} : !kernel.slice<R x 64 x f32>, !kernel.const<f32, 1 x 64>) outs(%{{.*}}, %{{.*}}, %{{.*}} : !kernel.slice<R x 64 x i8>, !kernel.slice<R x 1 x f32>, !kernel.slice<R x 1 x i32>)
  kernel.call "norm_quant" {choices = array<i32: 0, 0>, eps = 1.0e-5 : f32, k = 64 : i32, label = "blk.0.attn_norm"}
    ins(%x, %gain : !kernel.slice<R x 64 x f32>, !kernel.const<f32, 1 x 64>)
    outs(%q, %s, %sum : !kernel.slice<R x 64 x i8>, !kernel.slice<R x 1 x f32>, !kernel.slice<R x 1 x i32>)
  return
}

// CHECK-LABEL: func @screen
func.func @screen(%x: !kernel.slice<L x 64 x f32>, %y: !kernel.slice<L x 112 x f32>) {
  %f = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<f16, 112 x 64>
  %w = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<screen, 112 x 64>
  kernel.call "linear_f16" {choices = array<i32: 0, 0>, k = 64 : i32, n = 112 : i32}
    ins(%x, %f : !kernel.slice<L x 64 x f32>, !kernel.const<f16, 112 x 64>) outs(%y : !kernel.slice<L x 112 x f32>)
  // CHECK: kernel.screen %{{.*}} {choices = array<i32: 1, 1, 0, 0>} : <screen, 112 x 64>
  kernel.screen %w {choices = array<i32: 1, 1, 0, 0>} : !kernel.const<screen, 112 x 64>
  return
}
