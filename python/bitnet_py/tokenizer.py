"""Tokenizer and ChatFormat as the original's module tokenizer has them; without a model, or a model's own.

What the original's Tokenizer does and this one too: texts are cut into parts of at most 400 000 characters, and where
25 000 characters without white space (or of nothing else) come together; special tokens in a text stay text unless they
are allowed. Chat templates of other models than BitNet's are chat_template.py's.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from . import _runtime
from .encoding import Encoding, Specials
from .errors import (
    MessageKeyError,
    ModelFormatError,
    TokenizerFormatError,
    TokenizerNotFoundError,
    TokenizerTypeError,
    UnknownRoleError,
    UnsupportedModelError,
)

if TYPE_CHECKING:
    from .model import BitNetModel

logger = logging.getLogger(__name__)

Role = Literal["system", "user", "assistant"]
"""Who speaks in a turn of a chat."""

_MAX_ENCODE_CHARS = 400_000
_MAX_RUN_CHARS = 25_000
_RUN = re.compile(r"\s+|\S+")
# What ends a turn of a chat, by the names that models use.
_END_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>")


class Message(dict[str, Any]):
    """A turn of a chat: a dictionary with "role" (Role) and "content" (text), also readable as attributes."""

    def __init__(self, role: str, content: str, **more: Any) -> None:
        super().__init__(role=role, content=content, **more)

    @property
    def role(self) -> str:
        """Who speaks: "system", "user" or "assistant"."""
        return str(self["role"])

    @property
    def content(self) -> str:
        """What is said."""
        return str(self["content"])


Dialog = Sequence[Message]
"""Turns in order."""

AnyMessage = Mapping[str, Any] | object
"""What is taken for a Message: that, a dictionary with "role" and "content", or an object with these attributes."""

AnyDialog = Sequence[AnyMessage]


class Tokenizer:
    """Encodes text to token ids and back. Immutable: any number of threads may use one.

    model_path: a tiktoken rank file (with Llama 3's pattern and special tokens, as the original takes it), a bundle
    (.bnx), a loaded BitNetModel, which shares its own, or any file or folder that bitnetc finds a tokenizer in:
    tokenizer.json, a SentencePiece model, .gguf, a checkpoint's folder. Those are converted once and kept in the cache
    (cache_dir, by default cache.folder()), for which the compiler is needed.

    n_words: number of ids. bos_id, eos_id, pad_id: -1 if there is none. stop_tokens: ids that end a generation.
    eot_id: the id that ends a turn of a chat (eos_id if there is none of its own). special_tokens: names to ids.
    model: the vocabulary behind it, with the methods of tiktoken's Encoding.

    Raises TokenizerNotFoundError (a FileNotFoundError and AssertionError) if there is no such file,
    TokenizerFormatError (a ValueError) that names the line if it is damaged, CompilerNotFoundError.
    """

    special_tokens: dict[str, int]
    num_reserved_special_tokens: ClassVar[int] = 256
    pat_str: ClassVar[str] = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )

    def __init__(
        self,
        model_path: str | os.PathLike[str] | BitNetModel | _runtime.Model,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._model: _runtime.Model | None = None
        self._path: Path | None = None
        source: object = model_path
        if isinstance(model_path, str | os.PathLike):
            native, self._path = _open(Path(model_path), Path(cache_dir) if cache_dir else None)
            rows = 0
        else:
            self._model = model_path if isinstance(model_path, _runtime.Model) else model_path._native
            owned = self._model.tokenizer()
            source = self._model.info()["name"]
            if owned is None:
                raise UnsupportedModelError(
                    f"{source}: expected a tokenizer in the bundle; compile with --tokenizer=FILE"
                )
            native = owned
            rows = self._model.info()["vocab"]
        self._is_alone = False
        self._native = native
        self.model = Encoding(native, Path(str(source)).name, rows)
        self.special_tokens = self.model.special_tokens
        self.n_words = self.model.n_vocab
        self.bos_id = native.bos
        self.eos_id = native.eos
        self.pad_id = native.pad
        self.stop_tokens = set(native.stop_tokens())
        ends = (self.special_tokens[name] for name in _END_OF_TURN if name in self.special_tokens)
        self.eot_id = next(ends, self.eos_id)
        logger.info("loaded tokenizer %s", source)
        logger.info("#words: %d - BOS ID: %d - EOS ID: %d", self.n_words, self.bos_id, self.eos_id)

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the model's chat template; None if there is none, or none is known."""
        model = self.native_model()
        return model.chat_template() if model else None

    @property
    def has_bitnet_chat(self) -> bool:
        """Whether ChatFormat is how one talks to its model as far as anybody knows: it has <|eot_id|>, and no template
        that says otherwise."""
        known = self._model or self._path
        return known is not None and "<|eot_id|>" in self.special_tokens and self.chat_template is None

    def native_model(self) -> _runtime.Model | None:
        """The runtime's model that it is the tokenizer of: the one given, or that of a bundle, opened when first asked
        for; None for other files."""
        if self._model is None and self._path and not self._is_alone:
            try:
                self._model = _runtime.Model(str(self._path))
            except UnsupportedModelError:
                raise
            except ModelFormatError:  # ranks
                self._is_alone = True
        return self._model

    def encode(
        self,
        s: str,
        bos: bool = True,
        eos: bool = False,
        allowed_special: Specials = frozenset(),
        disallowed_special: Collection[str] | Literal["all"] | None = (),
    ) -> list[int]:
        """The ids of a text, with BOS first and EOS last where asked for (and where there are such tokens).

        allowed_special: a set of names of special tokens that become their ids where the text holds them, or "all"; by
        default they are ordinary text. disallowed_special: texts that must not occur (DisallowedSpecialTokenError, a
        ValueError), or "all" special tokens that are not allowed. s must be exactly a str (TokenizerTypeError, an
        AssertionError and TypeError); unpaired surrogates in it become U+FFFD.
        """
        if type(s) is not str:
            raise TokenizerTypeError(f"encode: expected a str, got {type(s).__name__}")
        tokens = [self.bos_id] if bos and self.bos_id >= 0 else []
        continues = False
        for at in range(0, len(s), _MAX_ENCODE_CHARS):
            for part in _parts(s[at : at + _MAX_ENCODE_CHARS]):
                tokens += self.model.encode(
                    part,
                    allowed_special=allowed_special,
                    disallowed_special=disallowed_special,
                    continues=continues,
                )
                continues = True
        if eos and self.eos_id >= 0:
            tokens.append(self.eos_id)
        return tokens

    def decode(self, t: Sequence[int], *, keep_special: bool = True) -> str:
        """The text of ids. Special tokens give their names; with keep_special=False they give nothing.

        Bytes that are not UTF-8 become U+FFFD. KeyError for an id that is no token, OverflowError for one outside of 32
        bits, TypeError for what is no sequence (or array) of integers.
        """
        return self.model.decode(t, keep_special=keep_special)

    def __repr__(self) -> str:
        return f"<bitnet_py.Tokenizer {self.model.name!r}, {self.n_words} ids>"


class ChatFormat:
    """BitNet b1.58 2B-4T's chat as the original encodes it: "User: " and content, each turn ended by <|eot_id|>.

    Header and content are encoded apart, and special tokens that a message holds are ordinary text: a user cannot end
    his turn. eot_id: the id that ends a turn.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.eot_id = tokenizer.eot_id

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids without the names of end-of-turn tokens; other special tokens stay. Errors: Tokenizer's."""
        text = self.tokenizer.decode(tokens)
        if self.eot_id < 0:
            return text
        return text.replace(self.tokenizer.decode([self.eot_id]), "")

    def encode_header(self, message: AnyMessage) -> list[int]:
        """The ids of "System: ", "User: " or "Assistant: ". UnknownRoleError (a NotImplementedError) otherwise."""
        role = part_of(message, "role")
        if role not in ("system", "user", "assistant"):
            raise UnknownRoleError(f"Role {role} not implemented.")
        return self.tokenizer.encode(f"{role.capitalize()}: ", bos=False, eos=False)

    def encode_message(self, message: AnyMessage, return_target: bool = False) -> tuple[list[int], list[int] | None]:
        """The ids of a turn, and its targets or None.

        Targets (return_target) are for training: the ids that an assistant says, its end of turn included, and -1 for
        all others. Raises UnknownRoleError, MessageKeyError (a KeyError) without "role" or "content".
        """
        header = self.encode_header(message)
        said = part_of(message, "content")
        if not isinstance(said, str):
            raise TokenizerTypeError(f"message: content: expected a str, got {type(said).__name__}")
        content = [*self.tokenizer.encode(said.strip(), bos=False, eos=False), self.eot_id]
        if not return_target:
            return header + content, None
        if part_of(message, "role") == "assistant":
            return header + content, [-1] * len(header) + content
        return header + content, [-1] * (len(header) + len(content))

    @overload
    def encode_dialog_prompt(
        self, dialog: AnyDialog, completion: bool = False, return_target: Literal[False] = False
    ) -> list[int]: ...
    @overload
    def encode_dialog_prompt(
        self, dialog: AnyDialog, completion: bool = False, *, return_target: Literal[True]
    ) -> tuple[list[int], list[int]]: ...
    @overload
    def encode_dialog_prompt(
        self, dialog: AnyDialog, completion: bool, return_target: Literal[True]
    ) -> tuple[list[int], list[int]]: ...
    def encode_dialog_prompt(
        self, dialog: AnyDialog, completion: bool = False, return_target: bool = False
    ) -> list[int] | tuple[list[int], list[int]]:
        """The ids of a dialog: BOS and the turns; with completion, "Assistant: " for the model to go on.

        With return_target a pair of ids and targets (see encode_message); the header of completion has no targets, as
        in the original, so these are shorter then.
        """
        tokens = [self.tokenizer.bos_id] if self.tokenizer.bos_id >= 0 else []
        targets = [-1] * len(tokens)
        for message in dialog:
            more, more_targets = self.encode_message(message, return_target)
            tokens += more
            targets += more_targets or []
        if completion:
            tokens += self.encode_header({"role": "assistant", "content": ""})
        return (tokens, targets) if return_target else tokens

    def render(self, messages: AnyDialog, add_generation_prompt: bool = False) -> str:
        """The dialog as text, by the model's own chat template; see chat_template.render_chat."""
        from .chat_template import render_chat

        return render_chat(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)


@overload
def create_tokenizer(
    model_path: str | os.PathLike[str] | BitNetModel, chat_format: Literal[False] = False
) -> Tokenizer: ...
@overload
def create_tokenizer(model_path: str | os.PathLike[str] | BitNetModel, chat_format: Literal[True]) -> ChatFormat: ...
def create_tokenizer(
    model_path: str | os.PathLike[str] | BitNetModel, chat_format: bool = False
) -> Tokenizer | ChatFormat:
    """Tokenizer(model_path), or with chat_format a ChatFormat around it."""
    tokenizer = Tokenizer(model_path)
    return ChatFormat(tokenizer) if chat_format else tokenizer


def _open(path: Path, cache_dir: Path | None) -> tuple[_runtime.Tokenizer, Path | None]:
    """The tokenizer, and the bundle or ranks that it was read from; None if it was converted."""
    if path.is_dir():
        ranks = path / "tokenizer.model"
        described = any((path / name).exists() for name in ("tokenizer.json", "tokenizer_config.json"))
        return _convert(path, cache_dir) if described or not ranks.is_file() else _open(ranks, cache_dir)
    if not path.is_file():
        missing = TokenizerNotFoundError(f"{path}: expected a tokenizer or model file, found none")
        missing.args, missing.filename = (str(path),), str(path)  # as the original's assertion has it
        raise missing
    try:
        return _runtime.Tokenizer(str(path)), path
    except UnsupportedModelError:
        if path.suffix == ".bnx":
            raise
        return _convert(path, cache_dir)
    except ModelFormatError as error:
        raise TokenizerFormatError(error.message) from None


def _convert(path: Path, cache_dir: Path | None) -> tuple[_runtime.Tokenizer, None]:
    from .checkpoints import open_tokenizer

    return open_tokenizer(path, cache_dir=cache_dir, verbose=False), None


def _parts(s: str) -> Iterator[str]:
    """s, cut wherever a run of white space, or of anything else, grows longer than _MAX_RUN_CHARS."""
    # A run that long covers a multiple of its length, so most texts need no look at every run.
    start = 0
    if any(_run_around(s, at) > _MAX_RUN_CHARS for at in range(0, len(s), _MAX_RUN_CHARS)):
        for run in _RUN.finditer(s):
            for at in range(run.start() + _MAX_RUN_CHARS, run.end(), _MAX_RUN_CHARS):
                yield s[start:at]
                start = at
    yield s[start:]


def _run_around(s: str, at: int) -> int:
    """Length of the run that s[at] is in, looked at no further back than matters."""
    after = _RUN.match(s, at)
    before = _RUN.match(s[max(0, at - _MAX_RUN_CHARS) : at + 1][::-1])
    return (after.end() - at if after else 0) + (before.end() - 1 if before else 0)


def part_of(message: object, name: str) -> Any:
    """A message's role or content, of a mapping or an object. MessageKeyError (a KeyError) without it."""
    try:
        return message[name] if isinstance(message, Mapping) else getattr(message, name)
    except (KeyError, AttributeError):
        error = MessageKeyError(f"message: expected {name!r} in it, got {message!r:.80}")
        error.args = (name,)
        raise error from None
