// One relu2 FFN of sizes that the kernels that skip take, between an embedding and a head.
module {
  func.func @step(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %logit_rows: tensor<?xi32> {bitnet.input = "logit_rows"}) -> tensor<?x100xf32> {
    %t = bitnet.weight ["token_embd.weight"] : tensor<100x256xf16>
    %x = bitnet.embedding %tokens, %t : (tensor<?xi32>, tensor<100x256xf16>) -> tensor<?x256xf32>
    %n = bitnet.weight ["blk.0.ffn_norm.weight"] : tensor<256xf32>
    %y = bitnet.rms_norm %x, %n {eps = 1.0e-5 : f32} : (tensor<?x256xf32>, tensor<256xf32>) -> tensor<?x256xf32>
    %q, %s = bitnet.quantize_activation %y : (tensor<?x256xf32>) -> (tensor<?x256xi8>, tensor<?xf32>)
    %wg = bitnet.weight ["blk.0.ffn_gate.weight"] : !bitnet.ternary<272 x 256>
    %gate = bitnet.ternary_linear %q, %s, %wg : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<272 x 256>) -> tensor<?x272xf32>
    %wu = bitnet.weight ["blk.0.ffn_up.weight"] : !bitnet.ternary<272 x 256>
    %up = bitnet.ternary_linear %q, %s, %wu : (tensor<?x256xi8>, tensor<?xf32>, !bitnet.ternary<272 x 256>) -> tensor<?x272xf32>
    %h = bitnet.gated_activation %gate, %up {act = "relu2"} : (tensor<?x272xf32>, tensor<?x272xf32>) -> tensor<?x272xf32>
    %sn = bitnet.weight ["blk.0.ffn_sub_norm.weight"] : tensor<272xf32>
    %z = bitnet.rms_norm %h, %sn {eps = 1.0e-5 : f32} : (tensor<?x272xf32>, tensor<272xf32>) -> tensor<?x272xf32>
    %q1, %s1 = bitnet.quantize_activation %z : (tensor<?x272xf32>) -> (tensor<?x272xi8>, tensor<?xf32>)
    %wd = bitnet.weight ["blk.0.ffn_down.weight"] : !bitnet.ternary<256 x 272>
    %d = bitnet.ternary_linear %q1, %s1, %wd : (tensor<?x272xi8>, tensor<?xf32>, !bitnet.ternary<256 x 272>) -> tensor<?x256xf32>
    %r = bitnet.add %x, %d : (tensor<?x256xf32>, tensor<?x256xf32>) -> tensor<?x256xf32>
    %l = bitnet.gather_rows %r, %logit_rows : (tensor<?x256xf32>, tensor<?xi32>) -> tensor<?x256xf32>
    %o = bitnet.linear %l, %t : (tensor<?x256xf32>, tensor<100x256xf16>) -> tensor<?x100xf32>
    return %o : tensor<?x100xf32>
  }
}
