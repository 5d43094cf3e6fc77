// What BuildGraph makes of a 2-layer model with sub-norms, relu2 and a tied head (test/compiler/import/build_graph_test.cpp).
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
    %14 = bitnet.weight ["blk.0.attn_sub_norm.weight"] : tensor<64xf32>
    %15 = bitnet.rms_norm %13, %14 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_0, %s_1 = bitnet.quantize_activation %15 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %16 = bitnet.weight ["blk.0.attn_output.weight"] : !bitnet.ternary<64 x 64>
    %17 = bitnet.ternary_linear %q_0, %s_1, %16 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %18 = bitnet.add %1, %17 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %19 = bitnet.weight ["blk.0.ffn_norm.weight"] : tensor<64xf32>
    %20 = bitnet.rms_norm %18, %19 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_2, %s_3 = bitnet.quantize_activation %20 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %21 = bitnet.weight ["blk.0.ffn_gate.weight"] : !bitnet.ternary<112 x 64>
    %22 = bitnet.ternary_linear %q_2, %s_3, %21 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %23 = bitnet.weight ["blk.0.ffn_up.weight"] : !bitnet.ternary<112 x 64>
    %24 = bitnet.ternary_linear %q_2, %s_3, %23 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %25 = bitnet.gated_activation %22, %24 {act = "relu2"} : (tensor<?x112xf32>, tensor<?x112xf32>) -> tensor<?x112xf32>
    %26 = bitnet.weight ["blk.0.ffn_sub_norm.weight"] : tensor<112xf32>
    %27 = bitnet.rms_norm %25, %26 {eps = 9.99999974E-6 : f32} : (tensor<?x112xf32>, tensor<112xf32>) -> tensor<?x112xf32>
    %q_4, %s_5 = bitnet.quantize_activation %27 : (tensor<?x112xf32>) -> (tensor<?x112xi8>, tensor<?xf32>)
    %28 = bitnet.weight ["blk.0.ffn_down.weight"] : !bitnet.ternary<64 x 112>
    %29 = bitnet.ternary_linear %q_4, %s_5, %28 : (tensor<?x112xi8>, tensor<?xf32>, !bitnet.ternary<64 x 112>) -> tensor<?x64xf32>
    %30 = bitnet.add %18, %29 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %31 = bitnet.weight ["blk.1.attn_norm.weight"] : tensor<64xf32>
    %32 = bitnet.rms_norm %30, %31 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_6, %s_7 = bitnet.quantize_activation %32 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %33 = bitnet.weight ["blk.1.attn_q.weight"] : !bitnet.ternary<64 x 64>
    %34 = bitnet.ternary_linear %q_6, %s_7, %33 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %35 = bitnet.weight ["blk.1.attn_k.weight"] : !bitnet.ternary<32 x 64>
    %36 = bitnet.ternary_linear %q_6, %s_7, %35 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %37 = bitnet.weight ["blk.1.attn_v.weight"] : !bitnet.ternary<32 x 64>
    %38 = bitnet.ternary_linear %q_6, %s_7, %37 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<32 x 64>) -> tensor<?x32xf32>
    %39 = bitnet.rope %34, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    %40 = bitnet.rope %36, %positions {context_length = 128 : i32, head_dim = 16 : i32, theta = 1.000000e+04 : f32} : (tensor<?x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
    %41 = bitnet.kv_append %40, %38, %slots, %cache1 : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
    %42 = bitnet.attention %39, %41, %positions, %sequences, %block_table : (tensor<?x64xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x64xf32>
    %43 = bitnet.weight ["blk.1.attn_sub_norm.weight"] : tensor<64xf32>
    %44 = bitnet.rms_norm %42, %43 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_8, %s_9 = bitnet.quantize_activation %44 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %45 = bitnet.weight ["blk.1.attn_output.weight"] : !bitnet.ternary<64 x 64>
    %46 = bitnet.ternary_linear %q_8, %s_9, %45 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
    %47 = bitnet.add %30, %46 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %48 = bitnet.weight ["blk.1.ffn_norm.weight"] : tensor<64xf32>
    %49 = bitnet.rms_norm %47, %48 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %q_10, %s_11 = bitnet.quantize_activation %49 : (tensor<?x64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
    %50 = bitnet.weight ["blk.1.ffn_gate.weight"] : !bitnet.ternary<112 x 64>
    %51 = bitnet.ternary_linear %q_10, %s_11, %50 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %52 = bitnet.weight ["blk.1.ffn_up.weight"] : !bitnet.ternary<112 x 64>
    %53 = bitnet.ternary_linear %q_10, %s_11, %52 : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<112 x 64>) -> tensor<?x112xf32>
    %54 = bitnet.gated_activation %51, %53 {act = "relu2"} : (tensor<?x112xf32>, tensor<?x112xf32>) -> tensor<?x112xf32>
    %55 = bitnet.weight ["blk.1.ffn_sub_norm.weight"] : tensor<112xf32>
    %56 = bitnet.rms_norm %54, %55 {eps = 9.99999974E-6 : f32} : (tensor<?x112xf32>, tensor<112xf32>) -> tensor<?x112xf32>
    %q_12, %s_13 = bitnet.quantize_activation %56 : (tensor<?x112xf32>) -> (tensor<?x112xi8>, tensor<?xf32>)
    %57 = bitnet.weight ["blk.1.ffn_down.weight"] : !bitnet.ternary<64 x 112>
    %58 = bitnet.ternary_linear %q_12, %s_13, %57 : (tensor<?x112xi8>, tensor<?xf32>, !bitnet.ternary<64 x 112>) -> tensor<?x64xf32>
    %59 = bitnet.add %47, %58 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %60 = bitnet.gather_rows %59, %logit_rows : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
    %61 = bitnet.weight ["output_norm.weight"] : tensor<64xf32>
    %62 = bitnet.rms_norm %60, %61 {eps = 9.99999974E-6 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    %63 = bitnet.linear %62, %0 : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
    return %63, %12, %41 : tensor<?x100xf32>, !bitnet.kv_cache<2 x 16>, !bitnet.kv_cache<2 x 16>
  }
}
