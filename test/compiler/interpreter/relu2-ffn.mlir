// Leaving out what is 0 keeps the logits, for few rows and for many.
// RUN: bitnet-interpret %S/Inputs/relu2-ffn.mlir --steps=0:5,1:1,0:13 > %t.expected
// RUN: bitnet-opt %S/Inputs/relu2-ffn.mlir --bitnet-pipeline | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/relu2-ffn.mlir --bitnet-pipeline="skip=false" | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/relu2-ffn.mlir --bitnet-pipeline="fuse=false" | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
// RUN: bitnet-opt %S/Inputs/relu2-ffn.mlir --bitnet-select-kernels | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
