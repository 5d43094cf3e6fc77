"""`python -m bitnet_py chat`: a conversation on the terminal, or line by line from a pipe.

On a terminal: line editing and a history file (readline), lines that end in \\ and texts between \"\"\" go on over
several lines, Ctrl-C stops an answer, Ctrl-D leaves. From a pipe: one line is one message, only answers are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from .chat_template import chat_tokens
from .cli import (
    INTERRUPTED,
    open_model,
    print_json,
    sampling_of,
    summary_of,
    timings_of,
    tokenizer_of,
    write,
)
from .errors import BitNetError, ConfigError
from .model import BitNetModel
from .streams import stream

_HISTORY_LINES = 1000
_ROOM = 64  # positions kept for an answer before the oldest messages are left out


def chat(args: argparse.Namespace) -> int:
    """Runs the conversation; the exit code."""
    sampling_of(args)  # wrong flags are told before the model is loaded
    model = open_model(args)
    tokenizer_of(model)
    conversation = _Conversation(model, args)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return conversation.answer_lines(line.rstrip("\n") for line in sys.stdin)
    with _editor(None if args.no_history else _history_file()):
        if not args.quiet:
            print(f"{model._native.info()['name']}; /help lists the commands, Ctrl-D leaves", file=sys.stderr)
        return conversation.converse()


class _Conversation:
    def __init__(self, model: BitNetModel, args: argparse.Namespace) -> None:
        self._model, self._args = model, args
        self._system: str | None = args.system
        self._messages: list[dict[str, str]] = []
        self._sampling = replace(sampling_of(args), reuse_prefix=True)
        self._fixed_seed = args.seed is not None
        self._last: dict[str, Any] | None = None  # about the last answer
        self._context: int = args.context or model._native.info()["context"]
        self._commands: dict[str, tuple[str, Callable[[str], bool | None]]] = {
            "/help": ("this list", self._help),
            "/clear": ("forget the conversation", self._clear),
            "/system": ("TEXT: set the system message; without TEXT, show it", self._set_system),
            "/stats": ("speed of the last answer, positions in use", self._stats),
            "/temp": ("T: set the temperature", self._set_temperature),
            "/seed": ("N: draw the same from now on; without N, anew each time", self._set_seed),
            "/undo": ("forget the last message and its answer", self._undo),
            "/regenerate": ("answer the last message again", self._regenerate),
            "/save": ("FILE: write the conversation as JSON", self._save),
            "/exit": ("leave (also Ctrl-D)", lambda _: True),
        }

    # ---- where lines come from

    def answer_lines(self, lines: Iterator[str]) -> int:
        """One message or command a line."""
        for line in lines:
            if line.strip() and self._handle(line):
                break
            if self._last is not None and self._last["finish_reason"] == "cancelled":
                return INTERRUPTED
        return 0

    def converse(self) -> int:
        """Messages from the terminal."""
        while True:
            try:
                text = _read_message()
            except EOFError:
                write("\n")
                return 0
            except KeyboardInterrupt:
                write("\n")
                print("Ctrl-D or /exit leaves", file=sys.stderr)
                continue
            try:
                if text.strip() and self._handle(text):
                    return 0
            except KeyboardInterrupt:  # before an answer began, or in a command
                write("\n")

    def _handle(self, text: str) -> bool:
        """Obeys a command or answers a message; true to leave."""
        try:
            if text.startswith("/"):
                name, _, rest = text.partition(" ")
                command = self._commands.get("/exit" if name == "/quit" else name)
                if command is None:
                    raise ConfigError(f"{name}: no such command; /help lists them")
                return bool(command[1](rest.strip()))
            self._messages.append({"role": "user", "content": text})
            self._answer()
        except (BitNetError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return False

    # ---- answers

    def _answer(self) -> None:
        """Answers the last message; what came of it joins the conversation, whole or not."""
        try:
            text = stream(
                self._model,
                self._prompt(),
                self._sampling if self._fixed_seed else replace(self._sampling, seed=None),
                threads=self._args.threads,
                context=self._context,
            )
        except BaseException:
            self._messages.pop()  # it cannot be answered
            raise
        try:
            for piece in text:
                if not self._args.json:
                    write(piece)
        except KeyboardInterrupt:
            pass
        finally:
            text.cancel()
        self._messages.append({"role": "assistant", "content": text.text})
        timings = timings_of(text)
        self._last = {"finish_reason": text.finish_reason, "timings": timings}
        if self._args.json:
            print_json({"text": text.text, **self._last}, indent=None)
            sys.stdout.flush()
        else:
            write("\n")
        if not self._args.quiet and not self._args.json:
            print(f"[{summary_of(timings, text.finish_reason)}]", file=sys.stderr)

    def _prompt(self) -> list[int]:
        """The conversation as tokens, without its oldest exchanges if it is longer than the context."""
        room = self._context - _ROOM
        for start in range(0, len(self._messages), 2):
            tokens = chat_tokens(self._model, [*self._system_message(), *self._messages[start:]])
            if len(tokens) <= room or (start >= len(self._messages) - 1 and len(tokens) < self._context):
                if start:
                    print(f"[the oldest {start} messages no longer fit the context]", file=sys.stderr)
                return tokens
        raise ConfigError(
            f"message: expected fewer than {self._context} tokens (the context), got {len(tokens)}; shorten it"
        )

    def _system_message(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self._system}] if self._system else []

    # ---- commands; each gets what stands behind its name

    def _help(self, _: str) -> None:
        for name, (meaning, _command) in self._commands.items():
            print(f"{name:<12} {meaning}", file=sys.stderr)
        print('a line that ends in \\ goes on in the next; """ begins and ends a text of many lines', file=sys.stderr)

    def _clear(self, _: str) -> None:
        self._messages.clear()

    def _set_system(self, text: str) -> None:
        if text:
            self._system = text
        else:
            print(self._system or "no system message", file=sys.stderr)

    def _stats(self, _: str) -> None:
        used = len(chat_tokens(self._model, [*self._system_message(), *self._messages])) if self._messages else 0
        if self._last is not None:
            print(summary_of(self._last["timings"], self._last["finish_reason"]), file=sys.stderr)
        print(f"{len(self._messages)} messages, {used} of {self._context} positions", file=sys.stderr)

    def _set_temperature(self, text: str) -> None:
        try:
            temperature = float(text)
        except ValueError:
            raise ConfigError(f"/temp: expected a number, got '{text}'") from None
        if not 0 <= temperature < float("inf"):
            raise ConfigError(f"/temp: expected 0 or more, got {text}")
        self._sampling = replace(self._sampling, temperature=temperature)

    def _set_seed(self, text: str) -> None:
        if text and not text.removeprefix("-").isdecimal():
            raise ConfigError(f"/seed: expected a whole number, got '{text}'")
        self._fixed_seed = bool(text)
        if text:
            self._sampling = replace(self._sampling, seed=int(text))

    def _undo(self, _: str) -> None:
        if not self._messages:
            raise ConfigError("/undo: there is no message")
        del self._messages[-2:]

    def _regenerate(self, _: str) -> None:
        if not self._messages:
            raise ConfigError("/regenerate: there is no message")
        del self._messages[-1:]
        self._answer()

    def _save(self, name: str) -> None:
        if not name:
            raise ConfigError("/save: expected a FILE")
        text = json.dumps([*self._system_message(), *self._messages], indent=2, ensure_ascii=False)
        Path(name).expanduser().write_text(text + "\n", encoding="utf-8")


def _read_message() -> str:
    """A message from the terminal: one line, or several (see the head of this file)."""
    line = input("> ")
    if line.lstrip().startswith('"""'):
        text = line.lstrip()[3:]
        while '"""' not in text:
            text += "\n" + input(". ")
        return text.partition('"""')[0].strip("\n")
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input(". "))
    return "\n".join(lines)


def _history_file() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "bitnet" / "chat_history"


@contextlib.contextmanager
def _editor(history: Path | None) -> Iterator[None]:
    """Line editing for input(), where Python has it, with the lines of earlier times."""
    try:
        import readline
    except ImportError:
        yield
        return
    if history is not None:
        with contextlib.suppress(OSError):
            readline.read_history_file(history)
    try:
        yield
    finally:
        if history is not None:
            with contextlib.suppress(OSError):
                history.parent.mkdir(parents=True, exist_ok=True)
                readline.set_history_length(_HISTORY_LINES)
                readline.write_history_file(history)
