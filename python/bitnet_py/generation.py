"""One generation: how its tokens are drawn, what came of it, and its place in logs and metrics.

streams.py steps generations; nothing here does.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import _runtime, metrics
from .detokenizer import Detokenizer
from .errors import ConfigError

_log = logging.getLogger("bitnet_py.stream")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn and when a generation ends.

    max_tokens: new tokens, <= 0 until the context is full. temperature 0: always the likeliest token. top_k 0, top_p 1,
    min_p 0, repetition_penalty 1, presence_penalty 0, frequency_penalty 0: off. repetition_window: tokens that the
    penalties look back, < 0 all. seed None: a new one each time. stop: texts that end the generation and are no part of
    it. stop_tokens: None takes the tokenizer's. logit_bias: added to the logits of these ids. logprobs: None, or the
    number of likeliest tokens to report with each token (0: only the drawn one). reuse_prefix: what earlier ones with
    it have read of the same beginning is not read again, as suits a conversation; the text is the same. speculate:
    steps also run tokens that are guessed from the text so far, which makes texts that repeat themselves faster and
    never changes one; "auto": where the likeliest token is always taken, as far as it pays; "ngram": with any sampling,
    as far as it pays; "off"; or how many, up to 15, whether it pays or not.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] | None = None
    ignore_eos: bool = False
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    reuse_prefix: bool = False
    speculate: str | int = "auto"


@dataclass
class TokenLogprob:
    """Log-probabilities (natural, of the model's unchanged logits) of the token drawn and of the likeliest ones."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass
class Completion:
    """A generation that is over.

    tokens: all drawn, with the stop token if one ended the text. text: without special tokens and stop texts.
    finish_reason: "stop", "length" or "cancelled". logprobs: one for each of tokens, if asked for. timings:
    prompt_tokens, generated_tokens, prompt_seconds, generation_seconds, cached_tokens (of the prompt, not read again),
    drafted_tokens (guesses that ran) and accepted_tokens (those that were right); the first token comes from the
    prompt's logits, so generation_seconds covers generated_tokens - 1 steps, less the accepted_tokens.
    """

    prompt_tokens: list[int]
    tokens: list[int]
    text: str
    finish_reason: str
    logprobs: list[TokenLogprob] | None
    timings: _runtime.Timings


class Request:
    """A generation and what came of it. Whoever steps it does so on one thread at a time; end() may come from any."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        engine: _runtime.Engine,
        prompt: Sequence[int],
        sampling: Sampling,
        tokenizer: _runtime.Tokenizer | None,
        *,
        changes_logits: bool = False,
    ) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.tokens: list[int] = []
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] | None = None if sampling.logprobs is None else []
        self.finish: str | None = None
        self.generation: _runtime.Generation | None = None  # until the end
        self._ending = threading.Lock()  # taken by the one who ends it, and never given back
        seed = int.from_bytes(os.urandom(8), "little") if sampling.seed is None else sampling.seed % 2**64
        generation = engine.generate(
            self.prompt,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            repetition_penalty=sampling.repetition_penalty,
            repetition_window=sampling.repetition_window,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            seed=seed,
            logit_bias=sampling.logit_bias or None,
            stop=sampling.stop if tokenizer is None else (),
            stop_tokens=sampling.stop_tokens if tokenizer is None else _stop_tokens(sampling, tokenizer),
            ignore_eos=sampling.ignore_eos,
            reuse_prefix=sampling.reuse_prefix,
            speculate=speculation_of(sampling.speculate),
            all_logits=changes_logits or sampling.logprobs is not None,
        )
        self.detokenizer = None if tokenizer is None else Detokenizer(tokenizer, sampling.stop)
        self._last_timings = generation.timings()
        self.number = next(self._numbers)
        self.born = time.perf_counter()
        self.first_token = self.last_token = self.born  # seconds, until there are tokens
        self.ended: float | None = None
        _log.debug("stream %d: begins: %d prompt tokens, %s", self.number, len(self.prompt), sampling)
        metrics.started(len(self.prompt))
        self.generation = generation

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.end("cancelled")

    def take(self, token: int, text: str, finish: str | None) -> str:
        """Records an event of the generation; its text."""
        if token >= 0:
            self.tokens.append(token)
            self.last_token = time.perf_counter()
            if len(self.tokens) == 1:
                self.first_token = self.last_token
                metrics.first_token(self.first_token - self.born)
            if self.logprobs is not None and self.generation is not None:
                logprob, top = self.generation.logprobs(self.sampling.logprobs or 0)
                self.logprobs.append(TokenLogprob(token, logprob, top))
        if self.detokenizer is not None:
            text, finish = self.detokenizer.event(token, finish)
        if text:
            self.pieces.append(text)
        if finish is not None:
            self.end(finish)
        return text

    def end(self, finish: str) -> None:
        """Frees the generation's state and counts it; the first call decides the reason."""
        if (generation := self.generation) is None or not self._ending.acquire(blocking=False):
            return
        self._last_timings = generation.timings()
        self.generation = None
        del generation
        self.ended = time.perf_counter()
        self.finish = finish
        metrics.ended(finish, self._last_timings, self.seconds)
        _log.info("stream %d: ends: %s, %d tokens in %.3f s", self.number, finish, len(self.tokens), self.seconds)

    @property
    def seconds(self) -> float:
        """Since it began, until now or until its end."""
        return (self.ended or time.perf_counter()) - self.born

    @property
    def tokens_per_second(self) -> float:
        """As the tokens came: without the first, whose time is the prompt's."""
        seconds = self.last_token - self.first_token
        return (len(self.tokens) - 1) / seconds if seconds > 0 else 0.0

    @property
    def timings(self) -> _runtime.Timings:
        """The runtime's; while it steps, they are waited for."""
        generation = self.generation
        return self._last_timings if generation is None else generation.timings()

    @property
    def completion(self) -> Completion:
        """What came of it so far."""
        return Completion(
            prompt_tokens=self.prompt,
            tokens=self.tokens,
            text="".join(self.pieces),
            finish_reason=self.finish or "cancelled",
            logprobs=self.logprobs,
            timings=self.timings,
        )


_SPECULATION = {"auto": 0, "off": -1, "ngram": -2}


def speculation_of(how: object) -> int:
    """Sampling.speculate as the runtime has it; ConfigError if it is not one of those."""
    if isinstance(how, str) and how in _SPECULATION:
        return _SPECULATION[how]
    if isinstance(how, int) and not isinstance(how, bool) and 1 <= how <= 15:
        return how
    raise ConfigError(f"speculate: expected 'auto', 'off', 'ngram' or a number from 1 to 15, got {how!r}")


def _stop_tokens(sampling: Sampling, tokenizer: _runtime.Tokenizer) -> Sequence[int]:
    return tokenizer.stop_tokens() if sampling.stop_tokens is None else sampling.stop_tokens
