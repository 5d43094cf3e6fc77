"""Exceptions. Each is a BitNetError and the built-in class (or classes) that a caller would expect of the situation.

Texts are one line: where: what: expected X, got Y; the way out. What the C interface reports becomes a class in
from_status(); every other class is raised by the module whose situation it names.
"""

from __future__ import annotations


class BitNetError(Exception):
    """The base of everything that this package raises on its own account.

    message: the text. error_type: a name of the kind, by default the class's. str() is "error_type: message" of a
    plain BitNetError and wherever a type was given; of the other classes it is the message, as with built-in ones.
    """

    message: str
    error_type: str

    def __init__(self, message: str, error_type: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type or type(self).__name__
        self._typed = error_type is not None or type(self) is BitNetError

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}" if self._typed else self.message


class ConfigError(BitNetError, ValueError):
    """An argument or option is illegal."""


class ArgumentTypeError(BitNetError, TypeError):
    """An argument has the wrong type, or no such argument exists."""


class ModelError(BitNetError):
    """A model is missing or cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model does not exist or cannot be opened."""


class ModelFormatError(ModelError, ValueError, RuntimeError):
    """A file is not a valid model, or misses or has too many tensors."""


class UnsupportedModelError(ModelFormatError):
    """A model is valid, but not for this CPU or this version."""


class CompilerNotFoundError(BitNetError, FileNotFoundError):
    """A checkpoint was to be compiled, and there is no bitnetc."""


class TokenizerNotFoundError(BitNetError, FileNotFoundError, AssertionError):
    """A tokenizer's file is missing."""


class TokenizerFormatError(BitNetError, ValueError):
    """A file is not a valid tokenizer."""


class TokenizerTypeError(BitNetError, AssertionError, TypeError):
    """What is to be encoded is no str."""


class DisallowedSpecialTokenError(BitNetError, ValueError):
    """The text holds a special token that the caller disallowed."""


class UnknownTokenError(BitNetError, KeyError):
    """No token has this id."""


class TokenOverflowError(BitNetError, OverflowError):
    """A token id is negative or does not fit 32 bits."""


class UnknownRoleError(BitNetError, NotImplementedError):
    """A message's role is none of system, user, assistant."""


class MessageKeyError(BitNetError, KeyError):
    """A message lacks its role or content."""


class CacheLengthError(BitNetError, AssertionError):
    """More positions are asked for than a cache has."""


class InferenceError(BitNetError, RuntimeError):
    """Running a model failed."""


class OutOfMemoryError(InferenceError, MemoryError):
    """There is not enough memory for the model or its cache."""


class ContextFullError(InferenceError, ValueError):
    """The text is longer than the context."""


class GenerationCancelledError(InferenceError):
    """A generation was cancelled where its whole result was waited for."""


# Other names that BitNet-rs's packages and guides used for the same.
BitNetBaseError = BitNetError
ConfigurationError = ConfigError
KernelError = InferenceError
QuantizationError = ModelFormatError
ValidationError = ConfigError


# bitnet_status in runtime/api/bitnet.h
_BY_STATUS: dict[int, type[BitNetError]] = {
    1: ConfigError,
    2: ModelNotFoundError,
    3: ModelFormatError,
    4: UnsupportedModelError,
    5: OutOfMemoryError,
    6: ContextFullError,
    7: GenerationCancelledError,
}


def from_status(status: int, message: str) -> BitNetError:
    """The exception for a failed call of the C interface."""
    return _BY_STATUS.get(status, InferenceError)(message)
