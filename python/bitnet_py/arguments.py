"""Command lines as python-fire reads them, which the original's programs use: a function's parameters are the options.

A value by position or --name=VALUE or --name VALUE; a flag (default False) by --name, --noname or --name=False; - and _
are the same; one dash and a first letter stand for the only parameter that begins so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class UsageError(Exception):
    """The arguments are wrong (status 2) or ask for help (status 0); the text is for the user."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def parse(arguments: Sequence[str], function: Callable[..., Any], program: str) -> dict[str, Any]:
    """The parameters' values by name. UsageError for unknown, ambiguous, superfluous, missing ones, and for --help."""
    parameters = inspect.signature(function).parameters
    flags = {name for name, parameter in parameters.items() if isinstance(parameter.default, bool)}
    usage = " ".join([program, *(f"[--{name}]" if name in flags else name.upper() for name in parameters)])

    def wrong(text: str) -> UsageError:
        return UsageError(f"error: {text}\nusage: {usage}", 2)

    def parameter_of(option: str) -> tuple[str, bool]:
        """The parameter that an option means, and what the option alone says of a flag."""
        name = option.lstrip("-").replace("-", "_")
        if name in parameters:
            return name, True
        if name.startswith("no") and name[2:] in flags:
            return name[2:], False
        if len(name) == 1 and not option.startswith("--"):
            meant = [known for known in parameters if known.startswith(name)]
            if len(meant) > 1:
                raise wrong(f"{option}: could be {' or '.join('--' + known for known in meant)}")
            if meant:
                return meant[0], True
        raise wrong(f"{option}: no such option")

    values: dict[str, Any] = {}
    positional: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-h", "--help"):
            raise UsageError(f"usage: {usage}\n\n{inspect.getdoc(function) or ''}", 0)
        if not argument.startswith("-") or argument == "-":
            positional.append(argument)
            continue
        option, given, value = argument.partition("=")
        name, alone = parameter_of(option)
        if name in flags:
            if not given and rest and rest[0].lower() in _BOOLEANS:
                value = rest.pop(0)
            if value and value.lower() not in _BOOLEANS:
                raise wrong(f"{option}: expected True or False, got {value!r}")
            values[name] = _BOOLEANS[value.lower()] if value else alone
        else:
            if not given:
                if not rest or rest[0].startswith("-"):
                    raise wrong(f"{option}: expected a value, got none")
                value = rest.pop(0)
            values[name] = value
    for value in positional:
        free = [name for name in parameters if name not in values]
        if not free:
            raise wrong(f"{value}: one argument too many")
        if free[0] in flags and value.lower() not in _BOOLEANS:
            raise wrong(f"{value}: one argument too many")
        values[free[0]] = _BOOLEANS[value.lower()] if free[0] in flags else value
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in values:
            raise wrong(f"{name.upper()}: is missing")
    return values
