// RUN: bitnet-opt %s --bitnet-quantize-head="head=q8" | FileCheck %s --check-prefix=Q8
// RUN: bitnet-opt %s --bitnet-quantize-head="head=exact" | FileCheck %s --check-prefix=EXACT
// RUN: bitnet-opt %s --bitnet-quantize-head | FileCheck %s --check-prefix=F16
// RUN: not bitnet-opt %s --bitnet-quantize-head="head=q4" 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: error: head: expected exact, f16 or q8, got q4

// Q8-LABEL: func @becomes_int8_rows
// Q8-SAME: (%[[X:.*]]: tensor<?x64xf32>)
// Q8-NEXT: %[[W:.*]] = bitnet.weight ["output.weight"] : !bitnet.int8<100 x 64>
// Q8-NEXT: %[[Q:.*]], %[[S:.*]] = bitnet.quantize_activation %[[X]]
// Q8-NEXT: %[[Y:.*]] = bitnet.int8_linear %[[Q]], %[[S]], %[[W]] : {{.*}} -> tensor<?x100xf32>
// Q8-NEXT: return %[[Y]]
// F16-LABEL: func @becomes_int8_rows
// F16: bitnet.linear %{{.*}}, %{{.*}} :
// EXACT-LABEL: func @becomes_int8_rows
// EXACT: bitnet.weight ["output.weight"] : tensor<100x64xf16>
// EXACT: bitnet.linear %{{.*}}, %{{.*}} {screened} : (tensor<?x64xf32>, tensor<100x64xf16>)
func.func @becomes_int8_rows(%x: tensor<?x64xf32>) -> tensor<?x100xf32> {
  %w = bitnet.weight ["output.weight"] : tensor<100x64xf16>
  %y = bitnet.linear %x, %w : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}

// Q8-LABEL: func @tied_embedding_keeps_its_table
// Q8: %[[T:.*]] = bitnet.weight ["token_embd.weight"] : tensor<100x64xf16>
// Q8: bitnet.embedding %{{.*}}, %[[T]]
// Q8: bitnet.weight ["token_embd.weight"] : !bitnet.int8<100 x 64>
func.func @tied_embedding_keeps_its_table(%tokens: tensor<?xi32>) -> tensor<?x100xf32> {
  %w = bitnet.weight ["token_embd.weight"] : tensor<100x64xf16>
  %x = bitnet.embedding %tokens, %w : (tensor<?xi32>, tensor<100x64xf16>) -> tensor<?x64xf32>
  %y = bitnet.linear %x, %w : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}
