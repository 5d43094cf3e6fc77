"""The dictionaries of the OpenAI API: completions, chat completions, their chunks, embeddings.

Only shapes: nothing here runs a model. llama_cpp_compat.py fills them, and so may a server.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .streams import TokenLogprob


@dataclass(frozen=True)
class Answer:
    """What all parts of one answer share: id, time (seconds since 1970) and the name of the model."""

    model: str
    chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{'chatcmpl' if self.chat else 'cmpl'}-{uuid.uuid4()}")

    def whole(
        self,
        text: str,
        *,
        finish_reason: str,
        usage: Mapping[str, int],
        logprobs: dict[str, Any] | None = None,
        timings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The answer in one piece. timings (ours) are the seconds that prompt and generation took."""
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": logprobs, "finish_reason": finish_reason}
        answer = self._envelope("chat.completion" if self.chat else "text_completion", choice)
        answer["usage"] = dict(usage)
        if timings is not None:
            answer["timings"] = dict(timings)
        return answer

    def opening(self) -> dict[str, Any]:
        """The first chunk of a chat: whose turn it is."""
        return self._chunk({"role": "assistant"}, None, None)

    def piece(self, text: str, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
        """A chunk with text."""
        return self._chunk({"content": text}, text, None, logprobs)

    def ending(self, finish_reason: str) -> dict[str, Any]:
        """The last chunk: no text, but why the answer ended."""
        return self._chunk({}, "", finish_reason)

    def _chunk(
        self,
        delta: dict[str, Any],
        text: str | None,
        finish_reason: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        content: dict[str, Any] = {"delta": delta} if self.chat else {"text": text}
        choice = {"index": 0, **content, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._envelope("chat.completion.chunk" if self.chat else "text_completion", choice)

    def _envelope(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": [choice]}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Token counts of one request."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def completion_logprobs(
    entries: Iterable[tuple[int, TokenLogprob | None]], text_of: Callable[[int], str], offset: int
) -> dict[str, Any]:
    """The `logprobs` of a text completion: parallel lists over tokens.

    entries: each token with its log-probability, None where there is none (the first token of a text).
    offset: characters before the first token. As in the original, each top_logprobs also holds the token itself.
    """
    tokens: list[str] = []
    offsets: list[int] = []
    logprobs: list[float | None] = []
    tops: list[dict[str, float] | None] = []
    for token, entry in entries:
        text = text_of(token)
        tokens.append(text)
        offsets.append(offset)
        offset += len(text)
        if entry is None:
            logprobs.append(None)
            tops.append(None)
        else:
            top: dict[str, float] = {}
            for other, logprob in entry.top:
                top.setdefault(text_of(other), logprob)  # of tokens with one text, the likeliest
            top[text] = entry.logprob
            logprobs.append(entry.logprob)
            tops.append(top)
    return {"tokens": tokens, "text_offset": offsets, "token_logprobs": logprobs, "top_logprobs": tops}


def chat_logprobs(
    entries: Iterable[TokenLogprob], text_of: Callable[[int], str], bytes_of: Callable[[int], bytes]
) -> dict[str, Any]:
    """The `logprobs` of a chat completion: one object for each token."""

    def described(token: int, logprob: float) -> dict[str, Any]:
        return {"token": text_of(token), "logprob": logprob, "bytes": list(bytes_of(token))}

    content = [
        {**described(entry.token, entry.logprob), "top_logprobs": [described(*other) for other in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def embeddings(model: str, vectors: Sequence[Any], tokens: int) -> dict[str, Any]:
    """The list of embeddings for a list of inputs; tokens: of all inputs together."""
    data = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(vectors)]
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
