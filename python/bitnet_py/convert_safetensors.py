"""Makes the original's model_state.pt from a Hugging Face model.safetensors.

Run as a program: python -m bitnet_py.convert_safetensors --safetensors_file model.safetensors. Needs numpy, not torch.
Only names and the order of rows change: q, k and v lie below each other, gate and up too, and the rows of each query
and key head go from halves to pairs, as the original's rotary embedding wants them.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrays import numpy_for
from .bfloat16 import from_float
from .errors import BitNetError, ConfigError, ModelFormatError, ModelNotFoundError
from .torch_file import StoredTensor, Writer

_DTYPES = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}


@dataclass(frozen=True)
class Shape:
    """The numbers of a model that its tensors' shapes do not say, or that check them."""

    n_layer: int
    n_head: int
    n_local_heads: int


transformer_configs = {"2B": Shape(n_layer=30, n_head=20, n_local_heads=5)}


def convert(safetensors_file: str, output: str = "./checkpoints/model_state.pt", model_name: str | None = None) -> Path:
    """Writes the checkpoint and returns its path.

    model_name: a key of transformer_configs; by default config.json beside the file says the shape, else "2B".
    ModelFormatError for a file that is damaged, packed, or not of this architecture.
    """
    source, target = Path(safetensors_file), Path(output)
    tensors = _read(source)
    shape = _shape(source, model_name)
    if source.resolve() == target.resolve():
        raise ConfigError(f"output: expected another file than the input, got {target}")
    embedding = _take(tensors, "model.embed_tokens.weight", source)
    with Writer(target) as file:
        for layer in range(shape.n_layer):
            _layer(file, tensors, layer, shape, source)
            if sys.stderr.isatty():
                end = "\n" if layer + 1 == shape.n_layer else ""
                print(f"\r{layer + 1}/{shape.n_layer} layers", end=end, file=sys.stderr, flush=True)
        file.add("tok_embeddings.weight", embedding)
        head = tensors.pop("lm_head.weight", None)
        if head is None:
            file.add("output.weight", embedding, same_as="tok_embeddings.weight")
        else:
            file.add("output.weight", _stored(head))
        file.add("norm.weight", _take(tensors, "model.norm.weight", source))
        if tensors:
            raise ModelFormatError(f"{source}: expected {shape.n_layer} layers of BitNet, got also {min(tensors)}")
    return target


def convert_back(safetensors_path: str, output_file: str, model_name: str | None = None) -> None:
    """convert(), as the original calls it and its arguments."""
    convert(safetensors_path, output_file, model_name)


def _layer(file: Writer, tensors: dict[str, Any], layer: int, shape: Shape, source: Path) -> None:
    numpy = numpy_for("convert_safetensors")

    def take(name: str) -> Any:
        return _take(tensors, f"model.layers.{layer}.{name}.weight", source).array

    def add(name: str, array: Any) -> None:
        file.add(f"layers.{layer}.{name}.weight", StoredTensor("bfloat16", array))

    query = _pairs(take("self_attn.q_proj"), shape.n_head, source)
    key = _pairs(take("self_attn.k_proj"), shape.n_local_heads, source)
    add("attention.wqkv", numpy.concatenate([query, key, take("self_attn.v_proj")]))
    add("attention.wo", take("self_attn.o_proj"))
    add("attention_norm", take("input_layernorm"))
    add("ffn_norm", take("post_attention_layernorm"))
    add("attention.attn_sub_norm", take("self_attn.attn_sub_norm"))
    add("feed_forward.ffn_sub_norm", take("mlp.ffn_sub_norm"))
    add("feed_forward.w13", numpy.concatenate([take("mlp.gate_proj"), take("mlp.up_proj")]))
    add("feed_forward.w2", take("mlp.down_proj"))


def _pairs(weight: Any, heads: int, source: Path) -> Any:
    """Rows of each head from (half, index) to (index, half)."""
    rows, columns = weight.shape
    if rows % (2 * heads):
        raise ModelFormatError(f"{source}: expected rows for {heads} heads of an even size, got {rows} rows")
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _shape(source: Path, model_name: str | None) -> Shape:
    config = source.with_name("config.json")
    if model_name is None and config.is_file():
        try:
            values = json.loads(config.read_text())
            heads = values["num_attention_heads"]
            return Shape(values["num_hidden_layers"], heads, values.get("num_key_value_heads", heads))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFormatError(f"{config}: expected the configuration of a model, got {error!r}") from error
    name = model_name or "2B"
    if name not in transformer_configs:
        raise ConfigError(f"model_name: expected one of {', '.join(transformer_configs)}, got {name!r}")
    return transformer_configs[name]


def _take(tensors: dict[str, Any], name: str, source: Path) -> StoredTensor:
    if name not in tensors:
        raise ModelFormatError(f"{source}: {name}: expected it in a BitNet checkpoint, got no such tensor")
    return _stored(tensors.pop(name))


def _stored(array: Any) -> StoredTensor:
    return StoredTensor("bfloat16", array if array.dtype.kind == "u" else from_float(array))


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, mapped; bfloat16 as its bits in uint16."""
    numpy = numpy_for("convert_safetensors")
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: does not exist")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header: Mapping[str, Any] = json.loads(file.read(length))
        tensors: dict[str, Any] = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _DTYPES:
                raise ValueError(f"{name} as {entry['dtype']}: packed weights; take the bf16 checkpoint")
            item = numpy.dtype(_DTYPES[entry["dtype"]])
            begin, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            count = 1
            for extent in shape:
                count *= extent
            if begin < 0 or end - begin != count * item.itemsize or 8 + length + end > size:
                raise ValueError(f"{name} of shape {list(shape)} in the bytes {begin} to {end}")
            tensors[name] = numpy.memmap(path, dtype=item, mode="r", offset=8 + length + begin, shape=shape)
        return tensors
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelFormatError(f"{path}: expected a safetensors file of floats, got {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bitnet_py.convert_safetensors", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--safetensors_file", required=True, help="model.safetensors with weights in bf16, f16 or f32")
    parser.add_argument("--output", default="./checkpoints/model_state.pt", help="default: %(default)s")
    parser.add_argument("--model_name", help="2B; default: config.json beside the file, else 2B")
    options = parser.parse_args(arguments)
    try:
        print(f"Saved {convert(options.safetensors_file, options.output, options.model_name)}")
    except BitNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
