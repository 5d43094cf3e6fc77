// RUN: bitnet-opt %s --bitnet-select-kernels --split-input-file --verify-diagnostics | FileCheck %s
// RUN: sed '/^\/\/ -----/,$d' %s | bitnet-opt --bitnet-select-kernels=packing=t3 | FileCheck %s --check-prefix=BASE3
// RUN: sed '/^\/\/ -----/,$d' %s | bitnet-opt --bitnet-select-kernels=packing=t5 | FileCheck %s --check-prefix=FIVE
// RUN: not bitnet-opt /dev/null --bitnet-select-kernels=packing=t4 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: packing: expected auto, t2, t3 or t5, got 't4'

// CHECK-LABEL: func @linears_have_a_tile_for_each_few_rows
// CHECK: bitnet.weight ["w"] {bitnet.packing = "t2"}
// CHECK: bitnet.ternary_linear {{.*}} {bitnet.choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>, bitnet.kernel = "linear_t2"}
func.func @linears_have_a_tile_for_each_few_rows(%q: tensor<?x64xi8>, %s: tensor<?xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}

// BASE3-LABEL: func @linears_have_a_tile_for_each_few_rows
// BASE3: bitnet.weight ["w"] {bitnet.packing = "t3"}
// BASE3: bitnet.kernel = "linear_t3"
// FIVE-LABEL: func @linears_have_a_tile_for_each_few_rows
// FIVE: bitnet.weight ["w"] {bitnet.packing = "t5"}
// FIVE: bitnet.kernel = "linear_t5"

// BASE3-LABEL: func @scales_of_groups_are_always_t2
// BASE3: bitnet.weight ["w"] {bitnet.packing = "t2"}
// BASE3: bitnet.kernel = "linear_t2"
// FIVE-LABEL: func @scales_of_groups_are_always_t2
// FIVE: bitnet.weight ["w"] {bitnet.packing = "t2"}
// FIVE: bitnet.kernel = "linear_t2"
func.func @scales_of_groups_are_always_t2(%q: tensor<?x64xi8>, %s: tensor<?xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64, group 16>
  %a = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64, group 16>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}

// CHECK-LABEL: func @other_kernels_take_any_rows
// CHECK: bitnet.weight ["gain"] {bitnet.packing = "f32"}
// CHECK: bitnet.norm_quantize {{.*}} {bitnet.choices = array<i32: 0, 0>, bitnet.kernel = "norm_quant"
func.func @other_kernels_take_any_rows(%x: tensor<?x64xf32>) -> tensor<?x64xi8> {
  %gain = bitnet.weight ["gain"] : tensor<64xf32>
  %q, %s = bitnet.norm_quantize %x, %gain {eps = 0.0 : f32} : (tensor<?x64xf32>, tensor<64xf32>) -> (tensor<?x64xi8>, tensor<?xf32>)
  return %q : tensor<?x64xi8>
}

// CHECK-LABEL: func @a_gate_is_an_epilogue
// CHECK: bitnet.gated_linear {{.*}} bitnet.kernel = "linear_t2"}
func.func @a_gate_is_an_epilogue(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %gate: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64>
  %h = bitnet.gated_linear %q, %s, %w, %gate {act = "silu"}
     : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %h : tensor<?x64xf32>
}

// CHECK-LABEL: func @screened_head
// CHECK: bitnet.kernel = "linear_f16", bitnet.screen_choices = array<i32: 1, 1, 2, 2, 4, 4, 8, 8, 0, 0>
func.func @screened_head(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %f = bitnet.weight ["f"] : tensor<96x64xf16>
  %y = bitnet.linear %x, %f {screened} : (tensor<?x64xf32>, tensor<96x64xf16>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// CHECK-LABEL: func @heads
// CHECK: bitnet.weight ["f"] {bitnet.packing = "f16"}
// CHECK: bitnet.weight ["i"] {bitnet.packing = "s8"}
// CHECK: bitnet.kernel = "linear_f16"
// CHECK: bitnet.kernel = "linear_s8"
func.func @heads(%x: tensor<?x64xf32>, %q: tensor<?x64xi8>, %s: tensor<?xf32>) -> (tensor<?x100xf32>, tensor<?x100xf32>) {
  %f = bitnet.weight ["f"] : tensor<100x64xf16>
  %i = bitnet.weight ["i"] : !bitnet.int8<100 x 64>
  %a = bitnet.linear %x, %f : (tensor<?x64xf32>, tensor<100x64xf16>) -> tensor<?x100xf32>
  %b = bitnet.int8_linear %q, %s, %i : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.int8<100 x 64>) -> tensor<?x100xf32>
  return %a, %b : tensor<?x100xf32>, tensor<?x100xf32>
}

// -----

func.func @sizes_that_no_kernel_takes(%x: tensor<?x72xf32>) -> tensor<?x72xf32> {
  // expected-error @+1 {{'bitnet.add' op no kernel 'add' of these sizes: k must be a multiple of 16 in [16, 2^20]}}
  %y = bitnet.add %x, %x : (tensor<?x72xf32>, tensor<?x72xf32>) -> tensor<?x72xf32>
  return %y : tensor<?x72xf32>
}

// -----

func.func @residual_beside_padding(%q: tensor<?x64xi8>, %s: tensor<?xf32>, %x: tensor<?x20xf32>) -> tensor<?x20xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<20 x 64>
  // expected-error @+1 {{'bitnet.ternary_linear' op no kernel 'linear_t2' of these sizes: a linear with a residual or gate must have a multiple of 16 rows}}
  %y = bitnet.ternary_linear %q, %s, %w, %x : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<20 x 64>, tensor<?x20xf32>) -> tensor<?x20xf32>
  return %y : tensor<?x20xf32>
}

// -----

func.func @groups_that_cut_a_line_of_weights(%q: tensor<?x64xi8>, %s: tensor<?xf32>) -> tensor<?x64xf32> {
  %w = bitnet.weight ["w"] : !bitnet.ternary<64 x 64, group 8>
  // expected-error @+1 {{'bitnet.ternary_linear' op no kernel 'linear_t2' of these sizes: group must be a multiple of 16 that divides k}}
  %y = bitnet.ternary_linear %q, %s, %w : (tensor<?x64xi8>, tensor<?xf32>, !bitnet.ternary<64 x 64, group 8>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

func.func @head_too_wide_for_a_screen(%x: tensor<?x8208xf32>) -> tensor<?x96xf32> {
  %f = bitnet.weight ["f"] : tensor<96x8208xf16>
  // expected-error @+1 {{no screen of these sizes: k is too large for the bound of a screen}}
  %y = bitnet.linear %x, %f {screened} : (tensor<?x8208xf32>, tensor<96x8208xf16>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}
