"""A completion on its way to the dictionaries of llama_cpp_compat.py: the stream, functions on its logits, chunks.

NumPy arrays go to those functions where NumPy is there, else lists and memory views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import _runtime, openai_shapes, scoring
from .model import BitNetModel
from .streams import Sampling, StreamingGenerator, TokenLogprob, stream

LogitsProcessor = Callable[[Any, Any], Any]
StoppingCriterion = Callable[[Any, Any], bool]


class LogitsProcessorList(list[LogitsProcessor]):
    """Functions (input_ids, scores) -> scores, applied one after another."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[StoppingCriterion]):
    """Functions (input_ids, scores) -> bool; one that says True ends the text."""

    def __call__(self, input_ids: Any, scores: Any) -> bool:
        return any(criterion(input_ids, scores) for criterion in self)


class Run:
    """One completion: the stream, and how it becomes dictionaries."""

    def __init__(
        self,
        model: BitNetModel,
        tokenizer: _runtime.Tokenizer,
        tokens: list[int],
        sampling: Sampling,
        *,
        threads: int | None,
        context: int,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None,
        stopping_criteria: StoppingCriterion | Sequence[StoppingCriterion] | None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._threads = threads
        self._tokens = tokens
        self._logprobs = sampling.logprobs
        self._processors = list_of(logits_processor, LogitsProcessorList)
        self._criteria = list_of(stopping_criteria, StoppingCriteriaList)
        self._stopped = False  # by the criteria
        self._stream: StreamingGenerator = stream(
            model,
            tokens,
            sampling,
            logits_processor=self._before_drawing if self._processors or self._criteria else None,
            threads=threads,
            context=context,
        )

    def _before_drawing(self, logits: Any) -> None:
        seen = self._tokens + self._stream.tokens
        if self._criteria and self._stream.tokens and self._criteria(ids(seen), scores(logits)):
            self._stopped = True
            self._stream.cancel()
        elif self._processors:
            process(self._processors, seen, logits)

    def whole(self, answer: openai_shapes.Answer, before: str, echo: bool) -> dict[str, Any]:
        """The answer as one dictionary. before: text of the prompt."""
        text = "".join(self._stream)
        drawn = self._drawn()
        logprobs = None
        if self._logprobs is not None:
            entries = (self._stream.logprobs or [])[: len(drawn)]
            if echo:
                given = scoring.token_logprobs(self._model, self._tokens, self._logprobs, threads=self._threads)
                skip = 1 if self._tokens[0] == self._tokenizer.bos else 0  # it has no text
                prompt = list(zip(self._tokens, given, strict=True))[skip:]
                prompt[:1] = [(token, None) for token, _ in prompt[:1]]  # as OpenAI does: the first has none
                answered = [(entry.token, entry) for entry in entries]
                logprobs = openai_shapes.completion_logprobs([*prompt, *answered], self._text_of, 0)
            else:
                logprobs = self._described(answer, entries, len(before))
        return answer.whole(
            before + text if echo else text,
            finish_reason=self._finish(),
            usage=openai_shapes.usage(len(self._tokens), len(drawn)),
            logprobs=logprobs,
            timings=self._stream.completion().timings,
        )

    def chunks(self, answer: openai_shapes.Answer, before: str) -> Iterator[dict[str, Any]]:
        """The answer in chunks; closing the iterator ends the generation."""
        offset, told = len(before), 0
        try:
            if answer.chat:
                yield answer.opening()
            for piece in self._stream:
                entries = (self._stream.logprobs or [])[told : len(self._drawn())]
                yield answer.piece(piece, self._described(answer, entries, offset))
                told += len(entries)
                offset += len(piece)
            if entries := (self._stream.logprobs or [])[told : len(self._drawn())]:  # drawn, but no part of the text
                yield answer.piece("", self._described(answer, entries, offset))
            yield answer.ending(self._finish())
        finally:
            self._stream.cancel()

    def _finish(self) -> str:
        return "stop" if self._stopped else self._stream.finish_reason or "length"

    def _drawn(self) -> list[int]:
        """The tokens of the answer, without the stop token that ended it."""
        tokens = self._stream.tokens
        ended = self._stream.finish_reason == "stop" and tokens and tokens[-1] in self._tokenizer.stop_tokens()
        return tokens[:-1] if ended else tokens

    def _described(
        self, answer: openai_shapes.Answer, entries: Sequence[TokenLogprob], offset: int
    ) -> dict[str, Any] | None:
        if self._logprobs is None:
            return None
        if answer.chat:
            return openai_shapes.chat_logprobs(entries, self._text_of, self._bytes_of)
        pairs = [(entry.token, entry) for entry in entries]
        return openai_shapes.completion_logprobs(pairs, self._text_of, offset)

    def _bytes_of(self, token: int) -> bytes:
        return self._tokenizer.token_bytes(token)[0]

    def _text_of(self, token: int) -> str:
        return self._bytes_of(token).decode("utf-8", "replace")


def list_of(functions: Any, kind: type[Any]) -> Any:
    """One function or several as a list of that kind; None for none."""
    if functions is None or isinstance(functions, kind):
        return functions
    return kind([functions] if callable(functions) else functions)


def ids(tokens: Sequence[int]) -> Any:
    """Tokens as a NumPy array, or as a list."""
    try:
        import numpy
    except ImportError:
        return list(tokens)
    return numpy.array(tokens, dtype=numpy.intc)


def scores(logits: Any) -> Any:
    """Logits as a NumPy view, or as they are."""
    try:
        import numpy
    except ImportError:
        return logits
    return numpy.frombuffer(logits, dtype=numpy.float32)


def process(processors: LogitsProcessorList, tokens: Sequence[int], logits: Any) -> None:
    """Changes logits f32 [vocab] in place."""
    changed = processors(ids(tokens), scores(logits))
    try:
        import numpy
    except ImportError:
        for i, score in enumerate(changed):
            logits[i] = score
        return
    numpy.frombuffer(logits, dtype=numpy.float32)[:] = changed
