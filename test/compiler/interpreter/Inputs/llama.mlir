// What BuildGraph makes of a 2-layer model without sub-norms, with silu and a head of its own.
module {
  func.func @step(%tokens: tensor<?xi32> {bitnet.input = "tokens"}, %positions: tensor<?xi32> {bitnet.input = "positions"}, %sequences: tensor<?xi32> {bitnet.input = "sequences"}, %slots: tensor<?xi32> {bitnet.input = "slots"}, %block_table: tensor<?x?xi32> {bitnet.input = "block_table"}, %logit_rows: tensor<?xi32> {bitnet.input = "logit_rows"}, %cache0: !bitnet.kv_cache<2 x 16>, %cache1: !bitnet.kv_cache<2 x 16>) -> (tensor<?x100xf32>, !bitnet.kv_cache<2 x 16>, !bitnet.kv_cache<2 x 16>) {
    %0 = bitnet.weight ["token_embd.weight"] : tensor<100x64xf16>
    %1 = bitnet.embedding %tokens, %0 : (tensor<?xi32>, tensor<100x64xf16>) -> tensor<?x64xf32>
    %2 = bitnet.weight ["blk.0.attn_norm.weight"] : tensor<64xf32>
    %3 = bitnet.rms_norm %1, %2 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q, %s = bitnet.quantize_activation %3 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %4 = bitnet.weight ["blk.0.attn_q.weight"] : !bitnet.ternary<64 x 64>
    %5 = bitnet.ternary_linear %q, %s, %4 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %6 = bitnet.weight ["blk.0.attn_k.weight"] : !bitnet.ternary<32 x 64>
    %7 = bitnet.ternary_linear %q, %s, %6 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %8 = bitnet.weight ["blk.0.attn_v.weight"] : !bitnet.ternary<32 x 64>
    %9 = bitnet.ternary_linear %q, %s, %8 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %10 = bitnet.rope %5, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    %11 = bitnet.rope %7, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
    %12 = bitnet.kv_append %11, %9, %slots, %cache0 : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
    %13 = bitnet.attention %10, %12, %positions, %sequences, %block_table : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
    %q_0, %s_1 = bitnet.quantize_activation %13 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %14 = bitnet.weight ["blk.0.attn_output.weight"] : !bitnet.ternary<64 x 64>
    %15 = bitnet.ternary_linear %q_0, %s_1, %14 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %16 = bitnet.add %1, %15 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %17 = bitnet.weight ["blk.0.ffn_norm.weight"] : tensor<64xf32>
    %18 = bitnet.rms_norm %16, %17 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_2, %s_3 = bitnet.quantize_activation %18 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %19 = bitnet.weight ["blk.0.ffn_gate.weight"] : !bitnet.ternary<112 x 64>
    %20 = bitnet.ternary_linear %q_2, %s_3, %19 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %21 = bitnet.weight ["blk.0.ffn_up.weight"] : !bitnet.ternary<112 x 64>
    %22 = bitnet.ternary_linear %q_2, %s_3, %21 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %23 = bitnet.gated_activation %20, %22 {act = "silu"} : (tensor<?x112xf32>, tensor<?x112xf32>) -> tensor<?x112xf32>
    %q_4, %s_5 = bitnet.quantize_activation %23 : (tensor<?x112xf32>) -> (tensor<?x112xi8>, tensor<?xf32>)
    %24 = bitnet.weight ["blk.0.ffn_down.weight"] : !bitnet.ternary<64 x 112>
    %25 = bitnet.ternary_linear %q_4, %s_5, %24 : (tensor<?x112xi8>, tensor<?xf32>, !bitnet.ternary<64 x 112>) -> tensor<?x64xf32>
    %26 = bitnet.add %16, %25 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %27 = bitnet.weight ["blk.1.attn_norm.weight"] : tensor<64xf32>
    %28 = bitnet.rms_norm %26, %27 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_6, %s_7 = bitnet.quantize_activation %28 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %29 = bitnet.weight ["blk.1.attn_q.weight"] : !bitnet.ternary<64 x 64>
    %30 = bitnet.ternary_linear %q_6, %s_7, %29 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %31 = bitnet.weight ["blk.1.attn_k.weight"] : !bitnet.ternary<32 x 64>
    %32 = bitnet.ternary_linear %q_6, %s_7, %31 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %33 = bitnet.weight ["blk.1.attn_v.weight"] : !bitnet.ternary<32 x 64>
    %34 = bitnet.ternary_linear %q_6, %s_7, %33 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %35 = bitnet.rope %30, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    %36 = bitnet.rope %32, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
    %37 = bitnet.kv_append %36, %34, %slots, %cache1 : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
    %38 = bitnet.attention %35, %37, %positions, %sequences, %block_table : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
    %q_8, %s_9 = bitnet.quantize_activation %38 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %39 = bitnet.weight ["blk.1.attn_output.weight"] : !bitnet.ternary<64 x 64>
    %40 = bitnet.ternary_linear %q_8, %s_9, %39 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %41 = bitnet.add %26, %40 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %42 = bitnet.weight ["blk.1.ffn_norm.weight"] : tensor<64xf32>
    %43 = bitnet.rms_norm %41, %42 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_10, %s_11 = bitnet.quantize_activation %43 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %44 = bitnet.weight ["blk.1.ffn_gate.weight"] : !bitnet.ternary<112 x 64>
    %45 = bitnet.ternary_linear %q_10, %s_11, %44 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %46 = bitnet.weight ["blk.1.ffn_up.weight"] : !bitnet.ternary<112 x 64>
    %47 = bitnet.ternary_linear %q_10, %s_11, %46 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %48 = bitnet.gated_activation %45, %47 {act = "silu"} : (tensor<?x112xf32>, tensor<?x112xf32>) -> tensor<?x112xf32>
    %q_12, %s_13 = bitnet.quantize_activation %48 : (tensor<?x112xf32>) -> (tensor<?x112xi8>, tensor<?xf32>)
    %49 = bitnet.weight ["blk.1.ffn_down.weight"] : !bitnet.ternary<64 x 112>
    %50 = bitnet.ternary_linear %q_12, %s_13, %49 : (tensor<?x112xi8>, tensor<?xf32>, !bitnet.ternary<64 x 112>) -> tensor<?x64xf32>
    %51 = bitnet.add %41, %50 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %52 = bitnet.gather_rows %51, %logit_rows : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    %53 = bitnet.weight ["output_norm.weight"] : tensor<64xf32>
    %54 = bitnet.rms_norm %52, %53 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %55 = bitnet.weight ["output.weight"] : tensor<100x64xf16>
    %56 = bitnet.linear %54, %55 : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
    return %56, %12, %37 : tensor<?x100xf32>, !bitnet.kv_cache<2 x 16>, !bitnet.kv_cache<2 x 16>
  }
}
