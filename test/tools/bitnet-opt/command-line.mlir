// RUN: bitnet-opt --version | FileCheck %s --check-prefix=VERSION
// VERSION: bitnet-opt {{[0-9]+\.[0-9]+\.[0-9]+}}
// RUN: bitnet-opt --help | FileCheck %s --check-prefix=HELP
// HELP: bitnet-opt: passes of the ternary model compiler
// HELP-DAG: --bitnet-fuse-gated-linear
// HELP-DAG: --bitnet-fuse-norm-quant
// HELP-DAG: --bitnet-fuse-residual-add
// HELP-DAG: --bitnet-lower-to-kernel
// HELP-DAG: --bitnet-merge-projections
// HELP-DAG: --bitnet-pipeline
// HELP-DAG: --bitnet-plan-memory
// HELP-DAG: --bitnet-quantize-head
// HELP-DAG: --bitnet-select-kernels
// RUN: not bitnet-opt %s --bitnet-fuse 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: Unknown command line argument '--bitnet-fuse'
// RUN: not bitnet-opt %s --bitnet-plan-memory="max-rows=many" 2>&1 | FileCheck %s --check-prefix=VALUE
// VALUE: 'many' value invalid for integer argument
