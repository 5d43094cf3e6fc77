"""Key/value caches with the original's shapes, for code that calls Transformer.forward itself.

The keys and values live in the runtime, packed as its kernels want them; the arrays here have the original's shapes,
strides and sharing, and stay zero. What a cache remembers between forwards is a session of the runtime.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .arrays import numpy_for, token_ids
from .errors import ArgumentTypeError, CacheLengthError, ConfigError, InferenceError
from .model_args import ModelArgs

if TYPE_CHECKING:
    from . import _runtime
    from .model import BitNetModel

LayerCache = tuple[Any, Any]
"""Keys and values of one layer: two arrays of shape (1, length, kv heads, query heads for each of them, head size)."""


class KeyValueCache(list[LayerCache]):
    """What make_cache and cache_prefix return: a list of LayerCache, which also holds what a forward left behind."""

    def __init__(self, layers: Iterable[LayerCache] = (), state: CacheState | None = None) -> None:
        super().__init__(layers)
        self.state = state or CacheState()


class CacheState:
    """The session behind a cache and all its prefixes. One forward at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._session: _runtime.Session | None = None
        self._layout: tuple[object, int, int] = (None, 0, 0)  # model, positions and number of sequences

    def session(self, model: BitNetModel, positions: int, sequences: int, starts: Sequence[int]) -> _runtime.Session:
        """The session, with each sequence cut to its start. A cache that is read from its start may be laid out anew;
        what goes on must have the model and the layout that it began with."""
        same_model, same_positions, room = self._layout
        if self._session is None or not (same_model is model and same_positions == positions and room >= sequences):
            if any(starts) and self._session is not None:
                raise InferenceError(
                    "cache: expected the model, kv_padding and sequences that it was begun with, got others;"
                    " begin again at start_pos 0"
                )
            self._session = model.session(context=min(positions, model.info()["context"]), sequences=sequences)
            self._layout = (model, positions, sequences)
        for sequence, start in enumerate(starts):
            length = self._session.length(sequence)
            if start > length:
                raise InferenceError(f"start_pos: expected at most {length}, the positions of the cache, got {start}")
            self._session.truncate(start, sequence)
        return self._session


def make_cache(
    args: ModelArgs | None = None,
    length: int | None = None,
    device: object = None,
    n_layers: int | None = None,
    dtype: object = None,
    *,
    model_args: ModelArgs | None = None,
) -> KeyValueCache:
    """A cache of `length` positions: for each layer keys and values of shape (1, length, n_kv_heads, n_heads /
    n_kv_heads, head size), zeros; the fourth axis repeats one row (stride 0).

    args (or model_args): the model's dimensions. n_layers: instead of args'. device and dtype change nothing: the
    runtime keeps keys and values as f16 in main memory. Needs numpy.
    """
    args = args or model_args
    if args is None or length is None:
        raise TypeError(f"make_cache: expected {'args' if args is None else 'length'}, got None")
    if length < 0:
        raise ConfigError(f"length: expected 0 or more, got {length}")
    numpy = numpy_for("make_cache")
    args.check()
    shape = (1, length, args.kv_heads, args.n_heads // args.kv_heads, args.dim // args.n_heads)

    def zeros() -> Any:
        memory = numpy.zeros((*shape[:3], 1, shape[4]), numpy.float16)
        return numpy.lib.stride_tricks.as_strided(memory, shape, (*memory.strides[:3], 0, memory.strides[4]))

    return KeyValueCache((zeros(), zeros()) for _ in range(args.n_layers if n_layers is None else n_layers))


def cache_prefix(cache: Sequence[LayerCache], length: int) -> KeyValueCache:
    """The first `length` positions of a cache: views of the same memory, and of what forward left in it.

    CacheLengthError, an AssertionError too, if the cache is shorter.
    """
    for keys, _ in cache:
        if length > keys.shape[1]:
            raise CacheLengthError(f"cache_prefix: expected at most {keys.shape[1]} positions, got {length}")
    state = cache.state if isinstance(cache, KeyValueCache) else None
    return KeyValueCache(((keys[:, :length], values[:, :length]) for keys, values in cache), state)


class AttnBias:
    """Which rows of a step belong to which sequence, and where they go on: what xformers'
    BlockDiagonalCausalWithOffsetPaddedKeysMask says (which forward_with_attn_bias takes as well).

    q_seqlen: rows of each sequence. kv_seqlen: its positions after the step. kv_padding: positions of the cache for
    each.
    """

    def __init__(self, q_seqlen: Sequence[int], kv_seqlen: Sequence[int], kv_padding: int) -> None:
        if len(q_seqlen) != len(kv_seqlen):
            raise ConfigError(f"kv_seqlen: expected one for each of {len(q_seqlen)} sequences, got {len(kv_seqlen)}")
        self.q_seqlen = list(q_seqlen)
        self.kv_seqlen = list(kv_seqlen)
        self.kv_padding = kv_padding

    @classmethod
    def from_seqlens(cls, q_seqlen: Sequence[int], kv_padding: int, kv_seqlen: Sequence[int]) -> AttnBias:
        """A mask from lengths, by the name and arguments of xformers' constructor."""
        return cls(q_seqlen, kv_seqlen, kv_padding)

    @classmethod
    def of(cls, bias: Any) -> AttnBias:
        """This, or xformers' object as one of this class."""
        if isinstance(bias, AttnBias):
            return bias
        try:
            starts = list(bias.q_seqinfo.seqstart_py)
            lengths = token_ids(bias.k_seqinfo.seqlen, "attn_bias")
            padding = int(bias.k_seqinfo.padding)
        except AttributeError as error:
            raise ArgumentTypeError(
                f"attn_bias: expected an AttnBias or xformers' mask with padded keys, got {type(bias).__name__}"
            ) from error
        return cls([end - start for start, end in itertools.pairwise(starts)], lengths, padding)
