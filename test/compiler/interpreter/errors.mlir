// RUN: not bitnet-interpret %S/Inputs/bitnet.mlir --steps=0:0 2>&1 | FileCheck %s --check-prefix=STEPS
// STEPS: error: --steps: expected SEQUENCE:ROWS with sequence < 64 and 1 to 4096 rows, got '0:0'
// RUN: not bitnet-interpret %S/Inputs/bitnet.mlir --tokens=100 2>&1 | FileCheck %s --check-prefix=TOKENS
// TOKENS: error: --tokens: expected ids in [0, 100), got 100
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-pipeline="max-rows=4" -o %t.planned
// RUN: not bitnet-interpret %t.planned 2>&1 | FileCheck %s --check-prefix=ROWS
// ROWS: error: plan: expected at most 4 rows, got 5
// RUN: bitnet-opt %S/Inputs/bitnet.mlir --bitnet-select-kernels --bitnet-lower-to-kernel -o %t.unplanned
// RUN: not bitnet-interpret %t.unplanned 2>&1 | FileCheck %s --check-prefix=UNPLANNED
// UNPLANNED: error: @step: expected a memory plan, got none; run --bitnet-plan-memory first
// RUN: not bitnet-interpret %S/Inputs/missing.mlir 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: {{.*}}missing.mlir: not valid IR (see above)
