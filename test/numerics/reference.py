"""The decoder graph of all families in NumPy, written from the formulas of the import specification alone.

Each row: s = 127 / max(absmax, 1e-5), q = round_half_even(x * s); y = (sum of trit * q, exact) * (scale / s); norms,
softmax and rotation in f32. What the runtime's own design adds is here too: keys and values are kept as f16. Everything
reads config.json and the tensors under Hugging Face's names; nothing here comes from the compiler or the runtime.

Rounding to int8 or f16 is a step: a value beside a tie may go to either side when sums run in another order. So each
value that is rounded can be moved by a few units of f32's last place first (`noise`): how far the results move then is
how far an equally right implementation may be off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tiny_checkpoints import Shape, Weights, bf16

F32 = np.float32
_ULPS = 2.0**-21  # of a value: eight units of f32's last place


def relu2(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, F32(0)) ** 2


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    return F32(0.5) * x * (1 + np.tanh(F32(math.sqrt(2 / math.pi)) * (x + F32(0.044715) * x**3)))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu2": relu2, "silu": silu, "swiglu": silu, "gelu_pytorch_tanh": gelu,
}  # fmt: skip


def rotation(config: dict[str, Any], head_dim: int, theta: float) -> tuple[np.ndarray, float]:
    """Frequencies of the pairs of a head, and the factor of cos and sin."""
    own = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return own, 1.0
    factor = scaling["factor"]
    if kind == "linear":
        return own / factor, 1.0
    length = scaling.get("original_max_position_embeddings", config["max_position_embeddings"])
    if kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = length * own / (2 * math.pi)  # within the first training's context
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return own / factor * (1 - kept) + own * kept, 1.0
    assert kind == "yarn"

    def dimension(turns: float) -> float:
        return head_dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first = max(math.floor(dimension(scaling.get("beta_fast", 32))), 0)
    last = min(math.ceil(dimension(scaling.get("beta_slow", 1))), head_dim - 1)
    ramp = np.clip((np.arange(head_dim // 2) - first) / max(last - first, 0.001), 0, 1)
    return own / factor * ramp + own * (1 - ramp), scaling.get("attention_factor", 0.1 * math.log(factor) + 1)


def embedding_factor(config: dict[str, Any], shape: Shape) -> np.ndarray:
    """gemma3 multiplies embeddings by the root of the width: in transformers in the type of the weights, in GGUF, whose
    cases say float32 here, in f32."""
    root = F32([math.sqrt(shape.width)])
    return bf16(root) if config["torch_dtype"] == "bfloat16" else root


class Reference:
    """f16=False leaves out what the runtime adds to the formulas: a cache and an embedding table of f16."""

    def __init__(self, config: dict[str, Any], shape: Shape, weights: Weights, *, f16: bool = True) -> None:
        self.config, self.shape, self.weights = config, shape, weights
        self.gemma = config["model_type"] == "gemma3_text"
        self.f16 = f16
        self.eps = config.get("rms_norm_eps", 1e-6)
        self.act = ACTIVATIONS[config.get("hidden_act") or config.get("hidden_activation") or config["activation"]]
        self.prefix = "model." if "model.norm.weight" in weights.dense else ""
        self.random: np.random.Generator | None = None
        self.embedding = weights.dense[self.prefix + "embed_tokens.weight"]
        if self.gemma:
            self.embedding = self.embedding * embedding_factor(config, shape)
            if f16:
                self.embedding = self.embedding.astype(np.float16).astype(F32)

    def noisy(self, x: np.ndarray) -> np.ndarray:
        if self.random is None:
            return x
        return (x * (1 + self.random.uniform(-_ULPS, _ULPS, x.shape))).astype(F32)

    def gain(self, name: str, *, native: bool = True) -> np.ndarray:
        gain = self.weights.dense[name]
        return gain + F32(1) if self.gemma and native else gain

    def norm(self, x: np.ndarray, gain: np.ndarray, eps: float | None = None) -> np.ndarray:
        mean = np.mean(x * x, axis=-1, keepdims=True, dtype=F32)
        return x * (1 / np.sqrt(mean + F32(self.eps if eps is None else eps))) * gain

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        layer_norm = next((n for n in (".norm.weight", ".rms_norm.weight") if name + n in self.weights.dense), "")
        if layer_norm:
            # transformers' default for use_rms_norm; the embedding models use the model's own epsilon.
            own = self.config.get("quantization_config", {}).get("rms_norm_eps", 1e-6)
            x = self.norm(x, self.gain(name + layer_norm, native=False), own if "rms" in layer_norm else None)
        trits, scale = self.weights.trits[name + ".weight"], self.weights.scales[name + ".weight"]
        s = F32(127) / np.maximum(np.abs(x).max(axis=-1, keepdims=True), F32(1e-5))
        q = np.rint(self.noisy(x * s))
        if scale.ndim < 2:
            sums = q.astype(np.int32) @ trits.T.astype(np.int32)
            return sums.astype(F32) * (scale.astype(F32) / s)
        groups = scale.shape[1]  # the integer sum of each group is exact; they are added in the order of the columns
        y = np.zeros((len(x), trits.shape[0]), F32)
        for part, columns in enumerate(np.split(np.arange(trits.shape[1]), groups)):
            sums = q[:, columns].astype(np.int32) @ trits[:, columns].T.astype(np.int32)
            y = y + sums.astype(F32) * scale[:, part]
        return y / s

    def local(self, layer: int) -> bool:
        if not self.gemma:
            return False
        types = self.config.get("layer_types")
        if types:
            return types[layer] == "sliding_attention"
        return (layer + 1) % self.config.get("sliding_window_pattern", 6) != 0

    def rotate(self, x: np.ndarray, layer: int) -> np.ndarray:
        """x: [tokens, heads, head_dim]; halves of a head turn together."""
        c, dim = self.config, self.shape.head_dim
        if self.local(layer):
            frequency, magnitude = rotation({}, dim, c.get("rope_local_base_freq", 10000.0))
        else:
            theta = c.get("rope_theta") or c.get("rope_parameters", {}).get("rope_theta")
            frequency, magnitude = rotation(c, dim, float(theta))
        angle = np.arange(len(x))[:, None, None] * frequency
        cos, sin = (F32(magnitude) * f(angle).astype(F32) for f in (np.cos, np.sin))
        a, b = x[..., : dim // 2], x[..., dim // 2 :]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def kept(self, x: np.ndarray) -> np.ndarray:
        """What the cache makes of keys and values."""
        return self.noisy(x).astype(np.float16).astype(F32) if self.f16 else x

    def attention(self, x: np.ndarray, layer: int) -> np.ndarray:
        s, name = self.shape, f"{self.prefix}layers.{layer}.self_attn."
        n = len(x)
        q, k, v = (self.linear(x, name + p + "_proj").reshape(n, -1, s.head_dim) for p in "qkv")
        if name + "q_norm.weight" in self.weights.dense:
            q, k = self.norm(q, self.gain(name + "q_norm.weight")), self.norm(k, self.gain(name + "k_norm.weight"))
        q, k = self.rotate(q, layer), self.rotate(k, layer)
        k, v = (np.repeat(self.kept(part), s.heads // s.kv_heads, axis=1) for part in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / F32(math.sqrt(s.head_dim))
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        o = np.einsum("hqk,khd->qhd", weights, v).reshape(n, -1).astype(F32)
        for sub_norm in ("attn_sub_norm", "inner_attn_ln"):
            if f"{name}{sub_norm}.weight" in self.weights.dense:
                o = self.norm(o, self.gain(f"{name}{sub_norm}.weight"))
        return self.linear(o, name + "o_proj")

    def feed_forward(self, x: np.ndarray, layer: int) -> np.ndarray:
        name = f"{self.prefix}layers.{layer}.mlp."
        h = self.act(self.linear(x, name + "gate_proj")) * self.linear(x, name + "up_proj")
        for sub_norm in ("ffn_sub_norm", "ffn_layernorm"):
            if f"{name}{sub_norm}.weight" in self.weights.dense:
                h = self.norm(h, self.gain(f"{name}{sub_norm}.weight"))
        return self.linear(h, name + "down_proj")

    def hidden(self, tokens: list[int], noise: int | None = None) -> np.ndarray:
        """Outputs of the last norm, [tokens, width]. noise: a seed for small moves before each rounding."""
        self.random = None if noise is None else np.random.default_rng(noise)
        x = self.embedding[tokens]
        for i in range(self.shape.layers):
            layer = f"{self.prefix}layers.{i}."
            norm = {n: self.gain(f"{layer}{n}.weight") for n in ("input_layernorm", "post_attention_layernorm")}
            y = self.attention(self.norm(x, norm["input_layernorm"]), i)
            if self.gemma:
                x = x + self.norm(y, norm["post_attention_layernorm"])
                y = self.norm(x, self.gain(layer + "pre_feedforward_layernorm.weight"))
                x = x + self.norm(self.feed_forward(y, i), self.gain(layer + "post_feedforward_layernorm.weight"))
            else:
                x = x + y
                x = x + self.feed_forward(self.norm(x, norm["post_attention_layernorm"]), i)
        return self.norm(x, self.gain(self.prefix + "norm.weight"))

    def logits(self, tokens: list[int], noise: int | None = None) -> np.ndarray:
        dense = self.weights.dense
        return self.hidden(tokens, noise) @ dense.get("lm_head.weight", dense[self.prefix + "embed_tokens.weight"]).T

    def vector(self, tokens: list[int], noise: int | None = None) -> np.ndarray:
        """The embedding of a text: the last token's output, of length 1."""
        last = self.hidden(tokens, noise)[-1]
        return last / np.linalg.norm(last)


def tolerance(results: Callable[[int], np.ndarray], exact: np.ndarray) -> float:
    """How far results may be off: twice the farthest of 12 runs with moves of a few units in the last place, and what
    sums in another order make of the results themselves."""
    farthest = max(float(np.abs(results(seed) - exact).max()) for seed in range(12))
    return 2 * farthest + 8 * _ULPS * float(np.abs(exact).max())
