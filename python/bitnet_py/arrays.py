"""Arrays of other libraries, in and out: numpy and torch where the caller has them, never by force."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    from . import _runtime


def is_torch(values: object) -> bool:
    """Whether this is a torch tensor; does not import torch."""
    return type(values).__module__.partition(".")[0] == "torch" and hasattr(values, "detach")


def torch_module() -> Any:
    """The module torch, of a caller who has given one of its tensors."""
    return importlib.import_module("torch")


def numpy_or_none() -> Any:
    """The module numpy, or None where it is not installed."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def numpy_for(what: str) -> Any:
    """The module numpy; ConfigError that says what needs it if it is not installed."""
    numpy = numpy_or_none()
    if numpy is None:
        raise ConfigError(f"{what}: expected numpy to be installed, got none; pip install numpy")
    return numpy


def as_numpy(values: Any, what: str) -> Any:
    """A numpy array of numbers: from anything that numpy reads, a torch tensor of any device, or through DLPack."""
    numpy = numpy_for(what)
    if is_torch(values):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # which numpy does not have
            values = values.float()
        return values.numpy()
    if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
        return numpy.from_dlpack(values)
    return numpy.asarray(values)


def token_ids(values: Any, what: str = "tokens") -> list[int]:
    """The ids in a sequence or array of integers, flat. TypeError for anything else."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    elif hasattr(values, "__array__") or hasattr(values, "__dlpack__"):
        values = as_numpy(values, what).tolist()
    if isinstance(values, int):
        return [values]
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{what}: expected token ids, got {type(values).__name__}")
    ids: list[int] = []
    for value in values:
        if isinstance(value, int):
            ids.append(value)
        elif hasattr(value, "__index__"):  # numpy's and torch's scalars
            ids.append(value.__index__())
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            ids.extend(token_ids(value, what))
        else:
            raise TypeError(f"{what}: expected token ids, got {type(value).__name__} {value!r}")
    return ids


def joined(parts: Sequence[_runtime.Floats], like: object = None) -> Any:
    """The rows of all parts in one f32 array: torch's if `like` is a torch tensor, else numpy's; without numpy the one
    part as it is (it has the buffer protocol), or a list of rows."""
    numpy = numpy_or_none()
    if numpy is None:
        return parts[0] if len(parts) == 1 else [row for part in parts for row in part.tolist()]
    arrays = [numpy.asarray(part) for part in parts]
    rows = arrays[0] if len(arrays) == 1 else numpy.concatenate(arrays)
    return torch_module().from_numpy(rows) if is_torch(like) else rows
