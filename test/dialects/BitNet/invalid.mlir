// RUN: bitnet-opt %s --split-input-file --verify-diagnostics
// The number in a function's name is that of the op's constraint.

func.func @weight_c1_no_name() {
  // expected-error @+1 {{'bitnet.weight' op names: expected at least one, got none}}
  %w = bitnet.weight [] : tensor<64xf32>
  return
}

// -----

func.func @weight_c1_empty_name() {
  // expected-error @+1 {{'bitnet.weight' op names: expected tensor names, got an empty one}}
  %w = bitnet.weight [""] : tensor<64xf32>
  return
}

// -----

func.func @weight_c2() {
  // expected-error @+1 {{'bitnet.weight' op names: expected one name for 'tensor<96x64xf16>', got 2}}
  %w = bitnet.weight ["a", "b"] : tensor<96x64xf16>
  return
}

// -----

func.func @weight_c3_missing() {
  // expected-error @+1 {{'bitnet.weight' op rows: expected the rows of each of 2 names, got none}}
  %w = bitnet.weight ["a", "b"] : !bitnet.ternary<96 x 64>
  return
}

// -----

func.func @weight_c3_count() {
  // expected-error @+1 {{'bitnet.weight' op entries of rows: expected 2, got 1}}
  %w = bitnet.weight ["a", "b"] {rows = array<i32: 96>} : !bitnet.ternary<96 x 64>
  return
}

// -----

func.func @weight_c3_sum() {
  // expected-error @+1 {{'bitnet.weight' op sum of rows: expected 96, got 95}}
  %w = bitnet.weight ["a", "b"] {rows = array<i32: 64, 31>} : !bitnet.ternary<96 x 64>
  return
}

// -----

func.func @weight_c3_sign() {
  // expected-error @+1 {{'bitnet.weight' op rows: expected positive numbers, got -4}}
  %w = bitnet.weight ["a", "b"] {rows = array<i32: 100, -4>} : !bitnet.ternary<96 x 64>
  return
}

// -----

func.func @weight_c3_dense() {
  // expected-error @+1 {{'bitnet.weight' op rows: expected only with a ternary matrix, got 'tensor<64xf32>'}}
  %w = bitnet.weight ["a"] {rows = array<i32: 1>} : tensor<64xf32>
  return
}

// -----

// expected-error @+1 {{expected positive 32-bit sizes, got 0 x 64}}
func.func private @ternary_type_sizes(!bitnet.ternary<0 x 64>)

// -----

// expected-error @+1 {{group: expected a divisor of 64, got 48}}
func.func private @ternary_type_group(!bitnet.ternary<16 x 64, group 48>)

// -----

// expected-error @+1 {{group: expected a divisor of 64, got -16}}
func.func private @ternary_type_negative_group(!bitnet.ternary<16 x 64, group -16>)

// -----

// expected-error @+1 {{group: expected a divisor of 64, got 0}}
func.func private @ternary_type_no_group(!bitnet.ternary<16 x 64, group 0>)

// -----

// expected-error @+1 {{expected 'group'}}
func.func private @ternary_type_word(!bitnet.ternary<16 x 64, scale 16>)

// -----

// expected-error @+1 {{expected positive 32-bit sizes, got 2 x 4294967296}}
func.func private @kv_cache_type_sizes(!bitnet.kv_cache<2 x 4294967296>)

// -----

func.func @embedding_c1(%tokens: tensor<?xi32>, %table: tensor<96x64xf16>) {
  // expected-error @+1 {{'bitnet.embedding' op width of the result: expected 64, got 32}}
  %y = bitnet.embedding %tokens, %table : (tensor<?xi32>, tensor<96x64xf16>) -> tensor<?x32xf32>
  return
}

// -----

func.func @embedding_table_type(%tokens: tensor<?xi32>, %table: tensor<96x64xf32>) {
  // expected-error @+1 {{'bitnet.embedding' op operand #1 must be an f16 matrix, tensor<NxKxf16>, but got 'tensor<96x64xf32>'}}
  %y = bitnet.embedding %tokens, %table : (tensor<?xi32>, tensor<96x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rms_norm_c1(%x: tensor<?x64xf32>, %gain: tensor<48xf32>) {
  // expected-error @+1 {{'bitnet.rms_norm' op elements of gain: expected a divisor of 64, got 48}}
  %y = bitnet.rms_norm %x, %gain {eps = 0.0 : f32} : (tensor<?x64xf32>, tensor<48xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rms_norm_static_rows(%x: tensor<4x64xf32>, %gain: tensor<64xf32>) {
  // expected-error @+1 {{'bitnet.rms_norm' op operand #0 must be f32 rows, tensor<?xWIDTHxf32>, but got 'tensor<4x64xf32>'}}
  %y = bitnet.rms_norm %x, %gain {eps = 0.0 : f32} : (tensor<4x64xf32>, tensor<64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rms_norm_eps(%x: tensor<?x64xf32>, %gain: tensor<64xf32>) {
  // expected-error @+1 {{attribute 'eps' failed to satisfy constraint: 32-bit float attribute in [0, 1]}}
  %y = bitnet.rms_norm %x, %gain {eps = -1.0 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @quantize_activation_c1(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.quantize_activation' op width of q: expected 64, got 32}}
  %q, %s = bitnet.quantize_activation %x : (tensor<?x64xf32>) -> (tensor<?x32xi8>, tensor<?xf32>)
  return
}

// -----

func.func @norm_quantize_c1(%x: tensor<?x64xf32>, %gain: tensor<32xf32>) {
  // expected-error @+1 {{'bitnet.norm_quantize' op elements of gain: expected 64, got 32}}
  %q, %s = bitnet.norm_quantize %x, %gain {eps = 0.0 : f32} : (tensor<?x64xf32>, tensor<32xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return
}

// -----

func.func @norm_quantize_c2(%x: tensor<?x64xf32>, %gain: tensor<64xf32>) {
  // expected-error @+1 {{'bitnet.norm_quantize' op width of q: expected 64, got 32}}
  %q, %s = bitnet.norm_quantize %x, %gain {eps = 0.0 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x32xi8>, tensor<?xf32>)
  return
}

// -----

func.func @ternary_linear_c1(%q: tensor<?x32xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<96 x 64>) {
  // expected-error @+1 {{'bitnet.ternary_linear' op width of the input: expected 64, got 32}}
  %y = bitnet.ternary_linear %q, %s, %w : (tensor<?x32xi8>, tensor<?xf32>, !bitnet.ternary<96 x 64>) -> tensor<?x96xf32>
  return
}

// -----

func.func @ternary_linear_c2(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<96 x 64>) {
  // expected-error @+1 {{'bitnet.ternary_linear' op width of the result: expected 96, got 64}}
  %y = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<96 x 64>) -> tensor<?x64xf32>
  return
}

// -----

func.func @ternary_linear_c3(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<96 x 64>, %x: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.ternary_linear' op residual: expected 'tensor<?x96xf32>', got 'tensor<?x64xf32>'}}
  %y = bitnet.ternary_linear %q, %s, %w, %x
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<96 x 64>, tensor<?x64xf32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<?x32xf32>, %w: tensor<96x64xf16>) {
  // expected-error @+1 {{'bitnet.linear' op width of the input: expected 64, got 32}}
  %y = bitnet.linear %x, %w : (tensor<?x32xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<?x64xf32>, %w: tensor<96x64xf16>) {
  // expected-error @+1 {{'bitnet.linear' op width of the result: expected 96, got 95}}
  %y = bitnet.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x95xf32>
  return
}

// -----

func.func @int8_linear_c1(%q: tensor<?x32xi8>, %s: tensor<?xf32>, %w: !bitnet.int8<96 x 64>) {
  // expected-error @+1 {{'bitnet.int8_linear' op width of the input: expected 64, got 32}}
  %y = bitnet.int8_linear %q, %s, %w : (tensor<?x32xi8>, tensor<?xf32>, !bitnet.int8<96 x 64>) -> tensor<?x96xf32>
  return
}

// -----

func.func @int8_linear_c2(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %w: !bitnet.int8<96 x 64>) {
  // expected-error @+1 {{'bitnet.int8_linear' op width of the result: expected 96, got 64}}
  %y = bitnet.int8_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.int8<96 x 64>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c1_divides(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op head_dim: expected a multiple of 4 that divides 64, got 24}}
  %y = bitnet.rope %x, %p {context_length = 8 : i32, head_dim = 24 : i32, theta = 1.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c1_multiple_of_4(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op head_dim: expected a multiple of 4 that divides 64, got 2}}
  %y = bitnet.rope %x, %p {context_length = 8 : i32, head_dim = 2 : i32, theta = 1.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c3_frequencies(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op elements of frequencies: expected 8, got 2}}
  %y = bitnet.rope %x, %p {context_length = 8 : i32, frequencies = array<f64: 1.0, 0.5>, head_dim = 16 : i32, theta = 1.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c3_magnitude(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op magnitude: expected only with frequencies}}
  %y = bitnet.rope %x, %p {context_length = 8 : i32, head_dim = 16 : i32, magnitude = 1.5 : f32, theta = 1.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c2_theta(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op theta: expected a positive number, got 0.000000e+00}}
  %y = bitnet.rope %x, %p {context_length = 8 : i32, head_dim = 16 : i32, theta = 0.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @rope_c2_context(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error @+1 {{'bitnet.rope' op context_length: expected a positive number, got 0}}
  %y = bitnet.rope %x, %p {context_length = 0 : i32, head_dim = 16 : i32, theta = 1.0 : f32} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @kv_append_c1(%k: tensor<?x32xf32>, %v: tensor<?x16xf32>, %slots: tensor<?xi32>, %c: !bitnet.kv_cache<2 x 16>) {
  // expected-error @+1 {{'bitnet.kv_append' op width of v: expected 32, got 16}}
  %u = bitnet.kv_append %k, %v, %slots, %c
     : (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  return
}

// -----

func.func @kv_append_c2(%k: tensor<?x32xf32>, %slots: tensor<?xi32>, %c: !bitnet.kv_cache<2 x 16>) {
  // expected-error @+1 {{'bitnet.kv_append' op cache: expected a value that no other kv_append uses}}
  %a = bitnet.kv_append %k, %k, %slots, %c
     : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  %b = bitnet.kv_append %k, %k, %slots, %c
     : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?xi32>, !bitnet.kv_cache<2 x 16>) -> !bitnet.kv_cache<2 x 16>
  return
}

// -----

func.func @attention_c1(%q: tensor<?x48xf32>, %c: !bitnet.kv_cache<2 x 16>, %p: tensor<?xi32>, %b: tensor<?x?xi32>) {
  // expected-error @+1 {{'bitnet.attention' op width of q: expected a multiple of 32, got 48}}
  %o = bitnet.attention %q, %c, %p, %p, %b
     : (tensor<?x48xf32>, !bitnet.kv_cache<2 x 16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x48xf32>
  return
}

// -----

func.func @gated_activation_act(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{attribute 'act' failed to satisfy constraint: string attribute an activation: relu2, silu or gelu}}
  %h = bitnet.gated_activation %x, %x {act = "tanh"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @gated_linear_c1(%q: tensor<?x32xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<96 x 64>, %gate: tensor<?x96xf32>) {
  // expected-error @+1 {{'bitnet.gated_linear' op width of the input: expected 64, got 32}}
  %h = bitnet.gated_linear %q, %s, %w, %gate {act = "silu"}
     : (tensor<?x32xi8>, tensor<?xf32>, !bitnet.ternary<96 x 64>, tensor<?x96xf32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @gated_linear_c2(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %w: !bitnet.ternary<96 x 64>, %gate: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.gated_linear' op width of the result: expected 96, got 64}}
  %h = bitnet.gated_linear %q, %s, %w, %gate {act = "silu"}
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<96 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @split_c1(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.split' op sum of the pieces' widths: expected 64, got 48}}
  %p:2 = bitnet.split %x : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>)
  return
}

// -----

// expected-error @+1 {{argument 0: expected bitnet.input = one of "tokens", "positions", "sequences", "slots", "block_table", "logit_rows", got bitnet.input = "token"}}
func.func private @input_name(tensor<?xi32> {bitnet.input = "token"})

// -----

func.func @kernel_name(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.add' op attribute 'bitnet.kernel': expected the name of a kernel, got "sum"}}
  %y = bitnet.add %x, %x {bitnet.kernel = "sum"} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @choices_type(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{'bitnet.add' op attribute 'bitnet.choices': expected array<i32: ...>, got 1 : i32}}
  %y = bitnet.add %x, %x {bitnet.choices = 1 : i32} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @packing_name() {
  // expected-error @+1 {{'bitnet.weight' op attribute 'bitnet.packing': expected the name of a packing, got "q4"}}
  %w = bitnet.weight ["a"] {bitnet.packing = "q4"} : !bitnet.ternary<64 x 64>
  return
}

// -----

func.func @unknown_attribute() {
  // expected-error @+1 {{'bitnet.weight' op attribute 'bitnet.colour' is not known here}}
  %w = bitnet.weight ["a"] {bitnet.colour = "red"} : !bitnet.ternary<64 x 64>
  return
}
