// RUN: bitnet-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func @split_into_one_piece_folds
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>)
// CHECK-NEXT: return %[[X]]
func.func @split_into_one_piece_folds(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %p = bitnet.split %x : (tensor<?x64xf32>) -> tensor<?x64xf32>
  return %p : tensor<?x64xf32>
}

// CHECK-LABEL: func @nested_splits_become_one
// CHECK: %[[P:.*]]:4 = bitnet.split %{{.*}} : (tensor<?x128xf32>) -> (tensor<?x16xf32>, tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x64xf32>)
// CHECK-NEXT: return %[[P]]#0, %[[P]]#1, %[[P]]#2, %[[P]]#3
func.func @nested_splits_become_one(%x: tensor<?x128xf32>)
    -> (tensor<?x16xf32>, tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x64xf32>) {
  %o:3 = bitnet.split %x : (tensor<?x128xf32>) -> (tensor<?x16xf32>, tensor<?x48xf32>, tensor<?x64xf32>)
  %i:2 = bitnet.split %o#1 : (tensor<?x48xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>)
  return %o#0, %i#0, %i#1, %o#2 : tensor<?x16xf32>, tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x64xf32>
}

// CHECK-LABEL: func @keeps_a_piece_that_is_also_used_whole
// CHECK-COUNT-2: bitnet.split
func.func @keeps_a_piece_that_is_also_used_whole(%x: tensor<?x64xf32>)
    -> (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %o:2 = bitnet.split %x : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %i:2 = bitnet.split %o#1 : (tensor<?x32xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>)
  return %o#1, %i#0, %i#1 : tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}

// CHECK-LABEL: func @unused_weights_go
// CHECK-NEXT: return
func.func @unused_weights_go() {
  %w = bitnet.weight ["a"] : tensor<64xf32>
  return
}
