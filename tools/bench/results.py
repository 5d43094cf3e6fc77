"""What a run measured, as one JSON object: every single number, medians, shares of the machine's limits, ratios.

Nothing is measured here. check() says whether an object is what this version writes.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import BenchError, Key

SCHEMA = 1
READ, DOT = "read bandwidth", "dot product peak"


def summary(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": list(values)}


def parse_test(test: str) -> tuple[str, int, int, int]:
    """(kind, n, rows, depth) of a name such as "tg128 x4 @ d2048"."""
    match = re.fullmatch(r"(pp|tg)(\d+)(?: x(\d+))?( no head)?(?: @ d(\d+))?", test)
    if not match:
        raise ValueError(f"test: expected a name such as pp512 or tg128 @ d2048, got {test!r}")
    kind, n, rows, no_head, depth = match.groups()
    return kind + (no_head or ""), int(n), int(rows or 1), int(depth or 0)


@dataclass(frozen=True)
class Run:
    """Tokens per second, and what the machine could do just before and after it, on average (bytes per second for a
    generation, multiply-adds per second for a prompt; 0 = not measured)."""

    speed: float
    limit: float


Runs = dict[str, dict[Key, list[Run]]]  # by the entry's name


def shares(hello: Mapping[str, Any], test: str, runs: Sequence[Run]) -> dict[str, float]:
    """Which share of the machine's limit the runs of a test were: the median. A machine that is shared has another
    limit every few seconds, so that medians of speeds and limits would not belong together."""
    kind, n, rows, depth = parse_test(test)
    if kind not in ("pp", "tg") or not all(run.limit > 0 for run in runs):
        return {}
    if kind == "pp":
        needed = hello["ternary_weights"]
        return {"share_of_dot_product_peak": statistics.median(needed * run.speed / run.limit for run in runs)}
    needed = hello["bytes_per_token"] / rows + hello["kv_bytes_per_token"] * (depth + (n + 1) / 2)
    return {"share_of_read_bandwidth": statistics.median(needed * run.speed / run.limit for run in runs)}


def assemble(
    engines: Sequence[Mapping[str, Any]], runs: Runs, limits: Mapping[Key, Sequence[float]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The object. engines: Entry.describe() and the "hello" of each; limits: of the tests READ and DOT."""
    results = []
    for engine in engines:
        for key, of_key in runs[engine["name"]].items():
            line = {"engine": engine["name"], "test": key.test, "threads": key.threads}
            line |= summary([run.speed for run in of_key])
            results.append(line | {"limits": [run.limit for run in of_key]} | shares(engine["hello"], key.test, of_key))
    return {
        "schema": SCHEMA,
        **about,
        "engines": list(engines),
        "limits": [
            {"limit": key.test, "threads": key.threads, **summary(values)} for key, values in sorted_keys(limits)
        ],
        "results": results,
        "ratios": [
            ratio(ours["name"], peer["name"], key, runs[ours["name"]][key], runs[peer["name"]][key])
            for peer in engines
            if peer["kind"] == "peer"
            for ours in engines
            if ours["kind"] == "bitnet"
            for key in runs[peer["name"]]
            if key in runs[ours["name"]]
        ],
    }


def sorted_keys(limits: Mapping[Key, Sequence[float]]) -> list[tuple[Key, Sequence[float]]]:
    return sorted(limits.items(), key=lambda item: (item[0].test, item[0].threads))


def ratio(ours: str, peer: str, key: Key, our_runs: Sequence[Run], peer_runs: Sequence[Run]) -> dict[str, Any]:
    """How many times faster: of the medians, and round by round. Only the rounds count that both took part in."""
    shared = min(len(our_runs), len(peer_runs))
    ours_shared, peers_shared = ([run.speed for run in of[:shared]] for of in (our_runs, peer_runs))
    return {
        "engine": ours,
        "peer": peer,
        "test": key.test,
        "threads": key.threads,
        "ratio": statistics.median(ours_shared) / statistics.median(peers_shared),
        "rounds": summary([a / b for a, b in zip(ours_shared, peers_shared, strict=True)]),
    }


def find(result: Mapping[str, Any], engine: str, test: str, threads: int) -> dict[str, Any] | None:
    for line in result["results"]:
        if (line["engine"], line["test"], line["threads"]) == (engine, test, threads):
            return dict(line)
    return None


def about_machine(source: Path) -> dict[str, Any]:
    """The CPU and the commit."""
    cpu = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break

    def git(*arguments: str) -> str:
        ran = subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True)
        return ran.stdout.strip() if ran.returncode == 0 else ""

    return {
        "machine": {
            "cpu": cpu,
            "cpus": len(os.sched_getaffinity(0)),
            "caches": caches(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"{platform.system()} {platform.release()}",
            "load": os.getloadavg()[0],
        },
        "commit": git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else ""),
    }


def caches() -> list[str]:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    found = []
    for index in sorted(folder.glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return found


def check(result: Any) -> None:
    """Raises BenchError where an object is not a result of this version."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise BenchError(f"result: {what}")

    need(isinstance(result, dict), "expected an object")
    need(result.get("schema") == SCHEMA, f"schema: expected {SCHEMA}, got {result.get('schema')}")
    for name, kind in {
        "when": str, "commit": str, "command": list, "machine": dict, "engines": list, "limits": list,
        "results": list, "ratios": list,
    }.items():  # fmt: skip
        need(isinstance(result.get(name), kind), f"{name}: expected {kind.__name__}, got {result.get(name)!r}")
    engines = {engine["name"] for engine in result["engines"]}
    need(len(engines) == len(result["engines"]), "engines: expected each name once")
    for line in result["results"]:
        need(line["engine"] in engines, f"results: no engine {line['engine']!r}")
        parse_test(line["test"])
    for line in result["results"] + result["limits"]:
        need(len(line["runs"]) > 0, f"runs: expected some, got none of {line}")
        need(line["min"] <= line["median"] <= line["max"], f"median: expected it within its runs, got {line}")


def load(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot read: {error}") from error
    check(result)
    return dict(result)


def save(result: Mapping[str, Any], path: Path) -> None:
    check(result)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def table(result: Mapping[str, Any]) -> str:
    """A result for people, as Markdown."""
    machine = result["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cpus']} CPUs, commit {result['commit'][:12]}, {result['when']}",
        "",
        "| test | threads | engine | tok/s median | min..max | runs | of the limit |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for line in sorted(result["results"], key=lambda line: (line["test"], line["threads"])):
        share = ""
        if "share_of_read_bandwidth" in line:
            share = f"{100 * line['share_of_read_bandwidth']:.1f} % bytes"
        elif "share_of_dot_product_peak" in line:
            share = f"{100 * line['share_of_dot_product_peak']:.1f} % MACs"
        lines.append(
            f"| {line['test']} | {line['threads']} | {line['engine']} | {line['median']:.2f} "
            f"| {line['min']:.2f}..{line['max']:.2f} | {len(line['runs'])} | {share} |"
        )
    if result["ratios"]:
        lines += ["", "| test | threads | engine / peer | times faster | rounds |", "|---|--:|---|--:|--:|"]
    for line in result["ratios"]:
        rounds = line["rounds"]
        lines.append(
            f"| {line['test']} | {line['threads']} | {line['engine']} / {line['peer']} | {line['ratio']:.2f} "
            f"| {rounds['min']:.2f}..{rounds['max']:.2f} |"
        )
    lines.append("")
    for line in result["limits"]:
        unit = "GB/s" if line["limit"] == READ else "GMAC/s"
        values = f"{line['median'] / 1e9:.1f} {unit} ({line['min'] / 1e9:.1f}..{line['max'] / 1e9:.1f})"
        lines.append(f"{line['limit']}, threads {line['threads']}: {values}")
    return "\n".join(lines)
