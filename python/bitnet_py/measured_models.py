"""What benchmark.py runs: models of every kind, each as a function from prompts to answers and their time.

Kinds are a BitNetModel, a SimpleInference, an engine with the original's generate_all, an object with generate(prompt)
and a function of a prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import streams
from .errors import ArgumentTypeError
from .fast_gen import GenArgs
from .inference import SimpleInference, encode_prompt, inner_tokenizer, native_tokenizer
from .model import BitNetModel
from .stats import Stats
from .streams import Sampling

DEFAULT_ARGS = GenArgs(gen_length=128)  # greedy


@dataclass
class Answers:
    """One pass over all prompts: texts, their tokens, wall clock; a Stats of each, where the model tells."""

    texts: list[str]
    n_tokens: int
    seconds: float
    stats: list[Stats] = field(default_factory=list)


Measured = Callable[[Sequence[str]], Answers]


def measured(model: Any, tokenizer: Any, gen_args: GenArgs | None) -> Measured:
    """What runs the prompts on any kind of model."""
    if (own := own_model(model)) is not None:
        return measured_model(own, tokenizer, gen_args)
    if hasattr(model, "generate_all"):
        return _measured_fastgen(model, tokenizer, gen_args)
    generate = getattr(model, "generate", model)
    if not callable(generate):
        raise ArgumentTypeError(
            "python_model: expected a BitNetModel, an object with generate_all or generate, or a function of a prompt, "
            f"got {type(model).__name__}"
        )
    return _measured_texts(generate, tokenizer)


def own_model(model: Any) -> BitNetModel | None:
    """The BitNetModel that an object of this package is or holds."""
    if isinstance(model, SimpleInference):
        return model.model
    return model if isinstance(model, BitNetModel) else None


def measured_model(model: BitNetModel, tokenizer: Any, gen_args: GenArgs | None) -> Measured:
    """A model of this package, one prompt after another or gen_args.gen_bsz together."""
    args = gen_args or DEFAULT_ARGS
    drawing: dict[str, Any] = {"temperature": args.temperature, "top_p": args.top_p, "top_k": args.top_k or 0}
    sampling = Sampling(
        max_tokens=args.gen_length,
        repetition_penalty=args.repetition_penalty,
        speculate="off",  # what a token costs, whatever the text is
        **(drawing if args.use_sampling else {}),
    )
    native = native_tokenizer(tokenizer)

    def run(prompts: Sequence[str]) -> Answers:
        encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        begin = time.perf_counter()
        completions = streams.complete(model, encoded, sampling, batch=max(1, args.gen_bsz), tokenizer=native)
        seconds = time.perf_counter() - begin
        n_tokens = sum(len(completion.tokens) for completion in completions)
        return Answers([c.text for c in completions], n_tokens, seconds, [_stats_of(c) for c in completions])

    return run


def _stats_of(completion: streams.Completion) -> Stats:
    timings = completion.timings
    stats = Stats()
    stats.prefill_tokens = min(1, timings["generated_tokens"])
    stats.add("prefill", 0, timings["prompt_seconds"])
    stats.add("decode", timings["generated_tokens"] - stats.prefill_tokens, timings["generation_seconds"])
    return stats


def _measured_fastgen(engine: Any, tokenizer: Any, gen_args: GenArgs | None) -> Measured:
    """An engine with the original's interface; its own gen_args say how many tokens."""
    sampling = gen_args.use_sampling if gen_args is not None else False

    def run(prompts: Sequence[str]) -> Answers:
        encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        begin = time.perf_counter()
        stats, answers = engine.generate_all(encoded, use_cuda_graphs=True, use_sampling=sampling)
        seconds = time.perf_counter() - begin
        texts = [_text(tokenizer, _without_stop(tokenizer, answer)) for answer in answers]
        return Answers(texts, sum(len(answer) for answer in answers), seconds, [stats])

    return run


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Without special tokens, where the tokenizer is this package's."""
    native = native_tokenizer(tokenizer)
    return native.decode(tokens, False) if native else str(inner_tokenizer(tokenizer).decode(tokens))


def _measured_texts(generate: Callable[[str], str], tokenizer: Any) -> Measured:
    def run(prompts: Sequence[str]) -> Answers:
        begin = time.perf_counter()
        texts = [generate(prompt) for prompt in prompts]
        seconds = time.perf_counter() - begin
        n_tokens = sum(len(inner_tokenizer(tokenizer).encode(text, bos=False, eos=False)) for text in texts)
        return Answers(texts, n_tokens, seconds)

    return run


def _without_stop(tokenizer: Any, answer: Sequence[int]) -> list[int]:
    stops = getattr(inner_tokenizer(tokenizer), "stop_tokens", ())
    return list(answer[:-1] if answer and answer[-1] in stops else answer)
