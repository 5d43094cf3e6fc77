// RUN: bitnet-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func @view_of_all_columns_folds
// CHECK: %[[A:.*]] = kernel.alloc
// CHECK-NEXT: return %[[A]]
func.func @view_of_all_columns_folds() -> !kernel.slice<R x 64 x f32> {
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  %v = kernel.view %a[0] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 64 x f32>
  return %v : !kernel.slice<R x 64 x f32>
}

// CHECK-LABEL: func @view_of_view_adds_up
// CHECK: %[[A:.*]] = kernel.alloc
// CHECK-NEXT: %[[V:.*]] = kernel.view %[[A]][40] : <R x 64 x f32> -> <R x 16 x f32>
// CHECK-NEXT: return %[[V]]
func.func @view_of_view_adds_up() -> !kernel.slice<R x 16 x f32> {
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  %v = kernel.view %a[32] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 32 x f32>
  %w = kernel.view %v[8] : !kernel.slice<R x 32 x f32> -> !kernel.slice<R x 16 x f32>
  return %w : !kernel.slice<R x 16 x f32>
}

// CHECK-LABEL: func @calls_stay
// CHECK: kernel.call "add"
func.func @calls_stay() {
  %a = kernel.alloc : !kernel.slice<R x 64 x f32>
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}
