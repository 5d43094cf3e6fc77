"""Jinja as transformers sets it up for chat templates, in a sandbox that a template cannot run away from.

A template reaches its variables only. It is stopped after MAX_STEPS turns of loops and calls of macros, before it makes
a text of more than MAX_CHARACTERS, and when its lists and dictionaries, written out, have more than MAX_PARTS parts.
Needs the package jinja2; chat_template.py does without where it can.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from .errors import ConfigError

MAX_STEPS = 200_000
MAX_CHARACTERS = 16_000_000
MAX_PARTS = 10_000_000  # of all that a template makes: a list that holds another twice has its parts twice
_MAX_NUMBER = 1000  # given to filters and methods: widths and counts
_MAX_BITS = 256
_LONG_NUMBER = re.compile(r"\d{5}")

_steps: ContextVar[list[int]] = ContextVar("steps left")
_parts: ContextVar[list[int]] = ContextVar("parts left")


def render_jinja(source: str, variables: Mapping[str, Any]) -> str:
    """The template's text. ConfigError where it is broken, refuses its variables or exceeds a limit."""
    _steps.set([MAX_STEPS])
    _parts.set([MAX_PARTS])
    pieces: list[str] = []
    size = 0
    try:
        for piece in _compiled(source).generate(**variables):
            size = _within(size + len(piece))
            pieces.append(piece)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"chat template: line {error.lineno}: {error.message}") from error
    except jinja2.TemplateError as error:
        raise ConfigError(f"chat template: {error.message}") from error
    except RecursionError as error:
        raise ConfigError("chat template: expected macros and expressions nested less deep") from error
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:  # of what the messages hold
        raise ConfigError(f"chat template: {error}") from error
    return "".join(pieces)


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    return _environment.from_string(source)


def _within(characters: int) -> int:
    if characters > MAX_CHARACTERS:
        raise jinja2.TemplateError(f"expected texts of at most {MAX_CHARACTERS} characters")
    return characters


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 1


def _check_growth(name: str, of: Any, arguments: list[Any]) -> None:
    """Refuses a filter or method that would make a long text of short ones."""
    if any(isinstance(value, int) and value > _MAX_NUMBER for value in arguments):
        raise jinja2.TemplateError(f"{name}: expected numbers of at most {_MAX_NUMBER}")
    if name == "replace" and len(arguments) > 1:
        _within(_length(of) + str(of).count(str(arguments[0])) * _length(arguments[1]))
    elif name == "indent":
        _within(_length(of) + (str(of).count("\n") + 1) * max(map(_length, [_MAX_NUMBER * " ", *arguments])))
    elif name == "expandtabs":
        _within(_length(of) + str(of).count("\t") * _MAX_NUMBER)
    elif name in ("format", "format_map") and _LONG_NUMBER.search(str(of)):
        raise jinja2.TemplateError(f"{name}: expected widths of at most 4 digits")


def _counted(value: Any) -> Any:
    """Takes what a new list or dictionary holds, written out, from the parts left."""
    left = _parts.get()
    rest = [value]
    while rest:
        of = rest.pop()
        if isinstance(of, Mapping):
            rest += of.values()
            left[0] -= len(of)
        elif isinstance(of, list | tuple):
            rest += of
            left[0] -= len(of)
        if left[0] < 0:
            raise jinja2.TemplateError(f"expected lists and dictionaries of at most {MAX_PARTS} parts")
    return value


class _Counting(NodeTransformer):
    """Puts a step into each loop and macro, functions around lists and dictionaries, and one in place of ~."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        node.body.insert(0, nodes.ExprStmt(_own("step"), lineno=node.lineno))
        return self.generic_visit(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        node.body.insert(0, nodes.ExprStmt(_own("step"), lineno=node.lineno))
        return self.generic_visit(node)

    def _counted(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)  # in place
        return _own("counted", [node])

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._counted(node) if node.items else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self._counted(node) if node.ctx == "load" and node.items else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._counted(node) if node.items else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        return self.generic_visit(_own("joined", node.nodes))


def _own(name: str, arguments: list[nodes.Expr] | None = None) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments or [], [], None, None, lineno=1)


class _Generation(Extension):
    """{% generation %}: marks what an assistant says, for training; here its content alone counts."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return [nodes.Scope(body)]


class _Environment(ImmutableSandboxedEnvironment):
    """Looks at what operators, filters and calls take, and at what they give."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counting().visit(super()._parse(source, name, filename))
        return tree.set_environment(self)  # type: ignore[return-value]

    def step(self) -> str:
        left = _steps.get()
        left[0] -= 1
        if left[0] < 0:
            raise jinja2.TemplateError(f"expected at most {MAX_STEPS} steps")
        return ""

    def counted(self, value: Any) -> Any:
        return _counted(value)

    def joined(self, *values: Any) -> str:
        texts = [str(value) for value in values]
        _within(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and not (isinstance(left, int) and isinstance(right, int)):
            sizes = (abs(v) if isinstance(v, int) else _length(v) for v in (left, right))
            _within(next(sizes) * next(sizes))
        elif operator == "+":
            _within(_length(left) + _length(right))
        elif operator == "%" and isinstance(left, str):
            _check_growth("format", left, [])
        bits = [v.bit_length() if isinstance(v, int) else 0 for v in (left, right)]
        if max(bits) > _MAX_BITS or (operator == "**" and bits[0] * (right if bits[1] else 1) > _MAX_BITS):
            raise jinja2.TemplateError(f"expected numbers of at most {_MAX_BITS} bits")
        result = super().call_binop(context, operator, left, right)
        return _counted(result) if isinstance(result, list | tuple) else result

    def wrap_str_format(self, value: Any) -> Any:
        of = getattr(value, "__self__", None)
        if isinstance(of, str):
            _check_growth(getattr(value, "__name__", ""), of, [])
        return super().wrap_str_format(value)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        of = getattr(obj, "__self__", None)
        if isinstance(of, str):
            name = getattr(obj, "__name__", "")
            if name == "join" and args:
                args = ([*args[0]], *args[1:])
                _within(sum(map(_length, args[0])) + len(of) * len(args[0]))
            _check_growth(name, of, [*args, *kwargs.values()])
        result = super().call(context, obj, *args, **kwargs)
        return _counted(result) if obj is dict else result


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own escapes for HTML."""
    if max(indent if isinstance(indent, int) else _length(indent or ""), *map(_length, separators or [""])) > 16:
        raise jinja2.TemplateError("tojson: expected at most 16 characters between values")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _growing(name: str, plain: Any) -> Any:
    """A filter of text and arguments, each looked at."""

    leading = 1 if hasattr(plain, "jinja_pass_arg") else 0  # the context or environment

    @functools.wraps(plain)
    def checked(*args: Any, **kwargs: Any) -> Any:
        leads, (of, *rest) = args[:leading], args[leading:]
        if name == "join":
            of = [*of]
            separator = rest[0] if rest else kwargs.get("d", "")
            _within(sum(len(str(value)) for value in of) + _length(separator) * len(of))
        _check_growth(name, of, [*rest, *kwargs.values()])
        result = plain(*leads, of, *rest, **kwargs)
        return _counted([*result]) if name in ("batch", "slice") else result

    return checked


def _make_environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    for name in ("replace", "join", "indent", "center", "format", "batch", "slice", "truncate", "wordwrap", "tojson"):
        environment.filters[name] = _growing(name, environment.filters[name])
    del environment.globals["lipsum"]
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


_environment = _make_environment()
