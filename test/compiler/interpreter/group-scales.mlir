// Passes keep the numbers of matrices with scales of groups of columns: a FFN whose gate and up have them for 64 and
// for 128 columns, and whose down has them for 16.
// RUN: sed -e 's/272 x 256>/272 x 256, group 64>/' -e '/wu/s/group 64/group 128/' -e 's/256 x 272>/256 x 272, group 16>/' %S/Inputs/relu2-ffn.mlir > %t.mlir
// RUN: FileCheck %s --input-file=%t.mlir
// CHECK: "blk.0.ffn_gate.weight"] : !bitnet.ternary<272 x 256, group 64>
// CHECK: "blk.0.ffn_up.weight"] : !bitnet.ternary<272 x 256, group 128>
// CHECK: "blk.0.ffn_down.weight"] : !bitnet.ternary<256 x 272, group 16>
// RUN: bitnet-interpret %t.mlir --steps=0:5,1:1,0:13 > %t.expected
// RUN: bitnet-opt %t.mlir --bitnet-pipeline | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
// RUN: bitnet-opt %t.mlir --bitnet-pipeline="fuse=false packing=t3 max-rows=13" | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -
// RUN: bitnet-opt %t.mlir --bitnet-fuse-gated-linear --bitnet-fuse-residual-add | bitnet-interpret --steps=0:5,1:1,0:13 | diff %t.expected -

// q|k|v with the same groups are one product.
// RUN: sed -e 's/ternary<\([0-9]* x 64\)>/ternary<\1, group 32>/g' -e 's/ternary<\([0-9]* x 112\)>/ternary<\1, group 16>/g' %S/Inputs/bitnet.mlir > %t.model.mlir
// RUN: bitnet-opt %t.model.mlir --bitnet-pipeline | FileCheck %s --check-prefix=MODEL
// MODEL: kernel.constant ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"] {{.*}} : <group_scale, {{[0-9]+}} x 2>
// RUN: bitnet-interpret %t.model.mlir > %t.model
// RUN: bitnet-opt %t.model.mlir --bitnet-pipeline="max-rows=5" | bitnet-interpret | diff %t.model -

// The scales matter: without groups the numbers are others.
// RUN: bitnet-interpret %S/Inputs/bitnet.mlir > %t.plain
// RUN: not diff %t.plain %t.model
