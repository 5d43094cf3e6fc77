// RUN: bitnet-opt %s --split-input-file --verify-diagnostics
// The number in a function's name is that of the op's constraint.

func.func @alloc_c1() {
  // expected-error @+1 {{'kernel.alloc' op offset: expected a multiple of 64, got 32}}
  %a = kernel.alloc {offset = 32 : i64} : !kernel.slice<R x 64 x f32>
  return
}

// -----

func.func @view_c1(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.view' op expected the row space and element type of '!kernel.slice<R x 64 x f32>', got '!kernel.slice<L x 64 x f32>'}}
  %v = kernel.view %a[0] : !kernel.slice<R x 64 x f32> -> !kernel.slice<L x 64 x f32>
  return
}

// -----

func.func @view_c2(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.view' op columns: expected a part of [0, 64), got [48, 80)}}
  %v = kernel.view %a[48] : !kernel.slice<R x 64 x f32> -> !kernel.slice<R x 32 x f32>
  return
}

// -----

func.func @constant_c1_table() {
  // expected-error @+1 {{'kernel.constant' op expected no name and a positive theta for '!kernel.const<rope_sin, 128 x 8>'}}
  %c = kernel.constant ["a"] {theta = 1.0 : f32} : !kernel.const<rope_sin, 128 x 8>
  return
}

// -----

func.func @constant_frequencies() {
  // expected-error @+1 {{'kernel.constant' op elements of frequencies: expected 8, got 1}}
  %c = kernel.constant [] {frequencies = array<f64: 1.0>, theta = 1.0 : f32} : !kernel.const<rope_sin, 128 x 8>
  return
}

// -----

func.func @constant_c1_tensor() {
  // expected-error @+1 {{'kernel.constant' op expected names and no theta for '!kernel.const<f32, 1 x 64>'}}
  %c = kernel.constant [] : !kernel.const<f32, 1 x 64>
  return
}

// -----

func.func @constant_c2() {
  // expected-error @+1 {{'kernel.constant' op names: expected one for '!kernel.const<f16, 96 x 64>', got 2}}
  %c = kernel.constant ["a", "b"] {rows = array<i32: 64, 32>} : !kernel.const<f16, 96 x 64>
  return
}

// -----

func.func @constant_c3_count() {
  // expected-error @+1 {{'kernel.constant' op entries of rows: expected 1, got 0}}
  %c = kernel.constant ["a"] : !kernel.const<t2, 96 x 64>
  return
}

// -----

func.func @constant_c3_sum() {
  // expected-error @+1 {{'kernel.constant' op sum of rows: expected at most 96, got 97}}
  %c = kernel.constant ["a"] {rows = array<i32: 97>} : !kernel.const<t2, 96 x 64>
  return
}

// -----

func.func @constant_c3_sign() {
  // expected-error @+1 {{'kernel.constant' op rows: expected positive numbers, got 0}}
  %c = kernel.constant ["a"] {rows = array<i32: 0>} : !kernel.const<t2, 96 x 64>
  return
}

// -----

func.func @cache_c1() {
  // expected-error @+1 {{'kernel.cache' op layer: expected 0 or more, got -1}}
  %c = kernel.cache -1 : !kernel.cache<k, 2 x 16>
  return
}

// -----

// expected-error @+1 {{element: expected f32, i8 or i32, got 'f64'}}
func.func private @slice_element(!kernel.slice<R x 64 x f64>)

// -----

// expected-error @+1 {{attribute 'kernel.max_rows': expected a positive i32, got 0 : i32}}
func.func private @max_rows() attributes {kernel.max_rows = 0 : i32}

// -----

// expected-error @+1 {{attribute 'kernel.rows' is not known here}}
func.func private @unknown_attribute() attributes {kernel.rows = 0 : i32}

// -----

func.func @call_name(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{attribute 'kernel' failed to satisfy constraint: string attribute the name of a kernel (runtime/format/kernel_ops.h)}}
  kernel.call "sum" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a : !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c1(%a: !kernel.slice<R x 60 x f32>) {
  // expected-error @+1 {{'kernel.call' op sizes of 'add': k must be a multiple of 16 in [16, 2^20]}}
  kernel.call "add" {choices = array<i32: 0, 0>, k = 60 : i32}
    ins(%a, %a : !kernel.slice<R x 60 x f32>, !kernel.slice<R x 60 x f32>) outs(%a : !kernel.slice<R x 60 x f32>)
  return
}

// -----

func.func @call_c1_size_that_is_not_the_kernels(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op sizes of 'add': heads is not used by this op and must be 0}}
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32, heads = 1 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c1_epilogue(%q: !kernel.slice<R x 64 x i8>) {
  // expected-error @+1 {{'kernel.call' op sizes of 'linear_t2': epilogue is not legal here}}
  kernel.call "linear_t2" {choices = array<i32: 0, 0>, n = 64 : i32, k = 64 : i32, epilogue = "sum"}
    ins(%q : !kernel.slice<R x 64 x i8>) outs(%q : !kernel.slice<R x 64 x i8>)
  return
}

// -----

func.func @call_c2(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op arguments of 'add': expected 2 inputs and 1 outputs, got 1 and 1}}
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a : !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c3_width(%a: !kernel.slice<R x 64 x f32>, %b: !kernel.slice<R x 32 x f32>) {
  // expected-error @+1 {{'kernel.call' op argument 'b' of 'add': expected arena f32 [64, rows], got '!kernel.slice<R x 32 x f32>'}}
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %b : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 32 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c3_packing(%x: !kernel.slice<R x 64 x f32>, %w: !kernel.const<t2, 96 x 64>, %y: !kernel.slice<R x 96 x f32>) {
  // expected-error @+1 {{'kernel.call' op argument 'w' of 'linear_f16': expected weights f16 [64, 96], got '!kernel.const<t2, 96 x 64>'}}
  kernel.call "linear_f16" {choices = array<i32: 0, 0>, k = 64 : i32, n = 96 : i32}
    ins(%x, %w : !kernel.slice<R x 64 x f32>, !kernel.const<t2, 96 x 64>) outs(%y : !kernel.slice<R x 96 x f32>)
  return
}

// -----

func.func @call_c3_input(%t: !kernel.input<positions>, %w: !kernel.const<f16, 96 x 64>, %y: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op argument 'tokens' of 'embed': expected input i32 [rows], got '!kernel.input<positions>'}}
  kernel.call "embed" {choices = array<i32: 0, 0>, k = 64 : i32, n = 96 : i32}
    ins(%t, %w : !kernel.input<positions>, !kernel.const<f16, 96 x 64>) outs(%y : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c3_cache(%k: !kernel.slice<R x 32 x f32>, %slots: !kernel.input<slots>, %kc: !kernel.cache<k, 2 x 16>) {
  // expected-error @+1 {{'kernel.call' op argument 'v_cache' of 'kv_append': expected v_cache f16 [16, 64, 2, blocks], got '!kernel.cache<k, 2 x 16>'}}
  kernel.call "kv_append" {choices = array<i32: 0, 0>, head_dim = 16 : i32, kv_heads = 2 : i32}
    ins(%k, %k, %slots : !kernel.slice<R x 32 x f32>, !kernel.slice<R x 32 x f32>, !kernel.input<slots>)
    outs(%kc, %kc : !kernel.cache<k, 2 x 16>, !kernel.cache<k, 2 x 16>)
  return
}

// -----

func.func @call_c4(%a: !kernel.slice<R x 64 x f32>, %y: !kernel.slice<L x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op argument 'a' of 'add': expected rows of space L, got '!kernel.slice<R x 64 x f32>'}}
  kernel.call "add" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%y : !kernel.slice<L x 64 x f32>)
  return
}

// -----

func.func @call_c4_gather(%a: !kernel.slice<R x 64 x f32>, %i: !kernel.input<logit_rows>) {
  // expected-error @+1 {{'kernel.call' op argument 'y' of 'gather_rows': expected rows of space L, got '!kernel.slice<R x 64 x f32>'}}
  kernel.call "gather_rows" {choices = array<i32: 0, 0>, k = 64 : i32}
    ins(%a, %i : !kernel.slice<R x 64 x f32>, !kernel.input<logit_rows>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c5_order(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op choices: expected pairs (most rows, row tile -1, 0, 1, 2, 4 or 8), ascending, the last with 0 rows, got array<i32: 4, 4, 1, 1, 0, 0>}}
  kernel.call "add" {choices = array<i32: 4, 4, 1, 1, 0, 0>, k = 64 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @call_c5_tile(%a: !kernel.slice<R x 64 x f32>) {
  // expected-error @+1 {{'kernel.call' op choices: expected pairs (most rows, row tile -1, 0, 1, 2, 4 or 8), ascending, the last with 0 rows, got array<i32: 0, 3>}}
  kernel.call "add" {choices = array<i32: 0, 3>, k = 64 : i32}
    ins(%a, %a : !kernel.slice<R x 64 x f32>, !kernel.slice<R x 64 x f32>) outs(%a : !kernel.slice<R x 64 x f32>)
  return
}

// -----

func.func @screen_c1() {
  %w = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<screen, 112 x 64>
  // expected-error @+1 {{'kernel.screen' op expected a call of linear_f16 over logit rows before it}}
  kernel.screen %w {choices = array<i32: 0, 0>} : !kernel.const<screen, 112 x 64>
  return
}

// -----

func.func @screen_c2(%x: !kernel.slice<L x 64 x f32>, %y: !kernel.slice<L x 112 x f32>) {
  %f = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<f16, 112 x 64>
  %w = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<screen, 128 x 64>
  kernel.call "linear_f16" {choices = array<i32: 0, 0>, k = 64 : i32, n = 112 : i32}
    ins(%x, %f : !kernel.slice<L x 64 x f32>, !kernel.const<f16, 112 x 64>) outs(%y : !kernel.slice<L x 112 x f32>)
  // expected-error @+1 {{'kernel.screen' op expected a screen of 112 x 64, got '!kernel.const<screen, 128 x 64>'}}
  kernel.screen %w {choices = array<i32: 0, 0>} : !kernel.const<screen, 128 x 64>
  return
}

// -----

func.func @screen_c3(%x: !kernel.slice<L x 64 x f32>, %y: !kernel.slice<L x 112 x f32>) {
  %f = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<f16, 112 x 64>
  %w = kernel.constant ["w"] {rows = array<i32: 100>} : !kernel.const<screen, 112 x 64>
  kernel.call "linear_f16" {choices = array<i32: 0, 0>, k = 64 : i32, n = 112 : i32}
    ins(%x, %f : !kernel.slice<L x 64 x f32>, !kernel.const<f16, 112 x 64>) outs(%y : !kernel.slice<L x 112 x f32>)
  // expected-error @+1 {{'kernel.screen' op choices: expected pairs (most rows, row tile -1, 0, 1, 2, 4 or 8), ascending, the last with 0 rows, got array<i32: 4, 4>}}
  kernel.screen %w {choices = array<i32: 4, 4>} : !kernel.const<screen, 112 x 64>
  return
}
