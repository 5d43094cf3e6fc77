#!/usr/bin/env python3
"""Compares this project with llama-cpp-python on the same weights: prompt and generation speed, in turns.

Every engine runs in a process of its own that stays alive, on a file of its own. In each round every test is measured
once by all engines, one right after the other, and the machine's limits between them, so that a slow minute falls on
all alike. README.md says how to make the models.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import engines
import plot
import results
from engines import BenchError, Entry, Key, Running

SOURCE = Path(__file__).resolve().parents[2]
OPTIONS = ("cpu", "rounds", "prompt", "generate", "depth")


def measure(entries: Sequence[Entry], rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Runs everything and gives the parts of a result that were measured: engines, runs, limits."""
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise BenchError(f"engines: expected each name once, got {', '.join(names)}")
    with ExitStack() as stack:
        running = []
        for entry in entries:
            say(f"loading {entry.name}")
            engine = stack.enter_context(Running(entry))
            engine.begin()
            running.append(engine)
        limiter = next((engine for engine in running if engine.entry.limits), None)
        runs: results.Runs = {name: {} for name in names}
        limits: dict[Key, list[float]] = {}

        def limit_of(key: Key) -> float:
            limit = Key(results.DOT if key.test.startswith("pp") else results.READ, key.threads)
            if not limiter or limit not in limiter.index:
                return 0.0
            limits.setdefault(limit, []).append(limiter.measure(limit))
            return limits[limit][-1]

        keys = dict.fromkeys(key for engine in running for key in engine.index if key.test not in LIMITS)
        for turn in range(rounds):
            for key in sorted(keys, key=lambda key: key.threads):
                before = limit_of(key)
                for engine in running:
                    if key in engine.index and turn < (engine.entry.rounds or rounds):
                        value = engine.measure(key)
                        after = limit_of(key)
                        runs[engine.entry.name].setdefault(key, []).append(results.Run(value, (before + after) / 2))
                        before = after
                        say(
                            f"round {turn + 1}/{rounds}: {key.test}, threads {key.threads}: "
                            f"{engine.entry.name} {value:.2f} tok/s"
                        )
        described = [engine.entry.describe() | {"hello": engine.hello} for engine in running]
    return {"engines": described, "runs": runs, "limits": limits}


LIMITS = (results.READ, results.DOT)


def result_of(measured: dict[str, Any], command: Sequence[str]) -> dict[str, Any]:
    about = results.about_machine(SOURCE) | {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
    }
    return results.assemble(measured["engines"], measured["runs"], measured["limits"], about)


def parse_entry(text: str, flag: str) -> tuple[str, Path, dict[str, str]]:
    """NAME=FILE[,option=value...]."""
    name, _, rest = text.partition("=")
    file, *pairs = rest.split(",")
    options = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = sorted(set(options) - set(OPTIONS))
    if not name or not file or unknown:
        raise BenchError(f"{flag}: expected NAME=FILE, then ,option=value of {', '.join(OPTIONS)}; got {text!r}")
    if not Path(file).is_file():
        raise BenchError(f"{flag} {name}: {file}: no such file")
    return name, Path(file), options


def entries_of(flags: argparse.Namespace) -> list[Entry]:
    entries: list[Entry] = []
    for kind, texts in (("bitnet", flags.ours), ("peer", flags.peer)):
        for text in texts:
            name, file, options = parse_entry(text, "--ours" if kind == "bitnet" else "--peer")
            lists = {"prompt": flags.prompt, "generate": flags.generate, "depth": flags.depth}
            what: dict[str, Any] = {
                word: [int(options[word])] if word in options else values for word, values in lists.items()
            }
            what |= {"threads": flags.threads, "rounds": int(options["rounds"]) if "rounds" in options else None}
            if kind == "bitnet":
                cpu = ["--cpu", options["cpu"]] if "cpu" in options else []
                entries.append(engines.bitnet(name, flags.bitnet, file, flags=cpu, limits=not entries, **what))
            else:
                extra = shlex.split(flags.peer_flags)
                entries.append(
                    engines.llama_cpp(name, flags.peer_python, file, flags=extra, waiting=flags.peer_waiting, **what)
                )
    return entries


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    entry = "NAME=FILE[,option=value...], options: " + ", ".join(OPTIONS)
    parser.add_argument("--bitnet", type=Path, default=SOURCE / "build/release/bin/bitnet", help="the program")
    parser.add_argument("--ours", action="append", default=[], metavar="ENTRY", help=f"a bundle; {entry}")
    parser.add_argument("--peer-python", type=Path, default=Path("python3"), help="interpreter with llama-cpp-python")
    parser.add_argument("--peer", action="append", default=[], metavar="ENTRY", help=f"a .gguf for it; {entry}")
    parser.add_argument("--peer-flags", default="", help="flags of llama_cpp_peer.py")
    parser.add_argument("--peer-waiting", choices=sorted(engines.WAITING), default="brief", help="see engines.py")
    parser.add_argument("-p", "--prompt", type=numbers, default=[512], help="prompt lengths; 0 = none")
    parser.add_argument("-n", "--generate", type=numbers, default=[128], help="tokens to generate; 0 = none")
    parser.add_argument("-d", "--depth", type=numbers, default=[0], help="positions that the cache holds before")
    parser.add_argument("-t", "--threads", type=numbers, default=[1, 2])
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="pp64, tg16 and 3 rounds: to see that it works")
    parser.add_argument("-o", "--out", type=Path, help="the .json to write; a picture goes beside it")
    flags = parser.parse_args()
    if flags.quick:
        flags.prompt, flags.generate, flags.rounds = [64], [16], 3
    if not flags.ours and not flags.peer:
        parser.error("nothing to measure: expected --ours or --peer")
    return flags


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    flags = arguments()
    result = result_of(
        measure(entries_of(flags), flags.rounds, lambda text: print(text, file=sys.stderr)),
        [Path(sys.argv[0]).name, *sys.argv[1:]],
    )
    print(results.table(result))
    if flags.out:
        results.save(result, flags.out)
        flags.out.with_suffix(".svg").write_text(plot.svg(result))


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"compare: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
