"""`python -m bitnet_py bench`: prompt and generation speed through this package, in the words of llama-bench.

The method is that of `bitnet bench` (raw steps, nothing drawn, all cases in turns), so that the two agree and what
differs is what Python costs. Whole generations are measured by benchmark.py.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from . import _runtime
from .cli import UsageError, open_model, print_json
from .errors import ConfigError
from .progress import Progress

_WARM_UP_PROMPT, _WARM_UP_GENERATION = 32, 4  # tokens, not counted: pages in, threads awake


@dataclass
class _Case:
    """n tokens at once (prompt) or one by one (generation), behind `depth` positions of a sequence."""

    generation: bool
    n: int
    depth: int
    threads: int
    session: _runtime.Session
    sequence: int
    runs: list[float] = field(default_factory=list)  # tokens per second

    @property
    def name(self) -> str:
        return f"{'tg' if self.generation else 'pp'}{self.n}" + (f" @ d{self.depth}" if self.depth else "")

    def time(self, tokens: list[int]) -> float:
        """Runs it over the tokens and puts the sequence back; tokens per second."""
        forward, sequence = self.session.forward, self.sequence
        start = time.perf_counter()
        if self.generation:
            for token in tokens:
                forward([token], "last", sequence)
        else:
            forward(tokens, "last", sequence)
        seconds = time.perf_counter() - start
        self.session.truncate(self.depth, sequence)
        return len(tokens) / seconds


def bench(args: argparse.Namespace) -> int:
    """Measures and prints; the exit code."""
    if args.repetitions < 1:
        raise UsageError(f"--repetitions: expected 1 or more, got {args.repetitions}")
    if not any(args.n_prompt) and not any(args.n_gen):
        raise UsageError("nothing to measure: expected --n-prompt or --n-gen above 0")
    model = open_model(args)
    info = model._native.info()
    tokens = [(i * 7919 + 11) % info["vocab"] for i in range(info["context"])]  # arbitrary but fixed
    cases = _cases(args, model._native, info, tokens)
    for case in cases:
        case.time(tokens[: min(case.n, _WARM_UP_GENERATION if case.generation else _WARM_UP_PROMPT)])
    with Progress("bench", args.repetitions * len(cases), unit="runs") as progress:
        for _ in range(args.repetitions):
            for case in cases:
                case.runs.append(case.time(tokens[: case.n]))
                progress.advance()
    if args.json:
        names = {key: info[key] for key in ("cpu", "head", "bytes_per_token")}
        results = [_as_json(case) for case in cases]
        print_json({"version": _runtime.version, "model": info["name"], **names, "results": results})
    else:
        _print_table(info, cases)
    return 0


def _cases(args: argparse.Namespace, native: _runtime.Model, info: _runtime.Info, tokens: list[int]) -> list[_Case]:
    needed = max(*args.n_prompt, *args.n_gen) + max(args.depth)
    if needed > info["context"]:
        raise ConfigError(
            f"bench: expected at most {info['context']} positions (the model's context), got {needed}; "
            "lower --n-prompt, --n-gen or --depth"
        )
    cases = []
    for threads in args.threads:
        session = _runtime.Session(native, context=needed, threads=threads, sequences=len(args.depth))
        for sequence, depth in enumerate(args.depth):
            if depth:
                session.forward(tokens[:depth], "none", sequence)
            for generation, lengths in ((False, args.n_prompt), (True, args.n_gen)):
                for n in filter(None, lengths):
                    used = threads or _runtime.available_cpus()
                    cases.append(_Case(generation, n, depth, used, session, sequence))
    return cases


def _as_json(case: _Case) -> dict[str, Any]:
    return {
        "test": case.name,
        "n_prompt": 0 if case.generation else case.n,
        "n_gen": case.n if case.generation else 0,
        "depth": case.depth,
        "threads": case.threads,
        "tokens_per_second": {
            "median": statistics.median(case.runs),
            "min": min(case.runs),
            "max": max(case.runs),
            "runs": case.runs,
        },
    }


def _print_table(info: _runtime.Info, cases: list[_Case]) -> None:
    megabytes = info["bytes_per_token"] / 1e6
    print(f"{info['name']}, {info['cpu']}, head {info['head']}, {megabytes:.1f} MB of weights per token")
    print(f"\n| {'test':<16} | threads | tok/s median | {'min..max':<23} |")
    print(f"|{'-' * 18}|--------:|-------------:|{'-' * 25}|")
    for case in cases:
        spread = f"{min(case.runs):10.2f}..{max(case.runs):<11.2f}"
        print(f"| {case.name:<16} | {case.threads:7} | {statistics.median(case.runs):12.2f} | {spread} |")
