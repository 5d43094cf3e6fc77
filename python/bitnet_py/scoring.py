"""What a model says of a text that is given: log-probabilities of its tokens, and embeddings.

Nothing is drawn here (see streams.py), and the sums over the vocabulary are the runtime's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from . import _runtime
from .errors import ConfigError
from .model import BitNetModel
from .streams import TokenLogprob

_ROWS = 64  # logits held at once: 64 rows of 128,256 f32 are 33 MB
_TOGETHER = 1024  # positions of texts that share steps, several times the rows of one
POOLINGS = ("mean", "last", "first", "none")


def token_logprobs(
    model: BitNetModel, tokens: Sequence[int], top: int = 0, *, threads: int | None = None
) -> list[TokenLogprob | None]:
    """The log-probability of each token after those before it, with the `top` likeliest in its place.

    Natural logarithms under the softmax of the raw logits. The first entry is None: nothing stands before it.
    """
    tokens = list(tokens)
    scores: list[TokenLogprob | None] = [None] if tokens else []
    session = _runtime.Session(model._native, context=max(len(tokens), 1), threads=threads or 0)
    for start in range(0, len(tokens) - 1, _ROWS):
        part = tokens[start : min(start + _ROWS, len(tokens) - 1)]
        logits = session.forward(part, logits="all")
        for row, token in zip(rows(logits), tokens[start + 1 :], strict=False):
            logprob, best = _runtime.logprobs(row, token, top)
            scores.append(TokenLogprob(token, logprob, best))
    return scores


def embed(
    model: BitNetModel,
    inputs: Sequence[Sequence[int]],
    *,
    pooling: str = "mean",
    normalize: bool = False,
    threads: int | None = None,
) -> Iterator[Any]:
    """One vector [width] for each token list, as they come: the outputs of the final norm, pooled.

    pooling: "mean" of all tokens, "last", "first", or "none", which gives a vector for each token.
    normalize: vectors of length 1 (of all zeros stay as they are).
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"embed: pooling: expected one of {', '.join(POOLINGS)}, got '{pooling}'")
    longest = max((len(tokens) for tokens in inputs), default=0)
    if any(len(tokens) == 0 for tokens in inputs):
        raise ConfigError("embed: expected at least one token in each input, got none")
    together = max(min(_TOGETHER // max(longest, 1), len(inputs)), 1) if pooling == "last" else 1
    session = _runtime.Session(model._native, context=max(longest, 1), threads=threads or 0, sequences=together)
    if pooling == "last":
        for start in range(0, len(inputs), together):
            for vector in session.embed_last([list(tokens) for tokens in inputs[start : start + together]]).tolist():
                yield _normalized(vector) if normalize else vector
        return
    for tokens in inputs:
        session.truncate(0)
        hidden = session.embed(list(tokens)).tolist()
        vectors = hidden if pooling == "none" else [_pool(hidden, pooling)]
        if normalize:
            vectors = [_normalized(vector) for vector in vectors]
        yield vectors if pooling == "none" else vectors[0]


def rows(floats: _runtime.Floats) -> list[Any]:
    """The rows of a matrix, as views of f32 [columns]."""
    n, columns = floats.shape
    if n == 0:
        return []
    flat = memoryview(floats).cast("B").cast("f")
    return [flat[i * columns : (i + 1) * columns] for i in range(n)]


def _pool(hidden: list[list[float]], pooling: str) -> list[float]:
    if pooling == "mean":
        return [math.fsum(column) / len(hidden) for column in zip(*hidden, strict=True)]
    return hidden[0]


def _normalized(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(x * x for x in vector))
    return [x / length for x in vector] if length else vector
