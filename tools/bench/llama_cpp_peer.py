"""llama-cpp-python as an engine that measures on request: the other side of `bitnet bench --on-request`.

Runs in the interpreter of an environment of its own, which needs llama-cpp-python and nothing of this project. The
work is what llama-bench does: fixed tokens, the logits of the last one computed, nothing drawn. Everything that can
make it faster is a flag, so that the fastest way to run it can be looked for.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPES = {"f16": 1, "q8_0": 8}  # ggml's numbers, for the cache


@dataclass
class Test:
    """A line of the list: n tokens at once (prompt) or one by one, behind `depth` positions."""

    generation: bool
    n: int
    depth: int
    threads: int

    @property
    def name(self) -> str:
        return f"{'tg' if self.generation else 'pp'}{self.n}" + (f" @ d{self.depth}" if self.depth else "")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measures llama-cpp-python on request")
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("-p", "--prompt", type=numbers, default=[512], help="prompt lengths; 0 = none")
    parser.add_argument("-n", "--generate", type=numbers, default=[128], help="tokens to generate; 0 = none")
    parser.add_argument("-d", "--depth", type=numbers, default=[0], help="positions that the cache holds before")
    parser.add_argument("-t", "--threads", type=numbers, default=[1], help="threads, for both")
    parser.add_argument("--batch", type=int, default=512, help="tokens of a prompt in one step")
    parser.add_argument("--flash-attention", choices=["auto", "on", "off"], default="auto")
    parser.add_argument("--kv", choices=sorted(TYPES), default="f16", help="type of the cache")
    parser.add_argument("--no-mmap", action="store_true", help="read the model instead of mapping it")
    return parser.parse_args()


class Peer:
    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.library: Any = importlib.import_module("llama_cpp")
        self.quiet = self.library.llama_log_callback(lambda *_: None)
        self.library.llama_log_set(self.quiet, None)
        self.library.llama_backend_init()
        parameters = self.library.llama_model_default_params()
        parameters.use_mmap = not flags.no_mmap
        parameters.n_gpu_layers = 0
        self.model: Any = self.library.llama_model_load_from_file(flags.model.encode(), parameters)
        if not self.model:
            raise SystemExit(f"llama-cpp-python: {flags.model}: cannot load")
        self.vocab = self.library.llama_vocab_n_tokens(self.library.llama_model_get_vocab(self.model))
        self.contexts = {depth: self.context(depth) for depth in flags.depth}
        self.tests = [
            Test(generation, n, depth, threads)
            for threads in flags.threads
            for depth in flags.depth
            for generation in (False, True)
            for n in (flags.generate if generation else flags.prompt)
            if n > 0
        ]

    def context(self, depth: int) -> Any:
        """One for each depth, with so many positions in its cache."""
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = depth + max(self.flags.prompt + self.flags.generate)
        parameters.n_batch = parameters.n_ubatch = self.flags.batch
        parameters.n_threads = parameters.n_threads_batch = max(self.flags.threads)
        parameters.flash_attn_type = {"auto": -1, "off": 0, "on": 1}[self.flags.flash_attention]
        parameters.type_k = parameters.type_v = TYPES[self.flags.kv]
        parameters.no_perf = True
        context = self.library.llama_init_from_model(self.model, parameters)
        if not context:
            raise SystemExit(f"llama-cpp-python: {self.flags.model}: cannot make a context of {parameters.n_ctx}")
        if depth:
            self.feed(context, self.tokens(depth))
        return context

    def tokens(self, n: int) -> Any:
        return (ctypes.c_int32 * n)(*((i * 7919 + 11) % self.vocab for i in range(n)))

    def feed(self, context: Any, tokens: Any) -> None:
        for begin in range(0, len(tokens), self.flags.batch):
            part = tokens[begin : begin + self.flags.batch]
            array = (ctypes.c_int32 * len(part))(*part)  # the batch points into it
            if self.library.llama_decode(context, self.library.llama_batch_get_one(array, len(part))) != 0:
                raise SystemExit("llama-cpp-python: llama_decode failed")
        self.library.llama_synchronize(context)

    def measure(self, test: Test, n: int | None = None) -> float:
        """Tokens per second; the cache is as before afterwards."""
        n = n or test.n
        context, tokens = self.contexts[test.depth], self.tokens(n)
        self.library.llama_set_n_threads(context, test.threads, test.threads)
        begin = time.perf_counter()
        if test.generation:
            for token in tokens:
                self.feed(context, [token])
        else:
            self.feed(context, tokens)
        seconds = time.perf_counter() - begin
        memory = self.library.llama_get_memory(context)
        if not self.library.llama_memory_seq_rm(memory, 0, test.depth, -1):
            raise SystemExit("llama-cpp-python: llama_memory_seq_rm failed")
        return n / seconds

    def hello(self) -> dict[str, Any]:
        library, model = self.library, self.model
        parameters, width = library.llama_model_n_params(model), library.llama_model_n_embd(model)
        head_dim = width // library.llama_model_n_head(model)
        values = 2 * library.llama_model_n_layer(model) * library.llama_model_n_head_kv(model) * head_dim
        return {
            "tests": [{"test": test.name, "threads": test.threads} for test in self.tests],
            "engine": "llama-cpp-python",
            "version": library.__version__,
            "model": Path(self.flags.model).name,
            "cpu": library.llama_print_system_info().decode().strip(),
            "head": "tied",
            "bytes_per_token": library.llama_model_size(model),  # a tied head's rows count once
            "kv_bytes_per_token": values * 2 if self.flags.kv == "f16" else values // 32 * 34,
            "ternary_weights": parameters - self.vocab * width,  # and the norms, 0.02 %
        }

    def serve(self) -> None:
        for test in self.tests:  # not counted: pages in
            self.measure(test, min(test.n, 4 if test.generation else 32))
        print(json.dumps(self.hello()), flush=True)
        for line in sys.stdin:
            print(repr(self.measure(self.tests[int(line)])), flush=True)


if __name__ == "__main__":
    Peer(arguments()).serve()
