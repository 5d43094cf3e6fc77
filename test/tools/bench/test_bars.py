"""tools/bench/bars.py: that a bar is what it says, and that what was not measured does not hold."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools" / "bench"))
import bars
from bars import Bar, Bench, Numbers


def result(speeds: dict[tuple[str, str, int], list[float]], **fields: float) -> dict[str, Any]:
    return {
        "results": [
            {"engine": engine, "test": test, "threads": threads, "median": sorted(runs)[len(runs) // 2], "runs": runs}
            | fields
            for (engine, test, threads), runs in speeds.items()
        ]
    }


def bar_of(found: list[Bar], beginning: str) -> Bar:
    (bar,) = (bar for bar in found if bar.what.startswith(beginning))
    return bar


def test_bar_holds_on_its_side_only() -> None:
    assert Bar("g", "w", 2.3, 2.3).holds
    assert not Bar("g", "w", 2.3, 2.29).holds
    assert Bar("g", "w", 1.15, 1.15, at_least=False).holds
    assert not Bar("g", "w", 1.15, 1.16, at_least=False).holds
    assert not Bar("g", "w", 1.15, None, at_least=False).holds
    assert Bar("g", "w", 60, 41.23, False, " ms").row() == "| g | w | at most 60 ms | 41.2 ms | yes |"
    assert Bar("g", "w", 60, None).row() == "| g | w | at least 60 | not measured | NO |"


def test_nothing_measured_means_that_no_bar_holds() -> None:
    found = bars.speed_bars(Numbers({"results": []}), bars.GROUPS)
    assert len(found) == 30
    assert not any(bar.holds for bar in found)


def test_ratios_are_of_the_right_engines_and_tests() -> None:
    numbers = Numbers(
        result(
            {
                ("dense", "tg128", 1): [30, 30, 30],
                ("tq2_0", "tg128", 1): [10, 10, 10],
                ("default", "tg128", 1): [33, 33, 33],
                ("no zeros", "tg128", 1): [27, 27, 27],
                ("zeros", "tg128", 1): [45, 45, 45],
                ("dense", "pp512", 2): [200, 200, 100],
                ("tq2_0", "pp512", 2): [25, 25, 25],
                ("long prompt", "pp2048", 2): [150],
                ("avx2", "tg128", 1): [15, 15],
                ("q8 cache", "tg128", 2): [50],
                ("q8 cache", "tg128 @ d2048", 2): [35],
                ("rows", "tg16", 1): [30],
                ("rows", "tg16 x2", 1): [50],
                ("head of dense", "tg16", 1): [40],
                ("head of dense", "tg16 no head", 1): [50],
                ("head of f16 head", "tg16", 1): [25],
                ("head of f16 head", "tg16 no head", 1): [50],
            },
            share_of_read_bandwidth=0.9,
        )
    )
    found = bars.speed_bars(numbers, bars.GROUPS)

    def got(beginning: str) -> float | None:
        return bar_of(found, beginning).got

    assert got("dense tg128: share of the byte limit, threads 1") == 0.9
    assert got("dense tg128 by TQ2_0's, threads 1") == 3
    assert got("half shut, tg128 by dense, threads 1") == pytest.approx(1.1)
    assert got("without zeros, tg128 by dense, threads 1") == pytest.approx(0.9)
    assert got("with zeros, tg128 by TQ2_0's, threads 1") == 4.5
    assert got("pp512 by TQ2_0's, threads 2") == 8
    assert got("pp2048 by pp512, threads 2") == 0.75  # of the first round: the third was another minute
    assert got("avx2 tg128 by VNNI, threads 1") == 0.5
    assert got("q8 cache: tg128 at 2048 by tg128") == pytest.approx(0.7)
    assert got("2 rows by one, threads 1") == pytest.approx(1.2)
    # 1/40 - 1/50 = 5 ms of 1/25 - 1/50 = 20 ms
    assert got("time of the exact head by f16's, threads 1") == pytest.approx(0.25)
    assert bar_of(found, "time of the exact head by f16's, threads 1").holds
    assert not bar_of(found, "2 rows by one, threads 1").holds


def test_only_the_groups_that_were_asked_for() -> None:
    found = bars.speed_bars(Numbers({"results": []}), ["avx2", "depth"])
    assert {bar.group for bar in found} == {"avx2", "depth"}


def programs(tmp_path: Path, bitnetc_help: str) -> Bench:
    """A build whose bitnetc and make-dummy-model write their command line to the file that they shall make."""
    for name, flags in (("bitnetc", bitnetc_help), ("make-dummy-model", "--encoding --kv-heads N")):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --help ] && echo "{flags}" && exit\n'
            f'for a in "$@"; do case $a in *unfinished*) echo "$@" > "$a";; esac; done\n'
        )
        program.chmod(0o755)
    return Bench(tmp_path, tmp_path, lambda _: None)


def test_bundle_needs_flags_that_the_compiler_knows(tmp_path: Path) -> None:
    bench = programs(tmp_path, "--no-skip --kv-cache-dir")
    dense = bench.bundle("dense")
    assert dense
    assert dense.read_text().endswith("--target=avx2,avx512 --no-skip\n")
    assert bench.bundle("q8 cache") is None  # --kv-cache-dir is not --kv
    assert bench.bundle("zeros") is None  # nor does make-dummy-model know --gate-zeros


def test_compiler_that_skips_nothing_needs_no_flag_against_it(tmp_path: Path) -> None:
    dense = programs(tmp_path, "--head=KIND").bundle("f16 head")
    assert dense
    assert dense.read_text().endswith("--target=avx2,avx512 --head=f16\n")


def test_file_is_made_anew_only_by_a_newer_program(tmp_path: Path) -> None:
    bench = programs(tmp_path, "")
    model = bench.model("plain", [])
    assert model
    model.write_text("kept")
    assert bench.model("plain", []) == model
    assert model.read_text() == "kept"
    later = model.stat().st_mtime + 10

    os.utime(tmp_path / "make-dummy-model", (later, later))
    bench.model("plain", [])
    assert model.read_text() != "kept"
    assert not list(tmp_path.glob("unfinished*"))
