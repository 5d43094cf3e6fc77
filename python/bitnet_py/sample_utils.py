"""Sampling on arrays of probabilities, for callers with a loop of their own. FastGen's sampler is the runtime's."""

from __future__ import annotations

from typing import Any

from .arrays import as_numpy, is_torch, numpy_for, torch_module


def top_p(probs: Any, p: float) -> Any:
    """Draws one token for each row of probabilities from the smallest set of likeliest tokens with mass above p.

    probs: [batch, vocab], an array (numpy, torch, anything that numpy reads) or nested lists; need not be sorted.
    A token is kept if the mass of the likelier ones is at most p; so one always is. Sums are in f32. Among those kept
    the draw is in proportion to their mass, by numpy's global generator (numpy.random.seed), or torch's for a tensor.
    Returns int64 [batch, 1]: a torch tensor if probs is one, else a numpy array. ConfigError without numpy.
    """
    numpy = numpy_for("top_p")
    rows = as_numpy(probs, "top_p").astype(numpy.float32)
    order = numpy.argsort(-rows, axis=-1, kind="stable")
    mass = numpy.take_along_axis(rows, order, axis=-1)
    before = numpy.cumsum(mass, axis=-1, dtype=numpy.float64).astype(numpy.float32) - mass
    kept = numpy.where(before > numpy.float32(p), 0, mass).astype(numpy.float64)
    ends = numpy.cumsum(kept, axis=-1)
    shape = (*rows.shape[:-1], 1)
    if is_torch(probs):
        torch = torch_module()
        drawn = torch.rand(shape, dtype=torch.float64).numpy()
    else:
        drawn = numpy.random.random(shape)
    # The first token whose end lies above the draw; those with no mass end where the one before them does.
    place = (ends <= drawn * ends[..., -1:]).sum(axis=-1, keepdims=True)
    tokens = numpy.take_along_axis(order, place, axis=-1)
    return torch.from_numpy(tokens).to(probs.device) if is_torch(probs) else tokens
