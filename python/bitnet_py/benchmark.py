"""Measuring and comparing models: speed by wall clock, outputs token for token. Nothing is estimated.

A model to compare with may be a BitNetModel, an engine of this package, the original's FastGen (generate_all), an
object with generate(prompt), or a function of a prompt: see measured_models.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import ArgumentTypeError, ConfigError
from .fast_gen import GenArgs
from .inference import SimpleInference, encode_prompt
from .measured_models import Answers, Measured, measured, measured_model, own_model
from .model import BitNetModel, load_model
from .tokenizer import create_tokenizer

DEFAULT_TOKENIZER = "./tokenizer.model"


def benchmark_inference(
    model: BitNetModel,
    tokenizer: Any,
    prompts: Sequence[str],
    gen_args: GenArgs | None = None,
    num_runs: int = 1,
    warmup_runs: int = 1,
) -> dict[str, Any]:
    """Speed of a model on prompts (each encoded with BOS), by wall clock; warm-up runs are not counted.

    gen_args: a GenArgs; by default 128 tokens, greedy. Prompts run one after another, or gen_args.gen_bsz together.
    Returns num_runs, num_prompts, total_time (seconds of all runs), avg_time (of a run), avg_tokens_per_second
    (generated tokens by total_time, so prompts' reading counts as time), avg_latency (seconds of a run by prompts),
    total_tokens (generated, all runs), detailed_stats (a Stats of each prompt of each run, phases prefill and decode).
    """
    (result,) = _measure([measured_model(model, tokenizer, gen_args)], prompts, num_runs, warmup_runs)
    return result


def compare_performance(
    rust_model: BitNetModel,
    python_model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    num_runs: int = 3,
    *,
    gen_args: GenArgs | None = None,
    warmup_runs: int = 1,
) -> dict[str, Any]:
    """Speed of two models on the same prompts; both are measured, and take turns run by run.

    python_model: see the module. Where it gives text, its tokens are counted with the tokenizer. Returns rust_results
    and python_results (benchmark_inference's), speedup (ratio of tokens per second), time_improvement (ratio of the
    other's avg_time to ours) and improvement_percentage.
    """
    models = [measured_model(rust_model, tokenizer, gen_args), measured(python_model, tokenizer, gen_args)]
    ours, others = _measure(models, prompts, num_runs, warmup_runs)
    speedup = _ratio(ours["avg_tokens_per_second"], others["avg_tokens_per_second"])
    return {
        "rust_results": ours,
        "python_results": others,
        "speedup": speedup,
        "time_improvement": _ratio(others["avg_time"], ours["avg_time"]),
        "improvement_percentage": (speedup - 1) * 100,
    }


def validate_outputs(
    rust_model: BitNetModel,
    python_model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    tolerance: float = 1e-6,
    *,
    gen_args: GenArgs | None = None,
) -> dict[str, Any]:
    """Whether two models give the same greedy continuations, and the same logits where both can be asked.

    python_model: see the module. A foreign model decides itself when it ends, so texts are compared as far as the
    shorter one goes. Logits (of the last prompt token) are compared if python_model is one of this package's or has
    get_logits(tokens), whose last row counts. Returns all_match (texts match and max_difference <= tolerance),
    max_difference (the largest of any logit; None if none were compared), tolerance, num_prompts, num_matches and
    detailed_results: prompt, rust_output, python_output, matches of each prompt.
    """
    arguments = replace(gen_args or GenArgs(), use_sampling=False)
    ours = measured_model(rust_model, tokenizer, arguments)(prompts).texts
    others = measured(python_model, tokenizer, arguments)(prompts).texts
    details = [
        {"prompt": prompt, "rust_output": our, "python_output": other, "matches": _same(our, other)}
        for prompt, our, other in zip(prompts, ours, others, strict=True)
    ]
    matches = sum(bool(detail["matches"]) for detail in details)
    difference = _logit_difference(rust_model, python_model, [encode_prompt(tokenizer, prompt) for prompt in prompts])
    return {
        "all_match": matches == len(prompts) and (difference is None or difference <= tolerance),
        "max_difference": difference,
        "tolerance": tolerance,
        "num_prompts": len(prompts),
        "num_matches": matches,
        "detailed_results": details,
    }


def quick_inference(
    model_path: str | os.PathLike[str],
    prompt: str,
    tokenizer_path: str | os.PathLike[str] = DEFAULT_TOKENIZER,
    max_new_tokens: int = 128,
    temperature: float = 0.8,
    top_p: float = 0.9,
    do_sample: bool = True,
    **options: Any,
) -> str:
    """Loads a model and continues a prompt.

    The default tokenizer_path, if there is no such file, means the model's own tokenizer. options: the keywords of
    SimpleInference.
    """
    model, tokenizer = _load(model_path, tokenizer_path)
    return SimpleInference(model, tokenizer).generate(
        prompt, max_tokens=max_new_tokens, temperature=temperature, top_p=top_p, do_sample=do_sample, **options
    )


def benchmark_model(
    model_path: str | os.PathLike[str],
    prompts: Sequence[str],
    tokenizer_path: str | os.PathLike[str] = DEFAULT_TOKENIZER,
    num_runs: int = 3,
    warmup_runs: int = 1,
    gen_args: GenArgs | None = None,
) -> dict[str, Any]:
    """Loads a model and measures it: benchmark_inference. tokenizer_path: as in quick_inference."""
    model, tokenizer = _load(model_path, tokenizer_path)
    return benchmark_inference(model, tokenizer, prompts, gen_args, num_runs, warmup_runs)


def _measure(
    models: Sequence[Measured], prompts: Sequence[str], num_runs: int, warmup_runs: int
) -> list[dict[str, Any]]:
    """Results of each model. They take turns, so that a slow moment of the machine falls on all alike."""
    if isinstance(prompts, str):
        raise ArgumentTypeError("benchmark: prompts: expected a list of texts, got one text")
    if not prompts:
        raise ConfigError("benchmark: prompts: expected 1 or more, got none")
    if num_runs < 1:
        raise ConfigError(f"benchmark: num_runs: expected 1 or more, got {num_runs}")
    for _ in range(warmup_runs):
        for model in models:
            model(prompts)
    runs = [[model(prompts) for model in models] for _ in range(num_runs)]
    return [_result(list(its), len(prompts)) for its in zip(*runs, strict=True)]


def _result(runs: Sequence[Answers], n_prompts: int) -> dict[str, Any]:
    seconds = sum(run.seconds for run in runs)
    n_tokens = sum(run.n_tokens for run in runs)
    return {
        "num_runs": len(runs),
        "num_prompts": n_prompts,
        "total_time": seconds,
        "avg_time": seconds / len(runs),
        "avg_tokens_per_second": _ratio(n_tokens, seconds),
        "avg_latency": seconds / len(runs) / n_prompts,
        "total_tokens": n_tokens,
        "detailed_stats": [stats for run in runs for stats in run.stats],
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else 0.0


# -- comparing


def _same(our: str, other: str) -> bool:
    """Equal as far as the shorter one goes; nothing equals only nothing."""
    length = min(len(our), len(other))
    return our[:length] == other[:length] and (length > 0 or our == other)


def _logit_difference(ours: BitNetModel, other: Any, prompts: Sequence[Sequence[int]]) -> float | None:
    """The largest difference of any logit after any prompt."""
    own = own_model(other)
    if own is None and not hasattr(other, "get_logits"):
        return None
    largest = 0.0
    for tokens in prompts:
        if own is not None:
            theirs = _last_logits(own, tokens)
        else:
            rows = other.get_logits(list(tokens))
            rows = rows.tolist() if hasattr(rows, "tolist") else list(rows)
            theirs = rows[-1] if isinstance(rows[-1], (list, tuple)) else rows
        for a, b in zip(_last_logits(ours, tokens), theirs, strict=True):
            largest = max(largest, abs(a - b))
    return largest


def _last_logits(model: BitNetModel, tokens: Sequence[int]) -> Sequence[float]:
    rows: list[list[float]] = model.session(context=len(tokens)).forward(list(tokens), logits="last").tolist()
    return rows[0]


def _load(model_path: str | os.PathLike[str], tokenizer_path: str | os.PathLike[str]) -> tuple[BitNetModel, Any]:
    model = load_model(model_path)
    own = os.fspath(tokenizer_path) == DEFAULT_TOKENIZER and not Path(tokenizer_path).exists()
    return model, create_tokenizer(model if own else tokenizer_path)
