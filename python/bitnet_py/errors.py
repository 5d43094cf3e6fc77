"""Exceptions. Each is a BitNetError and the built-in class that a caller would expect of the situation."""

from __future__ import annotations


class BitNetError(Exception):
    """The base of everything that this package raises on its own account."""


class ConfigError(BitNetError, ValueError):
    """An argument or option is illegal."""


class ModelNotFoundError(BitNetError, FileNotFoundError):
    """A model does not exist or cannot be opened."""


class ModelFormatError(BitNetError, ValueError, RuntimeError):
    """A file is not a valid model."""


class UnsupportedModelError(ModelFormatError):
    """A model is valid, but not for this CPU or this version."""


class CompilerNotFoundError(BitNetError, FileNotFoundError):
    """A checkpoint was to be compiled, and there is no bitnetc."""


class InferenceError(BitNetError, RuntimeError):
    """Running a model failed."""


class OutOfMemoryError(InferenceError, MemoryError):
    """There is not enough memory for the model or its cache."""


class ContextFullError(InferenceError, ValueError):
    """The text is longer than the context."""


# bitnet_status in runtime/api/bitnet.h
_BY_STATUS: dict[int, type[BitNetError]] = {
    1: ConfigError,
    2: ModelNotFoundError,
    3: ModelFormatError,
    4: UnsupportedModelError,
    5: OutOfMemoryError,
    6: ContextFullError,
}


def from_status(status: int, message: str) -> BitNetError:
    """The exception for a failed call of the C interface."""
    return _BY_STATUS.get(status, InferenceError)(message)
