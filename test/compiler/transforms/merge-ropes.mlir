// RUN: bitnet-opt %s --bitnet-merge-ropes | FileCheck %s

// CHECK-LABEL: func @merges_neighbours
// CHECK-SAME: (%[[X:.*]]: tensor<?x128xf32>, %[[P:.*]]: tensor<?xi32>)
// CHECK-NEXT: %[[S:.*]]:2 = bitnet.split %[[X]] : (tensor<?x128xf32>) -> (tensor<?x96xf32>, tensor<?x32xf32>)
// CHECK-NEXT: %[[Y:.*]] = bitnet.rope %[[S]]#0, %[[P]] {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32}
// CHECK-NEXT: %[[R:.*]]:2 = bitnet.split %[[Y]] : (tensor<?x96xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>)
// CHECK-NEXT: return %[[R]]#0, %[[R]]#1, %[[S]]#1
func.func @merges_neighbours(%x: tensor<?x128xf32>, %p: tensor<?xi32>)
    -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %q, %k, %v = bitnet.split %x : (tensor<?x128xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  %a = bitnet.rope %q, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  %b = bitnet.rope %k, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %a, %b, %v : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func @keeps_what_turns_differently
// CHECK-COUNT-1: bitnet.split
// CHECK-COUNT-2: bitnet.rope
// CHECK-NOT: bitnet.split
func.func @keeps_what_turns_differently(%x: tensor<?x64xf32>, %p: tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %q, %k = bitnet.split %x : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %a = bitnet.rope %q, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  %b = bitnet.rope %k, %p {context_length = 8 : i32, head_dim = 32 : i32, theta = 1.0e4 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %a, %b : tensor<?x32xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func @keeps_a_piece_that_is_read_unturned
// CHECK-COUNT-1: bitnet.split
// CHECK-COUNT-2: bitnet.rope
// CHECK-NOT: bitnet.split
func.func @keeps_a_piece_that_is_read_unturned(%x: tensor<?x64xf32>, %p: tensor<?xi32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %q, %k = bitnet.split %x : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %a = bitnet.rope %q, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  %b = bitnet.rope %k, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 1.0e4 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %a, %b, %k : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}
