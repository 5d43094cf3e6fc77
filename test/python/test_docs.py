"""The pages and the reference: quoted errors exist, links lead somewhere, code runs, public names are explained."""

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bitnet_py

SOURCE = Path(os.environ["BITNET_SOURCE_DIR"])
PAGES = ["README.md", "MIGRATION.md", "TROUBLESHOOTING.md"]


def page(name: str) -> str:
    return (SOURCE / "python" / name).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    def anchors(text: str) -> set[str]:
        titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}

    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", page(name))):
        path = SOURCE / "python" / (target or name)
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_names_exist(name: str) -> None:
    """What a page writes as bitnet_py.x.y is there, and somebody reads the environment variables that it names."""
    for dotted in set(re.findall(r"\bbitnet_py((?:\.[A-Za-z]\w*)+)", page(name))) - {"._runtime"}:
        thing: object = bitnet_py
        for part in dotted[1:].split("."):
            thing = getattr(thing, part, None) or importlib.import_module(f"{thing.__name__}.{part}")
    sources = "".join(path.read_text() for path in (SOURCE / "python" / "bitnet_py").glob("*.py"))
    for variable in set(re.findall(r"\bBITNET\w*", page(name))):
        assert f'"{variable}"' in sources, variable


# Quoted errors


def strings(path: Path) -> Iterator[str]:
    """The texts in a source file; those that stand side by side are one."""
    text = path.read_text()
    if path.suffix == ".py":
        yield from (
            n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        )
    else:
        for run in re.findall(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', text):
            yield re.sub(r'"\s*"', "", run[1:-1]).replace('\\"', '"')


# Said by Python itself.
NOT_OURS = ["No module named '", "asyncio.run() cannot be called from a running event loop"]


def quoted_errors() -> list[str]:
    """What TROUBLESHOOTING.md quotes at the beginning of a paragraph."""
    return re.findall(r"^\*\*`(.+?)`", page("TROUBLESHOOTING.md"), re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    files = [p for folder in ("runtime", "compiler") for p in (SOURCE / folder).rglob("*.cpp")]
    files += (SOURCE / "python" / "bitnet_py").glob("*.py")
    return [text for file in files for text in strings(file)]


@pytest.mark.parametrize("error", [e for e in quoted_errors() if not e.startswith(tuple(NOT_OURS))])
def test_quoted_errors_are_in_the_sources(error: str, texts: list[str]) -> None:
    for part in filter(None, (part.strip(" ;:") for part in error.split("…"))):
        assert any(part in text for text in texts), part


def test_errors_are_quoted() -> None:
    assert len(quoted_errors()) > 15


# Code


def blocks(name: str) -> list[tuple[int, str]]:
    """The Python blocks of a page, with their first lines."""
    text = page(name)
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, block.start(1)) + 1, block.group(1)) for block in found]


@pytest.fixture(scope="module")
def workplace(model: bitnet_py.BitNetModel, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, and a cache of its own."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "checkpoints").mkdir()
    for copy in ("model.gguf", "checkpoints/model.gguf"):
        shutil.copy(checkpoint, folder / copy)
    shutil.copy(model.path, folder / "model.bnx")
    return folder


@pytest.mark.parametrize("name", ["README.md", "MIGRATION.md"])
def test_code_runs_from_top_to_bottom(name: str, workplace: Path) -> None:
    """In one process, as a reader would paste it; line numbers in a traceback are the page's."""
    lines = [""] * page(name).count("\n")
    for first, block in blocks(name):
        lines[first - 1 : first - 1 + block.count("\n")] = block.splitlines()
    assert len("".join(lines)) > 200
    program = workplace / f"{name}.py"
    program.write_text("\n".join(lines) + "\n")
    environment = os.environ | {"XDG_CACHE_HOME": str(workplace / "cache")}
    ran = subprocess.run([sys.executable, program], cwd=workplace, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "unto him, I pray thee" in ran.stdout  # what greedy drawing makes of "And God said"


def test_commands_of_the_first_page_run(workplace: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(workplace / "cache")}
    commands = re.findall(r"^    python -m (.+?)(?:  +#.*)?$", page("README.md"), re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        arguments = command.replace('"And God said"', "Blessed").split()
        ran = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=workplace, env=environment, input="", capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
        assert "Warning" not in ran.stderr, f"{command}:\n{ran.stderr}"


# Reference


def modules() -> list[str]:
    names = sorted(path.stem for path in Path(bitnet_py.__file__).parent.glob("*.py"))
    return ["bitnet_py", *(f"bitnet_py.{name}" for name in names if not name.startswith("_"))]


def explained(thing: object) -> bool:
    """Whether a docstring says at least a sentence, not a name only. A generated one of a dataclass says nothing."""
    own = thing.__doc__ or ""
    return len(own.split()) >= 3 and not re.fullmatch(r"\w+\(.*\)", own, re.DOTALL)


@pytest.mark.parametrize("module", modules())
def test_public_names_are_explained(module: str) -> None:
    """Of what a module defines under names without underscore: itself, functions, classes, methods, properties."""
    here = importlib.import_module(module)
    assert explained(here), f"{module} has no docstring"
    missing = []
    for name, thing in vars(here).items():
        if name.startswith("_") or not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        if thing.__module__ != module or thing.__name__ != name:  # another's, or a second name
            continue
        if not explained(thing):
            missing.append(name)
        if inspect.isclass(thing):
            for attribute, value in vars(thing).items():
                value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                public = not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
                if public and not explained(value):
                    missing.append(f"{name}.{attribute}")
    assert not missing, f"{module}: without a docstring: {', '.join(missing)}"


def test_exported_names_are_there() -> None:
    for name in bitnet_py.__all__:
        assert hasattr(bitnet_py, name), name


def test_the_reference_is_written(tmp_path: Path) -> None:
    """tools/docs, which also fails where a type in a signature cannot be found."""
    pytest.importorskip("pdoc")
    if not (SOURCE / ".venv").exists():
        pytest.skip("tools/docs takes the virtual environment of the checkout, which is not here")
    out = tmp_path / "html"
    environment = os.environ | {"PYTHONPATH": str(Path(bitnet_py.__file__).parents[1])}
    ran = subprocess.run([SOURCE / "tools" / "docs", out], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "StreamingGenerator" in (out / "bitnet_py.html").read_text()
    assert "migrate_project" in (out / "bitnet_py" / "migration.html").read_text()
