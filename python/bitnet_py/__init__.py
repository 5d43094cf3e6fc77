"""Runs ternary language models.

>>> import bitnet_py as b
>>> model = b.load_model("model.bnx")  # or a checkpoint: it is compiled once and kept
>>> tokenizer = b.create_tokenizer("model.bnx")
>>> b.SimpleInference(model, tokenizer).generate("And God said")
"""

import logging as _logging
import typing as _typing

from . import metrics
from ._runtime import version as __version__
from .benchmark import benchmark_inference, benchmark_model, compare_performance, quick_inference, validate_outputs
from .chat_template import chat_tokens, render_chat
from .config import BitNetConfig, GenerationConfig, InferenceConfig
from .encoding import Encoding
from .errors import (
    ArgumentTypeError,
    BitNetBaseError,
    BitNetError,
    CacheLengthError,
    CompilerNotFoundError,
    ConfigError,
    ConfigurationError,
    ContextFullError,
    DisallowedSpecialTokenError,
    GenerationCancelledError,
    InferenceError,
    KernelError,
    MessageKeyError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    OutOfMemoryError,
    QuantizationError,
    TokenizerFormatError,
    TokenizerNotFoundError,
    TokenizerTypeError,
    TokenOverflowError,
    UnknownRoleError,
    UnknownTokenError,
    UnsupportedModelError,
    ValidationError,
)
from .fast_gen import FastGen, GenArgs, InferenceEngine
from .generate_program import get_prompts, main
from .inference import AsyncInference, SimpleInference, batch_generate, create_tokenizer_async, load_model_async
from .model import (
    BitNetModel,
    LayerCache,
    ModelArgs,
    Transformer,
    cache_prefix,
    load_model,
    make_cache,
)
from .model_loader import ModelLoader
from .sample_utils import top_p
from .stats import PhaseStats, Stats
from .streams import Completion, Sampling, StreamingGenerator, TokenLogprob
from .system import (
    CPU,
    CUDA,
    METAL,
    QuantizationType,
    get_cuda_device_count,
    get_device_info,
    get_num_threads,
    get_system_info,
    is_cuda_available,
    is_metal_available,
    list_available_models,
    set_num_threads,
)
from .tokenizer import ChatFormat, Dialog, Message, Role, Tokenizer, create_tokenizer

__author__ = "The bitnet project"
__description__ = "Runs ternary (BitNet b1.58) language models that bitnetc has compiled"

if _typing.TYPE_CHECKING:
    from . import cache as cache
    from . import migration as migration
else:

    def __getattr__(name: str) -> object:
        """Modules that are programs, too, are imported when they are used, so that they run as python -m."""
        if name in ("cache", "migration"):
            import importlib

            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_logging.getLogger(__name__).addHandler(_logging.NullHandler())  # what is logged is shown only if a program asks

__all__ = [
    "CPU",
    "CUDA",
    "METAL",
    "ArgumentTypeError",
    "AsyncInference",
    "BitNetBaseError",
    "BitNetConfig",
    "BitNetError",
    "BitNetModel",
    "CacheLengthError",
    "ChatFormat",
    "CompilerNotFoundError",
    "Completion",
    "ConfigError",
    "ConfigurationError",
    "ContextFullError",
    "Dialog",
    "DisallowedSpecialTokenError",
    "Encoding",
    "FastGen",
    "GenArgs",
    "GenerationCancelledError",
    "GenerationConfig",
    "InferenceConfig",
    "InferenceEngine",
    "InferenceError",
    "KernelError",
    "LayerCache",
    "Message",
    "MessageKeyError",
    "ModelArgs",
    "ModelError",
    "ModelFormatError",
    "ModelLoader",
    "ModelNotFoundError",
    "OutOfMemoryError",
    "PhaseStats",
    "QuantizationError",
    "QuantizationType",
    "Role",
    "Sampling",
    "SimpleInference",
    "Stats",
    "StreamingGenerator",
    "TokenLogprob",
    "TokenOverflowError",
    "Tokenizer",
    "TokenizerFormatError",
    "TokenizerNotFoundError",
    "TokenizerTypeError",
    "Transformer",
    "UnknownRoleError",
    "UnknownTokenError",
    "UnsupportedModelError",
    "ValidationError",
    "__author__",
    "__description__",
    "__version__",
    "batch_generate",
    "benchmark_inference",
    "benchmark_model",
    "cache_prefix",
    "chat_tokens",
    "compare_performance",
    "create_tokenizer",
    "create_tokenizer_async",
    "get_cuda_device_count",
    "get_device_info",
    "get_num_threads",
    "get_prompts",
    "get_system_info",
    "is_cuda_available",
    "is_metal_available",
    "list_available_models",
    "load_model",
    "load_model_async",
    "main",
    "make_cache",
    "metrics",
    "quick_inference",
    "render_chat",
    "set_num_threads",
    "top_p",
    "validate_outputs",
]
