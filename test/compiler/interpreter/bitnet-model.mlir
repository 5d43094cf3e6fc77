// Passes keep the numbers: the logits of five steps of two sequences, before and after, have the same digest.
// RUN: bitnet-interpret %S/Inputs/bitnet.mlir > %t.expected
// RUN: FileCheck %s --input-file=%t.expected
// CHECK: digest {{[0-9a-f]+}} of 2400 bytes

// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-merge-projections | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-fuse-norm-quant | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-fuse-gated-linear | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-fuse-norm-quant --bitnet-fuse-gated-linear | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-fuse-residual-add | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-merge-projections --bitnet-merge-ropes | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-select-kernels | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-select-kernels --bitnet-lower-to-kernel --bitnet-plan-memory | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="max-rows=5" | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="fuse=false" | bitnet-interpret | diff %t.expected -

// The q8 head changes the numbers, and only quantize-head does.
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-quantize-head="head=q8" | bitnet-interpret > %t.q8
// RUN: not diff %t.expected %t.q8
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="head=q8" | bitnet-interpret | diff %t.q8 -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="head=q8 fuse=false" | bitnet-interpret | diff %t.q8 -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-quantize-cache="kv=q8" | bitnet-interpret > %t.kv
// RUN: not diff %t.expected %t.kv
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="kv=q8 max-rows=9" | bitnet-interpret | diff %t.kv -
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="kv=q8 max-rows=9" | bitnet-interpret --steps=0:9,1:9,0:9,1:3+0:1 > %t.kv-steps
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-quantize-cache="kv=q8" | bitnet-interpret --steps=0:9,1:9,0:9,1:3+0:1 | diff %t.kv-steps -

// Other weights, other numbers.
// RUN: bitnet-interpret %S/Inputs/bitnet.mlir --seed=2 > %t.seed2
// RUN: not diff %t.expected %t.seed2

// Past one KV block of 64 positions, in two sequences whose blocks alternate.
// RUN: bitnet-interpret %S/Inputs/bitnet.mlir --steps=0:60,1:70,0:9+1:1 > %t.long
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline | bitnet-interpret --steps=0:60,1:70,0:9+1:1 | diff %t.long -
