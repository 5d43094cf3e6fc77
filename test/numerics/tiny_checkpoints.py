"""Tiny seeded checkpoints with the real configuration keys and tensor names of each family, as files.

Values of embeddings, heads and norms are multiples of 1/256 or so, exact in every float type, so that the only rounding
of weights is what a family's own format does. Nothing here knows how a model is computed (reference.py) or read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


def bf16(x: np.ndarray) -> np.ndarray:
    """f32 values rounded to bf16, half to even, still as f32."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@dataclass
class Stored:
    """A tensor as a file holds it: "F32", "F16", "BF16" or "U8", and values of that type."""

    dtype: str
    values: np.ndarray

    def data(self) -> bytes:
        if self.dtype == "BF16":
            assert (bf16(self.values) == self.values).all()
            return (self.values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        return self.values.astype({"F32": "<f4", "F16": "<f2", "U8": "u1"}[self.dtype]).tobytes()


def write_safetensors(path: Path, tensors: dict[str, Stored]) -> None:
    header: dict[str, Any] = {}
    blobs, at = [], 0
    for name, tensor in sorted(tensors.items()):
        blob = tensor.data()
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.values.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_folder(folder: Path, config: dict[str, Any] | str, tensors: dict[str, Stored]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


# ---- weights ----


@dataclass
class Weights:
    """A model as numbers: trits and scales of the matrices, values of the rest. Names are Hugging Face's."""

    trits: Tensors = field(default_factory=dict)
    scales: Tensors = field(default_factory=dict)  # 1 value, one a row, or [rows, groups]
    dense: Tensors = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    layers: int = 2
    width: int = 64
    ffn: int = 112
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    vocab: int = 98  # no multiple of 16, like 32002

    def projections(self) -> dict[str, tuple[int, int]]:
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "self_attn.q_proj": (q, self.width),
            "self_attn.k_proj": (kv, self.width),
            "self_attn.v_proj": (kv, self.width),
            "self_attn.o_proj": (self.width, q),
            "mlp.gate_proj": (self.ffn, self.width),
            "mlp.up_proj": (self.ffn, self.width),
            "mlp.down_proj": (self.width, self.ffn),
        }


class Maker:
    """Draws weights of a family. `prefix` starts tensor names: "model." or nothing."""

    def __init__(self, shape: Shape, seed: int, prefix: str = "model.") -> None:
        self.shape, self.prefix = shape, prefix
        self.random = np.random.default_rng(seed)
        self.weights = Weights()

    def gain(self, name: str, n: int, about: float = 1.0) -> None:
        self.weights.dense[name] = (about + self.random.integers(-64, 65, n) / 128).astype(np.float32)

    def matrix(self, name: str, rows: int, cols: int) -> None:
        self.weights.dense[name] = (self.random.integers(-255, 256, (rows, cols)) / 512).astype(np.float32)

    def base(self, *, head: bool = False, attn_norm: str = "", ffn_norm: str = "", head_norms: bool = False,
             post_norms: bool = False, input_norms: str = "", about: float = 1.0) -> Weights:  # fmt: skip
        """attn_norm, ffn_norm: names of the sub-norms. input_norms: ".norm" or ".rms_norm" of each projection."""
        s, p = self.shape, self.prefix
        self.matrix(p + "embed_tokens.weight", s.vocab, s.width)
        if head:
            self.matrix("lm_head.weight", s.vocab, s.width)
        self.gain(p + "norm.weight", s.width, about)
        for i in range(s.layers):
            layer = f"{p}layers.{i}."
            names = ["input_layernorm", "post_attention_layernorm"]
            names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if post_norms else []
            for name in names:
                self.gain(f"{layer}{name}.weight", s.width, about)
            if attn_norm:
                self.gain(f"{layer}self_attn.{attn_norm}.weight", s.heads * s.head_dim)
            if ffn_norm:
                self.gain(f"{layer}mlp.{ffn_norm}.weight", s.ffn)
            if head_norms:
                self.gain(layer + "self_attn.q_norm.weight", s.head_dim, about)
                self.gain(layer + "self_attn.k_norm.weight", s.head_dim, about)
            for name, (rows, cols) in s.projections().items():
                self.weights.trits[f"{layer}{name}.weight"] = self.random.integers(-1, 2, (rows, cols)).astype(np.int8)
                self.weights.scales[f"{layer}{name}.weight"] = np.float32([self.random.integers(16, 64) / 512])
                if input_norms:
                    self.gain(f"{layer}{name}{input_norms}.weight", cols)
        return self.weights


# ---- how files hold them ----


def dense_as(weights: Weights, dtype: str) -> dict[str, Stored]:
    return {name: Stored(dtype, values) for name, values in weights.dense.items()}


def packed(weights: Weights, *, inverse: bool) -> dict[str, Stored]:
    """U8, four rows a byte (row i + k * ceil(rows / 4) in bits 2k), and weight_scale in bf16: 1/scale if `inverse`.

    The scales become what those bf16 numbers stand for.
    """
    out = dense_as(weights, "BF16")
    for name, trits in weights.trits.items():
        rows, cols = trits.shape
        quarter = -(-rows // 4)
        codes = np.zeros((4 * quarter, cols), np.uint8)
        codes[:rows] = trits + 1
        parts = codes.reshape(4, quarter, cols)
        out[name] = Stored("U8", parts[0] | parts[1] << 2 | parts[2] << 4 | parts[3] << 6)
        scale = weights.scales[name]
        stored = bf16(np.float32(1) / scale) if inverse else bf16(scale)
        out[name + "_scale"] = Stored("BF16", stored)
        weights.scales[name] = np.float32(1) / stored if inverse else stored
    return out


def latent(weights: Weights, random: np.random.Generator, dtype: str = "BF16") -> dict[str, Stored]:
    """Float master weights whose absmean trits are the model's; the scales become the mean of their magnitudes, in the
    type of the weights (the dequantised ones are cast back to it)."""
    out = dense_as(weights, dtype)
    for name, trits in weights.trits.items():
        # Far from the ties at half of the mean, which is about half of 1.
        values = trits * random.uniform(0.7, 1.2, trits.shape) + (trits == 0) * random.uniform(-0.1, 0.1, trits.shape)
        values = (values * float(weights.scales[name][0])).astype(np.float32)
        values = bf16(values) if dtype == "BF16" else values.astype(np.float16).astype(np.float32)
        out[name] = Stored(dtype, values)
        mean = np.float32(np.abs(values.astype(np.float64)).mean())
        scale = np.float32([1 / (np.float32(1) / max(mean, np.float32(1e-5)))])
        weights.scales[name] = bf16(scale) if dtype == "BF16" else scale.astype(np.float16).astype(np.float32)
        assert (np.clip(np.rint(values / mean), -1, 1) == trits).all()
    return out


def dequantized(weights: Weights, dtype: str) -> dict[str, Stored]:
    """Floats that are ternary already: trit * scale, the scale rounded to the type."""
    out = dense_as(weights, dtype)
    for name, trits in weights.trits.items():
        scale = weights.scales[name]
        scale = bf16(scale) if dtype == "BF16" else scale.astype(np.float16).astype(np.float32)
        weights.scales[name] = scale
        out[name] = Stored(dtype, trits * spread(scale, trits.shape))
    return out


def spread(scale: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The scale of each weight: one for all, one a row, or one for each group of columns."""
    rows, cols = shape
    if scale.ndim == 2:
        return np.repeat(scale, cols // scale.shape[1], axis=1)
    return np.broadcast_to(scale.reshape(-1, 1), (rows, cols))


# ---- a tokenizer ----

BYTE_IDS, END_ID = range(256), 256  # of write_byte_tokenizer


def byte_names() -> dict[int, str]:
    """What GPT-2 calls each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in plain}
    names.update({byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in names)})
    return names


def byte_tokenizer_keys(vocab: int) -> dict[str, Any]:
    """The tokenizer below as microsoft's converter writes it into a GGUF."""
    names = byte_names()
    tokens = [*(names[byte] for byte in BYTE_IDS), "<|endoftext|>"]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), vocab)]
    types = [1 if i < END_ID else 3 if i == END_ID else 5 for i in range(vocab)]
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": [], "tokenizer.ggml.eos_token_id": END_ID,
            "tokenizer.ggml.add_eos_token": True}  # fmt: skip


def spm_tokenizer_keys(vocab: int) -> dict[str, Any]:
    """Gemma's kind as the same converter writes it: SentencePiece by scores, here of bytes and the space alone."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in BYTE_IDS), "\u2581"]
    types = [3, 3, 3, 2] + [6] * 256 + [1]
    unused = vocab - len(tokens)
    scores = [-1000.0] * 3 + [0.0] * 258 + [-10000.0] * unused
    tokens += [f"[PAD{i}]" for i in range(len(tokens), vocab)]
    return {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types + [5] * unused,
            "tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.bos_token_id": 2,
            "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.padding_token_id": 0,
            "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}  # fmt: skip


def spm_ids(text: str) -> list[int]:
    pieces = [[260] if character == " " else [byte + 4 for byte in character.encode()] for character in text]
    return [2, *(i for piece in pieces for i in piece), 1]


def byte_ids(text: str) -> list[int]:
    return [*text.encode(), END_ID]


def write_byte_tokenizer(folder: Path) -> None:
    """Byte-level BPE without merges: a byte's id is its value, and <|endoftext|> ends every text."""
    names = byte_names()
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": END_ID, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}  # fmt: skip
    model = {"type": "BPE", "vocab": {names[byte]: byte for byte in BYTE_IDS}, "merges": []}
    tokenizer = {"version": "1.0", "added_tokens": [end], "normalizer": {"type": "NFC"}, "pre_tokenizer": split,
                 "decoder": split, "model": model}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "add_eos_token": True,
              "add_bos_token": False}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# ---- GGUF ----

_F32, _F16 = 0, 1
_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GEMMA_PARTS = {
    **_PARTS,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def gguf_name(name: str, parts: dict[str, str]) -> str:
    name = name.removeprefix("model.")
    whole = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}  # fmt: skip
    if name in whole:
        return whole[name]
    _, layer, part = name.split(".", 2)
    module = part.removesuffix(".weight")
    on_input = module.endswith("_proj.norm")
    return f"blk.{layer}.{parts[module.removesuffix('.norm')]}{'_norm_in' if on_input else ''}.weight"


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, list):
        kind = {int: 5, float: 6, str: 8}[type(value[0]) if value else str]
        items = [_string(item) if kind == 8 else struct.pack("<i" if kind == 5 else "<f", item) for item in value]
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)
    return struct.pack("<I", 8) + _string(value)


def i2s(trits: np.ndarray, scale: np.ndarray) -> bytes:
    """Blocks of 128 weights in 32 bytes: weight 32g + p at bits 6 - 2g of byte p; then the scale and 28 bytes."""
    codes = (trits + 1).astype(np.uint8).reshape(-1, 4, 32)
    blocks = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return blocks.tobytes() + struct.pack("<f", scale[0]) + bytes(28)


def tq2(trits: np.ndarray, scale: np.ndarray) -> bytes:
    """Blocks of 256 weights in 64 bytes and an f16: weight 128h + 32g + p at bits 2g of byte 32h + p."""
    codes = (trits + 1).astype(np.uint8).reshape(-1, 2, 4, 32)
    blocks = codes[:, :, 0] | codes[:, :, 1] << 2 | codes[:, :, 2] << 4 | codes[:, :, 3] << 6
    half = scale.astype("<f2").tobytes()
    return b"".join(block.tobytes() + half for block in blocks.reshape(-1, 64))


def q2(trits: np.ndarray, scales: np.ndarray) -> bytes:
    """Blocks of as many weights as share a scale: an f16, then weight 4i + g at bits 2g of byte i."""
    codes = (trits + 1).astype(np.uint8).reshape(scales.size, -1, 4)
    return _blocks(scales, codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6)


def q1(signs: np.ndarray, scales: np.ndarray) -> bytes:
    """Blocks of 128 weights: an f16, then weight 8i + g at bit g of byte i, 1 for plus."""
    return _blocks(scales, np.packbits((signs > 0).reshape(scales.size, 128), axis=1, bitorder="little"))


def _blocks(scales: np.ndarray, codes: np.ndarray) -> bytes:
    return np.concatenate([scales.astype("<f2").reshape(-1, 1).view(np.uint8), codes], axis=1).tobytes()


# Type numbers, and what writes trits and scales.
_ENCODINGS: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], bytes]]] = {
    "tq2_0": (35, tq2), "i2_s": (36, i2s), "q1_0": (41, q1), "q2_0": (42, q2), "pq2_0": (142, q2),
}  # fmt: skip


def paired_rows(matrix: np.ndarray, heads: int) -> np.ndarray:
    """q or k as architecture llama keeps it: row s * half + j of a head at 2j + s."""
    rows = matrix.shape[0]
    return matrix.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def write_gguf(path: Path, keys: dict[str, Any], weights: Weights, encoding: str, *, paired: tuple[int, int] = (0, 0),
               extra: Tensors | None = None, tables: Weights | None = None, norms: str = "<f4") -> Path:  # fmt: skip
    """paired: heads of q and k whose rows are put in pairs. tables: embedding and head where they are ternary, too.
    norms: their type."""
    infos, blobs = [], []
    tensors: list[tuple[str, tuple[int, ...], int, bytes]] = []
    ternary = {**weights.trits, **(tables.trits if tables else {})}
    scales = {**weights.scales, **(tables.scales if tables else {})}
    gemma = keys["general.architecture"] == "gemma3"
    parts = _GEMMA_PARTS if gemma else _PARTS
    for name, values in weights.dense.items():
        if name in ternary:
            continue
        if gemma and values.ndim == 1 and "_proj." not in name:  # its own norms, as 1 + w
            values = values + np.float32(1)
        dtype = "<f2" if values.ndim == 2 else norms
        tensors.append((gguf_name(name, parts), values.shape, _F16 if dtype == "<f2" else _F32,
                        values.astype(dtype).tobytes()))  # fmt: skip
    for name, values in (extra or {}).items():
        tensors.append((name, values.shape, _F32, values.astype("<f4").tobytes()))
    kind, encode = _ENCODINGS[encoding]
    for name, trits in ternary.items():
        heads = paired[0] if "q_proj" in name else paired[1] if "k_proj" in name else 0
        stored = paired_rows(trits, heads) if heads else trits
        if encoding == "tq2_0":
            weights.scales[name] = scales[name] = scales[name].astype(np.float16).astype(np.float32)
        tensors.append((gguf_name(name, parts), trits.shape, kind, encode(stored, scales[name])))
    at = 0
    for name, shape, kind, blob in tensors:
        dims = struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        infos.append(_string(name) + dims + struct.pack("<IQ", kind, at))
        blobs.append(blob + bytes(-len(blob) % 32))
        at += len(blobs[-1])
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head += b"".join(_string(key) + _value(value) for key, value in keys.items()) + b"".join(infos)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(-len(head) % 32) + b"".join(blobs))
    return path
