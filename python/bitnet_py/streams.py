"""Generations: one as a stream of text pieces, many as a batch. The only place that drives _runtime.Generation.

stream() gives a StreamingGenerator, which is at once an iterator, an asynchronous iterator, an awaitable and a context
manager; complete() runs many prompts together. Logging ("bitnet_py.stream"), metrics and what happens on errors are
here, so that every front door (SimpleInference, FastGen, Llama, LLM, the command line) has them alike. Prompts are
token ids: encoding text and the meaning of configurations belong to the front doors.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import _runtime, metrics
from .detokenizer import Detokenizer
from .errors import ConfigError, InferenceError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from types import TracebackType

    from .model import BitNetModel

_log = logging.getLogger("bitnet_py.stream")
_T = TypeVar("_T")

LogitsProcessor = Callable[[memoryview], None]  # changes the f32 [vocab] logits in place before a token is drawn


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn and when a generation ends.

    max_tokens: new tokens, <= 0 until the context is full. temperature 0: always the likeliest token. top_k 0, top_p 1,
    min_p 0, repetition_penalty 1, presence_penalty 0, frequency_penalty 0: off. repetition_window: tokens that the
    penalties look back, < 0 all. seed None: a new one each time. stop: texts that end the generation and are no part of
    it. stop_tokens: None takes the tokenizer's. logit_bias: added to the logits of these ids. logprobs: None, or the
    number of likeliest tokens to report with each token (0: only the drawn one). reuse_prefix: what earlier ones with
    it have read of the same beginning is not read again, as suits a conversation; the text is the same.
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
    prompt_tokens, generated_tokens, prompt_seconds, generation_seconds, cached_tokens (of the prompt, not read again);
    the first token comes from the prompt's logits, so generation_seconds covers generated_tokens - 1 steps.
    """

    prompt_tokens: list[int]
    tokens: list[int]
    text: str
    finish_reason: str
    logprobs: list[TokenLogprob] | None
    timings: _runtime.Timings


class _Request:
    """A generation and what came of it. Whoever steps it does so on one thread at a time; end() may come from any."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        engine: _runtime.Engine,
        prompt: Sequence[int],
        sampling: Sampling,
        tokenizer: _runtime.Tokenizer | None,
    ) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.tokens: list[int] = []
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] | None = None if sampling.logprobs is None else []
        self.finish: str | None = None
        seed = int.from_bytes(os.urandom(8), "little") if sampling.seed is None else sampling.seed % 2**64
        self.generation: _runtime.Generation | None = engine.generate(
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
        )
        self.detokenizer = None if tokenizer is None else Detokenizer(tokenizer, sampling.stop)
        self._last_timings = self.generation.timings()
        self.number = next(self._numbers)
        self.born = time.perf_counter()
        self.first_token = self.last_token = self.born  # seconds, until there are tokens
        self.ended: float | None = None
        _log.debug("stream %d: begins: %d prompt tokens, %s", self.number, len(self.prompt), sampling)
        metrics.started(len(self.prompt))

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
        generation, self.generation = self.generation, None
        if generation is None:
            return
        self._last_timings = generation.timings()
        del generation
        self.ended = time.perf_counter()
        self.finish = finish
        metrics.ended(finish, self._last_timings, self.seconds)
        _log.info("stream %d: ends: %s, %d tokens in %.3f s", self.number, finish, len(self.tokens), self.seconds)

    @property
    def seconds(self) -> float:
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
        return Completion(
            prompt_tokens=self.prompt,
            tokens=self.tokens,
            text="".join(self.pieces),
            finish_reason=self.finish or "cancelled",
            logprobs=self.logprobs,
            timings=self.timings,
        )


def _stop_tokens(sampling: Sampling, tokenizer: _runtime.Tokenizer) -> Sequence[int]:
    return tokenizer.stop_tokens() if sampling.stop_tokens is None else sampling.stop_tokens


def _own_or(model: BitNetModel, tokenizer: _runtime.Tokenizer | None) -> _runtime.Tokenizer | None:
    """The tokenizer for models that have none; None of those that have one, for the runtime takes that."""
    return tokenizer if tokenizer is not None and model._native.tokenizer() is None else None


def _give_up(error: BaseException, requests: Sequence[_Request]) -> None:
    """Ends requests that an exception stops. What is no Exception (Ctrl-C) cancels them; others are counted."""
    cancelled = not isinstance(error, Exception)
    if not cancelled:
        metrics.failed(error)
        _log.error("generation fails: %s: %s", type(error).__name__, error)
    for request in requests:
        request.end("cancelled" if cancelled else "error")


class StreamingGenerator:
    """Pieces of text as they are made, each of whole characters; made by stream() and every generate_stream().

    `for piece in s`, `async for piece in s`; `await s` is the whole text; `with s:` and `async with s:` cancel what is
    left at their end. Several threads may take pieces from one stream, each gets other ones. An abandoned stream
    frees its state at once; Ctrl-C and a cancelled task cancel the generation within one token.
    """

    def __init__(self, request: _Request, prompt_text: str, logits_processor: LogitsProcessor | None) -> None:
        self._request = request
        self._prompt_text = prompt_text
        self._processor = logits_processor
        self._started = False
        self._cancelled = False
        self._lock = threading.Lock()  # held by the thread that steps
        self._owner = 0  # that thread

    # -- taking pieces

    def __iter__(self) -> StreamingGenerator:
        return self

    def __next__(self) -> str:
        piece = self._step()
        if piece is None:
            raise StopIteration
        return piece

    def __aiter__(self) -> StreamingGenerator:
        return self

    async def __anext__(self) -> str:
        piece = await self._in_thread(self._step)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def __await__(self) -> Generator[Any, None, str]:
        return self._in_thread(self._run).__await__()

    def _step(self) -> str | None:
        """The next piece; None at the end."""
        if self._owner == threading.get_ident():
            raise InferenceError("stream: next: called by its own logits processor or callback")
        try:
            with self._lock:
                self._owner = threading.get_ident()
                self._started = True
                return self._locked_step(self._request)
        except BaseException as error:
            _give_up(error, [self._request])
            raise
        finally:
            if self._cancelled:
                self._end_if_idle()

    def _locked_step(self, request: _Request) -> str | None:
        try:
            while (generation := request.generation) is not None and not self._cancelled:
                event = generation.next(self._processor)
                del generation
                if not self._cancelled and (text := request.take(*event)):
                    return text
            return None
        finally:
            self._owner = 0

    def _run(self) -> str:
        """Steps to the end; the whole text."""
        while self._step() is not None:
            pass
        return self.text

    def _in_thread(self, work: Callable[[], _T]) -> Coroutine[Any, Any, _T]:
        return _in_thread(work, self.cancel)

    # -- ending early

    def cancel(self) -> None:
        """Ends the stream within one token, from any thread, any number of times. Text that was delivered stays."""
        self._cancelled = True
        if (generation := self._request.generation) is not None:
            generation.cancel()
        del generation
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        """Ends a cancelled request, unless a thread is stepping: that one does it when it is through."""
        if self._lock.acquire(blocking=False):
            try:
                self._request.end("cancelled")
            finally:
                self._lock.release()

    close = cancel

    async def aclose(self) -> None:
        """cancel(), for contextlib.aclosing."""
        self.cancel()

    def __enter__(self) -> StreamingGenerator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cancel()

    async def __aenter__(self) -> StreamingGenerator:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        request: _Request | None = getattr(self, "_request", None)
        if request is not None and not sys.is_finalizing():
            request.end("cancelled")

    # -- what is known

    def is_active(self) -> bool:
        """True from the beginning until the text is over, cancelled or failed."""
        return self._request.generation is not None and not self._cancelled

    @property
    def tokens(self) -> list[int]:
        """Ids of all tokens drawn so far, with the stop token if one ended the text."""
        return self._request.tokens

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._request.pieces)

    @property
    def finish_reason(self) -> str | None:
        """ "stop" (a stop token or text), "length", "cancelled", "error"; None while active."""
        return self._request.finish

    @property
    def logprobs(self) -> list[TokenLogprob] | None:
        """One for each of tokens, if the sampling asks for them."""
        return self._request.logprobs

    @property
    def timings(self) -> _runtime.Timings:
        """Tokens and seconds so far, of the prompt and of the generation."""
        return self._request.timings

    def completion(self) -> Completion:
        """Runs the stream to its end; everything that came of it."""
        self._run()
        return self._request.completion

    def get_stream_stats(self) -> dict[str, Any]:
        """What was asked for and how far it is.

        started (a piece was asked for), active, max_tokens, temperature, top_k, top_p, prompt_preview, prompt_length
        (characters), prompt_tokens, tokens_generated, elapsed_seconds (since the stream was made), tokens_per_second
        (as they came, without the first), finish_reason. Never waits for the stream's step.
        """
        request, text = self._request, self._prompt_text
        return {
            "started": self._started,
            "active": self.is_active(),
            "max_tokens": request.sampling.max_tokens,
            "temperature": request.sampling.temperature,
            "top_k": request.sampling.top_k,
            "top_p": request.sampling.top_p,
            "prompt_preview": text[:47] + "..." if len(text) > 50 else text,
            "prompt_length": len(text),
            "prompt_tokens": len(request.prompt),
            "tokens_generated": len(request.tokens),
            "elapsed_seconds": request.seconds,
            "tokens_per_second": request.tokens_per_second,
            "finish_reason": request.finish,
        }

    def __repr__(self) -> str:
        return f"<bitnet_py.StreamingGenerator {self.finish_reason or 'active'}, {len(self.tokens)} tokens>"


def stream(
    model: BitNetModel,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    prompt_text: str = "",
    logits_processor: LogitsProcessor | None = None,
    tokenizer: _runtime.Tokenizer | None = None,
    threads: int | None = None,
    context: int | None = None,
) -> StreamingGenerator:
    """The continuation of a prompt (token ids, BOS included), piece by piece.

    prompt_text is for get_stream_stats() only. tokenizer makes the text of a model that has none. threads and context
    choose the model's engine (BitNetModel.engine); streams of one engine run in common steps. ConfigError for illegal
    numbers or an empty prompt, ContextFullError if the prompt does not fit.
    """
    try:
        request = _Request(model.engine(threads, context), prompt, sampling, _own_or(model, tokenizer))
    except Exception as error:
        _give_up(error, [])
        raise
    return StreamingGenerator(request, prompt_text, logits_processor)


def complete(
    model: BitNetModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling | Sequence[Sampling],
    *,
    on_token: Callable[[int, int], object] | None = None,
    batch: int = 16,
    tokenizer: _runtime.Tokenizer | None = None,
    threads: int | None = None,
    context: int | None = None,
) -> list[Completion]:
    """The continuations of prompts (token ids, BOS included), in the order of the prompts.

    Up to `batch` of them run together, and one that ends makes room for the next. Each equals what it would be alone.
    sampling: one for all, or one for each. on_token(i, token) is called for each token of prompt i. tokenizer, threads,
    context: as in stream(). If anything
    raises, Ctrl-C included, all are ended and their state is free.
    """
    samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
    if len(samplings) != len(prompts):
        raise ConfigError(f"sampling: expected one for each of {len(prompts)} prompts, got {len(samplings)}")
    if batch < 1:
        raise ConfigError(f"batch: expected 1 or more, got {batch}")
    requests: list[_Request] = []
    try:
        engine, tokenizer = model.engine(threads, context), _own_or(model, tokenizer)
        waiting = iter(zip(prompts, samplings, strict=True))
        running: list[tuple[int, _Request]] = []
        while True:
            for prompt, its in itertools.islice(waiting, batch - len(running)):
                requests.append(_Request(engine, prompt, its, tokenizer))
                running.append((len(requests) - 1, requests[-1]))
            if not running:
                return [request.completion for request in requests]
            _advance(running, on_token)
            running = [(i, request) for i, request in running if request.generation is not None]
    except BaseException as error:
        _give_up(error, requests)
        raise


def _advance(running: Sequence[tuple[int, _Request]], on_token: Callable[[int, int], object] | None) -> None:
    """One step of all."""
    events = _runtime.advance([cast(_runtime.Generation, request.generation) for _, request in running])
    for (i, request), event in zip(running, events, strict=True):
        if event is not None:
            request.take(*event)
            if on_token is not None and event[0] >= 0:
                on_token(i, event[0])


# -- asyncio: steps block, so they run on threads of our own, enough of them that many streams share one step


_MOST_THREADS = 64  # they only wait for the engine; a stream beyond that number waits for one of them
_executor: ThreadPoolExecutor | None = None
_executor_lock = threading.Lock()


async def _in_thread(work: Callable[[], _T], cancel: Callable[[], None]) -> _T:
    """work() on a thread; a task that is cancelled or thrown away meanwhile calls cancel()."""
    import asyncio  # takes half of the time that importing this package may take

    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work)
    except (asyncio.CancelledError, GeneratorExit):
        cancel()
        raise


def _threads() -> ThreadPoolExecutor:
    global _executor
    with _executor_lock:
        if _executor is None:
            from concurrent.futures import ThreadPoolExecutor

            _executor = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="bitnet-stream")
        return _executor


def _forget_threads() -> None:
    global _executor, _executor_lock
    _executor, _executor_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_threads)  # a child process has none of its parent's threads
