// RUN: bitnet-opt %s --bitnet-merge-projections | FileCheck %s

// CHECK-LABEL: func @merges_linears_of_one_input_in_order
// CHECK-SAME: (%[[Q:.*]]: tensor<?x64xi8>, %[[S:.*]]: tensor<?xf32>)
// CHECK-NEXT: %[[W:.*]] = bitnet.weight ["q", "k", "v"] {rows = array<i32: 64, 32, 16>} : !bitnet.ternary<112 x 64>
// CHECK-NEXT: %[[Y:.*]] = bitnet.ternary_linear %[[Q]], %[[S]], %[[W]] : {{.*}} -> tensor<?x112xf32>
// CHECK-NEXT: %[[P:.*]]:3 = bitnet.split %[[Y]] : (tensor<?x112xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x16xf32>)
// CHECK-NEXT: return %[[P]]#0, %[[P]]#1, %[[P]]#2
func.func @merges_linears_of_one_input_in_order(%q: tensor<?x64xi8>, %s: tensor<?xf32>)
    -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x16xf32>) {
  %wq = bitnet.weight ["q"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %wq : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %wk = bitnet.weight ["k"] : !bitnet.ternary<32 x 64>
  %b = bitnet.ternary_linear %q, %s, %wk : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
  %wv = bitnet.weight ["v"] : !bitnet.ternary<16 x 64>
  %c = bitnet.ternary_linear %q, %s, %wv : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<16 x 64>) -> tensor<?x16xf32>
  return %a, %b, %c : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x16xf32>
}

// CHECK-LABEL: func @keeps_linears_of_different_inputs
// CHECK-COUNT-2: bitnet.ternary_linear
// CHECK-NOT: bitnet.split
func.func @keeps_linears_of_different_inputs(%q0: tensor<?x64xi8>, %q1: tensor<?x64xi8>, %s: tensor<?xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q0, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %b = bitnet.ternary_linear %q1, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  return %a, %b : tensor<?x64xf32>, tensor<?x64xf32>
}

// CHECK-LABEL: func @keeps_a_linear_with_residual
// CHECK-COUNT-2: bitnet.ternary_linear
// CHECK-NOT: bitnet.split
func.func @keeps_a_linear_with_residual(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x64xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %b = bitnet.ternary_linear %q, %s, %w, %x : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %a, %b : tensor<?x64xf32>, tensor<?x64xf32>
}

// CHECK-LABEL: func @merges_only_scales_of_as_many_columns
// CHECK: bitnet.weight ["a", "c"] {rows = array<i32: 32, 16>} : !bitnet.ternary<48 x 64, group 16>
// CHECK: bitnet.weight ["b"] : !bitnet.ternary<16 x 64, group 32>
// CHECK: bitnet.weight ["d"] : !bitnet.ternary<16 x 64>
func.func @merges_only_scales_of_as_many_columns(%q: tensor<?x64xi8>, %s: tensor<?xf32>)
    -> (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %wa = bitnet.weight ["a"] : !bitnet.ternary<32 x 64, group 16>
  %a = bitnet.ternary_linear %q, %s, %wa : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64, group 16>) -> tensor<?x32xf32>
  %wb = bitnet.weight ["b"] : !bitnet.ternary<16 x 64, group 32>
  %b = bitnet.ternary_linear %q, %s, %wb : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<16 x 64, group 32>) -> tensor<?x16xf32>
  %wc = bitnet.weight ["c"] : !bitnet.ternary<16 x 64, group 16>
  %c = bitnet.ternary_linear %q, %s, %wc : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<16 x 64, group 16>) -> tensor<?x16xf32>
  %wd = bitnet.weight ["d"] : !bitnet.ternary<16 x 64>
  %d = bitnet.ternary_linear %q, %s, %wd : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<16 x 64>) -> tensor<?x16xf32>
  return %a, %b, %c, %d : tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}

// CHECK-LABEL: func @keeps_parts_of_a_merged_weight
// CHECK: bitnet.weight ["a", "b", "c"] {rows = array<i32: 32, 16, 16>} : !bitnet.ternary<64 x 64>
func.func @keeps_parts_of_a_merged_weight(%q: tensor<?x64xi8>, %s: tensor<?xf32>) -> (tensor<?x48xf32>, tensor<?x16xf32>) {
  %ab = bitnet.weight ["a", "b"] {rows = array<i32: 32, 16>} : !bitnet.ternary<48 x 64>
  %y = bitnet.ternary_linear %q, %s, %ab : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<48 x 64>) -> tensor<?x48xf32>
  %c = bitnet.weight ["c"] : !bitnet.ternary<16 x 64>
  %z = bitnet.ternary_linear %q, %s, %c : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<16 x 64>) -> tensor<?x16xf32>
  return %y, %z : tensor<?x48xf32>, tensor<?x16xf32>
}
