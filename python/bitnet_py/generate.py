"""The original's module generate, by its name and with its contents. Nothing is made here.

Run as a program: bitnet-generate CKPT_DIR, or python -m bitnet_py.generate CKPT_DIR. (The package itself does not
import this module, for a module that is imported already cannot be run so.)
"""

import sys

from .fast_gen import FastGen, GenArgs, InferenceEngine
from .generate_program import command_line, get_prompts, main
from .model import ModelArgs, Transformer, make_cache
from .sample_utils import top_p
from .stats import Stats
from .tokenizer import ChatFormat, Tokenizer

__all__ = [
    "ChatFormat",
    "FastGen",
    "GenArgs",
    "InferenceEngine",
    "ModelArgs",
    "Stats",
    "Tokenizer",
    "Transformer",
    "command_line",
    "get_prompts",
    "main",
    "make_cache",
    "top_p",
]

if __name__ == "__main__":
    sys.exit(command_line())
