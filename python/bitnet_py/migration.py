"""Moves scripts and projects from the original implementation (microsoft/BitNet, gpu/) to bitnet_py.

    python -m bitnet_py.migration analyze FILE        what a script uses of the original, and what needs a hand
    python -m bitnet_py.migration migrate IN OUT      a script, or a project folder, with its imports changed
    python -m bitnet_py.migration check               is the original in this folder?

Only the names of modules in import lines change; every other byte stays. What is written is always new: the input is
never touched and nothing is overwritten. original_imports.py decides what is the original's.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import BitNetError
from .original_imports import Findings, Source, SourceError, apply, find, in_notebook, original_module, read_source
from .side_by_side import PROMPTS

_LINKED_FROM = 64 << 20  # bytes; files this large are weights: they are linked, not copied, where the file system can
_NOT_COPIED = (".git", "__pycache__")  # and folders that are virtual environments
_WRITTEN = ("MIGRATION_REPORT.md", "SETUP.md", "side_by_side_test.py")
_ONLY_ORIGINAL_NEEDS = ("blobfile", "einops", "fire", "tiktoken", "torch", "xformers")


class MigrationError(BitNetError, ValueError):
    """A migration was refused; nothing was written."""


class MigrationHelper:
    """Analyses and migrates files, and keeps a log of it.

    verbose: log lines are printed too. migration_log: all lines so far, each `[LEVEL] text`.
    """

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose
        self.migration_log: list[str] = []

    def log(self, message: str, level: str = "INFO") -> None:
        """Adds a line to migration_log, and prints it if verbose."""
        entry = f"[{level}] {message}"
        self.migration_log.append(entry)
        if self.verbose:
            print(entry)

    def check_original_installation(self) -> bool:
        """Whether the original is here: its modules in ./gpu or in this folder, or importable. None of it is run."""
        for folder in (Path("gpu"), Path()):
            found = [name for name in ("model", "generate", "tokenizer") if _is_original(folder / f"{name}.py", name)]
            if len(found) == 3:
                self.log(f"the original is in {folder.resolve()}")
                return True
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec("generate")
            if spec and spec.origin and _is_original(Path(spec.origin), "generate"):
                self.log(f"the original is in {Path(spec.origin).parent}")
                return True
        self.log("the original is neither in this folder, nor in ./gpu, nor on sys.path", "WARNING")
        return False

    def analyze_existing_code(self, code_path: str | os.PathLike[str]) -> dict[str, Any]:
        """What a Python file uses of the original; of a notebook (.ipynb), which cells import it.

        Keys: compatible (bool: nothing needs a hand), issues and suggestions (lists of `FILE:LINE: text`), imports
        (list of (line, text)), classes_used and functions_used (lists of (name, line)). A file that cannot be read as
        Python is not compatible and has one issue.
        """
        path = Path(code_path)
        try:
            if path.suffix == ".ipynb":
                return _notebook_analysis(path)
            source = read_source(path)
        except (SourceError, OSError) as error:
            return _analysis(path, Findings(), [_unreadable(path, error)])
        found, own = _examine(source, path.parent)
        return _analysis(path, found, [own] if own else [])

    def create_migration_config(self, original_config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration of the original's users, as arguments of this package.

        Keys taken: model and generation (dictionaries), those of InferenceConfig, device, dtype. Keys of the result:
        model_args and gen_args (of ModelArgs and GenArgs, each only if its part is there), inference_config (of
        InferenceConfig), device, dtype. What is missing takes the defaults of those classes.
        """
        from dataclasses import asdict, fields

        from . import GenArgs, InferenceConfig, ModelArgs

        def known(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
            return {field.name: given[field.name] for field in fields(cls) if field.name in given}

        config: dict[str, Any] = {}
        if "model" in original_config:
            config["model_args"] = ModelArgs.from_dict(original_config["model"]).to_dict()
        if "generation" in original_config:
            generation = original_config["generation"]
            config["gen_args"] = asdict(GenArgs(**known(GenArgs, generation)))
            for name in sorted(set(generation) - set(config["gen_args"])):
                self.log(f"GenArgs: unknown setting {name!r} was left out", "WARNING")
        config["inference_config"] = asdict(InferenceConfig(**known(InferenceConfig, original_config)))
        config["device"] = original_config.get("device", "cpu")
        config["dtype"] = original_config.get("dtype", "bfloat16")
        return config

    def migrate_script(
        self, input_path: str | os.PathLike[str], output_path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> bool:
        """Writes a script with its imports changed; logs each change with its line. False: nothing was written.

        output_path must not exist, or be equal already, unless overwrite is set.
        """
        source_path, target = Path(input_path), Path(output_path)
        try:
            source = read_source(source_path)
            found, own = _examine(source, source_path.parent)
            if own:
                raise MigrationError(own)
            new = _migrated(source, found, self)
            if not target.parent.is_dir():
                raise MigrationError(f"{target}: expected an existing folder, got {target.parent}; make it first")
            if target.exists() and not overwrite and (target.is_dir() or target.read_bytes() != new):
                raise MigrationError(f"{target}: exists already; name a new file (or --force)")
            _write(target, new, like=source_path)
        except (MigrationError, SourceError, OSError) as error:
            self.log(_unreadable(source_path, error), "ERROR")
            return False
        self.log(f"wrote {target}")
        return True

    def create_side_by_side_test(self, test_prompts: Sequence[str], output_dir: str | os.PathLike[str]) -> str:
        """Writes side_by_side_test.py, which asks the original and bitnet_py these prompts; returns its path."""
        path = Path(output_dir) / "side_by_side_test.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, _side_by_side(test_prompts))
        self.log(f"wrote {path}")
        return str(path)

    def generate_migration_report(self, analysis_results: Sequence[Mapping[str, Any]]) -> str:
        """A page of Markdown about results of analyze_existing_code (a file's name is its file_path) and this log."""
        clean = sum(bool(result["compatible"]) for result in analysis_results)
        lines = [
            "# Migration to bitnet_py",
            "",
            f"{len(analysis_results)} files, {clean} of them need no hand.",
            "",
        ]
        for result in analysis_results:
            if not (result["imports"] or result["issues"] or result["suggestions"]):
                continue
            lines += [f"## {result.get('file_path', 'file')}", ""]
            lines += [f"- imports, line {line}: `{text}`" for line, text in result["imports"]]
            for title, key in (("classes", "classes_used"), ("functions", "functions_used")):
                used: dict[str, list[str]] = {}
                for name, line in result[key]:
                    used.setdefault(name, []).append(str(line))
                if used:
                    lines.append(f"- {title}: " + "; ".join(f"`{n}` (line {', '.join(at)})" for n, at in used.items()))
            lines += [f"- **to do**: {text}" for text in result["issues"]]
            lines += [f"- note: {text}" for text in result["suggestions"]]
            lines.append("")
        lines += ["## Log", "", *(f"    {entry}" for entry in self.migration_log), ""]
        return "\n".join(lines)


def migrate_project(
    project_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    test_prompts: Sequence[str] | None = None,
    create_backup: bool = True,
) -> bool:
    """Writes a copy of a project with its imports changed, and MIGRATION_REPORT.md, SETUP.md, requirements.txt and
    side_by_side_test.py (with test_prompts) beside them. False: refused, nothing was written; the log says why.

    output_path must not exist or be empty; it appears only when complete. create_backup: also a copy of the whole
    project as it is, at `<project>_backup_<time>`. Files of 64 MiB and more (weights) are hard links where possible.
    """
    helper = MigrationHelper()
    try:
        _migrate_project(Path(project_path), Path(output_path), test_prompts or PROMPTS, create_backup, helper)
    except (MigrationError, OSError, shutil.Error) as error:
        helper.log(str(error), "ERROR")
        return False
    return True


def _migrate_project(
    project: Path, output: Path, prompts: Sequence[str], backup: bool, helper: MigrationHelper
) -> list[dict[str, Any]]:
    """migrate_project, with an exception where that says False, and the analyses of all files."""
    if not project.is_dir():
        raise MigrationError(
            f"{project}: expected the folder of a project, got {'a file' if project.exists() else 'nothing'}"
        )
    inside = project.resolve() in (output.resolve(), *output.resolve().parents)
    if inside:
        raise MigrationError(f"{output}: is inside the project; name a folder elsewhere")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise MigrationError(f"{output}: exists already; name a new folder, or remove it first")
    for name in _WRITTEN:
        if (project / name).exists():
            raise MigrationError(f"{project / name}: the migration writes a file of this name; rename yours first")
    output.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.resolve().parent) as folder:
        new = Path(folder) / "project"
        _copy_tree(project, new)
        results: list[dict[str, Any]] = []
        imported: set[str] = set()
        for path in sorted(new.rglob("*.py")):
            if not path.is_file() or path.is_symlink():
                continue
            shown = path.relative_to(new)
            original = project / shown
            try:
                source = read_source(original)
            except (SourceError, OSError) as error:
                analysis = _analysis(original, Findings(), [_unreadable(original, error)])
            else:
                found, own = _examine(source, project)
                if own:  # a file of the original itself stays as it is, for whoever wants to compare
                    found = Findings(notes=[(1, f"{own.partition(': ')[2]}; this copy is not used any more")])
                else:
                    imported |= _top_level_imports(source)
                analysis = _analysis(original, found)
                if found.edits:
                    _write(path, _migrated(source, found, helper), like=original)
            results.append(analysis | {"file_path": str(shown)})
        for path in sorted(new.rglob("*.ipynb")):
            shown = path.relative_to(new)
            results.append(helper.analyze_existing_code(project / shown) | {"file_path": str(shown)})
        _write(new / "side_by_side_test.py", _side_by_side(prompts))
        _write(new / "requirements.txt", _requirements(project / "requirements.txt", imported, helper))
        _write(new / "SETUP.md", _SETUP.encode())
        if backup:
            saved = project.resolve().with_name(f"{project.resolve().name}_backup_{time.strftime('%Y%m%d-%H%M%S')}")
            _copy_tree(project, saved, everything=True)
            helper.log(f"backup: {saved}")
        helper.log(f"wrote {output}")
        _write(new / "MIGRATION_REPORT.md", helper.generate_migration_report(results).encode())
        if output.is_dir():
            output.rmdir()  # empty, as seen above
        new.rename(output)
    return results


# Files


def _examine(source: Source, root: Path) -> tuple[Findings, str]:
    """What find finds in a file, and a text if the file is itself one of the original's."""
    module = original_module(source)
    if module is None:
        return find(source, root), ""
    text = f"{source.path}:1: this is the original's own {module}.py, which bitnet_py.{module} replaces"
    if module in ("generate", "convert_checkpoint", "convert_safetensors"):
        text += f"; as a program: python -m bitnet_py.{module}"
    return Findings(), text


def _analysis(path: Path, found: Findings, problems: Sequence[str] = ()) -> dict[str, Any]:
    issues = [*problems, *(f"{path}:{line}: {text}" for line, text in found.issues)]
    return {
        "compatible": not issues,
        "issues": issues,
        "suggestions": [f"{path}:{line}: {text}" for line, text in found.notes],
        "imports": found.imports,
        "classes_used": found.classes,
        "functions_used": found.functions,
    }


def _notebook_analysis(path: Path) -> dict[str, Any]:
    imports = in_notebook(path)
    problems = [
        f"{path}: cell {cell}: {text}: notebooks are not rewritten: change it by hand" for cell, text in imports
    ]
    return _analysis(path, Findings(imports=imports), problems)


def _migrated(source: Source, found: Findings, helper: MigrationHelper) -> bytes:
    """The file's new bytes; each change goes to the log."""
    new = apply(source, found.edits)
    after = Source(source.path, new.decode(source.encoding), source.encoding, source.tree)
    for line in sorted({edit.line for edit in found.edits}):
        helper.log(f"{source.path}:{line}: {source.line(line)}  ->  {after.line(line)}")
    for line, text in found.issues:
        helper.log(f"{source.path}:{line}: {text}", "WARNING")
    return new


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def _readable(path: Path) -> bool:
    try:
        (in_notebook if path.suffix == ".ipynb" else read_source)(path)
    except (SourceError, OSError):
        return False
    return True


def _is_original(path: Path, module: str) -> bool:
    with contextlib.suppress(SourceError, OSError):
        return path.stem == module and original_module(read_source(path)) == module
    return False


def _write(path: Path, content: bytes, like: Path | None = None) -> None:
    """Writes a file so that it is there whole or not at all, with the permissions of another."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if like is not None:
            shutil.copymode(like, name)
        else:
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _copy_tree(source: Path, target: Path, everything: bool = False) -> None:
    def ignored(folder: str, names: list[str]) -> list[str]:
        return [n for n in names if n in _NOT_COPIED or (Path(folder) / n / "pyvenv.cfg").exists()]

    shutil.copytree(source, target, symlinks=True, ignore=None if everything else ignored, copy_function=_copy)


def _copy(source: str, target: str) -> None:
    if Path(source).stat().st_size >= _LINKED_FROM:
        with contextlib.suppress(OSError):
            Path(target).hardlink_to(source)
            return
    shutil.copy2(source, target)


def _top_level_imports(source: Source) -> set[str]:
    import ast

    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    return names


def _requirements(path: Path, imported: set[str], helper: MigrationHelper) -> bytes:
    """The project's requirements, all kept, with bitnet_py added."""
    old = path.read_bytes() if path.exists() else b""
    lines = old.decode(errors="replace").splitlines()
    names = {line.strip().lower().replace("-", "_") for line in lines}
    for name in _ONLY_ORIGINAL_NEEDS:
        if name not in imported and any(line.startswith(name) for line in names):
            helper.log(f"requirements.txt: no file of the project imports {name} any more: its line may go")
    if any(line.startswith("bitnet_py") for line in names):
        return old
    if old and not old.endswith(b"\n"):
        old += b"\n"
    return old + f"bitnet_py>={__version__}\n".encode()


def _side_by_side(prompts: Sequence[str]) -> bytes:
    return _SIDE_BY_SIDE.format(prompts="".join(f"    {prompt!r},\n" for prompt in prompts)).encode()


_SIDE_BY_SIDE = '''"""Asks the original implementation and bitnet_py the same prompts and compares their tokens.

    python side_by_side_test.py CHECKPOINT                           bitnet_py alone
    python side_by_side_test.py CHECKPOINT --original BitNet/gpu     both; the original needs torch and a GPU

Exit status: 0 all tokens are equal, 1 some differ, 2 one of the two did not run. More options: --help.
"""

import sys

from bitnet_py.side_by_side import main

PROMPTS = [
{prompts}]

if __name__ == "__main__":
    sys.exit(main(prompts=PROMPTS))
'''

_SETUP = """# Running this project with bitnet_py

    pip install -r requirements.txt

- `FastGen.build(folder, ...)` reads the original's `model_state_int2.pt` or `model_state_fp16.pt` as they are; it
  compiles them the first time and keeps the result. That needs the compiler: `pip install "bitnet_py[compiler]"`.
- The tokenizer is `./tokenizer.model`, as ever, or `tokenizer.model` in the checkpoint's folder.
- A device "cuda:0" runs on the CPU, with one warning.
- MIGRATION_REPORT.md lists every changed line and what needs a hand.

Compare the two implementations, here with the original's own folder (it needs torch and a GPU):

    python side_by_side_test.py checkpoints --original BitNet/gpu
"""


# The program


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bitnet_py.migration",
        description="Move scripts and projects from the original implementation (microsoft/BitNet, gpu/) to bitnet_py.",
        epilog="Exit status: 0 nothing needs a hand, 1 something does (check: not found), 2 refused or unreadable.",
    )
    parser.add_argument("--version", action="version", version=f"bitnet_py {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analyze = commands.add_parser("analyze", help="say what scripts use of the original, and what needs a hand")
    analyze.add_argument("file", nargs="+", help="Python file")
    analyze.add_argument("--json", action="store_true", help="print the analysis as JSON, by file")
    migrate = commands.add_parser("migrate", help="write a script or a project with its imports changed")
    migrate.add_argument("input", help="Python file, or the folder of a project")
    migrate.add_argument("output", help="file or folder to write; must not exist")
    migrate.add_argument("--no-backup", action="store_true", help="make no copy of the project (which is not touched)")
    migrate.add_argument("--test-prompts", nargs="+", metavar="TEXT", help="prompts of side_by_side_test.py")
    migrate.add_argument("--force", action="store_true", help="a script: overwrite the output")
    migrate.add_argument("--json", action="store_true", help="print the analyses and the log as JSON")
    commands.add_parser("check", help="say whether the original is in this folder, in ./gpu or on sys.path")
    return parser


def _show(analyses: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for path, analysis in analyses.items():
        yield from (f"{path}:{line}: {text}" for line, text in analysis["imports"])
        yield from (f"to do: {text}" for text in analysis["issues"])
        yield from (f"note: {text}" for text in analysis["suggestions"])
        if not any(analysis[key] for key in ("imports", "issues", "suggestions")):
            yield f"{path}: uses nothing of the original"


def _analyze(options: argparse.Namespace) -> int:
    helper = MigrationHelper(verbose=False)
    analyses: dict[str, dict[str, Any]] = {}
    status = 0
    for path in options.file:
        if not _readable(Path(path)):
            status = 2
        analyses[path] = helper.analyze_existing_code(path)
    print(json.dumps(analyses, indent=2) if options.json else "\n".join(_show(analyses)))
    return status or int(not all(a["compatible"] for a in analyses.values()))


def _migrate(options: argparse.Namespace) -> int:
    helper = MigrationHelper(verbose=not options.json)
    source = Path(options.input)
    results: list[dict[str, Any]] = []
    if source.is_dir():
        try:
            prompts = options.test_prompts or PROMPTS
            results = _migrate_project(source, Path(options.output), prompts, not options.no_backup, helper)
        except (MigrationError, OSError, shutil.Error) as error:
            helper.log(str(error), "ERROR")
    elif helper.migrate_script(source, options.output, overwrite=options.force):
        results = [helper.analyze_existing_code(source) | {"file_path": str(source)}]
    refused = any(entry.startswith("[ERROR]") for entry in helper.migration_log)
    if options.json:
        print(json.dumps({"files": results, "log": helper.migration_log}, indent=2))
    elif not refused and source.is_dir():
        print(f"see {Path(options.output) / 'MIGRATION_REPORT.md'}")
    return 2 if refused else int(not all(result["compatible"] for result in results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The program `python -m bitnet_py.migration`; returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "analyze":
        return _analyze(options)
    if options.command == "migrate":
        return _migrate(options)
    return 0 if MigrationHelper().check_original_installation() else 1


if __name__ == "__main__":
    sys.exit(main())
