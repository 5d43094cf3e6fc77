// RUN: bitnet-interpret --version | FileCheck %s --check-prefix=VERSION
// VERSION: bitnet-interpret {{[0-9]+\.[0-9]+\.[0-9]+}}
// RUN: bitnet-interpret --help | FileCheck %s --check-prefix=HELP
// HELP: runs bitnet or kernel IR on the scalar twins, prints a digest
// HELP-DAG: --print-logits
// HELP-DAG: --seed
// HELP-DAG: --steps
// HELP-DAG: --tokens
// HELP-DAG: --weights
// RUN: bitnet-interpret %s --steps=0:2,0:1 --print-logits=2 | FileCheck %s
// CHECK: step 0 row 0: argmax {{[0-9]+}} values {{[-.0-9e]+}} {{[-.0-9e]+}}
// CHECK: step 0 row 1: argmax
// CHECK: step 1 row 0: argmax
// CHECK: digest {{[0-9a-f]+}} of 384 bytes
func.func @add(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %y = bitnet.add %x, %x : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
