"""Measuring and comparing: the promised keys, real numbers, every kind of model to compare with."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bitnet_py

PROMPTS = ["And God said", "In the beginning"]
MEASURED = {
    "num_runs",
    "num_prompts",
    "total_time",
    "avg_time",
    "avg_tokens_per_second",
    "avg_latency",
    "total_tokens",
    "detailed_stats",
}


ARGUMENTS = bitnet_py.GenArgs(gen_length=20)


@pytest.mark.case(50)
def test_measurement_has_the_promised_keys_and_real_numbers(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    begin = time.perf_counter()
    result = bitnet_py.benchmark_inference(model, tokenizer, PROMPTS, ARGUMENTS, num_runs=3, warmup_runs=2)
    elapsed = time.perf_counter() - begin
    assert set(result) == MEASURED
    assert (result["num_runs"], result["num_prompts"]) == (3, 2)
    inference = bitnet_py.SimpleInference(model, tokenizer)
    one_run = sum(len(inference.complete(prompt, 20, 0.0).tokens) for prompt in PROMPTS)
    assert result["total_tokens"] == 3 * one_run
    assert 0 < result["total_time"] < elapsed
    assert result["avg_time"] == pytest.approx(result["total_time"] / 3)
    assert result["avg_tokens_per_second"] == pytest.approx(result["total_tokens"] / result["total_time"])
    assert result["avg_latency"] == pytest.approx(result["avg_time"] / 2)
    assert len(result["detailed_stats"]) == 6
    for stats in result["detailed_stats"]:
        assert isinstance(stats, bitnet_py.Stats)
        assert [phase.name for phase in stats.phases] == ["prefill", "decode"]
        assert stats.phases[0].tokens == 0
        assert stats.prefill_time > 0
    assert sum(stats.total_tokens for stats in result["detailed_stats"]) == result["total_tokens"]
    assert sum(stats.total_time for stats in result["detailed_stats"]) <= result["total_time"]


def test_default_is_128_greedy_tokens_after_bos(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    result = bitnet_py.benchmark_inference(model, tokenizer, PROMPTS[:1], warmup_runs=0)
    expected = bitnet_py.SimpleInference(model, tokenizer).complete(PROMPTS[0], 128, 0.0)
    assert result["num_runs"] == 1
    assert result["total_tokens"] == len(expected.tokens)


def test_batched_measurement_makes_the_same_tokens(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    one_by_one = bitnet_py.benchmark_inference(model, tokenizer, PROMPTS, ARGUMENTS)
    assert (
        bitnet_py.benchmark_inference(model, tokenizer, PROMPTS, replace(ARGUMENTS, gen_bsz=2))["total_tokens"]
        == (one_by_one["total_tokens"])
    )


@pytest.mark.case(50)
def test_model_compared_with_itself_is_as_fast(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    for _ in range(10):  # near 1 on a quiet machine, which this one may not be
        result = bitnet_py.compare_performance(model, model, tokenizer, PROMPTS, num_runs=5, gen_args=ARGUMENTS)
        if 0.8 < result["speedup"] < 1.25:
            break
    assert 0.2 < result["speedup"] < 5
    took = [result[who]["total_time"] for who in ("python_results", "rust_results")]
    assert result["speedup"] == pytest.approx(took[0] / took[1])
    assert set(result) == {
        "rust_results",
        "python_results",
        "speedup",
        "time_improvement",
        "improvement_percentage",
    }
    assert set(result["rust_results"]) == set(result["python_results"]) == MEASURED
    assert result["rust_results"]["total_tokens"] == result["python_results"]["total_tokens"]
    assert result["time_improvement"] == pytest.approx(result["speedup"])
    assert result["improvement_percentage"] == pytest.approx((result["speedup"] - 1) * 100)


def test_slower_model_is_seen_to_be_slower(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    inference = bitnet_py.SimpleInference(model, tokenizer)

    def sluggish(prompt: str) -> str:
        inference.generate(prompt, 20, 0.0)  # whatever that takes here
        time.sleep(0.25)
        return "and it was so"

    result = bitnet_py.compare_performance(model, sluggish, tokenizer, PROMPTS, num_runs=1, gen_args=ARGUMENTS)
    assert result["python_results"]["total_time"] >= 0.5
    assert result["python_results"]["total_tokens"] == 2 * len(tokenizer.encode("and it was so", bos=False))
    assert result["speedup"] > 1


class Other:
    """An object with generate, and logits if asked."""

    def __init__(self, inference: bitnet_py.SimpleInference, off_by: float | None = None) -> None:
        self.generate = lambda prompt: inference.generate(prompt, 40, 0.0)
        if off_by is not None:
            self.get_logits = lambda tokens: [
                [value + off_by for value in row]
                for row in inference.model.session().forward(tokens, logits="all").tolist()
            ]


@pytest.mark.case(50)
def test_model_validates_against_itself(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    result = bitnet_py.validate_outputs(model, model, tokenizer, PROMPTS)
    assert set(result) == {
        "all_match",
        "max_difference",
        "tolerance",
        "num_prompts",
        "num_matches",
        "detailed_results",
    }
    assert (result["all_match"], result["num_matches"], result["num_prompts"]) == (True, 2, 2)
    assert (result["max_difference"], result["tolerance"]) == (0.0, 1e-6)
    for prompt, detail in zip(PROMPTS, result["detailed_results"], strict=True):
        assert set(detail) == {"prompt", "rust_output", "python_output", "matches"}
        assert (detail["prompt"], detail["matches"]) == (prompt, True)
        assert detail["rust_output"] == bitnet_py.SimpleInference(model, tokenizer).generate(prompt, 32, 0.0)


@pytest.mark.parametrize("kind", ["inference", "fastgen", "object", "function"])
def test_every_kind_of_model_can_be_compared(
    kind: str, model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    inference = bitnet_py.SimpleInference(model, tokenizer)  # which would sample by itself
    other: Any = {
        "inference": inference,
        "fastgen": bitnet_py.FastGen(model, tokenizer),
        "object": Other(inference),
        "function": Other(inference).generate,
    }[kind]
    result = bitnet_py.validate_outputs(model, other, tokenizer, PROMPTS)
    assert result["all_match"], result
    assert (result["max_difference"] is None) == (kind != "inference")
    speed = bitnet_py.compare_performance(model, other, tokenizer, PROMPTS, num_runs=1)
    assert speed["python_results"]["total_tokens"] > 0


def test_other_text_and_other_logits_do_not_validate(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    result = bitnet_py.validate_outputs(model, lambda prompt: "something else", tokenizer, PROMPTS)
    assert (result["all_match"], result["num_matches"]) == (False, 0)
    assert bitnet_py.validate_outputs(model, lambda prompt: "", tokenizer, PROMPTS)["num_matches"] == 0
    inference = bitnet_py.SimpleInference(model, tokenizer)
    result = bitnet_py.validate_outputs(model, Other(inference, 0.25), tokenizer, PROMPTS, tolerance=0.1)
    assert (result["all_match"], result["num_matches"]) == (False, 2)
    assert result["max_difference"] == pytest.approx(0.25, abs=1e-4)
    assert bitnet_py.validate_outputs(model, Other(inference, 0.25), tokenizer, PROMPTS, tolerance=0.3)["all_match"]


def test_quick_functions_load_and_run(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no tokenizer.model here: the model's own is taken
    expected = bitnet_py.SimpleInference(model, tokenizer).generate(PROMPTS[0], 9, 0.0)
    assert bitnet_py.quick_inference(model.path, PROMPTS[0], max_new_tokens=9, do_sample=False) == expected
    seeded = [bitnet_py.quick_inference(model.path, PROMPTS[0], seed=4, max_new_tokens=9) for _ in range(2)]
    assert seeded[0] == seeded[1]
    with pytest.raises(FileNotFoundError):
        bitnet_py.quick_inference(model.path, PROMPTS[0], tokenizer_path="nowhere/tokenizer.model")
    result = bitnet_py.benchmark_model(model.path, PROMPTS, num_runs=2, warmup_runs=0)
    assert set(result) == MEASURED
    assert result["num_runs"] == 2


def test_nothing_to_measure_is_an_error(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    with pytest.raises(ValueError, match="prompts: expected 1 or more, got none"):
        bitnet_py.benchmark_inference(model, tokenizer, [])
    with pytest.raises(ValueError, match="num_runs: expected 1 or more, got 0"):
        bitnet_py.benchmark_inference(model, tokenizer, PROMPTS, num_runs=0)
    with pytest.raises(TypeError, match="prompts: expected a list of texts, got one text"):
        bitnet_py.benchmark_inference(model, tokenizer, "And")
    with pytest.raises(TypeError, match=r"python_model: expected a BitNetModel.* got int"):
        bitnet_py.compare_performance(model, 5, tokenizer, PROMPTS)
