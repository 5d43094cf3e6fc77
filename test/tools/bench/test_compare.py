"""tools/bench without a peer: what it computes and what it refuses; the engines are scripts of the test."""

import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools" / "bench"))
import compare
import engines
import plot
import results
from engines import BenchError, Entry
from results import Run

HELLO = {"bytes_per_token": 700e6, "kv_bytes_per_token": 1e6, "ternary_weights": 2e9}

# An engine that measures nothing: it answers with `speed` times how often it has been asked for the same.
ENGINE = """
import json, sys
tests = [{"test": "pp8", "threads": 1}, {"test": "tg4", "threads": 1}]
tests += [{"test": "dot product peak", "threads": 1}, {"test": "read bandwidth", "threads": 1}]
print(json.dumps({"tests": tests, **json.loads(sys.argv[2])}), flush=True)
asked = [0] * 4
for line in sys.stdin:
    asked[int(line)] += 1
    print(float(sys.argv[1]) * asked[int(line)] * (1e9 if int(line) > 1 else 1), flush=True)
"""


def entry(tmp_path: Path, name: str, kind: str, speed: float, **fields: Any) -> Entry:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    return Entry(name, kind, script, [sys.executable, str(script), str(speed), json.dumps(HELLO)], **fields)


def result(tmp_path: Path) -> dict[str, Any]:
    entries = [
        entry(tmp_path, "ours", "bitnet", 30, limits=True),
        entry(tmp_path, "peer <&>", "peer", 10),
        entry(tmp_path, "slow peer", "peer", 5, rounds=2),
    ]
    return compare.result_of(compare.measure(entries, 3, lambda _: None), ["compare.py", "--of", "a test"])


def line_of(measured: dict[str, Any], engine: str, test: str) -> dict[str, Any]:
    line = results.find(measured, engine, test, 1)
    assert line
    return line


def test_names_of_tests_are_read() -> None:
    assert results.parse_test("pp512") == ("pp", 512, 1, 0)
    assert results.parse_test("tg128 x4 @ d2048") == ("tg", 128, 4, 2048)
    assert results.parse_test("tg16 no head") == ("tg no head", 16, 1, 0)
    with pytest.raises(ValueError, match=r"test: expected a name such as pp512 or tg128 @ d2048, got 'tg'"):
        results.parse_test("tg")


def test_shares_are_of_what_a_step_reads_or_multiplies() -> None:
    # 700 MB and a cache of 2048 positions and then 1 to 3 more, 2050 MB on average: 2750 MB, 4 times a second
    share = results.shares(HELLO, "tg3 @ d2048", [Run(4.0, 22e9)])
    assert share == {"share_of_read_bandwidth": pytest.approx(0.5)}
    # two rows: half as many steps, each with the weights once and both caches
    share = results.shares(HELLO, "tg1 x2", [Run(20.0, 70.2e9)])
    assert share == {"share_of_read_bandwidth": pytest.approx(0.1)}
    assert results.shares(HELLO, "pp512", [Run(100.0, 250e9)]) == {"share_of_dot_product_peak": pytest.approx(0.8)}
    assert results.shares(HELLO, "tg8 no head", [Run(100.0, 1e9)]) == {}
    assert results.shares(HELLO, "pp512", [Run(100.0, 0.0)]) == {}


def test_share_is_the_median_of_the_runs_shares() -> None:
    # half of the limit while it was low, nine tenths while it was high: neither speed belongs to the other limit
    runs = [Run(10.0, 40e9), Run(10.0, 40e9), Run(45.0, 100e9), Run(45.0, 100e9), Run(45.0, 100e9)]
    assert results.shares(HELLO, "pp8", runs) == {"share_of_dot_product_peak": pytest.approx(0.9)}


def test_engines_take_turns_with_the_limits_between(tmp_path: Path) -> None:
    measured = result(tmp_path)
    results.check(measured)
    ours = line_of(measured, "ours", "pp8")
    assert (ours["runs"], ours["median"]) == ([30, 60, 90], 60)
    # a limit before and after each engine, which are three twice and then two
    limits = {line["limit"]: line["runs"] for line in measured["limits"]}
    assert limits[results.DOT] == limits[results.READ] == [30e9 * times for times in range(1, 12)]
    assert ours["limits"] == [45e9, 165e9, 285e9]  # times 1 and 2, 5 and 6, 9 and 10
    assert line_of(measured, "peer <&>", "pp8")["limits"] == [75e9, 195e9, 315e9]
    assert ours["share_of_dot_product_peak"] == pytest.approx(2e9 * 60 / 165e9)
    assert line_of(measured, "slow peer", "tg4")["runs"] == [5, 10]


def test_ratios_are_of_medians_of_the_rounds_that_both_took_part_in(tmp_path: Path) -> None:
    ratios = {(line["peer"], line["test"]): line for line in result(tmp_path)["ratios"]}
    assert len(ratios) == 4
    assert ratios["peer <&>", "tg4"]["ratio"] == pytest.approx(60 / 20)
    assert ratios["slow peer", "tg4"]["ratio"] == pytest.approx(45 / 7.5)
    assert ratios["slow peer", "tg4"]["rounds"]["runs"] == [30 / 5, 60 / 10]


def test_result_says_where_it_comes_from_and_survives_a_file(tmp_path: Path) -> None:
    measured = result(tmp_path)
    assert measured["machine"]["cpu"]
    assert len(measured["commit"]) >= 40 or measured["commit"] == ""
    assert measured["command"] == ["compare.py", "--of", "a test"]
    assert [engine["command"][0] for engine in measured["engines"]] == [sys.executable] * 3
    results.save(measured, tmp_path / "folder" / "result.json")
    assert results.load(tmp_path / "folder" / "result.json") == measured
    table = results.table(measured)
    assert "| tg4 | 1 | ours / peer <&> | 3.00 | 3.00..3.00 |" in table
    assert "read bandwidth, threads 1: 180.0 GB/s (30.0..330.0)" in table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(schema=2), "result: schema: expected 1, got 2"),
        (lambda r: r.pop("commit"), "result: commit: expected str, got None"),
        (lambda r: r["results"][0].update(engine="nobody"), "result: results: no engine 'nobody'"),
        (lambda r: r["limits"][0].update(median=1), "result: median: expected it within its runs"),
        (lambda r: r["results"][1].update(runs=[]), "result: runs: expected some"),
    ],
)
def test_damaged_result_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    measured = result(tmp_path)
    change(measured)
    with pytest.raises(BenchError) as error:
        results.check(measured)
    assert str(error.value).startswith(message)


def test_picture_shows_every_number(tmp_path: Path) -> None:
    measured = result(tmp_path)
    picture = xml.fromstring(plot.svg(measured))
    texts = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for line in measured["results"]:
        assert f"{line['median']:.3g}" in texts
    assert {"pp8", "tg4", "ours", "peer <&>", "slow peer", "limit of the machine", "1 thread"} <= set(texts)
    heights = {
        rect.get("fill"): float(rect.get("height", "0"))
        for rect in picture.iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("width") == str(plot.BAR - 4)
    }  # of the last panel, tg4: 60 and 20 tokens per second
    assert heights[plot.OURS[0]] == pytest.approx(3 * heights[plot.PEERS[0]], rel=0.01)
    right = max(float(rect.get("x", "0")) for rect in picture.iter("{http://www.w3.org/2000/svg}rect"))
    assert right + plot.BAR <= float(picture.get("width", "0"))


def test_limit_line_is_where_the_whole_limit_would_be(tmp_path: Path) -> None:
    measured = result(tmp_path)
    assert plot.limit_of(measured, "pp8", 1) == pytest.approx(165e9 / 2e9)
    assert plot.limit_of(measured, "pp8", 2) == 0


def test_engine_that_ends_is_an_error_with_its_name(tmp_path: Path) -> None:
    broken = entry(tmp_path, "ours", "bitnet", 1)
    broken.command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(BenchError, match=r"^ours: the process ended with code 3; its message stands above$"):
        compare.measure([broken], 1, lambda _: None)
    broken.command = [str(tmp_path / "nothing")]
    with pytest.raises(BenchError, match=r"^ours: .*nothing: cannot start: No such file or directory$"):
        compare.measure([broken], 1, lambda _: None)


def test_same_name_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="engines: expected each name once, got a, a"):
        compare.measure([entry(tmp_path, "a", "peer", 1)] * 2, 1, lambda _: None)


def test_entries_are_parsed(tmp_path: Path) -> None:
    file = tmp_path / "m.bnx"
    file.write_bytes(b"")
    assert compare.parse_entry(f"a={file},cpu=avx2,rounds=3", "--ours") == ("a", file, {"cpu": "avx2", "rounds": "3"})
    for text in (f"{file}", f"a={file},colour=red", "=x", "a="):
        with pytest.raises(BenchError, match="--ours: expected NAME=FILE, then ,option=value of cpu, rounds"):
            compare.parse_entry(text, "--ours")
    with pytest.raises(BenchError, match=r"--ours a: .*other: no such file"):
        compare.parse_entry(f"a={tmp_path}/other", "--ours")


def test_commands_of_the_engines(tmp_path: Path) -> None:
    ours = engines.bitnet("a", Path("bitnet"), tmp_path, generate=[16], threads=[1, 2], flags=["--cpu", "avx2"])
    assert ours.command == f"bitnet bench {tmp_path} -p 0 -n 16 -d 0 -t 1,2 --on-request --cpu avx2".split()
    peer = engines.llama_cpp("b", Path("python3"), tmp_path, prompt=[8], waiting="passive")
    assert peer.command[2:] == f"{tmp_path} -p 8 -n 0 -d 0 -t 1".split()
    assert peer.environment["OMP_WAIT_POLICY"] == "PASSIVE"
