"""Generations: one as a stream of text pieces, many as a batch. The only place that steps generations.

stream() gives a StreamingGenerator, which is at once an iterator, an asynchronous iterator, an awaitable and a context
manager; complete() runs many prompts together. What happens on errors is here, logs and metrics are in generation.py,
so every front door (SimpleInference, FastGen, Llama, LLM, the command line) has them alike. Prompts are token ids:
encoding text and the meaning of configurations belong to the front doors.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import _runtime, metrics
from .errors import ConfigError, InferenceError
from .generation import Completion, Request, Sampling, TokenLogprob

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from types import TracebackType

    from .model import BitNetModel

__all__ = ["Completion", "LogitsProcessor", "Sampling", "StreamingGenerator", "TokenLogprob", "complete", "stream"]

_log = logging.getLogger("bitnet_py.stream")
_T = TypeVar("_T")

LogitsProcessor = Callable[[memoryview], None]  # changes the f32 [vocab] logits in place before a token is drawn


def _own_or(model: BitNetModel, tokenizer: _runtime.Tokenizer | None) -> _runtime.Tokenizer | None:
    """The tokenizer for models that have none; None of those that have one, for the runtime takes that."""
    return tokenizer if tokenizer is not None and model._native.tokenizer() is None else None


def _give_up(error: BaseException, requests: Sequence[Request]) -> None:
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

    def __init__(self, request: Request, prompt_text: str, logits_processor: LogitsProcessor | None) -> None:
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

    def _locked_step(self, request: Request) -> str | None:
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
        return self._request.finish or ("cancelled" if self._cancelled else None)

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
            "finish_reason": self.finish_reason,
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
        request = Request(
            model.engine(threads, context),
            prompt,
            sampling,
            _own_or(model, tokenizer),
            changes_logits=logits_processor is not None,
        )
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
    requests: list[Request] = []
    try:
        engine, tokenizer = model.engine(threads, context), _own_or(model, tokenizer)
        waiting = iter(zip(prompts, samplings, strict=True))
        running: list[tuple[int, Request]] = []
        while True:
            for prompt, its in itertools.islice(waiting, batch - len(running)):
                requests.append(Request(engine, prompt, its, tokenizer))
                running.append((len(requests) - 1, requests[-1]))
            if not running:
                return [request.completion for request in requests]
            _advance(running, on_token)
            running = [(i, request) for i, request in running if request.generation is not None]
    except BaseException as error:
        _give_up(error, requests)
        raise


def _advance(running: Sequence[tuple[int, Request]], on_token: Callable[[int, int], object] | None) -> None:
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
