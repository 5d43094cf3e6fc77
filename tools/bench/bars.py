#!/usr/bin/env python3
"""Measures everything that this project has set itself a bar for, and says which bars hold.

Models and bundles are made in a work folder, where they stay for the next run. What an option of the compiler is
missing for is a bar that does not hold. For a quiet machine; --only runs some groups of bars.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import compare
import engines
import plot
import results
from engines import BenchError, Entry

MB = 1e6
THREADS = (1, 2)
GROUPS = ("decode", "prefill", "skip", "depth", "rows", "avx2", "head", "speculate", "memory", "load", "compile")
# Whose flags make which bundle. In the plain dummy half of the gates are shut, as in any random model.
BUNDLES = {
    "default": ("plain", []),
    "dense": ("plain", ["--no-skip"]),
    "f16 head": ("plain", ["--no-skip", "--head=f16"]),
    "q8 cache": ("plain", ["--kv=q8"]),
    "zeros": ("zeros", []),
    "no zeros": ("open", []),
}
MODELS = {
    "plain": [],
    "zeros": ["--gate-zeros", "0.75", "--down-zeros", "0.85"],
    "open": ["--gate-zeros", "0", "--down-zeros", "0"],
}
PEER_MODEL = ["--architecture", "bitnet", "--encoding", "tq2_0", "--embedding", "q6_k"]
REPEATING = "And the LORD spake unto Moses, saying, Speak unto the children of Israel. " * 6
CHANGING = "In the beginning God created the heaven and the earth. And"


@dataclass
class Bar:
    group: str
    what: str
    expected: float
    got: float | None  # None: not measured
    at_least: bool = True
    unit: str = ""

    @property
    def holds(self) -> bool:
        if self.got is None:
            return False
        return self.got >= self.expected if self.at_least else self.got <= self.expected

    def row(self) -> str:
        sign = "at least" if self.at_least else "at most"
        got = "not measured" if self.got is None else f"{self.got:.3g}{self.unit}"
        expected = f"{sign} {self.expected:g}{self.unit}"
        return f"| {self.group} | {self.what} | {expected} | {got} | {'yes' if self.holds else 'NO'} |"


def table(bars: Sequence[Bar]) -> str:
    head = ["| group | bar | expected | got | holds |", "|---|---|--:|--:|---|"]
    return "\n".join(head + [bar.row() for bar in bars])


@dataclass
class Bench:
    """Programs, and the files that they made."""

    programs: Path
    work: Path
    say: Callable[[str], None]
    helps: dict[str, str] = field(default_factory=dict)

    def run(self, program: str, *arguments: str) -> str:
        command = [str(self.programs / program), *arguments]
        try:
            ran = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise BenchError(f"{command[0]}: cannot start: {error.strerror}; --build names the build") from error
        if ran.returncode != 0:
            raise BenchError(f"{' '.join(command)}: {ran.stderr.strip()}")
        return ran.stdout

    def knows(self, program: str, flags: Sequence[str]) -> bool:
        if program not in self.helps:
            self.helps[program] = self.run(program, "--help")
        return all(re.search(flag.partition("=")[0] + r"\b(?!-)", self.helps[program]) for flag in flags)

    def model(self, name: str, flags: Sequence[str]) -> Path | None:
        """A checkpoint; None if make-dummy-model has no such flags."""
        if not self.knows("make-dummy-model", [flag for flag in flags if flag.startswith("--")]):
            return None
        return self._made(f"{name}.gguf", "make-dummy-model", lambda path: ["make-dummy-model", path, *flags])

    def bundle(self, name: str) -> Path | None:
        model_name, flags = BUNDLES[name]
        if not self.knows("bitnetc", ["--no-skip"]):  # a compiler that skips nothing
            flags = [flag for flag in flags if flag != "--no-skip"]
        model = self.model(model_name, MODELS[model_name])
        if not model or not self.knows("bitnetc", flags):
            return None
        target = "--target=avx2,avx512"
        file = name.replace(" ", "-") + ".bnx"
        return self._made(file, "bitnetc", lambda path: ["bitnetc", str(model), "-o", path, target, *flags])

    def _made(self, file: str, program: str, command: Callable[[str], list[str]]) -> Path:
        """work/file, made anew if the program is newer."""
        path = self.work / file
        if not path.exists() or path.stat().st_mtime < (self.programs / program).stat().st_mtime:
            self.say(f"making {path}")
            unfinished = self.work / f"unfinished-{file}"
            self.run(*command(str(unfinished)))
            unfinished.replace(path)
        return path


def entries_of(bench: Bench, groups: Sequence[str], peer_python: Path | None) -> list[Entry]:
    """All engines that the groups need, none twice."""
    program = bench.programs / "bitnet"
    entries: list[Entry] = []

    def add(name: str, bundle: str, **what: Any) -> None:
        if model := bench.bundle(bundle):
            entries.append(engines.bitnet(name, program, model, limits=not entries, **what))

    prompt = [512] if {"prefill", "avx2"} & set(groups) else []
    generate = [128] if {"decode", "skip", "avx2"} & set(groups) else []
    if prompt or generate:
        add("dense", "dense", prompt=prompt, generate=generate, threads=THREADS)
        if peer_python and {"decode", "skip", "prefill"} & set(groups):
            model = bench.model("tq2_0", PEER_MODEL)
            assert model
            what: dict[str, Any] = {"generate": generate, "threads": THREADS}
            what["prompt"] = prompt if "prefill" in groups else []
            entries.append(engines.llama_cpp("tq2_0", peer_python, model, **what))
    if "skip" in groups:
        for bundle in ("default", "zeros", "no zeros"):
            add(bundle, bundle, generate=[128], threads=THREADS)
    if "prefill" in groups:
        add("long prompt", "dense", prompt=[2048], threads=THREADS, rounds=3)
    if "depth" in groups:
        add("q8 cache", "q8 cache", generate=[128], depth=[0, 2048], threads=[2])
    if "rows" in groups:
        add("rows", "dense", generate=[16], threads=THREADS, flags=["--rows", "1,2,4,8"])
    if "avx2" in groups:
        add("avx2", "dense", prompt=[512], generate=[128], threads=THREADS, flags=["--cpu", "avx2"], rounds=3)
    if "head" in groups:
        for bundle in ("dense", "f16 head"):
            add(f"head of {bundle}", bundle, generate=[16], threads=THREADS, flags=["--without-head"])
    return entries


class Numbers:
    """What a result says, None where it was not measured."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = result

    def get(self, engine: str, test: str, threads: int, field: str = "median") -> float | None:
        line = results.find(self.result, engine, test, threads)
        return float(line[field]) if line and field in line else None

    def ratio(self, engine: str, other: str, test: str, threads: int, other_test: str = "") -> float | None:
        """Of the medians of the rounds that both took part in."""
        mine = results.find(self.result, engine, test, threads)
        others = results.find(self.result, other, other_test or test, threads)
        if not mine or not others:
            return None
        shared = min(len(mine["runs"]), len(others["runs"]))
        return float(statistics.median(mine["runs"][:shared]) / statistics.median(others["runs"][:shared]))

    def head_seconds(self, engine: str, threads: int) -> float | None:
        with_head, without = (self.get(engine, test, threads) for test in ("tg16", "tg16 no head"))
        return 1 / with_head - 1 / without if with_head and without else None


def speed_bars(numbers: Numbers, groups: Sequence[str]) -> list[Bar]:
    bars = []

    def add(group: str, what: str, expected: float, got: float | None, at_least: bool = True) -> None:
        if group in groups:
            bars.append(Bar(group, what, expected, got, at_least))

    for n in THREADS:
        threads = f", threads {n}"
        share = numbers.get("dense", "tg128", n, "share_of_read_bandwidth")
        add("decode", "dense tg128: share of the byte limit" + threads, 0.85, share)
        add("decode", "dense tg128 by TQ2_0's" + threads, 2.3, numbers.ratio("dense", "tq2_0", "tg128", n))
        add("skip", "with zeros, tg128 by TQ2_0's" + threads, 3, numbers.ratio("zeros", "tq2_0", "tg128", n))
        add("skip", "half shut, tg128 by dense" + threads, 0.97, numbers.ratio("default", "dense", "tg128", n))
        add("skip", "without zeros, tg128 by dense" + threads, 0.97, numbers.ratio("no zeros", "dense", "tg128", n))
        share = numbers.get("dense", "pp512", n, "share_of_dot_product_peak")
        add("prefill", "pp512: share of the dot product's peak" + threads, 0.7 if n == 1 else 0.65, share)
        add("prefill", "pp512 by TQ2_0's" + threads, 6, numbers.ratio("dense", "tq2_0", "pp512", n))
        longer = numbers.ratio("long prompt", "dense", "pp2048", n, "pp512")
        add("prefill", "pp2048 by pp512" + threads, 0.85, longer)
        one = numbers.get("rows", "tg16", n)
        for rows, most in ((2, 1.15), (4, 1.5), (8, 2.2)):
            several = numbers.get("rows", f"tg16 x{rows}", n)
            cost = one * rows / several if one and several else None
            add("rows", f"{rows} rows by one" + threads, most, cost, at_least=False)
        add("avx2", "avx2 tg128 by VNNI" + threads, 0.6, numbers.ratio("avx2", "dense", "tg128", n))
        add("avx2", "avx2 pp512 by VNNI" + threads, 0.35, numbers.ratio("avx2", "dense", "pp512", n))
        exact, full = (numbers.head_seconds(f"head of {bundle}", n) for bundle in ("dense", "f16 head"))
        add("head", "time of the exact head by f16's" + threads, 0.35, exact / full if exact and full else None, False)
    deep = numbers.ratio("q8 cache", "q8 cache", "tg128 @ d2048", 2, "tg128")
    add("depth", "q8 cache: tg128 at 2048 by tg128, threads 2", 0.8, deep)
    share = numbers.get("q8 cache", "tg128 @ d2048", 2, "share_of_read_bandwidth")
    add("depth", "q8 cache: tg128 at 2048: share of the byte limit, threads 2", 0.8, share)
    return bars


def speculation_bars(bench: Bench, rounds: int) -> list[Bar]:
    checkpoint = compare.SOURCE / "test/data/kjv-tq1_0.gguf"
    bundle = bench.work / "kjv.bnx"
    bench.run("bitnetc", str(checkpoint), "-o", str(bundle))
    bars = []
    for what, prompt, expected in (("repetition", REPEATING, 1.3), ("no repetition", CHANGING, 0.98)):
        speeds: dict[str, list[float]] = {"off": [], "auto": []}
        texts = set()
        if "--speculate" in bench.run("bitnet", "run", "--help"):
            for _ in range(rounds):
                for how, values in speeds.items():
                    arguments = ["-p", prompt, "-n", "96", "--temp", "0", "--ignore-eos", "--speculate", how]
                    ran = json.loads(bench.run("bitnet", "run", str(bundle), *arguments, "--json"))
                    texts.add(str(ran["tokens"]))
                    values.append((len(ran["tokens"]) - 1) / ran["timings"]["generation_seconds"])
        measured = len(texts) == 1  # another text would be no speed at all
        ratio = statistics.median(speeds["auto"]) / statistics.median(speeds["off"]) if measured else None
        bars.append(Bar("speculate", f"prompt with {what}: speed by --speculate=off's", expected, ratio))
    return bars


def memory_bar(bench: Bench) -> Bar:
    got = None
    if bundle := bench.bundle("q8 cache"):
        arguments = ["-p", "64", "-n", "8", "-d", "4000", "-c", "4096", "-t", "2", "-r", "1", "--json"]
        ran = json.loads(bench.run("bitnet", "bench", str(bundle), *arguments))
        got = (ran["peak_memory_bytes"] - ran["file_bytes"]) / MB
    return Bar("memory", "a session at 4096 with a q8 cache, beyond the bundle", 200, got, False, " MB")


def load_bar(bench: Bench, rounds: int) -> Bar:
    seconds = []
    if bundle := bench.bundle("default"):
        arguments = [str(bundle), "-p", "1", "-n", "0", "-t", "1", "-r", "1", "--json"]
        for _ in range(rounds + 1):
            seconds.append(json.loads(bench.run("bitnet", "bench", *arguments))["load_seconds"] * 1e3)
    got = statistics.median(seconds[1:]) if seconds else None  # the first one warms the page cache
    return Bar("load", "opening the default bundle, warm", 60, got, False, " ms")


def compile_bars(bench: Bench) -> list[Bar]:
    model = bench.model("plain", [])
    seconds = []
    cache = bench.work / "kernels"
    for kernel in cache.rglob("*") if cache.exists() else []:
        if kernel.is_file():
            kernel.unlink()
    for _ in range(2):
        begin = time.perf_counter()
        bench.run("bitnetc", str(model), "-o", str(bench.work / "compiled.bnx"), f"--cache-dir={cache}")
        seconds.append(time.perf_counter() - begin)
    return [
        Bar("compile", "bitnetc, the first time", 60, seconds[0], False, " s"),
        Bar("compile", "bitnetc with its kernel cache", 25, seconds[1], False, " s"),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=compare.SOURCE / "build/release", help="whose bin/ is measured")
    parser.add_argument("--work", type=Path, default=compare.SOURCE / "build/bench", help="for models, some 8 GB")
    parser.add_argument("--peer-python", type=Path, help="interpreter with llama-cpp-python; without: no peer")
    parser.add_argument("--only", default=",".join(GROUPS), metavar="LIST", help="groups: " + ", ".join(GROUPS))
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, help="the .json to write; a picture goes beside it")
    flags = parser.parse_args()
    flags.groups = flags.only.split(",")
    if unknown := sorted(set(flags.groups) - set(GROUPS)):
        parser.error(f"--only: expected some of {', '.join(GROUPS)}, got {', '.join(unknown)}")
    return flags


def say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    flags = arguments()
    flags.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(flags.build / "bin", flags.work, say)
    bars: list[Bar] = []
    result: dict[str, Any] = {"results": []}
    if entries := entries_of(bench, flags.groups, flags.peer_python):
        command = [Path(sys.argv[0]).name, *sys.argv[1:]]
        result = compare.result_of(compare.measure(entries, flags.rounds, say), command)
        print(results.table(result), end="\n\n")
    bars += speed_bars(Numbers(result), flags.groups)
    if "speculate" in flags.groups:
        bars += speculation_bars(bench, flags.rounds)
    if "memory" in flags.groups:
        bars.append(memory_bar(bench))
    if "load" in flags.groups:
        bars.append(load_bar(bench, flags.rounds))
    if "compile" in flags.groups:
        bars += compile_bars(bench)
    print(table(bars))
    if flags.out and entries:
        result["bars"] = [vars(bar) | {"holds": bar.holds} for bar in bars]
        results.save(result, flags.out)
        flags.out.with_suffix(".svg").write_text(plot.svg(result))
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bars: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
