// RUN: bitnet-opt %s --bitnet-select-kernels --bitnet-lower-to-kernel --split-input-file --verify-diagnostics
// RUN: not bitnet-opt %S/Inputs/add.mlir --bitnet-lower-to-kernel 2>&1 | FileCheck %s
// CHECK: error: 'bitnet.weight' op has no packing; run --bitnet-select-kernels first

// expected-error @+1 {{'func.func' op argument 0: expected a kv_cache or a tensor with bitnet.input, got 'tensor<?x64xf32>'}}
func.func @argument_that_no_step_hands_in(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  return %x : tensor<?x64xf32>
}

// -----

func.func @reads_an_old_state(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %slots: tensor<?xi32> {bitnet.input = "slots"},
                              %blocks: tensor<?x?xi32> {bitnet.input = "block_table"}, %c0: !bitnet.kv_cache<2 x 16>)
    -> (tensor<?x32xf32>, !bitnet.kv_cache<2 x 16>) {
  %t = bitnet.weight ["t"] : tensor<96x32xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x32xf16>) -> tensor<?x32xf32>
  %c1 = bitnet.kv_append %x, %x, %slots, %c0
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  // expected-error @+1 {{'bitnet.attention' op reads a cache that a kv_append before it has changed}}
  %o = bitnet.attention %x, %c0, %tokens, %tokens, %blocks
     : (tensor<?x32xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x32xf32>
  return %o, %c1 : tensor<?x32xf32>, !bitnet.kv_cache<2 x 16>
}

// -----

func.func @returns_an_old_state(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %slots: tensor<?xi32> {bitnet.input = "slots"},
                                %c0: !bitnet.kv_cache<2 x 16>) -> (tensor<?x32xf32>, !bitnet.kv_cache<2 x 16>) {
  %t = bitnet.weight ["t"] : tensor<96x32xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x32xf16>) -> tensor<?x32xf32>
  %c1 = bitnet.kv_append %x, %x, %slots, %c0
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  // expected-error @+1 {{'func.return' op value 1: expected the last state of cache 0}}
  return %x, %c0 : tensor<?x32xf32>, !bitnet.kv_cache<2 x 16>
}

// -----

func.func @forgets_a_cache(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %c0: !bitnet.kv_cache<2 x 16>) -> tensor<?x32xf32> {
  %t = bitnet.weight ["t"] : tensor<96x32xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x32xf16>) -> tensor<?x32xf32>
  // expected-error @+1 {{'func.return' op expected the logits and 1 caches, got 1 values}}
  return %x : tensor<?x32xf32>
}
