"""Text in, text out: SimpleInference, and the same for asyncio.

A prompt is encoded with BOS, what the configuration and the call say becomes a Sampling (config.py), and streams.py
does the rest. All inferences of one model share its engine, so generations of several threads and tasks run in common
steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from . import streams
from .config import GenerationConfig, InferenceConfig, sampling_of
from .errors import ArgumentTypeError
from .model import load_model
from .streams import Completion, LogitsProcessor, StreamingGenerator
from .tokenizer import create_tokenizer

if TYPE_CHECKING:
    from . import _runtime
    from .model import BitNetModel
    from .tokenizer import Tokenizer


class SimpleInference:
    """Continues prompts with a model.

    tokenizer: a Tokenizer, or a ChatFormat, whose tokenizer is used; it encodes prompts, and makes the text of a model
    that has no tokenizer of its own. config: an InferenceConfig (the default) or a GenerationConfig; may be replaced at
    any time. threads None: what set_num_threads says. context None: the model's.

    Every method that generates takes these keywords, which go before the configuration: max_new_tokens (or max_tokens),
    max_length, temperature, top_p, top_k, min_p, repetition_penalty (repeat_penalty), repetition_window
    (repeat_last_n), presence_penalty, frequency_penalty, seed, do_sample, stop (a text or several), stop_tokens
    (stop_token_ids), eos_token_id, ignore_eos, logit_bias, logprobs, reuse_prefix, speculate; see Sampling. None is as
    if not given. An unknown one is an ArgumentTypeError, an illegal value a ConfigError.
    """

    def __init__(
        self,
        model: BitNetModel,
        tokenizer: Tokenizer | Any,
        config: InferenceConfig | GenerationConfig | None = None,
        *,
        threads: int | None = None,
        context: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.config: InferenceConfig | GenerationConfig = InferenceConfig() if config is None else config
        self.threads = threads
        self.context = context
        self.last_stats: dict[str, Any] = {}
        """Statistics of the generate(), complete() or batch_generate() that ended last; streams have their own."""

    def generate(
        self,
        prompt: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        **options: Any,
    ) -> str:
        """The continuation of a prompt, without the prompt and without special tokens."""
        return self.complete(prompt, max_tokens, temperature, top_p, top_k, **options).text

    def generate_stream(
        self,
        prompt: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        *,
        logits_processor: LogitsProcessor | None = None,
        **options: Any,
    ) -> StreamingGenerator:
        """The continuation piece by piece, for `for`, `async for` and `await`.

        logits_processor may change the f32 [vocab] logits in place before each token is drawn.
        """
        options.update(max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_k=top_k)
        tokens = encode_prompt(self.tokenizer, prompt)
        return streams.stream(
            self.model,
            tokens,
            sampling_of(self.config, options, len(tokens)),
            prompt_text=prompt,
            logits_processor=logits_processor,
            tokenizer=native_tokenizer(self.tokenizer),
            threads=self.threads,
            context=self.context,
        )

    def complete(
        self,
        prompt: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        *,
        logits_processor: LogitsProcessor | None = None,
        **options: Any,
    ) -> Completion:
        """Like generate(), with tokens, finish reason, log-probabilities and timings."""
        stream = self.generate_stream(
            prompt, max_tokens, temperature, top_p, top_k, logits_processor=logits_processor, **options
        )
        completion = stream.completion()
        self.last_stats = _statistics([completion], stream.get_stream_stats()["elapsed_seconds"])
        return completion

    def batch_generate(self, prompts: Sequence[str], *, batch: int = 16, **options: Any) -> list[str]:
        """The continuations of prompts, up to `batch` of them together; each is what generate() gives for it."""
        if isinstance(prompts, str):
            raise ArgumentTypeError("batch_generate: prompts: expected a list of texts, got one text")
        encoded = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        begin = time.perf_counter()
        completions = streams.complete(
            self.model,
            encoded,
            [sampling_of(self.config, options, len(tokens)) for tokens in encoded],
            batch=batch,
            tokenizer=native_tokenizer(self.tokenizer),
            threads=self.threads,
            context=self.context,
        )
        self.last_stats = _statistics(completions, time.perf_counter() - begin)
        return [completion.text for completion in completions]

    async def generate_async(self, prompt: str, *args: Any, **options: Any) -> str:
        """generate() for asyncio; a cancelled task ends the generation."""
        return await self.generate_stream(prompt, *args, **options)

    def __repr__(self) -> str:
        return f"SimpleInference({self.model!r}, {self.config!r})"


class AsyncInference(SimpleInference):
    """SimpleInference whose methods are coroutines; generate_stream() is as there."""

    async def generate(self, prompt: str, *args: Any, **options: Any) -> str:  # type: ignore[override]
        """The continuation of a prompt; see SimpleInference.generate."""
        return await self.generate_stream(prompt, *args, **options)

    async def complete(self, prompt: str, *args: Any, **options: Any) -> Completion:  # type: ignore[override]
        """The continuation and what else came of it; see SimpleInference.complete."""
        stream = self.generate_stream(prompt, *args, **options)
        await stream
        return stream.completion()

    async def batch_generate(self, prompts: Sequence[str], **options: Any) -> list[str]:  # type: ignore[override]
        """All prompts at once; see SimpleInference.batch_generate."""
        import asyncio

        return list(await asyncio.gather(*(self.generate(prompt, **options) for prompt in prompts)))


def batch_generate(engine: Any, prompts: Sequence[str], **options: Any) -> list[str]:
    """The texts that an engine (SimpleInference, InferenceEngine, anything with generate) makes of prompts."""
    together = getattr(engine, "batch_generate", None)
    if together is not None:
        return cast("list[str]", together(prompts, **options))
    return [engine.generate(prompt, **options) for prompt in prompts]


async def load_model_async(path: str | os.PathLike[str], *args: Any, **options: Any) -> BitNetModel:
    """load_model() on another thread."""
    import asyncio

    return await asyncio.to_thread(load_model, path, *args, **options)


async def create_tokenizer_async(path: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
    """create_tokenizer() on another thread."""
    import asyncio

    return await asyncio.to_thread(create_tokenizer, path, *args, **options)


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Tokens of a prompt, BOS first, by a Tokenizer or by the one inside a ChatFormat."""
    return cast("list[int]", inner_tokenizer(tokenizer).encode(prompt, bos=True, eos=False))


def inner_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer inside a ChatFormat; a Tokenizer itself."""
    return getattr(tokenizer, "tokenizer", tokenizer)


def native_tokenizer(tokenizer: Any) -> _runtime.Tokenizer | None:
    """The runtime's tokenizer in one of this package: for the text of models that have none themselves."""
    native: _runtime.Tokenizer | None = getattr(inner_tokenizer(tokenizer), "_native", None)
    return native


def _statistics(completions: Sequence[Completion], seconds: float) -> dict[str, Any]:
    """prompt_tokens, generated_tokens, seconds (wall), tokens_per_second (generated, of the wall time),
    prompt_seconds, generation_seconds (sums), finish_reasons."""
    generated = sum(completion.timings["generated_tokens"] for completion in completions)
    return {
        "prompt_tokens": sum(len(completion.prompt_tokens) for completion in completions),
        "generated_tokens": generated,
        "seconds": seconds,
        "tokens_per_second": generated / seconds if seconds > 0 else 0.0,
        "prompt_seconds": sum(completion.timings["prompt_seconds"] for completion in completions),
        "generation_seconds": sum(completion.timings["generation_seconds"] for completion in completions),
        "finish_reasons": [completion.finish_reason for completion in completions],
    }
