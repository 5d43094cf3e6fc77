"""The cases: for each family a tiny checkpoint in the forms in which it is published, with its real keys and names.

Seeds are those of the first dozens whose values lie clear of ties, so that a bound on the difference from the reference
is a few units in the last place instead of a whole step of the quantiser (reference.py, tolerance).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tiny_checkpoints import (
    Maker,
    Shape,
    Weights,
    byte_ids,
    byte_tokenizer_keys,
    dequantized,
    latent,
    packed,
    spm_ids,
    spm_tokenizer_keys,
    spread,
    write_byte_tokenizer,
    write_folder,
    write_gguf,
)

TOKENS = [1, 17, 5, 60, 97, 33, 17, 8]  # what is run through each


@dataclass
class Case:
    """A checkpoint on disk, and the same as numbers."""

    path: Path
    config: dict[str, Any]  # as config.json has it, also where the file is a GGUF
    shape: Shape
    weights: Weights
    embeds: bool = False
    ids: Callable[[str], list[int]] = byte_ids  # its tokenizer, of the models that embed
    settings: list[str] = field(default_factory=list)


def keys(model_type: str, architecture: str, shape: Shape, **more: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
        **more,
    }


# ---- microsoft/bitnet-b1.58-2B-4T ----

_2B = Shape()


def _2b_config(mode: str | None) -> dict[str, Any]:
    quantization = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": mode}
    return keys("bitnet", "BitNetForCausalLM", _2B, hidden_act="relu2", rms_norm_eps=1e-5, rope_theta=500000.0,
                tie_word_embeddings=True, attention_bias=False, quantization_config=quantization,
                auto_map={"AutoConfig": "configuration_bitnet.BitNetConfig"})  # fmt: skip


def _2b_weights(seed: int, shape: Shape = _2B) -> Weights:
    return Maker(shape, seed).base(attn_norm="attn_sub_norm", ffn_norm="ffn_sub_norm")


def bitnet_2b_packed(folder: Path, seed: int = 5) -> Case:
    config, weights = _2b_config("offline"), _2b_weights(seed)
    return Case(write_folder(folder, config, packed(weights, inverse=False)), config, _2B, weights)


def bitnet_2b_latent(folder: Path, seed: int = 1) -> Case:
    config, weights = _2b_config("online"), _2b_weights(seed)
    return Case(write_folder(folder, config, latent(weights, np.random.default_rng(seed))), config, _2B, weights)


def bitnet_2b_gguf(folder: Path, seed: int = 1) -> Case:
    shape = Shape(width=128, ffn=256, heads=4, kv_heads=2, head_dim=32)
    config, weights = _2b_config("offline"), _2b_weights(seed, shape)
    path = write_gguf(folder / "model.gguf", _gguf_keys("bitnet-b1.58", config, shape), weights, "i2_s")
    return Case(path, config, shape, weights)


def _gguf_keys(arch: str, config: dict[str, Any], shape: Shape, **more: Any) -> dict[str, Any]:
    own = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.ffn,
        "rope.dimension_count": shape.head_dim,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.freq_base": float(config["rope_theta"]),
        "vocab_size": shape.vocab,
        **more,
    }
    return {"general.architecture": arch, "general.name": "tiny", **{f"{arch}.{k}": v for k, v in own.items()}}


# ---- 1bitLLM/bitnet_b1_58-large and -3B ----


def _1bitllm(folder: Path, shape: Shape, seed: int, dtype: str) -> Case:
    config = keys("llama", "BitnetForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
                  rope_scaling=None, tie_word_embeddings=True, weight_bits=1, input_bits=8, pad_token_id=32000,
                  torch_dtype="float16")  # fmt: skip
    weights = Maker(shape, seed).base(attn_norm="inner_attn_ln", ffn_norm="ffn_layernorm")
    stored = latent(weights, np.random.default_rng(seed), dtype)
    return Case(write_folder(folder, config, stored), config, shape, weights)


def onebitllm_large(folder: Path, seed: int = 6) -> Case:
    """head_dim 96."""
    return _1bitllm(folder, Shape(width=192, ffn=512, heads=2, kv_heads=2, head_dim=96), seed, "F16")


def onebitllm_3b(folder: Path, seed: int = 24) -> Case:
    """head_dim 100; widths that are no multiples of 128."""
    return _1bitllm(folder, Shape(width=400, ffn=1072, heads=4, kv_heads=4, head_dim=100), seed, "F16")


# ---- Llama and its kin ----


def hf1bitllm(folder: Path, seed: int = 1) -> Case:
    """quantization_config stands in config.json twice."""
    shape = Shape(heads=4, kv_heads=1)
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=500000.0,
                  attention_bias=False, mlp_bias=False, is_bitnet_config=True, pretraining_tp=1,
                  tie_word_embeddings=False)  # fmt: skip
    quantization = {"modules_to_not_convert": None, "quant_method": "bitnet"}
    text = json.dumps({**config, "quantization_config": {"quant_method": "bitnet"}})
    text = text[:-1] + ', "quantization_config": ' + json.dumps(quantization) + "}"
    config["quantization_config"] = quantization
    weights = Maker(shape, seed).base(head=True)
    return Case(write_folder(folder, text, packed(weights, inverse=True)), config, shape, weights)


def falcon3(folder: Path, seed: int = 6) -> Case:
    """An integer rope_theta, a head size of its own, `activation` beside hidden_act."""
    shape = Shape(heads=2, kv_heads=1, head_dim=48)
    quantization = {"modules_to_not_convert": ["lm_head"], "quant_method": "bitnet"}
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", activation="swiglu", head_dim=48,
                  rms_norm_eps=1e-6, rope_theta=1000042, rope_scaling=None, is_bitnet_config=True,
                  parallel_attn=False, tie_word_embeddings=False, quantization_config=quantization)  # fmt: skip
    weights = Maker(shape, seed).base(head=True)
    return Case(write_folder(folder, config, packed(weights, inverse=True)), config, shape, weights)


def _falcon_e(folder: Path, seed: int, store: Callable[[Weights], dict[str, Any]], **more: Any) -> Case:
    shape = Shape(heads=4, kv_heads=2)
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=1000000.0,
                  is_bitnet_config=True, mlp_bias=False, tie_word_embeddings=False, **more)  # fmt: skip
    weights = Maker(shape, seed).base(head=True)
    return Case(write_folder(folder, config, store(weights)), config, shape, weights)


def falcon_e(folder: Path, seed: int = 1) -> Case:
    return _falcon_e(folder, seed, lambda w: packed(w, inverse=True), quantization_config={"quant_method": "bitnet"})


def falcon_e_prequantized(folder: Path, seed: int = 1) -> Case:
    return _falcon_e(folder, seed, lambda w: latent(w, np.random.default_rng(seed)))


def falcon_e_bfloat16(folder: Path, seed: int = 1) -> Case:
    return _falcon_e(folder, seed, lambda w: dequantized(w, "BF16"))


def trilm(folder: Path, seed: int = 2) -> Case:
    shape = Shape(heads=4, kv_heads=4)
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000,
                  torch_dtype="float16", dims_per_head=16, rotary_pct=1.0, use_parallel_residual=False,
                  pretraining_model_parallel=2, attention_bias=False, rope_scaling=None, pretraining_tp=1,
                  tie_word_embeddings=False)  # fmt: skip
    weights = Maker(shape, seed).base(head=True)
    return Case(write_folder(folder, config, dequantized(weights, "F16")), config, shape, weights)


def trilm_shards(folder: Path, seed: int = 2) -> Case:
    """Two model-parallel shards with a scale each: blocks of rows, and of columns in o and down."""
    shape = Shape(ffn=128, heads=4, kv_heads=4)
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000,
                  torch_dtype="float16", pretraining_model_parallel=2, tie_word_embeddings=False)  # fmt: skip
    weights = Maker(shape, seed).base(head=True)
    for name, trits in weights.trits.items():
        rows = len(trits)
        pair = (np.random.default_rng(seed).permutation(np.arange(16, 64))[:2] / 512).astype(np.float32)
        by_columns = "o_proj" in name or "down_proj" in name
        weights.scales[name] = np.tile(pair, (rows, 1)) if by_columns else np.repeat(pair, rows // 2)
    return Case(write_folder(folder, config, dequantized(weights, "F16")), config, shape, weights)


def llama3_scaled(folder: Path, seed: int = 1) -> Case:
    """rope_scaling llama3, a list of eos ids, tied embeddings."""
    scaling = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 16, "rope_type": "llama3"}  # fmt: skip
    quantization = {"quant_method": "bitnet", "linear_class": "bitlinear", "quantization_mode": "offline",
                    "modules_to_not_convert": ["model.embed_tokens", "lm_head", "model.norm"]}  # fmt: skip
    config = keys("llama", "LlamaForCausalLM", _2B, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=500.0,
                  rope_scaling=scaling, tie_word_embeddings=True, quantization_config=quantization)  # fmt: skip
    config["eos_token_id"] = [2, 3, 4]
    weights = Maker(_2B, seed).base()
    return Case(write_folder(folder, config, packed(weights, inverse=True)), config, _2B, weights)


def llama3_scaled_gguf(folder: Path, seed: int = 1) -> Case:
    """The same scaling as a tensor of divisors; rows of q and k in pairs."""
    shape = Shape(width=256, ffn=256, heads=4, kv_heads=2, head_dim=64)
    scaling = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 16, "rope_type": "llama3"}  # fmt: skip
    config = keys("llama", "LlamaForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=500.0,
                  rope_scaling=scaling)  # fmt: skip
    weights = Maker(shape, seed).base()
    frequency = 500.0 ** (-np.arange(0, 64, 2) / 64)
    turns = 16 * frequency / (2 * np.pi)
    kept = np.clip((turns - 1) / 3, 0, 1)
    divisors = (1 / ((1 - kept) / 8 + kept)).astype(np.float32)
    path = write_gguf(folder / "model.gguf", _gguf_keys("llama", config, shape), weights, "tq2_0", paired=(4, 2),
                      extra={"rope_freqs.weight": divisors})  # fmt: skip
    return Case(path, config, shape, weights)


def use_rms_norm(folder: Path, seed: int = 3) -> Case:
    quantization = {"quant_method": "bitnet", "linear_class": "bitlinear", "quantization_mode": "offline",
                    "use_rms_norm": True, "rms_norm_eps": 1e-4, "modules_to_not_convert": ["lm_head"]}  # fmt: skip
    config = keys("llama", "LlamaForCausalLM", _2B, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
                  tie_word_embeddings=False, quantization_config=quantization)  # fmt: skip
    weights = Maker(_2B, seed).base(head=True, input_norms=".rms_norm")
    return Case(write_folder(folder, config, packed(weights, inverse=True)), config, _2B, weights)


def linear_scaled(folder: Path, seed: int = 1) -> Case:
    config = keys("llama", "LlamaForCausalLM", _2B, hidden_act="silu", rms_norm_eps=1e-5, rope_theta=10000.0,
                  rope_scaling={"type": "linear", "factor": 2.0}, tie_word_embeddings=True,
                  quantization_config={"quant_method": "bitnet"})  # fmt: skip
    weights = Maker(_2B, seed).base()
    return Case(write_folder(folder, config, packed(weights, inverse=True)), config, _2B, weights)


# ---- Qwen3: prism-ml/Ternary-Bonsai ----

_QWEN = Shape(width=128, ffn=256, heads=4, kv_heads=2, head_dim=64)  # head_dim is not width / heads


def _qwen3_config(shape: Shape = _QWEN, **more: Any) -> dict[str, Any]:
    return keys("qwen3", "Qwen3ForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-6, rope_theta=1000000,
                head_dim=64, attention_bias=False, max_window_layers=2, sliding_window=None,
                use_sliding_window=False, tie_word_embeddings=True, torch_dtype="float16", **more)  # fmt: skip


def bonsai_unpacked(folder: Path, seed: int = 1) -> Case:
    config = _qwen3_config()
    weights = Maker(_QWEN, seed).base(head_norms=True)
    return Case(write_folder(folder, config, dequantized(weights, "F16")), config, _QWEN, weights)


def bonsai_yarn(folder: Path, seed: int = 1) -> Case:
    """YaRN under transformers 5's key, and a head of its own."""
    rotation = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16}
    config = _qwen3_config(rope_parameters=rotation)
    config.update(tie_word_embeddings=False)
    del config["rope_theta"]
    weights = Maker(_QWEN, seed).base(head=True, head_norms=True)
    return Case(write_folder(folder, config, dequantized(weights, "F16")), config, _QWEN, weights)


def bonsai_gguf(folder: Path, seed: int = 1) -> Case:
    shape = Shape(width=256, ffn=256, heads=2, kv_heads=1, head_dim=128)
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    config = keys("qwen3", "Qwen3ForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-6, rope_theta=1000000.0,
                  rope_scaling=scaling)  # fmt: skip
    weights = Maker(shape, seed).base(head_norms=True)
    yarn = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
    path = write_gguf(folder / "model.gguf", _gguf_keys("qwen3", config, shape, **yarn), weights, "tq2_0")
    return Case(path, config, shape, weights)


def _bonsai_blocks(folder: Path, seed: int, encoding: str, group: int, *, head: bool) -> Case:
    """As they are published: a scale for each `group` weights of a row, embedding and head like the rest."""
    shape = Shape(width=256, ffn=256, heads=2, kv_heads=1, head_dim=128)
    config = keys("qwen3", "Qwen3ForCausalLM", shape, hidden_act="silu", rms_norm_eps=1e-6, rope_theta=1000000.0)
    weights = Maker(shape, seed).base(head=head, head_norms=True)
    random, tables = np.random.default_rng(seed), Weights()
    for name in ("model.embed_tokens.weight", "lm_head.weight")[: 1 + head]:
        tables.trits[name] = random.integers(-1, 2, (shape.vocab, shape.width)).astype(np.int8)
    for of in (weights, tables):
        for name, trits in of.trits.items():
            if encoding == "q1_0":  # binary
                of.trits[name] = np.where(trits == 0, random.choice([-1, 1], trits.shape), trits).astype(np.int8)
            groups = (len(trits), trits.shape[1] // group)
            of.scales[name] = (random.integers(16, 64, groups) / 512).astype(np.float32)
    for name, trits in tables.trits.items():
        weights.dense[name] = trits * spread(tables.scales[name], trits.shape)
    path = write_gguf(folder / "model.gguf", _gguf_keys("qwen3", config, shape), weights, encoding, tables=tables)
    return Case(path, config, shape, weights)


def bonsai_pq2_gguf(folder: Path, seed: int = 14) -> Case:
    return _bonsai_blocks(folder, seed, "pq2_0", 128, head=True)


def bonsai_q2_tied_gguf(folder: Path, seed: int = 39) -> Case:
    """The embedding is the head as well."""
    return _bonsai_blocks(folder, seed, "q2_0", 64, head=False)


def bonsai_q1_tied_gguf(folder: Path, seed: int = 6) -> Case:
    return _bonsai_blocks(folder, seed, "q1_0", 128, head=False)


# ---- gemma3 with a head ----

_GEMMA = Shape(layers=7, width=128, ffn=128, heads=2, kv_heads=1, head_dim=64)


def _gemma3(seed: int) -> tuple[dict[str, Any], Weights]:
    """Every sixth layer is global, and only its rotation scaled; the head is the embedding, unscaled."""
    config = keys("gemma3_text", "Gemma3ForCausalLM", _GEMMA, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
                  head_dim=64, rope_theta=1000000.0, rope_local_base_freq=10000.0, sliding_window=32,
                  sliding_window_pattern=6, query_pre_attn_scalar=64, attn_logit_softcapping=None,
                  final_logit_softcapping=None, rope_scaling={"rope_type": "linear", "factor": 8.0},
                  tie_word_embeddings=True)  # fmt: skip
    config["torch_dtype"] = "float32"
    return config, Maker(_GEMMA, seed).base(head_norms=True, post_norms=True, about=0.0)


def gemma3(folder: Path, seed: int = 8) -> Case:
    config, weights = _gemma3(seed)
    return Case(write_folder(folder, config, dequantized(weights, "F32")), config, _GEMMA, weights)


def gemma3_gguf(folder: Path, seed: int = 8) -> Case:
    """The same with the keys of llama.cpp's converter; which layers are local is known by the architecture."""
    config, weights = _gemma3(seed)
    more = {"attention.sliding_window": 32, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    path = write_gguf(folder / "model.gguf", _gguf_keys("gemma3", config, _GEMMA, **more), weights, "i2_s")
    return Case(path, config, _GEMMA, weights)


# ---- microsoft/bitnet-embedding ----


def embedding_qwen3(folder: Path, seed: int = 1) -> Case:
    """Saved without a head, so without "model." before names."""
    shape = Shape(width=128, ffn=256, heads=4, kv_heads=2, head_dim=64, vocab=270)
    config = _qwen3_config(shape)
    config["architectures"] = ["Qwen3Model"]
    weights = Maker(shape, seed, prefix="").base(head_norms=True, input_norms=".norm")
    path = write_folder(folder, config, latent(weights, np.random.default_rng(seed)))
    write_byte_tokenizer(path)
    return Case(path, config, shape, weights, embeds=True)


def embedding_gemma3(folder: Path, seed: int = 9) -> Case:
    shape = Shape(layers=3, width=80, ffn=112, heads=2, kv_heads=1, head_dim=48, vocab=270)
    config = keys("gemma3_text", "Gemma3TextModel", shape, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
                  head_dim=48, rope_theta=1000000.0, rope_local_base_freq=10000.0, sliding_window=32,
                  query_pre_attn_scalar=48, attn_logit_softcapping=None, final_logit_softcapping=None,
                  layer_types=["sliding_attention", "full_attention", "sliding_attention"])  # fmt: skip
    # Gains of the model's own norms are w of 1 + w, those of the norms on inputs w.
    weights = Maker(shape, seed, prefix="").base(head_norms=True, post_norms=True, input_norms=".norm", about=0.0)
    path = write_folder(folder, config, latent(weights, np.random.default_rng(seed)))
    write_byte_tokenizer(path)
    return Case(path, config, shape, weights, embeds=True)


def embedding_qwen3_gguf(folder: Path, seed: int = 3) -> Case:
    """As microsoft's converter writes it: norms in f16, no head."""
    shape = Shape(width=128, ffn=256, heads=4, kv_heads=2, head_dim=64, vocab=270)
    config = _qwen3_config(shape)
    weights = Maker(shape, seed).base(head_norms=True, input_norms=".norm")
    stored = {**_gguf_keys("qwen3", config, shape, pooling_type=3), **byte_tokenizer_keys(shape.vocab)}
    path = write_gguf(folder / "model.gguf", stored, weights, "i2_s", norms="<f2")
    return Case(path, config, shape, weights, embeds=True)


def embedding_gemma3_gguf(folder: Path, seed: int = 2) -> Case:
    """The converter writes no window, without which all layers are alike."""
    shape = Shape(layers=3, width=128, ffn=256, heads=4, kv_heads=1, head_dim=32, vocab=270)
    config = keys("gemma3_text", "Gemma3TextModel", shape, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
                  head_dim=32, rope_theta=20000.0, layer_types=["full_attention"] * 3,
                  query_pre_attn_scalar=32)  # fmt: skip
    config["torch_dtype"] = "float32"
    weights = Maker(shape, seed).base(head_norms=True, post_norms=True, input_norms=".norm", about=0.0)
    stored = {**_gguf_keys("gemma3", config, shape, pooling_type=3), **spm_tokenizer_keys(shape.vocab)}
    path = write_gguf(folder / "model.gguf", stored, weights, "i2_s", norms="<f2")
    return Case(path, config, shape, weights, embeds=True, ids=spm_ids)


CASES: list[Callable[[Path], Case]] = [
    bitnet_2b_packed, bitnet_2b_latent, bitnet_2b_gguf, onebitllm_large, onebitllm_3b, hf1bitllm, falcon3, falcon_e,
    falcon_e_prequantized, falcon_e_bfloat16, trilm, trilm_shards, llama3_scaled, llama3_scaled_gguf, use_rms_norm,
    linear_scaled, bonsai_unpacked, bonsai_yarn, bonsai_gguf, bonsai_pq2_gguf, bonsai_q2_tied_gguf, bonsai_q1_tied_gguf,
    gemma3, gemma3_gguf, embedding_qwen3, embedding_gemma3, embedding_qwen3_gguf, embedding_gemma3_gguf,
]  # fmt: skip
