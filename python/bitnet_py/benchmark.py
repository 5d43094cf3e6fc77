"""Measuring and comparing models: speed by wall clock, outputs token for token. Nothing is estimated.

A model to compare with may be a BitNetModel, an engine of this package, the original's FastGen (generate_all), an
object with generate(prompt), or a function of a prompt.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import streams
from .errors import ArgumentTypeError, ConfigError
from .inference import SimpleInference, encode_prompt, inner_tokenizer, native_tokenizer
from .model import BitNetModel, load_model
from .stats import Stats
from .streams import Sampling
from .tokenizer import create_tokenizer

DEFAULT_TOKENIZER = "./tokenizer.model"


class GenerationArguments(Protocol):
    """What is read of GenArgs (which has more)."""

    gen_length: int
    gen_bsz: int
    use_sampling: bool
    temperature: float
    top_p: float


@dataclass
class _Answers:
    """One pass over all prompts."""

    texts: list[str]
    n_tokens: int
    seconds: float
    stats: list[Stats] = field(default_factory=list)


_Subject = Callable[[Sequence[str]], _Answers]


def benchmark_inference(
    model: BitNetModel,
    tokenizer: Any,
    prompts: Sequence[str],
    gen_args: GenerationArguments | None = None,
    num_runs: int = 1,
    warmup_runs: int = 1,
) -> dict[str, Any]:
    """Speed of a model on prompts (each encoded with BOS), by wall clock; warm-up runs are not counted.

    gen_args: a GenArgs; by default 128 tokens, greedy. Prompts run one after another, or gen_args.gen_bsz together.
    Returns num_runs, num_prompts, total_time (seconds of all runs), avg_time (of a run), avg_tokens_per_second
    (generated tokens by total_time, so prompts' reading counts as time), avg_latency (seconds of a run by prompts),
    total_tokens (generated, all runs), detailed_stats (a Stats of each prompt of each run, phases prefill and decode).
    """
    (result,) = _measure([_model_subject(model, tokenizer, gen_args)], prompts, num_runs, warmup_runs)
    return result


def compare_performance(
    rust_model: BitNetModel,
    python_model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    num_runs: int = 3,
    *,
    gen_args: GenerationArguments | None = None,
    warmup_runs: int = 1,
) -> dict[str, Any]:
    """Speed of two models on the same prompts; both are measured, and take turns run by run.

    python_model: see the module. Where it gives text, its tokens are counted with the tokenizer. Returns rust_results
    and python_results (benchmark_inference's), speedup (ratio of tokens per second), time_improvement (ratio of the
    other's avg_time to ours) and improvement_percentage.
    """
    subjects = [_model_subject(rust_model, tokenizer, gen_args), _subject(python_model, tokenizer, gen_args)]
    ours, others = _measure(subjects, prompts, num_runs, warmup_runs)
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
    gen_args: GenerationArguments | None = None,
) -> dict[str, Any]:
    """Whether two models give the same greedy continuations, and the same logits where both can be asked.

    python_model: see the module. A foreign model decides itself when it ends, so texts are compared as far as the
    shorter one goes. Logits (of the last prompt token) are compared if python_model is one of this package's or has
    get_logits(tokens), whose last row counts. Returns all_match (texts match and max_difference <= tolerance),
    max_difference (the largest of any logit; None if none were compared), tolerance, num_prompts, num_matches and
    detailed_results: prompt, rust_output, python_output, matches of each prompt.
    """
    arguments = _Greedy(gen_args.gen_length if gen_args else 32, gen_args.gen_bsz if gen_args else 1)
    ours = _model_subject(rust_model, tokenizer, arguments)(prompts).texts
    others = _subject(python_model, tokenizer, arguments)(prompts).texts
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
    gen_args: GenerationArguments | None = None,
) -> dict[str, Any]:
    """Loads a model and measures it: benchmark_inference. tokenizer_path: as in quick_inference."""
    model, tokenizer = _load(model_path, tokenizer_path)
    return benchmark_inference(model, tokenizer, prompts, gen_args, num_runs, warmup_runs)


@dataclass
class _Greedy:
    """GenArgs for comparing and by default."""

    gen_length: int = 128
    gen_bsz: int = 1
    use_sampling: bool = False
    temperature: float = 0.0
    top_p: float = 1.0


def _measure(
    subjects: Sequence[_Subject], prompts: Sequence[str], num_runs: int, warmup_runs: int
) -> list[dict[str, Any]]:
    """Results of each subject. They take turns, so that a slow moment of the machine falls on all alike."""
    if isinstance(prompts, str):
        raise ArgumentTypeError("benchmark: prompts: expected a list of texts, got one text")
    if not prompts:
        raise ConfigError("benchmark: prompts: expected 1 or more, got none")
    if num_runs < 1:
        raise ConfigError(f"benchmark: num_runs: expected 1 or more, got {num_runs}")
    for _ in range(warmup_runs):
        for subject in subjects:
            subject(prompts)
    runs = [[subject(prompts) for subject in subjects] for _ in range(num_runs)]
    return [_result(list(its), len(prompts)) for its in zip(*runs, strict=True)]


def _result(runs: Sequence[_Answers], n_prompts: int) -> dict[str, Any]:
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


# -- the kinds of models


def _subject(model: Any, tokenizer: Any, gen_args: GenerationArguments | None) -> _Subject:
    """What runs the prompts on any kind of model."""
    if (own := _own_model(model)) is not None:
        return _model_subject(own, tokenizer, gen_args)
    if hasattr(model, "generate_all"):
        return _fastgen_subject(model, tokenizer, gen_args)
    generate = getattr(model, "generate", model)
    if not callable(generate):
        raise ArgumentTypeError(
            "python_model: expected a BitNetModel, an object with generate_all or generate, or a function of a prompt, "
            f"got {type(model).__name__}"
        )
    return _text_subject(generate, tokenizer)


def _own_model(model: Any) -> BitNetModel | None:
    """The BitNetModel that an object of this package is or holds."""
    if isinstance(model, SimpleInference):
        return model.model
    return model if isinstance(model, BitNetModel) else None


def _model_subject(model: BitNetModel, tokenizer: Any, gen_args: GenerationArguments | None) -> _Subject:
    arguments: GenerationArguments = _Greedy() if gen_args is None else gen_args
    sampling = Sampling(
        max_tokens=arguments.gen_length,
        temperature=arguments.temperature if arguments.use_sampling else 0.0,
        top_p=arguments.top_p if arguments.use_sampling else 1.0,
    )

    native = native_tokenizer(tokenizer)

    def run(prompts: Sequence[str]) -> _Answers:
        encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        begin = time.perf_counter()
        completions = streams.complete(model, encoded, sampling, batch=max(1, arguments.gen_bsz), tokenizer=native)
        seconds = time.perf_counter() - begin
        n_tokens = sum(len(completion.tokens) for completion in completions)
        return _Answers([c.text for c in completions], n_tokens, seconds, [_stats_of(c) for c in completions])

    return run


def _stats_of(completion: streams.Completion) -> Stats:
    timings = completion.timings
    stats = Stats()
    stats.prefill_tokens = min(1, timings["generated_tokens"])
    stats.current = ("prefill", 0, 0.0)
    stats.end_phase(0, timings["prompt_seconds"])
    stats.current = ("decode", stats.prefill_tokens, 0.0)
    stats.end_phase(timings["generated_tokens"], timings["generation_seconds"])
    return stats


def _fastgen_subject(engine: Any, tokenizer: Any, gen_args: GenerationArguments | None) -> _Subject:
    """An engine with the original's interface; its own gen_args decide unless it lets them be replaced."""
    sampling = gen_args.use_sampling if gen_args is not None else False

    def run(prompts: Sequence[str]) -> _Answers:
        encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        begin = time.perf_counter()
        stats, answers = engine.generate_all(encoded, use_cuda_graphs=True, use_sampling=sampling)
        seconds = time.perf_counter() - begin
        texts = [_text(tokenizer, _without_stop(tokenizer, answer)) for answer in answers]
        return _Answers(texts, sum(len(answer) for answer in answers), seconds, [stats])

    return run


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Without special tokens, where the tokenizer is this package's."""
    native = native_tokenizer(tokenizer)
    return native.decode(tokens, False) if native else str(inner_tokenizer(tokenizer).decode(tokens))


def _text_subject(generate: Callable[[str], str], tokenizer: Any) -> _Subject:
    def run(prompts: Sequence[str]) -> _Answers:
        begin = time.perf_counter()
        texts = [generate(prompt) for prompt in prompts]
        seconds = time.perf_counter() - begin
        n_tokens = sum(len(inner_tokenizer(tokenizer).encode(text, bos=False, eos=False)) for text in texts)
        return _Answers(texts, n_tokens, seconds)

    return run


# -- comparing


def _same(our: str, other: str) -> bool:
    """Equal as far as the shorter one goes; nothing equals only nothing."""
    length = min(len(our), len(other))
    return our[:length] == other[:length] and (length > 0 or our == other)


def _logit_difference(ours: BitNetModel, other: Any, prompts: Sequence[Sequence[int]]) -> float | None:
    """The largest difference of any logit after any prompt."""
    own = _own_model(other)
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


def _without_stop(tokenizer: Any, answer: Sequence[int]) -> list[int]:
    stops = getattr(inner_tokenizer(tokenizer), "stop_tokens", ())
    return list(answer[:-1] if answer and answer[-1] in stops else answer)
