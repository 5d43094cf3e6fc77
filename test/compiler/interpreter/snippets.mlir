// Single ops on seeded rows: what a fused op computes is what its parts compute.
// RUN: split-file %s %t
// RUN: bitnet-interpret %t/gate.mlir > %t.gate
// RUN: bitnet-opt %t/gate.mlir --bitnet-fuse-gated-linear | bitnet-interpret | diff %t.gate -
// RUN: bitnet-interpret %t/add.mlir > %t.add
// RUN: bitnet-opt %t/add.mlir --bitnet-fuse-residual-add | bitnet-interpret | diff %t.add -

//--- gate.mlir
func.func @gate(%x: tensor<?x48xf32>, %gate: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<32 x 48>
  %q, %s = bitnet.quantize_activation %x : (tensor<?x48xf32>) -> (tensor<?x48xi8>, tensor<?xf32>)
  %up = bitnet.ternary_linear %q, %s, %w : (tensor<?x48xi8>, tensor<?xf32>, !bitnet.ternary<32 x 48>) -> tensor<?x32xf32>
  %h = bitnet.gated_activation %gate, %up {act = "gelu"} : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h : tensor<?x32xf32>
}

//--- add.mlir
func.func @add(%x: tensor<?x48xf32>, %residual: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<32 x 48>
  %q, %s = bitnet.quantize_activation %x : (tensor<?x48xf32>) -> (tensor<?x48xi8>, tensor<?xf32>)
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x48xi8>, tensor<?xf32>, !bitnet.ternary<32 x 48>) -> tensor<?x32xf32>
  %y = bitnet.add %residual, %a : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
