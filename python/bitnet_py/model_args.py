"""The numbers of a model, as the original's configuration class names them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import ConfigError

_log = logging.getLogger("bitnet_py.model")

# Hugging Face's names for the same.
_ALIASES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "intermediate_size": "ffn_dim",
    "rms_norm_eps": "norm_eps",
}


@dataclass
class ModelArgs:
    """Dimensions of a transformer; the defaults are those of BitNet b1.58 2B.

    dim: width of a token's row. n_kv_heads: key/value heads, None for as many as n_heads. ffn_dim: width of the
    feed-forward network. use_kernel chooses nothing here: the fast kernels always run, and always give the same bits.
    """

    dim: int = 2560
    n_layers: int = 30
    n_heads: int = 20
    n_kv_heads: int | None = 5
    vocab_size: int = 128256
    ffn_dim: int = 6912
    norm_eps: float = 1e-05
    rope_theta: float = 500000.0
    use_kernel: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelArgs:
        """From a dictionary with these names or Hugging Face's; what is missing takes its default, what is unknown is
        left out with a warning."""
        return cls(**named(values))

    def to_dict(self) -> dict[str, Any]:
        """All nine fields."""
        return asdict(self)

    @property
    def kv_heads(self) -> int:
        """n_kv_heads, or what its None means."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    def check(self) -> None:
        """ConfigError, which is an AssertionError too, unless heads divide dim and groups of them share a key."""
        if self.vocab_size <= 0:
            raise ModelArgsError(f"vocab_size: expected more than 0, got {self.vocab_size}")
        if self.n_heads <= 0 or self.dim % self.n_heads:
            raise ModelArgsError(f"n_heads: expected a divisor of dim, {self.dim}, got {self.n_heads}")
        if self.kv_heads <= 0 or self.n_heads % self.kv_heads:
            raise ModelArgsError(f"n_kv_heads: expected a divisor of n_heads, {self.n_heads}, got {self.n_kv_heads}")

    def num_parameters(self) -> int:
        """Weights of the original's Transformer of these dimensions; its head is no view of its embedding."""
        kv_dim = self.dim // self.n_heads * self.kv_heads
        attention = self.dim * (self.dim + 2 * kv_dim) + self.dim * self.dim
        feed_forward = 3 * self.dim * self.ffn_dim
        norms = 3 * self.dim + self.ffn_dim
        return self.n_layers * (attention + feed_forward + norms) + 2 * self.vocab_size * self.dim + self.dim


class ModelArgsError(ConfigError, AssertionError):
    """Dimensions that no model can have."""


def named(values: Mapping[str, Any] | ModelArgs) -> dict[str, Any]:
    """The fields of ModelArgs that are given, by their names there."""
    if isinstance(values, ModelArgs):
        return asdict(values)
    known = {field.name for field in fields(ModelArgs)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = _ALIASES.get(name, name)
        if field in known:
            found[field] = value
        else:
            _log.warning("ModelArgs: %r is no field of it and is left out", name)
    return found
