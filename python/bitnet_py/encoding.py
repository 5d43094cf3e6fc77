"""Text to tokens and back with the arguments, rules and errors of tiktoken's Encoding, on the runtime's tokenizer.

It knows special tokens, unpaired surrogates and wrong ids. BOS, EOS and the cutting of long texts are tokenizer.py's.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from . import _runtime
from .arrays import token_ids
from .errors import (
    ArgumentTypeError,
    BitNetError,
    DisallowedSpecialTokenError,
    TokenOverflowError,
    UnknownTokenError,
)

Specials = AbstractSet[str] | Literal["all"]


class Encoding:
    """A vocabulary under a name. Immutable: any number of threads may use one.

    native: the runtime's tokenizer. rows: how many ids its model has, if those may be more; the surplus ones stand for
    no text.
    """

    def __init__(self, native: _runtime.Tokenizer, name: str, rows: int = 0) -> None:
        self.name = name
        self.n_vocab = max(native.size, rows)
        self.special_tokens: dict[str, int] = native.special_tokens()
        self._native = native

    @property
    def special_tokens_set(self) -> set[str]:
        """The names of the special tokens."""
        return set(self.special_tokens)

    @property
    def max_token_value(self) -> int:
        """The highest id."""
        return self.n_vocab - 1

    @property
    def eot_token(self) -> int:
        """The id that ends a text; -1 if there is none."""
        return self._native.eos

    def encode(
        self,
        text: str,
        *,
        allowed_special: Specials = frozenset(),
        disallowed_special: Collection[str] | Literal["all"] | None = "all",
        continues: bool = False,
    ) -> list[int]:
        """The ids of a text.

        allowed_special: names of special tokens that become their ids where the text holds them, or "all"; other names
        have no effect, and all other special tokens are ordinary text. TypeError if it is no set.
        disallowed_special: texts that must not occur (ValueError), or "all": every special token that is not allowed.
        Unpaired surrogates become U+FFFD. continues: this is not the start of the text, which some vocabularies begin
        with a space.
        """
        if not disallowed_special and not allowed_special and isinstance(allowed_special, AbstractSet):
            return self._encode(text, False, continues)  # what most calls are
        allowed = self.special_tokens.keys() if allowed_special == "all" else allowed_special
        if not isinstance(allowed, AbstractSet) or not all(isinstance(name, str) for name in allowed):
            raise ArgumentTypeError(f'allowed_special: expected a set of str or "all", got {_shown(allowed_special)}')
        if disallowed_special:
            names = self.special_tokens.keys() - allowed if disallowed_special == "all" else disallowed_special
            if names and (found := any_of(frozenset(names)).search(text)):
                raise DisallowedSpecialTokenError(
                    f"Encountered text corresponding to disallowed special token {found.group()!r}.\n"
                    "Name it in allowed_special to get its id, or take it out of disallowed_special to get it as text."
                )
        here = self.special_tokens.keys() & allowed
        if not here:
            return self.encode_ordinary(text, continues=continues)
        if len(here) == len(self.special_tokens):
            return self._encode(text, True, continues)
        tokens: list[int] = []
        at = 0
        for found in any_of(frozenset(here)).finditer(text):
            tokens += self.encode_ordinary(text[at : found.start()], continues=continues or at > 0)
            tokens.append(self.special_tokens[found.group()])
            at = found.end()
        return tokens + self.encode_ordinary(text[at:], continues=continues or at > 0)

    def encode_ordinary(self, text: str, *, continues: bool = False) -> list[int]:
        """The ids of a text; names of special tokens in it are text. continues: see encode."""
        return self._encode(text, False, continues)

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of a token by its bytes, or of a special one by its name. KeyError if there is none."""
        if isinstance(text_or_bytes, str):
            if text_or_bytes in self.special_tokens:
                return self.special_tokens[text_or_bytes]
            text_or_bytes = text_or_bytes.encode()
        try:
            return self._ids[text_or_bytes]
        except KeyError:
            raise UnknownTokenError(f"expected the bytes of one token, got {text_or_bytes!r}") from None

    def decode(self, tokens: Sequence[int], errors: str = "replace", *, keep_special: bool = True) -> str:
        """The text of ids; special tokens give their names, or nothing without keep_special.

        Bytes that are not UTF-8 become U+FFFD, or what `errors` says (as in bytes.decode). KeyError for an id that is
        no token, OverflowError for one outside of 32 bits, TypeError for what is no sequence of integers.
        """
        if errors != "replace":
            return self.decode_bytes(tokens, keep_special=keep_special).decode("utf-8", errors)
        ids = _listed(tokens)
        try:
            return self._native.decode(ids, keep_special)
        except (TypeError, BitNetError):
            checked = self._checked(ids)
            return self._native.decode([token for token in checked if token < self._native.size], keep_special)

    def decode_bytes(self, tokens: Sequence[int], *, keep_special: bool = True) -> bytes:
        """The bytes of ids, joined. Errors as of decode."""
        pieces = map(self._piece, self._checked(_listed(tokens)))
        return b"".join(piece for piece, special in pieces if keep_special or not special)

    def decode_tokens_bytes(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each id. Errors as of decode."""
        return [self._piece(token)[0] for token in self._checked(_listed(tokens))]

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of one id, a special token's name. Errors as of decode."""
        return self.decode_tokens_bytes([token])[0]

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every token that is not special, by id."""
        pieces = map(self._piece, range(self._native.size))
        return [piece for piece, special in pieces if not special]

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    def _encode(self, text: str, parse_special: bool, continues: bool) -> list[int]:
        try:
            return self._native.encode(text, False, parse_special, continues)
        except TypeError:
            if not isinstance(text, str):
                raise ArgumentTypeError(f"text: expected a str, got {_shown(text)}") from None
            # Pairs of surrogates are one character, single ones none.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return self._native.encode(text, False, parse_special, continues)

    def _checked(self, ids: list[Any]) -> list[int]:
        """The ids as plain integers, all of the vocabulary."""
        checked = []
        for value in ids:
            try:
                token = operator.index(value)
            except TypeError:
                raise ArgumentTypeError(f"tokens: expected integers, got {_shown(value)}") from None
            if not 0 <= token < 1 << 32:
                raise TokenOverflowError(f"tokens: expected 0 <= id < 2**32, got {token}")
            if token >= self.n_vocab:
                raise UnknownTokenError(f"Invalid token for decoding: {token}")
            checked.append(token)
        return checked

    def _piece(self, token: int) -> tuple[bytes, bool]:
        return self._native.token_bytes(token) if token < self._native.size else (b"", False)

    @functools.cached_property
    def _ids(self) -> dict[bytes, int]:
        pieces = map(self._piece, range(self._native.size))
        return {piece: token for token, (piece, special) in enumerate(pieces) if piece and not special}


def _listed(tokens: Any) -> list[Any]:
    if isinstance(tokens, list):
        return tokens
    if isinstance(tokens, Sequence) and not isinstance(tokens, str):
        return list(tokens)
    if hasattr(tokens, "__array__") or hasattr(tokens, "__dlpack__") or hasattr(tokens, "tolist"):
        return token_ids(tokens)
    raise ArgumentTypeError(f"tokens: expected a sequence of integers, got {_shown(tokens)}")


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}" if value is not None else "None"


@functools.lru_cache(maxsize=32)
def any_of(texts: frozenset[str]) -> re.Pattern[str]:
    """Finds the leftmost of the texts; of several that start there, the longest."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
