"""Runs ternary language models.

>>> import bitnet_py as b
>>> model = b.load_model("model.bnx")  # or a checkpoint: it is compiled once and kept
>>> tokenizer = b.create_tokenizer("model.bnx")
>>> b.SimpleInference(model, tokenizer).generate("And God said")
"""

from ._runtime import version as __version__
from .errors import (
    BitNetError,
    CompilerNotFoundError,
    ConfigError,
    ContextFullError,
    InferenceError,
    ModelFormatError,
    ModelNotFoundError,
    OutOfMemoryError,
    UnsupportedModelError,
)
from .inference import SimpleInference, TextStream
from .model import BitNetModel, Tokenizer, create_tokenizer, load_model

__all__ = [
    "BitNetError",
    "BitNetModel",
    "CompilerNotFoundError",
    "ConfigError",
    "ContextFullError",
    "InferenceError",
    "ModelFormatError",
    "ModelNotFoundError",
    "OutOfMemoryError",
    "SimpleInference",
    "TextStream",
    "Tokenizer",
    "UnsupportedModelError",
    "__version__",
    "create_tokenizer",
    "load_model",
]
