"""The package as others see it: what importing it brings in, and its types and style."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(os.environ["BITNET_SOURCE_DIR"])
RUFF = ["--no-cache", "python", "test", "tools"]  # all of Python in the repository
STUBTEST = ["--ignore-unused-allowlist", "--allowlist=test/python/stubtest-allowlist.txt"]


def run_python(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=SOURCE, capture_output=True, text=True)


def test_every_promised_behaviour_has_a_test() -> None:
    tests = "".join(path.read_text() for path in (SOURCE / "test" / "python").rglob("test_*.py"))
    numbers = {int(number) for marked in re.findall(r"mark\.case\((.*?)\)", tests) for number in marked.split(",")}
    assert numbers == set(range(1, 51))


def test_import_brings_in_nothing_heavy() -> None:
    code = "import sys, bitnet_py; print({'numpy', 'torch', 'jinja2', 'halide'} & set(sys.modules))"
    ran = run_python("-c", code)
    assert ran.stdout == "set()\n", ran.stderr


def test_modules_that_are_programs_are_attributes() -> None:
    code = "import bitnet_py as b; print(b.cache.folder, b.migration.main); b.nothing"
    ran = run_python("-W", "error", "-c", code)
    assert "function folder" in ran.stdout, ran.stderr
    assert ran.stderr.endswith("AttributeError: module 'bitnet_py' has no attribute 'nothing'\n")
    ran = run_python("-W", "error", "-m", "bitnet_py.cache", "path")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_import_is_quick(tmp_path: Path, assert_imports_quickly: Callable[[Callable[[str], str]], None]) -> None:
    """With compiled files, as pip leaves them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # no tracing
    environment |= {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    run("import asyncio, bitnet_py")  # writes the compiled files
    assert_imports_quickly(run)


@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--cache-dir=/dev/null", "--strict", "python/bitnet_py", "python/examples"],
        ["mypy", "--cache-dir=/dev/null", "--strict", "tools/bench"],
        ["mypy.stubtest", "--mypy-config-file=pyproject.toml", *STUBTEST, "bitnet_py"],
        ["ruff", "check", *RUFF],
        ["ruff", "format", "--check", *RUFF],
    ],
    ids=" ".join,
)
def test_types_and_style(command: list[str]) -> None:
    ran = run_python("-m", *command)
    assert ran.returncode == 0, ran.stdout + ran.stderr
