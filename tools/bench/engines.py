"""Engines to measure: each in a process of its own that stays alive and measures one thing when asked.

The protocol stands in tools/bitnet/bench.cpp (serve); llama_cpp_peer.py speaks it too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
# How llama.cpp's threads wait for each other in OpenMP barriers. By default they spin for about a millisecond: where
# anything else wants a core, two threads become 20 times slower than one. Asleep at once costs a fifth of the speed on
# a quiet machine. A short spin has neither fault (Zen 4, 2 threads, tg32: 22.0, 17.5 and 21.3 tokens per second).
WAITING = {
    "spin": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "brief": {"GOMP_SPINCOUNT": "10000"},
}


class BenchError(Exception):
    """What the user can do something about."""


@dataclass(frozen=True)
class Key:
    """What is measured: the name that an engine's list has, and threads."""

    test: str
    threads: int


@dataclass
class Entry:
    """An engine on a model, and what to measure with it."""

    name: str
    kind: str  # "bitnet" or "peer"
    model: Path
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    rounds: int | None = None  # of these only the first so many
    limits: bool = False  # it measures the machine's limits, too

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "command": self.command,
            "environment": self.environment,
            "model": str(self.model),
            "model_bytes": self.model.stat().st_size,
        }


def workload(prompt: Sequence[int], generate: Sequence[int], depth: Sequence[int], threads: Sequence[int]) -> list[str]:
    """What to measure, in the flags that all engines' programs take; no prompt or no generation: 0."""
    values = {"-p": prompt or (0,), "-n": generate or (0,), "-d": depth, "-t": threads}
    return [word for flag, numbers in values.items() for word in (flag, ",".join(map(str, numbers)))]


def bitnet(
    name: str,
    program: Path,
    model: Path,
    *,
    prompt: Sequence[int] = (),
    generate: Sequence[int] = (),
    depth: Sequence[int] = (0,),
    threads: Sequence[int] = (1,),
    flags: Sequence[str] = (),
    rounds: int | None = None,
    limits: bool = False,
) -> Entry:
    """This project's engine; flags are further ones of bitnet bench."""
    command = [str(program), "bench", str(model), *workload(prompt, generate, depth, threads)]
    command += ["--on-request", *flags, *(["--limits"] * limits)]
    return Entry(name, "bitnet", model, command, {}, rounds, limits)


def llama_cpp(
    name: str,
    python: Path,
    model: Path,
    *,
    prompt: Sequence[int] = (),
    generate: Sequence[int] = (),
    depth: Sequence[int] = (0,),
    threads: Sequence[int] = (1,),
    flags: Sequence[str] = (),
    rounds: int | None = None,
    waiting: str = "brief",
) -> Entry:
    """llama-cpp-python in the environment of `python`; flags are further ones of llama_cpp_peer.py."""
    command = [str(python), str(HERE / "llama_cpp_peer.py"), str(model)]
    command += [*workload(prompt, generate, depth, threads), *flags]
    return Entry(name, "peer", model, command, dict(WAITING[waiting]), rounds)


class Running:
    """The process of an entry. Closing its standard input ends it."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        try:
            self.process = subprocess.Popen(
                entry.command,
                env={**os.environ, **entry.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sys.stderr,
                text=True,
            )
        except OSError as error:
            raise BenchError(f"{entry.name}: {entry.command[0]}: cannot start: {error.strerror}") from error

    def begin(self) -> None:
        """Waits until the model is loaded and the caches are filled."""
        self.hello: dict[str, Any] = json.loads(self._line())
        self.index = {Key(test["test"], test["threads"]): i for i, test in enumerate(self.hello["tests"])}

    def measure(self, key: Key) -> float:
        assert self.process.stdin
        self.process.stdin.write(f"{self.index[key]}\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise BenchError(f"{self.entry.name}: the process ended with code {code}; its message stands above")
        return line

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
