// RUN: bitnet-opt %S/../interpreter/Inputs/bitnet.mlir --bitnet-pipeline="max-rows=16" | FileCheck %s
// RUN: bitnet-opt %S/../interpreter/Inputs/bitnet.mlir --bitnet-pipeline="fuse=false" | FileCheck %s --check-prefix=UNFUSED
// RUN: bitnet-opt %S/../interpreter/Inputs/bitnet.mlir --bitnet-pipeline="head=q8" | FileCheck %s --check-prefix=Q8
// RUN: bitnet-opt %S/../interpreter/Inputs/bitnet.mlir --bitnet-pipeline="kv=q8" | FileCheck %s --check-prefix=KV-Q8
// RUN: not bitnet-opt %s --bitnet-pipeline="kv=q5" 2>&1 | FileCheck %s --check-prefix=BAD-KV
// RUN: not bitnet-opt %s --bitnet-pipeline="head=q5" 2>&1 | FileCheck %s --check-prefix=BAD-HEAD
// RUN: not bitnet-opt %s --bitnet-pipeline="rows=5" 2>&1 | FileCheck %s --check-prefix=BAD-OPTION
// BAD-KV: error: kv: expected f16 or q8, got q5
// BAD-HEAD: error: head: expected exact, f16 or q8, got q5
// BAD-OPTION: no such option rows

// The calls of a layer, and the labels that people see.
// CHECK: func.func @step() -> !kernel.slice<L x 100 x f32>
// CHECK-SAME: kernel.max_rows = 16
// CHECK: kernel.call "embed" {{.*}}label = "token_embd"
// CHECK-NEXT: kernel.constant
// CHECK: kernel.call "norm_quant" {{.*}}label = "blk.0.attn_norm"
// CHECK: kernel.call "linear_t2" {{.*}}label = "blk.0.attn_qkv"
// CHECK: kernel.call "rope" {{.*}}heads = 6 : i32, label = "blk.0.rope"
// CHECK: kernel.call "kv_append" {{.*}}label = "blk.0.kv_append"
// CHECK: kernel.call "attention_chunk" {choices = array<i32: 8, 0, 0, -1>, {{.*}}label = "blk.0.attention.chunks"
// CHECK: kernel.call "attention_merge" {choices = array<i32: 8, 0, 0, -1>, {{.*}}label = "blk.0.attention.merge"
// CHECK: kernel.call "attention" {choices = array<i32: 8, -1, 0, 0>, {{.*}}label = "blk.0.attention"
// CHECK: kernel.call "norm_quant" {{.*}}label = "blk.0.attn_sub_norm"
// CHECK: kernel.call "linear_t2" {{.*}}epilogue = "residual"{{.*}}label = "blk.0.attn_output"
// CHECK: kernel.call "norm_quant" {{.*}}label = "blk.0.ffn_norm"
// CHECK: kernel.call "linear_t2" {choices{{.*}}label = "blk.0.ffn_gate"
// CHECK: kernel.call "linear_t2" {act = "relu2", {{.*}}epilogue = "gate"{{.*}}label = "blk.0.ffn_up"
// CHECK: kernel.call "norm_quant" {{.*}}label = "blk.0.ffn_sub_norm"
// CHECK: kernel.call "linear_t2" {{.*}}epilogue = "residual"{{.*}}label = "blk.0.ffn_down"
// CHECK: kernel.call "norm_quant" {{.*}}label = "blk.1.attn_norm"
// CHECK: kernel.call "gather_rows"
// CHECK: kernel.call "rms_norm" {{.*}}label = "output_norm"
// CHECK: kernel.call "linear_f16" {{.*}}label = "token_embd"

// UNFUSED-NOT: _quant"
// UNFUSED: kernel.call "add"
// UNFUSED: kernel.call "gate"

// Q8: kernel.call "norm_quant" {{.*}}label = "output_norm"
// Q8: kernel.call "linear_s8" {{.*}}label = "token_embd"
// Q8-NOT: kernel.call

// KV-Q8: kernel.call "kv_append_q8" {{.*}} outs(%[[K:.*]], %[[KS:.*]], %[[V:.*]], %[[VS:.*]] : !kernel.cache<k_q8, 2 x 16>, !kernel.cache<k_scale, 2 x 16>, !kernel.cache<v_q8, 2 x 16>, !kernel.cache<v_scale, 2 x 16>)
// KV-Q8: kernel.call "attention_chunk_q8" {{.*}} ins(%{{.*}}, %[[K]], %[[KS]], %[[V]], %[[VS]], {{.*}}) outs(%[[PARTS:.*]] : !kernel.cache<parts, 4 x 16>)
// KV-Q8: kernel.call "attention_merge" {{.*}} ins(%[[PARTS]], {{.*}}) outs(%[[O:.*]] :
// KV-Q8: kernel.call "attention_q8" {{.*}} outs(%[[O]] :
