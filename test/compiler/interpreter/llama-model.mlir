// As bitnet-model.mlir, for the graph without sub-norms.
// RUN: bitnet-interpret %S/Inputs/llama.mlir > %t.expected
// RUN: bitnet-opt %S/Inputs/llama.mlir --bitnet-fuse-gated-linear | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/llama.mlir --bitnet-pipeline | bitnet-interpret | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/llama.mlir --bitnet-pipeline="fuse=false max-rows=7" | bitnet-interpret | diff %t.expected -
