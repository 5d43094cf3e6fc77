"""The packing of the original's int2 checkpoints: 16 x 32 tiles of 128 bytes, four weights a byte.

A tile holds 32 words of 16 weights that follow each other along k: word 16 (n%16 / 8) + 8 (k%32 / 16) + n%8. Byte m of
a word holds the weights m, m + 4, m + 8 and m + 12, the first in its lowest two bits, each as weight + 2.
"""

from __future__ import annotations

from typing import Any

from .arrays import as_numpy, is_torch, numpy_for, torch_module
from .errors import ConfigError

_TILE_N, _TILE_K = 16, 32


def convert_weight_int8_to_int2(weight: Any) -> Any:
    """Packs an int8 matrix [n, k] of weights -1, 0, 1 (-2 fits too) into int8 [n, k/4].

    n must be a multiple of 16, k one of 32. A torch tensor gives a tensor, else numpy. ConfigError for other shapes or
    weights, and without numpy.
    """
    numpy = numpy_for("convert_weight_int8_to_int2")
    matrix = as_numpy(weight, "convert_weight_int8_to_int2")
    n, k = _checked(matrix, "weight", 1)
    if matrix.size and (matrix.min() < -2 or matrix.max() > 1):
        raise ConfigError(f"weight: expected values from -2 to 1, got {matrix.min()} to {matrix.max()}")
    codes = (matrix.astype(numpy.int8) + numpy.int8(2)).view(numpy.uint8)
    # Axes: tile row, its halves, row in half; tile column, its halves, weight in byte (low to high), byte in word.
    parts = codes.reshape(n // 16, 2, 8, k // 32, 2, 4, 4).transpose(5, 0, 3, 1, 4, 2, 6)
    packed = parts[0] | parts[1] << 2 | parts[2] << 4 | parts[3] << 6
    return _like(weight, packed.view(numpy.int8).reshape(n, k // 4))


def convert_weight_int2_to_int8(packed: Any) -> Any:
    """The inverse: int8 or uint8 [n, k/4] to the int8 weights [n, k]."""
    numpy = numpy_for("convert_weight_int2_to_int8")
    stream = as_numpy(packed, "convert_weight_int2_to_int8")
    n, k = _checked(stream, "packed", 4)
    parts = numpy.ascontiguousarray(stream).view(numpy.uint8).reshape(n // 16, k // 32, 2, 2, 8, 4)
    codes = numpy.stack([parts >> shift & 3 for shift in (0, 2, 4, 6)], axis=-2)  # [.., weight in byte, byte]
    weights = codes.transpose(0, 2, 4, 1, 3, 5, 6).reshape(n, k).astype(numpy.int8) - numpy.int8(2)
    return _like(packed, weights)


def _checked(matrix: Any, name: str, weights_per_item: int) -> tuple[int, int]:
    if matrix.ndim != 2 or matrix.shape[0] % _TILE_N or matrix.shape[1] * weights_per_item % _TILE_K:
        raise ConfigError(
            f"{name}: expected [n, k], n a multiple of {_TILE_N} and k of {_TILE_K} weights, got {list(matrix.shape)}"
        )
    return matrix.shape[0], matrix.shape[1] * weights_per_item


def _like(given: Any, result: Any) -> Any:
    return torch_module().from_numpy(result).to(given.device) if is_torch(given) else result
