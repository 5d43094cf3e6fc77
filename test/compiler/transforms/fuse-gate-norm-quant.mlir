// RUN: bitnet-opt %s --bitnet-fuse-gate-norm-quant | FileCheck %s

// CHECK-LABEL: func @fuses_gate_and_quantizer
// CHECK-SAME: (%[[G:.*]]: tensor<?x64xf32>, %[[U:.*]]: tensor<?x64xf32>)
// CHECK-NEXT: %[[Q:.*]], %[[S:.*]] = bitnet.gate_norm_quantize %[[G]], %[[U]] {act = "silu"}
// CHECK-NEXT: return %[[Q]], %[[S]]
func.func @fuses_gate_and_quantizer(%gate: tensor<?x64xf32>, %up: tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>) {
  %h = bitnet.gated_activation %gate, %up {act = "silu"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %h : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @fuses_gate_norm_and_quantizer
// CHECK-SAME: (%[[G:.*]]: tensor<?x64xf32>, %[[U:.*]]: tensor<?x64xf32>, %[[N:.*]]: tensor<64xf32>)
// CHECK-NEXT: bitnet.gate_norm_quantize %[[G]], %[[U]], %[[N]] {act = "relu2", eps = 1.000000e-03 : f32}
func.func @fuses_gate_norm_and_quantizer(%gate: tensor<?x64xf32>, %up: tensor<?x64xf32>, %gain: tensor<64xf32>)
    -> (tensor<?x64xi8>, tensor<?xf32>) {
  %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = bitnet.rms_norm %h, %gain {eps = 1.0e-3 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %y : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @fuses_gate_into_norm_quantize
// CHECK: bitnet.gate_norm_quantize %{{.*}}, %{{.*}}, %{{.*}} {act = "gelu", eps = 1.000000e-03 : f32}
// CHECK-NOT: bitnet.norm_quantize
func.func @fuses_gate_into_norm_quantize(%gate: tensor<?x64xf32>, %up: tensor<?x64xf32>, %gain: tensor<64xf32>)
    -> (tensor<?x64xi8>, tensor<?xf32>) {
  %h = bitnet.gated_activation %gate, %up {act = "gelu"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.norm_quantize %h, %gain {eps = 1.0e-3 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q, %s : tensor<?x64xi8>, tensor<?xf32>
}

// CHECK-LABEL: func @keeps_a_gate_that_is_read_elsewhere
// CHECK: bitnet.gated_activation
// CHECK: bitnet.quantize_activation
func.func @keeps_a_gate_that_is_read_elsewhere(%gate: tensor<?x64xf32>, %up: tensor<?x64xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xi8>, tensor<?xf32>) {
  %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %q, %s = bitnet.quantize_activation %h : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %h, %q, %s : tensor<?x64xf32>, tensor<?x64xi8>, tensor<?xf32>
}
