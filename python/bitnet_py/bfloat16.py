"""torch's arithmetic on bfloat16, in numpy, which has no such type: arrays of uint16 hold the bits.

torch computes each operation in f32 and rounds its result, half to even; so a chain of them is a chain of rounded().
"""

from __future__ import annotations

from typing import Any

from .arrays import numpy_for


def to_float(bits: Any) -> Any:
    """f32 values of bfloat16 bits; exact."""
    numpy = numpy_for("bfloat16")
    return (bits.astype(numpy.uint32) << numpy.uint32(16)).view(numpy.float32)


def from_float(values: Any) -> Any:
    """The bits of the nearest bfloat16 values, ties to even; NaN stays NaN."""
    numpy = numpy_for("bfloat16")
    bits = numpy.asarray(values, numpy.float32, order="C").view(numpy.uint32)
    nearest = (bits + numpy.uint32(0x7FFF) + (bits >> numpy.uint32(16) & numpy.uint32(1))) >> numpy.uint32(16)
    nan = numpy.isnan(values)
    return numpy.where(nan, numpy.uint32(0x7FC0), nearest).astype(numpy.uint16)


def rounded(values: Any) -> Any:
    """f32 values rounded to what bfloat16 can hold."""
    return to_float(from_float(values))
