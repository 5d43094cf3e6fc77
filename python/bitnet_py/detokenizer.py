"""Text of drawn tokens for models that hold no tokenizer: whole characters, stop texts, no special tokens.

Of a model with a tokenizer the runtime does this (runtime/sample); this is the same for a tokenizer that stands alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from . import _runtime


class Detokenizer:
    """Turns tokens into text one by one; for one generation, one thread at a time."""

    def __init__(self, tokenizer: _runtime.Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = tuple(stop)
        self._held = ""  # may be the beginning of a stop text

    def event(self, token: int, finish: str | None) -> tuple[str, str | None]:
        """What became certain with an event of the generation, and whether that is its end: "stop" at a stop text."""
        text, stopped = "", False
        if token >= 0 and finish != "stop":  # the stop token is no text
            data, special = self._tokenizer.token_bytes(token)
            if not special:
                text, stopped = self._pass(self._decoder.decode(data))
        if finish is not None and not stopped:
            rest, stopped = self._pass(self._decoder.decode(b"", final=True))
            text += rest if stopped else rest + self._held
        return text, "stop" if stopped else finish

    def _pass(self, text: str) -> tuple[str, bool]:
        """What is no part of a stop text, and whether one was found."""
        text = self._held + text
        found = min((at for stop in self._stop if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            return text[:found], True
        kept = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of text that stop may begin with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
