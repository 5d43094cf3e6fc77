// RUN: bitnet-opt %s --bitnet-fuse-gated-linear | FileCheck %s

// CHECK-LABEL: func @takes_in_the_gate
// CHECK-SAME: (%[[Q:.*]]: tensor<?x64xi8>, %[[S:.*]]: tensor<?xf32>, %[[G:.*]]: tensor<?x32xf32>)
// CHECK-NEXT: %[[W:.*]] = bitnet.weight
// CHECK-NEXT: %[[H:.*]] = bitnet.gated_linear %[[Q]], %[[S]], %[[W]], %[[G]] {act = "silu"}
// CHECK-NEXT: return %[[H]]
func.func @takes_in_the_gate(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %gate: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<32 x 64>
  %up = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
  %h = bitnet.gated_activation %gate, %up {act = "silu"} : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h : tensor<?x32xf32>
}

// The activation is of the gate alone: a product on that side is not what the epilogue computes.
// CHECK-LABEL: func @keeps_a_product_that_is_the_gate
// CHECK: bitnet.ternary_linear
// CHECK: bitnet.gated_activation
func.func @keeps_a_product_that_is_the_gate(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %up: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<32 x 64>
  %gate = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
  %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h : tensor<?x32xf32>
}

// CHECK-LABEL: func @keeps_a_product_that_is_read_elsewhere
// CHECK: bitnet.gated_activation
func.func @keeps_a_product_that_is_read_elsewhere(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %gate: tensor<?x32xf32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %w = bitnet.weight ["w"] : !bitnet.ternary<32 x 64>
  %up = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
  %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h, %up : tensor<?x32xf32>, tensor<?x32xf32>
}
