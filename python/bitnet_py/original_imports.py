"""Finds the imports of the original implementation (the modules of microsoft/BitNet's gpu folder) in a Python file.

The original is no package: its scripts say `from generate import FastGen` or `import model as fast`, with the modules
found beside them or on sys.path. Names so plain also belong to other people's modules; who owns one is decided here, by
the project's files and by the names that are used. Nothing is written here (migration.py does), and no file is run.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The names that each module of the original defines: classes first, then everything else.
ORIGINAL: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "generate": (frozenset({"FastGen", "GenArgs"}), frozenset({"get_prompts", "main"})),
    "model": (
        frozenset(
            {"Attention", "BitLinear", "BitLinearKernel", "FeedForward", "ModelArgs", "Transformer", "TransformerBlock"}
        ),
        frozenset(
            {"LayerCache", "bitnet_int8xint2_linear", "bitnet_lib", "cache_prefix", "make_cache", "squared_relu"},
        ),
    ),
    "tokenizer": (frozenset({"ChatFormat", "Message", "Tokenizer"}), frozenset({"Dialog", "Role", "logger"})),
    "stats": (frozenset({"PhaseStats", "Stats"}), frozenset()),
    "sample_utils": (frozenset(), frozenset({"top_p"})),
    "pack_weight": (
        frozenset(),
        frozenset(
            {
                "B_global_16x32_to_shared_load_16x32_layout",
                "compress_int2_to_int8",
                "convert_weight_int8_to_int2",
                "interleave_weight_int8",
                "permutate_weight_fastest",
            }
        ),
    ),
    "convert_checkpoint": (frozenset(), frozenset({"convert_ts_checkpoint"})),
    "convert_safetensors": (
        frozenset({"ModelArgs"}),
        frozenset({"convert_back", "invert_convert_k", "invert_convert_q", "transformer_configs"}),
    ),
}
# Modules whose names bitnet_py itself has, all of them together.
UNION = frozenset({"generate", "model", "sample_utils", "stats", "tokenizer"})
CLASSES = frozenset().union(*(classes for classes, _ in ORIGINAL.values()))
# A module of the original also has what it imports (`from generate import Tokenizer`), so names count for all of them.
NAMES = CLASSES.union(*(others for _, others in ORIGINAL.values()))
# Methods whose names say by themselves whose they are.
METHODS = frozenset(
    {"encode_dialog_prompt", "encode_header", "encode_message", "forward_with_attn_bias", "generate_all"}
)


class SourceError(ValueError):
    """A file that cannot be read as Python; the message says where and why."""


@dataclass
class Source:
    """A Python file: its text with the line ends that it has, and what is needed to write it back byte for byte."""

    path: Path
    text: str
    encoding: str
    tree: ast.Module

    def __post_init__(self) -> None:
        # Python's own line ends only: str.splitlines also cuts at form feeds and U+2028, which ast does not count.
        ends = [match.end() for match in re.finditer(r"\r\n|\r|\n", self.text)]
        self._starts = [0, *ends]

    def offset(self, line: int, utf8_column: int) -> int:
        """The index in text of a position as ast gives it: lines from 1, columns in UTF-8 bytes."""
        start = self._starts[line - 1]
        rest = self.text[start : start + utf8_column]
        return start + len(rest.encode()[:utf8_column].decode())

    def line(self, number: int) -> str:
        """A line of the file, from 1, without the space around it."""
        return (re.split(r"\r\n|\r|\n", self.text[self._starts[number - 1] :], maxsplit=1)[0]).strip()


def read_source(path: Path) -> Source:
    """Reads and parses a Python file. Raises SourceError: not text in its encoding, or not Python."""
    raw = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path}:{line}: expected {error.encoding} text, got the byte 0x{raw[error.start]:02x}; "
            "save it as UTF-8, or name its encoding in the first line: # -*- coding: latin-1 -*-"
        ) from None
    except SyntaxError as error:  # no such encoding, or its first lines are not UTF-8
        raise SourceError(
            f"{path}:1: cannot be decoded: {error.msg.partition(' for ')[0]}; "
            "save it as UTF-8, or name its encoding in the first line: # -*- coding: latin-1 -*-"
        ) from None
    if text.encode(encoding) != raw:
        raise SourceError(f"{path}:1: its {encoding} text cannot be written back as the same bytes; save it as UTF-8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text)
    except SyntaxError as error:
        raise SourceError(f"{path}:{error.lineno or 1}: is not Python 3: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a NUL byte; nesting beyond the parser
        raise SourceError(f"{path}:1: is not Python 3: {error}") from None
    return Source(path, text, encoding, tree)


@dataclass(frozen=True)
class Edit:
    """Replaces text[start:end] of a source by new, which has no line end."""

    line: int
    start: int
    end: int
    new: str


@dataclass
class Findings:
    """What a file has to do with the original. Lines count from 1; texts say what, not where."""

    edits: list[Edit] = field(default_factory=list)
    imports: list[tuple[int, str]] = field(default_factory=list)  # the lines of the original's imports, as written
    classes: list[tuple[str, int]] = field(default_factory=list)
    functions: list[tuple[str, int]] = field(default_factory=list)
    issues: list[tuple[int, str]] = field(default_factory=list)  # somebody must look at these
    notes: list[tuple[int, str]] = field(default_factory=list)  # good to know


def apply(source: Source, edits: Sequence[Edit]) -> bytes:
    """The file's bytes with the edits made, in its own encoding; every other byte stays."""
    text = source.text
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text.encode(source.encoding)


def defined_names(tree: ast.Module) -> set[str]:
    """The classes and functions at the top level of a file."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def original_module(source: Source) -> str | None:
    """Which module of the original a file is, by its name and by all that this module defines; None: none of them."""
    module = source.path.stem
    if module not in ORIGINAL:
        return None
    classes, others = ORIGINAL[module]
    functions = others - {"Dialog", "LayerCache", "Role", "bitnet_lib", "logger", "transformer_configs"}  # assignments
    return module if classes | functions <= defined_names(source.tree) else None


def in_notebook(path: Path) -> list[tuple[int, str]]:
    """The imports of modules with the original's names in a Jupyter notebook: (number of the cell from 1, the import).

    Raises SourceError if it is none, OSError as open does. Cells that are not Python are passed over.
    """
    try:
        cells = json.loads(path.read_bytes())["cells"]
        codes = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}:1: is not a notebook: {type(error).__name__}: {error}") from None
    found: list[tuple[int, str]] = []
    for number, code in enumerate(codes, 1):
        plain = re.sub(r"^\s*[%!].*$", "", code, flags=re.MULTILINE)  # Jupyter's own commands
        with contextlib.suppress(SyntaxError, ValueError):
            for node in ast.walk(ast.parse(plain)):
                if isinstance(node, ast.Import):
                    named = any(alias.name in ORIGINAL for alias in node.names)
                else:
                    named = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in ORIGINAL
                if named:
                    found.append((number, ast.unparse(node)))
    return found


def find(source: Source, root: Path) -> Findings:
    """Everything about the original in a file of the project in root (for a lone script: its folder)."""
    return _Search(source, root).run()


class _Search:
    def __init__(self, source: Source, root: Path) -> None:
        self.source = source
        self.root = root
        self.found = Findings()
        self.origin: dict[str, str] = {}  # name in the file -> name of the original
        self.modules: set[str] = set()  # names in the file that are modules of the original

    def run(self) -> Findings:
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in ORIGINAL:
                self._from_import(node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in ORIGINAL:
                        self._import(node, alias)
            elif isinstance(node, ast.Call):
                self._import_by_name(node)
        self._uses()
        for items in (self.found.imports, self.found.issues):
            items[:] = sorted(set(items))
        first = {text: line for line, text in sorted(self.found.notes, reverse=True)}  # each text once
        self.found.notes = sorted((line, text) for text, line in first.items())
        return self.found

    # Who owns an import

    def _is_original(self, module: str, names: set[str], line: int) -> bool:
        """Whether an import of a module with these names is the original's; says why not, or what is lost."""
        for path in self._local(module):
            if path.suffix == ".py":
                try:
                    local = read_source(path)
                except SourceError:
                    local = None
                if local is not None and original_module(local) == module:
                    shown = path.relative_to(self.root)
                    added = sorted(defined_names(local.tree) - NAMES)
                    if added:
                        self.found.issues.append((line, f"{shown}: the original's, with additions: {', '.join(added)}"))
                    self.found.notes.append((line, f"{shown}: the project's copy of the original's, unused now"))
                    break
            self.found.notes.append((line, f"{path.relative_to(self.root)}: the project's own; this import stays"))
            return False
        foreign = sorted(names - NAMES)
        if not foreign:
            return True
        if len(foreign) == len(names):
            self.found.notes.append((line, f"{module}: another module: the original has no {', '.join(foreign)}"))
        else:
            self.found.issues.append(
                (line, f"{module}: the original has no {', '.join(foreign)}; left as it is: split this import")
            )
        return False

    def _local(self, module: str) -> Iterator[Path]:
        """Files of the project that `import module` may mean: beside the file, in the folders above, in root/src."""
        here = self.source.path.parent
        folders = [here, *(up for up in here.parents if up == self.root or self.root in up.parents), self.root / "src"]
        for folder in dict.fromkeys(folders):
            candidates = [folder / f"{module}.py", folder / module / "__init__.py"]
            candidates += sorted(p for end in ("so", "pyd") for p in folder.glob(f"{module}.*{end}"))
            yield from (path for path in candidates if path.is_file() and path != self.source.path)

    # Imports

    def _from_import(self, node: ast.ImportFrom) -> None:
        module = str(node.module)
        names = {alias.name for alias in node.names} - {"*"}
        if not self._is_original(module, names, node.lineno):
            return
        star = any(alias.name == "*" for alias in node.names)
        package = f"bitnet_py.{module}"
        target = self._target([package] if star or module not in UNION else ["bitnet_py", package], names, node.lineno)
        start = self.source.offset(node.lineno, node.col_offset)
        # Between `from` and the module only blanks and continued lines can stand.
        match = re.compile(rf"from(?:[ \t\f]|\\(?:\r\n|\r|\n))+(?={module}\b)").match(self.source.text, start)
        if match is None:
            self.found.issues.append((node.lineno, f"{module}: import in an unusual spelling; change it by hand"))
            return
        line = node.lineno + len(re.findall(r"\r\n|\r|\n", match.group()))
        self._replace(line, node.lineno, match.end(), module, target)
        for alias in node.names:
            self.origin[alias.asname or alias.name] = alias.name
            self._used(alias.name, alias.lineno)
        if star:
            self.origin.update((name, name) for names in ORIGINAL[module] for name in names)

    def _import(self, node: ast.Import, alias: ast.alias) -> None:
        name = alias.asname or alias.name
        names = self._attributes(name)
        if not self._is_original(alias.name, names, alias.lineno):
            return
        package = f"bitnet_py.{alias.name}"
        # The promise of old: `import model as fast` becomes `import bitnet_py as fast`, the union of all modules.
        candidates = ["bitnet_py", package] if alias.name == "model" else [package]
        if alias.name in UNION - {"model"}:
            candidates.append("bitnet_py")
        target = self._target(candidates, names, alias.lineno)
        start = self.source.offset(alias.lineno, alias.col_offset)
        self._replace(
            alias.lineno, node.lineno, start, alias.name, target if alias.asname else f"{target} as {alias.name}"
        )
        self.modules.add(name)

    def _replace(self, line: int, statement: int, start: int, module: str, new: str) -> None:
        end = start + len(module)
        if self.source.text[start:end] != module:  # written in letters that Python normalizes
            self.found.issues.append((line, f"{module}: import in an unusual spelling; change it by hand"))
            return
        self.found.imports.append((statement, self.source.line(statement)))
        self.found.edits.append(Edit(line, start, end, new))

    def _target(self, candidates: list[str], names: set[str], line: int) -> str:
        """The first of these modules that has all the names, or else the first; what it lacks becomes an issue."""
        absent: list[list[str]] = []
        for candidate in candidates:
            module = importlib.import_module(candidate)
            absent.append(sorted(name for name in names if not hasattr(module, name)))
            if not absent[-1]:
                return candidate
        missing = ", ".join(sorted(absent, key=len)[0])
        self.found.issues.append(
            (line, f"{missing}: not in bitnet_py: the model runs in the compiled runtime, not torch")
        )
        return candidates[0]

    def _import_by_name(self, call: ast.Call) -> None:
        function = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        first = call.args[0] if call.args else None
        if function in ("__import__", "import_module") and isinstance(first, ast.Constant) and first.value in ORIGINAL:
            self.found.issues.append(
                (call.lineno, f"{first.value}: imported by its name at run time; change it by hand")
            )

    # Uses

    def _attributes(self, name: str) -> set[str]:
        """The attributes that the file reads of a name; none if the name is also given other values."""
        nodes = list(ast.walk(self.source.tree))
        if any(isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load) for n in nodes):
            return set()
        if any(isinstance(n, ast.arg) and n.arg == name for n in nodes):
            return set()
        return {
            n.attr
            for n in nodes
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load) and not n.attr.startswith("__")
            if isinstance(n.value, ast.Name) and n.value.id == name
        }

    def _used(self, name: str, line: int) -> None:
        if name in NAMES or name in METHODS:
            (self.found.classes if name in CLASSES else self.found.functions).append((name, line))

    def _uses(self) -> None:
        if not self.found.edits:
            return
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in self.origin:
                self._used(self.origin[node.id], node.lineno)
            elif isinstance(node, ast.Attribute):
                of_module = isinstance(node.value, ast.Name) and node.value.id in self.modules
                if of_module or node.attr in METHODS:
                    self._used(node.attr, node.lineno)
                self._cuda(node)
            elif isinstance(node, ast.Call):
                self._differences(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self._unneeded(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._constant(node, node.value)
        for items in (self.found.classes, self.found.functions):
            items[:] = sorted(set(items), key=lambda item: (item[1], item[0]))

    def _cuda(self, node: ast.Attribute) -> None:
        dotted = ast.unparse(node)
        if dotted.startswith("torch.cuda.") and dotted.count(".") == 2 and node.attr != "is_available":
            if "memory" in node.attr:
                text = "the memory of a GPU; Stats.memory_used has that of this process, in GB"
            else:
                text = "needs a GPU and torch; bitnet_py computes on the CPU: take it out"
            self.found.issues.append((node.lineno, f"{dotted}: {text}"))

    def _unneeded(self, node: ast.Import | ast.ImportFrom) -> None:
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for module in modules:
            top = module.partition(".")[0]
            if top in ("torch", "xformers"):
                self.found.notes.append((node.lineno, f"{top}: bitnet_py does not need it; only this file still does"))

    def _differences(self, call: ast.Call) -> None:
        name = ast.unparse(call.func).rpartition(".")[2]
        given = {keyword.arg for keyword in call.keywords}
        if name == "GenArgs" and given & {"temperature", "top_p"}:
            self.found.notes.append(
                (
                    call.lineno,
                    "GenArgs: temperature and top_p are honoured here; the original always sampled with 0.7 and 0.95 "
                    "(BITNET_PY_COMPAT_SAMPLING=1 gives that)",
                )
            )
        if ast.unparse(call.func) in ("sys.path.append", "sys.path.insert"):
            self.found.notes.append((call.lineno, "sys.path: an installed bitnet_py is found without this"))
        if name == "cuda" and isinstance(call.func, ast.Attribute):
            self.found.issues.append(
                (call.lineno, ".cuda(): bitnet_py takes and gives lists and CPU arrays: take it out")
            )

    def _constant(self, node: ast.Constant, text: str) -> None:
        if re.fullmatch(r"cuda(:\d+)?", text):
            self.found.notes.append(
                (node.lineno, f"{text!r}: there is no GPU back end; it runs on the CPU, with a warning")
            )
        elif re.fullmatch(r"(\S*/)?generate\.py", text):
            self.found.notes.append((node.lineno, "generate.py: as a program it is python -m bitnet_py.generate"))
