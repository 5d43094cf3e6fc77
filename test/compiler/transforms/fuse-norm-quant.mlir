// RUN: bitnet-opt %s --bitnet-fuse-norm-quant | FileCheck %s

// CHECK-LABEL: func @fuses
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[G:.*]]: tensor<64xf32>)
// CHECK-NEXT: %[[Q:.*]], %[[S:.*]] = bitnet.norm_quantize %[[X]], %[[G]] {eps = 1.000000e-03 : f32}
// CHECK-NEXT: return %[[Q]], %[[S]]
func.func @fuses(%x: tensor<?x64xf32>, %gain: tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>) {
  %y = bitnet.rms_norm %x, %gain {eps = 1.0e-3 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %y : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @keeps_a_norm_that_is_read_elsewhere
// CHECK: bitnet.rms_norm
// CHECK: bitnet.quantize_activation
func.func @keeps_a_norm_that_is_read_elsewhere(%x: tensor<?x64xf32>, %gain: tensor<64xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xi8>, tensor<?xf32>) {
  %y = bitnet.rms_norm %x, %gain {eps = 1.0e-3 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %y : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %y, %q, %s : tensor<?x64xf32>, tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @keeps_a_quantizer_without_norm
// CHECK: bitnet.quantize_activation
func.func @keeps_a_quantizer_without_norm(%x: tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>) {
  %q, %s = bitnet.quantize_activation %x : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @keeps_a_norm_of_heads
// CHECK: bitnet.rms_norm
// CHECK: bitnet.quantize_activation
func.func @keeps_a_norm_of_heads(%x: tensor<?x64xf32>, %gain: tensor<32xf32>) -> (tensor<?x64xi8>, tensor<?xf32>) {
  %y = bitnet.rms_norm %x, %gain {eps = 1.0e-3 : f32} : (tensor<?x64xf32>, tensor<32xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %y : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}
