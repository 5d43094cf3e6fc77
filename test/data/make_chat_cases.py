#!/usr/bin/env python3
"""Writes chat-cases.json: chat templates, conversations, and what Jinja2 (as transformers sets it up) makes of them.

The templates are written here: what those of the known families do (BitNet, Llama 3 and 3.1, ChatML, Qwen 3 with its
thinking, Falcon 3, Llama 2, Gemma), random ones of small parts, and corners of the language. Run where Jinja2 3.1.6 is
installed:
  python3 make_chat_cases.py > chat-cases.json
  python3 make_chat_cases.py 100000 7    that many random templates, seed 7
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

FAMILIES = {
    "bitnet": """{% set all = messages %}{% for message in all %}{% set turn = message['role'] | capitalize + ': ' +
message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set turn = bos_token + turn %}{% endif %}
{{- turn }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}""",
    "llama3": """{% for m in messages %}{% set turn = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' +
m['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set turn = bos_token + turn %}{% endif %}{{ turn }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}""",
    "llama3.1": """{{- bos_token }}
{%- if not today is defined %}
    {%- set today = "1 Jan 2026" %}
{%- endif %}

{#- The system's words come first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools: " + tools | map(attribute='name') | join(", ") }}
{%- endif %}
{{- "Date: " + today + "\\n\\n" + system + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim }}
        {{- '<|eot_id|>' }}
    {%- elif message.role == "tool" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "chatml": """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] +
'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "qwen3": """{%- if tools %}
    {{- tools | tojson(indent=2) }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set at = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string
           and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last = at %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
            {{- content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool>\\n' ~ content ~ '\\n</tool>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if thinking is defined and thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "falcon3": """{%- for m in messages -%}
{%- if m['role'] == 'assistant' %}
{{- '<|assistant|>\\n' + m['content'] + eos_token + ('\\n' if not loop.last) }}
{%- elif m['role'] in ['system', 'user'] %}
{{- '<|' + m['role'] + '|>\\n' + m['content'] + '\\n' }}
{%- endif %}
{%- if loop.last and add_generation_prompt %}
{{- '<|assistant|>\\n' }}
{%- endif %}
{%- endfor %}
""",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]
.content %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for m in rest %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate\n') }}{% endif %}
{% if loop.index0 == 0 and system != false %}{% set said = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m['content'] %}
{% else %}{% set said = m['content'] %}{% endif %}
{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + said.strip() + ' [/INST]' }}
{%- elif m['role'] == 'assistant' %}{{ ' ' + said.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "gemma": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] + '

' -%}
    {%- set messages = messages[1:] -%}
{%- else -%}
    {%- set first = "" -%}
{%- endif -%}
{%- macro turn(who, words, before='') -%}
    {{ '<start_of_turn>' + who + '
' + before }}{{ words | trim }}{{ '<end_of_turn>
' }}
{%- endmacro -%}
{%- for m in messages -%}
    {{ turn('model' if m.role == 'assistant' else m.role, m.content, before=first if loop.first else "") }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
""",
}
CONTENTS = [
    *("Hi", "  Hi!\n\u3000", "", "a<think>\nx\n</think>\n\nb", "\n\n</think>z", "<tool>x</tool>", "Zeile\r\nzwei"),
    *("\u00a0\u00e9 \U0001f600 ", "</think></think>", "{{ x }}", "<|im_end|>", "None", 'q"\\\t\x01'),
]

# Corners of the language where an own engine errs.
CORNERS = [
    *("x{#-#} y", "x {#+#} y", "x {#- c +#}\n y", "a  {{- 1 -}}  b", "a\t{%- set x = 1 %}\t{{ x }}", "{{+ 5 }}"),
    *(
        "  {%+ if true %}x{% endif +%}\ny",
        "x\n  {%+ if true %}y{% endif %}\nz",
        "{{ 007 }}",
        "{{ 00 }}",
        "{{ '\\\u00e9' }}",
    ),
    *(
        source.replace("_", blank)
        for blank in "\u00a0\u3000\x85\x1c\x0b\u2028\u200b"
        for source in (
            "a_{%- if true -%}_b{% endif %}",
            "\n_{% if true %}b{% endif %}",
            "_{#c#}",
            "x_{#- c -#}_y{{- 1 -}}_z",
        )
    ),
    "{% for x in [1, 2] %}{% break %}{% else %}E{% endfor %}",
    "{% for x in [1, 2] %}{% continue %}{% else %}E{% endfor %}",
    "{% for x in [1, 2] %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% else %}E{% endfor %}",
    "{% for x in [] %}{% else %}{% set y = 1 %}{% endfor %}{{ y }}",
    "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f('x') }}",
    "{% macro f(a, b=c, c=1) %}{{ b }}-{{ c }}{% endmacro %}{{ f('x') }}{{ f('x', c=3) }}",
    "{% set a = 4 %}{% macro f(a=a) %}{{ a }}{% endmacro %}{{ f() }}",
    "{% macro f(a=q) %}{{ a }}{% endmacro %}{% for q in [1, 2] %}{{ f() }}{% endfor %}",
    "{% macro f(p) %}{{ p }}{% endmacro %}{{ f(1, p=2) }}",
    "{% macro f(p) %}{{ p }}{% endmacro %}{{ f(p=1, p=2) }}",
    "{% macro f(p) %}{{ p }}{{ varargs|length }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(p, p) %}{{ p }}{% endmacro %}{{ f(1, 2) }}",
    "{{ messages | selectattr('role', 'eq', 'user') | length }}",
    "{{ (messages | selectattr('role', 'eq', 'user'))[0].role }}",
    "{{ (messages | selectattr('role', 'eq', 'user') | first).role }}",
    "{% if messages | selectattr('role', 'eq', 'zzz') %}yes{% endif %}",
    "{% set s = messages | selectattr('role') %}{% for m in s %}a{% endfor %}{% for m in s %}b{% endfor %}",
    *("{{ none | selectattr('x') | list | length }}", "{{ absent | rejectattr('x', 'eq', 1) | list | length }}"),
    *("{{ range(3) == [0, 1, 2] }}", "{{ range(3) + [1] }}", "{{ range(3) | tojson }}", "{{ 2 in range(3) }}"),
    "{% set m = {'a': 1, 'b': 'c'} %}{{ m.keys()[0] }}",
    "{% set m = {'a': 1, 'b': 'c'} %}{{ 'b' in m.keys() }}{{ m.values() | join }}{{ m.items() | list | length }}",
    "{% for k, v in {'a': 1, 'b': 'c'}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in [1] %}{{ loop.depth }}{{ loop.depth0 }}{{ loop.nope }}{% endfor %}",
    "{% for k in [1] %}{{ loop is iterable }}{% endfor %}",
    *("{% for k in [1] %}{% set loop.x = 1 %}{{ loop.x }}{% endfor %}", "{% for loop in [1] %}x{% endfor %}"),
    *("{% set true = 1 %}", "{% set none = 1 %}", "{% for True in [1] %}{% endfor %}", "{% set x, false = [1, 2] %}"),
    *("{{ true.real }}", "{{ (1).numerator }}", "{{ [1] in {} }}", "{{ {} in {'a': 1} }}", "{{ [1] in [[1]] }}"),
    *("{{ [1, 2, 3][::5] | join }}", "{{ 'abc'[::-9] }}|{{ 'abc'[1::9] }}|{{ 'a\u00e91x'[::2] }}|{{ 'abc'[5:1:-1] }}"),
    *(
        "{{ 'a\u00e9b'[1] }}{{ 'a\u00e9b'[-1] }}{{ 'a\u00e9b' | length }}{{ 'ab'[2] }}",
        "{{ [][::3] | join }}{{ ''[::-1] }}",
    ),
    *("{% set a, b = 'xy' %}{{ a }}{{ b }}", "{% set a, b = {'p': 1, 'q': 2} %}{{ a }}{{ b }}", "{% set a, b = [1] %}"),
    "{% set x = 0 %}{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x }}",
    "{% for a in [1, 2] %}{% generation %}{% continue %}{% endgeneration %}x{% endfor %}",
    *("{{ raise_exception is defined }}{{ range is undefined }}", "{{ strftime_now is defined }}{{ nope is defined }}"),
    "{% for m in messages %}{% if loop.first %}{% set bos_token = 'x' %}{% endif %}{{ bos_token }}{% endfor %}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}{% for x in [3] %}{{ f() }}{% endfor %}",
    "{{ 'aXbXc'.replace('X', '--') }}{{ 'aaa' | replace('aa', 'b') }}{{ 'a,b,,c'.split(',', 1) | tojson }}",
    "{{ 9223372036854775807 }}{{ -9223372036854775807 - 1 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 1 ~ 2 * 3 }}",
]

# Parts of random templates.
NAMES = ["messages", "add_generation_prompt", "bos_token", "tools", "m", "x", "y", "ns", "absent", "loop"]
TEXTS = ["''", "'a'", '"b\\n"', "'\u00e9'", "' x '", '"\\u00e9\\t"', "'role'", "'user'", "'abc'", "'a' 'b'"]
FILTERS = [
    *("trim", "upper", "lower", "capitalize", "string", "length", "count", "first", "last", "list", "join", "tojson"),
    *(
        "default(1)",
        "default('z', true)",
        'join(", ")',
        "replace('a','bb')",
        "selectattr('role','equalto','user') | list",
    ),
]
METHODS = [
    *("strip()", "lstrip()", "rstrip()", "strip('a ')", "startswith('a')", "endswith('')", "split('a')", "upper()"),
    *("split('</think>')[-1]", "replace('a','')", "rstrip('\\n')", "lstrip('\\n \u00e9')", "split('a', 1)"),
]
TESTS = [
    *("defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "boolean", "integer", "number"),
    *("true", "false", "equalto(1)", "eq 1"),
]
LOOP = ["index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem"]


class Maker:
    """Random templates."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def expr(self, depth: int) -> str:
        pick = self.rng.choice
        if depth <= 0:
            return pick([*NAMES, *TEXTS, "0", "1", "2", "-1", "true", "false", "none", "3"])
        a, b = self.expr(depth - 1), self.expr(depth - 1)
        some = pick(["m", "messages[0]", "messages[-1]", "x"])
        ends = [pick(["", "1", "-1", "-2", "9"]), pick(["", "1", "-1", "2", "9"]), pick(["", ":", ":-1", ":2", ":1"])]
        return pick(
            [
                f"{a} {pick(['+', '-', '*', '//', '%', '~'])} {b}",
                f"{a} {pick(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {b}",
                *(f"{a} {pick(['and', 'or'])} {b}", f"not {a}", f"({a})", f"-{a}", f"{a} if {b} else 'n'"),
                *(
                    f"({a} if {b})",
                    f"{some}.{pick(['role', 'content', 'nope'])}",
                    f"{some}['{pick(['role', 'nope'])}']",
                ),
                *(f"{pick(['messages', 'x', 'y', TEXTS[8]])}[{a}]", f"{a} | {pick(FILTERS)}", f"{a} | {pick(FILTERS)}"),
                f"{pick(['messages', 'x', TEXTS[8], 'm.content'])}[{ends[0]}:{ends[1]}{ends[2]}]",
                *(
                    f"{a} is {pick(['', 'not '])}{pick(TESTS)}",
                    f"m.content.{pick(METHODS)}",
                    f"m.content.{pick(METHODS)}",
                ),
                *(f"[{a}, {b}]", f"{{'{pick('ab')}': {a}}}", f"loop.{pick(LOOP)}", f"ns.{pick('ab')}"),
                *(f"range({pick('0134')}, {pick(['3', '-2'])})|list", f"f({a})", f"f(q={a})"),
            ]
        )

    def blank(self) -> str:
        return self.rng.choice(["", "", " ", "\n", "\n\n", "  \n  ", "  ", "a", "b\n", "\t"])

    def tag(self, inside: str, kind: str = "%") -> str:
        pick = self.rng.choice
        left, right = pick(["", "", "", "-"]), pick(["", "", "", "-"])
        return "{" + kind + left + f" {inside} " + right + ("}}" if kind == "{" else "%}")

    def steps(self, depth: int) -> str:
        pick, tag = self.rng.choice, self.tag
        out = ""
        for _ in range(self.rng.randint(1, 3)):
            out += self.blank()
            kind = self.rng.randrange(12) if depth > 0 else 0
            if kind < 4:
                out += tag(self.expr(self.rng.randint(0, 2)), "{")
            elif kind == 4:
                out += tag("if " + self.expr(2)) + self.steps(depth - 1)
                out += pick(["", tag("else") + self.steps(depth - 1), tag("elif m") + "e"]) + tag("endif")
            elif kind < 7:
                source = pick(["messages", "messages[::-1]", "messages[1:]", '"abc"', "[1, 2]", self.expr(1)])
                out += tag(f"for {pick('mx')} in {source}{pick(['', ' if loop', ' if x != 1'])}") + self.steps(
                    depth - 1
                )
                out += pick(["", "", tag(pick(["break", "continue"])), tag("else") + "none"]) + tag("endfor")
            elif kind == 7:
                out += tag(f"set {pick('xym')} = {self.expr(2)}")
            elif kind == 8:
                out += tag(f"set ns.{pick('ab')} = {self.expr(1)}")
            elif kind == 9:
                out += tag("set y") + self.steps(depth - 1) + tag("endset")
            else:
                out += pick(["{# c #}", "{#- c -#}", "{# c\n#}\n"])
        return out + self.blank()

    def template(self) -> str:
        tag = self.tag
        start = tag("macro f(p, q=2)") + "<{{ p }}{{ q }}>" + tag("endmacro") if self.rng.random() < 0.3 else ""
        start += tag("set x = 'pq'") + tag("set y = [1, 'a', 3]") + tag("set ns = namespace(a='n', b=2)")
        body = self.steps(2) if self.rng.random() < 0.4 else tag(self.expr(self.rng.choice([1, 1, 2])), "{")
        return start + (tag("for m in messages") + body + tag("endfor") if self.rng.random() < 0.7 else body)


class _Generation(Extension):
    """The block that marks what an assistant says: a function, as in transformers."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Any) -> Any:
        return caller()


def _environment() -> Any:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = environment.globals["strftime_now"] = raise_exception
    return environment


def _conversation(rng: random.Random) -> list[dict[str, str]]:
    roles = ["system", "user", "assistant", "user", "assistant", "tool"]
    start = rng.choice([0, 1, 1])
    in_turn = [roles[start + i] if start + i < len(roles) else rng.choice(roles) for i in range(rng.randint(1, 5))]
    any_roles = [rng.choice(roles) for _ in range(rng.randint(0, 5))]
    return [{"role": r, "content": rng.choice(CONTENTS)} for r in (in_turn if rng.random() < 0.8 else any_roles)]


def main() -> None:
    """Prints the file."""
    n, seed = (int(argument) for argument in (sys.argv[1:3] or ("300", "1")))
    rng, environment = random.Random(seed), _environment()
    maker = Maker(rng)
    cases = []
    templates = [
        *(source for source in FAMILIES.values() for _ in range(12)),
        *(maker.template() for _ in range(n)),
        *CORNERS,
    ]
    for number, source in enumerate(templates):
        messages, prompt = _conversation(rng), rng.random() < 0.5
        case: dict[str, Any] = {"template": source, "messages": messages, "prompt": prompt}
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "", "tools": None, "documents": None}
        try:
            case["text"] = environment.from_string(source).render(
                messages=messages, add_generation_prompt=prompt, **names
            )
        except (jinja2.TemplateError, TypeError, ValueError, OverflowError, ZeroDivisionError, SyntaxError):
            case["fails"] = True
        if number < 12 * len(FAMILIES):
            case["family"] = list(FAMILIES)[number // 12]
            del case["template"]
        cases.append(case)
    whole = {"origin": f"jinja2 {jinja2.__version__}", "families": FAMILIES, "cases": cases}
    json.dump(whole, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
