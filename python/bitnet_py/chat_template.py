"""Dialogs as text and as tokens, by the chat template (Jinja) that a model carries; any model's.

A special token that a message's content holds is encoded as ordinary text, so that nobody ends a turn or opens another
role from inside a message. The text of the whole dialog is encoded at once, as Hugging Face does it; ChatFormat, which
encodes headers and contents apart as the original does, is tokenizer.py's.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .encoding import any_of
from .errors import ArgumentTypeError, BitNetError, ConfigError, UnsupportedModelError
from .tokenizer import AnyDialog, ChatFormat, Tokenizer, part_of

if TYPE_CHECKING:
    from .model import BitNetModel

# The tokenizers that chat_tokens made of models: making one looks at every token.
_tokenizers: weakref.WeakKeyDictionary[BitNetModel, Tokenizer] = weakref.WeakKeyDictionary()


def render_chat(
    model: BitNetModel | Tokenizer | ChatFormat,
    messages: AnyDialog,
    *,
    add_generation_prompt: bool = True,
    chat_template: str | None = None,
    **variables: Any,
) -> str:
    """The dialog as the model's chat template writes it.

    messages: dictionaries or objects with role and content (text, or a list of {"type": "text", "text": ...}); other
    keys reach the template. add_generation_prompt: the opening of the assistant's answer comes last. chat_template:
    Jinja source instead of the model's. variables: more names for the template, e.g. tools.
    Where there is none, a model with <|eot_id|> and a tiktoken rank file get BitNet's form. Templates that the runtime
    knows need no Jinja; others need the package jinja2 (UnsupportedModelError says so). A template that refuses the
    dialog gives a ConfigError with its reason.
    """
    tokenizer = _tokenizer_of(model)
    return _render(tokenizer, _plain(messages), add_generation_prompt, chat_template, variables)


def chat_tokens(
    model: BitNetModel | Tokenizer | ChatFormat,
    messages: AnyDialog,
    *,
    add_generation_prompt: bool = True,
    chat_template: str | None = None,
    **variables: Any,
) -> list[int]:
    """The ids of a dialog, ready to be continued by the model: no BOS is to be added. Arguments: see render_chat.

    Special tokens become their ids where the template writes them, and stay text where a message's content holds them.
    """
    tokenizer = _tokenizer_of(model)
    guarded, guard = _guarded(_plain(messages), tokenizer)
    text = _render(tokenizer, guarded, add_generation_prompt, chat_template, variables)
    if guard.is_empty():
        return tokenizer.model.encode(text, allowed_special="all")
    tokens: list[int] = []
    at = 0
    for found in any_of(frozenset(tokenizer.special_tokens)).finditer(text):
        tokens += tokenizer.model.encode_ordinary(guard.restored(text[at : found.start()]), continues=at > 0)
        tokens.append(tokenizer.special_tokens[found.group()])
        at = found.end()
    return tokens + tokenizer.model.encode_ordinary(guard.restored(text[at:]), continues=at > 0)


class _Guard:
    """Stand-ins for special tokens that are meant as text: one character that no message has, and a number."""

    def __init__(self, texts: Sequence[str]) -> None:
        used = set().union(*texts)
        self._mark = next(chr(code) for code in range(0xF0000, 0xFFFFE) if chr(code) not in used)
        self._names: list[str] = []

    def is_empty(self) -> bool:
        return not self._names

    def stand_in(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        return f"{self._mark}{self._names.index(name)}{self._mark}"

    def restored(self, text: str) -> str:
        for number, name in enumerate(self._names):
            text = text.replace(f"{self._mark}{number}{self._mark}", name)
        return text


def _guarded(messages: list[dict[str, Any]], tokenizer: Tokenizer) -> tuple[list[dict[str, Any]], _Guard]:
    """The messages with stand-ins for the special tokens in their contents."""
    guard = _Guard([m["content"] for m in messages])
    if not tokenizer.special_tokens:
        return messages, guard
    specials = any_of(frozenset(tokenizer.special_tokens))
    return [
        {**m, "content": specials.sub(lambda found: guard.stand_in(found.group()), m["content"])} for m in messages
    ], guard


def _render(
    tokenizer: Tokenizer,
    messages: list[dict[str, Any]],
    add_generation_prompt: bool,
    chat_template: str | None,
    variables: Mapping[str, Any],
) -> str:
    model = tokenizer.native_model()
    source = chat_template or tokenizer.chat_template
    # The runtime's renderer knows roles and contents only.
    if model and not chat_template and source and not variables and all(len(m) == 2 for m in messages):
        try:
            return model.render_chat([(str(m["role"]), m["content"]) for m in messages], add_generation_prompt)
        except UnsupportedModelError:  # beyond the part of Jinja that the runtime renders
            pass
        except BitNetError as error:  # the template refuses the dialog
            raise ConfigError(str(error)) from error
    if source:
        return _jinja(source, tokenizer, messages, add_generation_prompt, variables)
    if not tokenizer.has_bitnet_chat:
        raise UnsupportedModelError(
            f"{tokenizer.model.name}: expected a chat template, got a {'model' if model else 'tokenizer'} without one; "
            "give it as chat_template="
        )
    turns = [f"{m['role'].capitalize()}: {m['content'].strip()}<|eot_id|>" for m in messages]
    bos = tokenizer.model.decode([tokenizer.bos_id]) if tokenizer.bos_id >= 0 else ""
    return bos + "".join(turns) + ("Assistant: " if add_generation_prompt else "")


def _jinja(
    source: str,
    tokenizer: Tokenizer,
    messages: list[dict[str, Any]],
    add_generation_prompt: bool,
    variables: Mapping[str, Any],
) -> str:
    def name_of(token: int) -> str:
        return tokenizer.model.decode([token]) if token >= 0 else ""

    names = {"bos_token": name_of(tokenizer.bos_id), "eos_token": name_of(tokenizer.eos_id)}
    names["pad_token"] = name_of(tokenizer.pad_id)
    try:
        from .jinja_sandbox import render_jinja
    except ImportError:
        raise UnsupportedModelError(
            "chat template: expected the package jinja2 to render it, got none; pip install jinja2"
        ) from None
    return render_jinja(
        source,
        {
            **{"tools": None, "documents": None, **names, **variables},
            "messages": messages,
            "add_generation_prompt": add_generation_prompt,
        },
    )


def _plain(messages: AnyDialog) -> list[dict[str, Any]]:
    """Dictionaries with role and textual content, and whatever else the messages have."""
    plain = []
    for number, message in enumerate(messages):
        role, content = part_of(message, "role"), part_of(message, "content")
        if content is None:
            content = ""
        elif not isinstance(content, str):
            content = _joined(content, f"message {number}: content")
        more = message if isinstance(message, Mapping) else {}
        plain.append({**more, "role": role, "content": content})
    return plain


def _joined(parts: Any, where: str) -> str:
    if not isinstance(parts, Sequence):
        raise ArgumentTypeError(f"{where}: expected text or a list of parts, got {type(parts).__name__}")
    texts = []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            raise ConfigError(f"{where}: expected parts of type 'text', got '{kind}'")
        texts.append(part["text"])
    return "".join(texts)


def _tokenizer_of(model: BitNetModel | Tokenizer | ChatFormat) -> Tokenizer:
    if isinstance(model, Tokenizer):
        return model
    if isinstance(model, ChatFormat):
        return model.tokenizer
    if model not in _tokenizers:
        _tokenizers[model] = Tokenizer(model)
    return _tokenizers[model]
