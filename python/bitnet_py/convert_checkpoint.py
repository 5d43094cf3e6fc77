"""Makes the original's two checkpoints, model_state_fp16.pt and model_state_int2.pt, from its model_state.pt.

Run as a program: python -m bitnet_py.convert_checkpoint --input model_state.pt. Needs numpy, not torch. Both outputs
hold the same ternary weights: the one as bfloat16 values -scale, 0 and scale, the other packed (pack_weight) with the
scales apart. bitnetc reads either, and also model_state.pt itself, so this is for those who need the files.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .arrays import numpy_for
from .bfloat16 import from_float, rounded, to_float
from .errors import BitNetError, ModelFormatError
from .pack_weight import convert_weight_int8_to_int2
from .torch_file import StoredTensor, Writer, read

_LINEAR = re.compile(r"layers\.\d+\.(attention\.(wqkv|wo)|feed_forward\.(w13|w2))\.weight")
_SCALE_SLOTS = 4  # of each weight_scale; those that a matrix does not need are 0


def quantize(weight: Any, mean_in_f32: bool = False) -> tuple[Any, Any, float]:
    """The ternary form of one projection, as the original computes it: every step rounded to bfloat16.

    weight: bits of bfloat16, [n, k]. s = 1 / max(mean |w|, 1e-5), t = clamp(round(w s), -1, 1). Returns t as int8,
    t / s as bits of bfloat16 (the zeros keep their sign), and the scale 1 / s; each t / s is t times the scale.
    mean_in_f32: torch 1 rounds the sum of |w| to bfloat16 and then the mean; torch 2 only the mean, which moves some
    scales by one bit of bfloat16, and with them one weight in a thousand.
    """
    numpy = numpy_for("convert_checkpoint")
    values = to_float(weight)
    total = numpy.float32(numpy.abs(values).sum(dtype=numpy.float64))
    mean = rounded((total if mean_in_f32 else rounded(total)) / numpy.float32(values.size))
    s = rounded(numpy.float32(1) / numpy.maximum(mean, rounded(numpy.float32(1e-5))))
    ternary = numpy.clip(numpy.rint(rounded(values * s)), -1, 1)
    return ternary.astype(numpy.int8), from_float(ternary / s), float(rounded(numpy.float32(1) / s))


def convert_ts_checkpoint(*, input_path: str = "", mean_in_f32: bool = False) -> tuple[Path, Path]:
    """Writes model_state_fp16.pt and model_state_int2.pt beside a model_state.pt, and returns their paths.

    The shapes are the file's. mean_in_f32: see quantize. Prints what it does. ModelFormatError for a file that is none
    of the original's.
    """
    source = Path(input_path)
    tensors = read(source)
    rows = {name: _projections(tensors, name, source) for name in tensors if _LINEAR.fullmatch(name)}
    print(_shape(tensors, source))
    fp16, int2 = source.with_name("model_state_fp16.pt"), source.with_name("model_state_int2.pt")
    print(f"Saving checkpoint to {fp16}")
    print(f"Saving checkpoint to {int2}")
    with Writer(fp16) as floats, Writer(int2) as packed:
        for number, (name, tensor) in enumerate(tensors.items(), 1):
            if name in rows:
                _convert(name, tensor, rows[name], mean_in_f32, floats, packed)
            else:
                floats.add(name, tensor)
                packed.add(name, tensor)
            if sys.stderr.isatty():
                print(f"\r{number}/{len(tensors)} tensors", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return fp16, int2


def _convert(
    name: str, tensor: StoredTensor, rows: Sequence[int], mean_in_f32: bool, floats: Writer, packed: Writer
) -> None:
    numpy = numpy_for("convert_checkpoint")
    parts, begin = [], 0
    for count in rows:
        parts.append(quantize(tensor.array[begin : begin + count], mean_in_f32))
        begin += count
    floats.add(name, StoredTensor("bfloat16", numpy.concatenate([part[1] for part in parts])))
    ternary = numpy.concatenate([part[0] for part in parts])
    packed.add(name, StoredTensor("int8", convert_weight_int8_to_int2(ternary)))
    scales = numpy.zeros(_SCALE_SLOTS, numpy.float32)
    scales[: len(parts)] = [part[2] for part in parts]
    packed.add(name + "_scale", StoredTensor("bfloat16", from_float(scales)))


def _projections(tensors: Mapping[str, StoredTensor], name: str, source: Path) -> list[int]:
    """The rows of the projections that one matrix holds one below the other: q, k, v or gate, up, or all."""
    tensor = tensors[name]
    if tensor.dtype != "bfloat16" or tensor.array.ndim != 2:
        shape = f"{tensor.dtype} {list(tensor.array.shape)}"
        raise ModelFormatError(f"{source}: {name}: expected a bfloat16 matrix, got {shape}")
    rows: int = tensor.array.shape[0]
    if "w13" in name and rows % 2 == 0:
        return [rows // 2] * 2
    if "wqkv" in name:
        output = tensors.get(name.replace("wqkv", "wo"))
        if output is None or output.array.ndim != 2:
            raise ModelFormatError(f"{source}: {name}: expected attention.wo.weight beside it, got none")
        query = output.array.shape[1]  # wo takes what the query heads give
        if rows <= query or (rows - query) % 2:
            raise ModelFormatError(f"{source}: {name}: expected more than {query} rows and an even rest, got {rows}")
        return [query, *[(rows - query) // 2] * 2]
    return [rows]


def _shape(tensors: Mapping[str, StoredTensor], source: Path) -> str:
    """The configuration that is seen in the shapes."""

    def sizes(name: str) -> Iterator[int]:
        if name not in tensors:
            raise ModelFormatError(f"{source}: {name}: expected it in a model_state.pt, got no such tensor")
        yield from tensors[name].array.shape

    vocabulary, dim = sizes("tok_embeddings.weight")
    _, ffn_dim = sizes("layers.0.feed_forward.w2.weight")
    layers = sum(name.endswith(".attention.wo.weight") for name in tensors)
    return f"ModelArgs(dim={dim}, n_layers={layers}, vocab_size={vocabulary}, ffn_dim={ffn_dim})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bitnet_py.convert_checkpoint", description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, help="model_state.pt, as convert_safetensors writes it")
    parser.add_argument("--mean_in_f32", action="store_true", help="round scales as torch 2 does; default: as torch 1")
    options = parser.parse_args(arguments)
    try:
        convert_ts_checkpoint(input_path=options.input, mean_in_f32=options.mean_in_f32)
    except BitNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
