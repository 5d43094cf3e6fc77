func.func @step(%tokens: tensor<?xi32> {bitnet.input = "tokens"}) -> tensor<?x32xf32> {
  %t = bitnet.weight ["t"] : tensor<96x32xf16>
  %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<96x32xf16>) -> tensor<?x32xf32>
  %y = bitnet.add %x, %x : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
