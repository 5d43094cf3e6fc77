"""What Python costs on a model of the 2B-4T shape: generate_stream() and benchmark_inference() against `bitnet bench`,
in turns, so that a slow minute of the machine falls on all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

import bitnet_py
from bitnet_py import streams, system

BIN = Path(os.environ["BITNET_BIN_DIR"])
TOKENS, ROUNDS = 64, 9


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dummy")
    checkpoint = folder / "dummy.gguf"
    subprocess.run([BIN / "make-dummy-model", checkpoint, "--preset", "2b4t", "--encoding", "i2_s"], check=True)
    subprocess.run([BIN / "bitnetc", checkpoint, "-o", folder / "dummy.bnx"], check=True)
    checkpoint.unlink()
    return folder / "dummy.bnx"


def bench_speed(bundle: Path, threads: int) -> float:
    """Tokens per second of `bitnet bench`."""
    command = [BIN / "bitnet", "bench", bundle, "-p", "0", "-n", str(TOKENS), "-t", str(threads), "-r", "1", "--json"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return float(result["results"][0]["tokens_per_second"]["median"])


@pytest.mark.speed
@pytest.mark.parametrize("threads", [1, 2])
def test_python_costs_at_most_three_percent(bundle: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_threads", threads)
    model = bitnet_py.load_model(bundle)
    tokenizer = bitnet_py.create_tokenizer(bundle)
    inference = bitnet_py.SimpleInference(model, tokenizer)
    gen_args = bitnet_py.GenArgs(gen_length=TOKENS)

    def stream_speed() -> float:
        stream = inference.generate_stream("a", max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
        next(stream)  # the prompt and the first token
        start, before = time.perf_counter(), len(stream.tokens)
        for _ in stream:
            pass
        return (len(stream.tokens) - before) / (time.perf_counter() - start)

    def benchmark_speed() -> float:
        """Its tokens are divided by all of the time, the prompt's included."""
        result = bitnet_py.benchmark_inference(model, tokenizer, ["a"], gen_args, num_runs=1, warmup_runs=0)
        return float(result["avg_tokens_per_second"])

    stream_speed(), benchmark_speed(), bench_speed(bundle, threads)  # pages in, threads awake
    rounds = [(bench_speed(bundle, threads), stream_speed(), benchmark_speed()) for _ in range(ROUNDS)]
    benches = [bench for bench, _, _ in rounds]
    noise = (max(benches) - min(benches)) / statistics.median(benches)
    streamed = statistics.median(stream / bench for bench, stream, _ in rounds)
    benchmarked = statistics.median(result / bench for bench, _, result in rounds)
    print(
        f"{threads} threads: bitnet bench {statistics.median(benches):.2f} ({min(benches):.2f}..{max(benches):.2f})"
        f" tok/s; generate_stream {streamed:.3f}, benchmark_inference {benchmarked:.3f} of it"
    )
    assert streamed >= 0.97
    # One step more, for the prompt, is among the time that it divides by.
    assert abs(benchmarked - 1) <= noise + 1 / TOKENS


@pytest.mark.speed
def test_texts_together_are_faster_than_one_by_one(bundle: Path) -> None:
    model = bitnet_py.load_model(bundle)
    prompts = [[1 + i, 7, 9] for i in range(8)]
    sampling = bitnet_py.Sampling(max_tokens=24, ignore_eos=True)

    def seconds(batch: int) -> float:
        start = time.perf_counter()
        streams.complete(model, prompts, sampling, batch=batch)
        return time.perf_counter() - start

    seconds(8)
    rounds = [(seconds(1), seconds(8)) for _ in range(3)]
    ratio = statistics.median(alone / together for alone, together in rounds)
    tokens = len(prompts) * sampling.max_tokens
    print(f"8 texts: {tokens / statistics.median(r[1] for r in rounds):.1f} tok/s, {ratio:.2f} times one by one")
    assert ratio > 1.5


@pytest.mark.speed
def test_small_models_are_measured_alike(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of both sides, since other programs of the machine only slow down; here a token takes 0.1 ms."""
    monkeypatch.setattr(system, "_threads", 1)
    command = [BIN / "bitnet", "bench", model.path, "-t", "1", "-p", "0", "-n", str(TOKENS), "-r", "20", "--json"]
    told, measured = [], []
    for _ in range(ROUNDS):
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        told.append(result["results"][0]["tokens_per_second"]["max"])
        stats = bitnet_py.benchmark_inference(
            model, tokenizer, ["And God said"], bitnet_py.GenArgs(gen_length=TOKENS), num_runs=20
        )["detailed_stats"]
        measured.append(max(one.phases[1].tokens / one.phases[1].time for one in stats))
    assert max(measured) == pytest.approx(max(told), rel=0.2), (told, measured)
