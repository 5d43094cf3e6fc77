"""Configurations of text generation, and what one of them and the keywords of a call mean together: a Sampling.

Values are checked when they are used, for configurations may be changed at any time.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ArgumentTypeError, ConfigError, ContextFullError
from .streams import Sampling


@dataclass
class InferenceConfig:
    """What SimpleInference does unless a call says otherwise.

    At most max_new_tokens are made, and no more than prompt and text together have max_length tokens. do_sample False
    or temperature 0: always the likeliest token. top_k None or 0: off. seed None: another text each time. eos_token_id
    None: the tokenizer's stop tokens. pad_token_id is accepted and not needed: prompts are never padded. speculate: see
    Sampling.
    """

    max_length: int = 2048
    max_new_tokens: int = 128
    temperature: float = 0.8
    top_p: float = 0.9
    top_k: int | None = None
    repetition_penalty: float = 1.0
    do_sample: bool = True
    seed: int | None = None
    pad_token_id: int | None = None
    eos_token_id: int | None = None
    speculate: str | int = field(default="auto", repr=False, kw_only=True)


@dataclass
class GenerationConfig:
    """A smaller configuration, by BitNet-rs's names.

    temperature 0: always the likeliest token. speculate: see Sampling.
    """

    max_tokens: int = 100
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 50
    speculate: str | int = field(default="auto", repr=False, kw_only=True)


class BitNetConfig:
    """An empty configuration, for programs that make one; models and calls have their own."""

    def __repr__(self) -> str:
        return "BitNetConfig()"


_ALIASES = {
    "max_tokens": "max_new_tokens",
    "repeat_last_n": "repetition_window",
    "repeat_penalty": "repetition_penalty",
    "stop_token_ids": "stop_tokens",
}
_KEYWORDS = {
    *(field.name for field in dataclasses.fields(InferenceConfig)),
    *(field.name for field in dataclasses.fields(Sampling)),
    *_ALIASES,
}
# What numbers must be: type, in words, test.
_RULES: dict[str, tuple[type[Any], str, Callable[[Any], bool]]] = {
    "max_new_tokens": (numbers.Integral, "1 or more", lambda n: n >= 1),
    "max_length": (numbers.Integral, "1 or more", lambda n: n >= 1),
    "temperature": (numbers.Real, "a finite number, 0 or more", lambda t: math.isfinite(t) and t >= 0),
    "top_p": (numbers.Real, "a number above 0, at most 1", lambda p: 0 < p <= 1),
    "top_k": (numbers.Integral, "0 (off) or more", lambda k: k >= 0),
    "min_p": (numbers.Real, "a number from 0 to 1", lambda p: 0 <= p <= 1),
    "repetition_penalty": (numbers.Real, "a finite number above 0", lambda r: math.isfinite(r) and r > 0),
    "repetition_window": (numbers.Integral, "a whole number", lambda n: True),
    "presence_penalty": (numbers.Real, "a finite number", math.isfinite),
    "frequency_penalty": (numbers.Real, "a finite number", math.isfinite),
    "seed": (numbers.Integral, "a whole number", lambda n: True),
    "logprobs": (numbers.Integral, "0 or more", lambda n: n >= 0),
    "eos_token_id": (numbers.Integral, "a token id", lambda n: n >= 0),
}


def sampling_of(
    config: InferenceConfig | GenerationConfig, keywords: Mapping[str, Any], n_prompt: int, where: str = "generate"
) -> Sampling:
    """The Sampling that a configuration and the keywords of a call mean for a prompt of n_prompt tokens.

    Keywords are the fields of InferenceConfig and Sampling and their other names; None is as if not given. A call's
    temperature asks for sampling. ArgumentTypeError for unknown or doubled keywords and wrong types, ConfigError for
    illegal values, ContextFullError if max_length leaves no room for a token. where begins their texts.
    """
    given = _given(keywords, where)
    if "temperature" in given:
        given.setdefault("do_sample", True)
    values = _given(dataclasses.asdict(config), where) | given
    _check(values, where)
    new_tokens = values.pop("max_new_tokens")
    longest = values.pop("max_length", n_prompt + new_tokens)
    if longest <= n_prompt:
        raise ContextFullError(
            f"{where}: prompt: expected fewer than {longest} tokens (max_length), got {n_prompt}; raise max_length"
        )
    if not values.pop("do_sample", True):
        values["temperature"] = 0.0
    stop = values.pop("stop", ())
    end = values.pop("eos_token_id", None)
    stop_tokens = values.pop("stop_tokens", None if end is None else (end,))
    values.pop("pad_token_id", None)
    bias = values.pop("logit_bias", {})
    return Sampling(
        max_tokens=min(new_tokens, longest - n_prompt),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        stop_tokens=None if stop_tokens is None else tuple(stop_tokens),
        logit_bias={int(token): float(value) for token, value in bias.items()},  # some clients write ids as strings
        **values,
    )


def _given(keywords: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What is not None, by its first name."""
    given: dict[str, Any] = {}
    for keyword, value in keywords.items():
        if keyword not in _KEYWORDS:
            known = ", ".join(sorted(_KEYWORDS))
            raise ArgumentTypeError(f"{where}: unknown keyword {keyword!r}; expected one of {known}")
        if value is None:
            continue
        name = _ALIASES.get(keyword, keyword)
        if name in given:
            raise ArgumentTypeError(f"{where}: {name}: expected once, got it under two names; leave out {keyword!r}")
        given[name] = value
    match given.get("logprobs"):  # as in chat completions
        case True:
            given["logprobs"] = 0
        case False:
            del given["logprobs"]
    return given


def _check(values: dict[str, Any], where: str) -> None:
    """Tests numbers, and makes them Python's own."""
    for name, (kind, expected, legal) in _RULES.items():
        if name not in values:
            continue
        value: Any = values[name]
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ArgumentTypeError(f"{where}: {name}: expected {expected}, got {type(value).__name__}")
        if not legal(value):
            raise ConfigError(f"{where}: {name}: expected {expected}, got {value}")
        values[name] = int(value) if kind is numbers.Integral else float(value)
