// RUN: bitnet-opt %s --bitnet-fuse-residual-add | FileCheck %s

// CHECK-LABEL: func @takes_in_the_add
// CHECK-SAME: (%[[Q:.*]]: tensor<?x64xi8>, %[[S:.*]]: tensor<?xf32>, %[[X:.*]]: tensor<?x64xf32>)
// CHECK-NEXT: %[[W:.*]] = bitnet.weight
// CHECK-NEXT: %[[Y:.*]] = bitnet.ternary_linear %[[Q]], %[[S]], %[[W]], %[[X]]
// CHECK-NEXT: return %[[Y]]
func.func @takes_in_the_add(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %y = bitnet.add %x, %a : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @takes_in_the_add_with_sides_swapped
// CHECK: bitnet.ternary_linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} :
// CHECK-NOT: bitnet.add
func.func @takes_in_the_add_with_sides_swapped(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %y = bitnet.add %a, %x : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @adds_one_residual_only
// CHECK: %[[A:.*]] = bitnet.ternary_linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} :
// CHECK-NEXT: bitnet.add %{{.*}}, %[[A]]
func.func @adds_one_residual_only(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w, %x : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = bitnet.add %x, %a : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func @keeps_a_product_that_is_read_elsewhere
// CHECK: bitnet.add
func.func @keeps_a_product_that_is_read_elsewhere(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x64xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  %y = bitnet.add %x, %a : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %a, %y : tensor<?x64xf32>, tensor<?x64xf32>
}
