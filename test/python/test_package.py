"""The package as others see it: what importing it brings in, and its types and style."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = Path(os.environ["BITNET_SOURCE_DIR"]) / "python"
RUFF = ["--no-cache", "--config", "pyproject.toml", ".", "../test/lint", "../test/python", "../test/tools"]


def test_import_brings_in_neither_numpy_nor_torch() -> None:
    code = "import sys, bitnet_py; print({'numpy', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--cache-dir=/dev/null", "--strict", "bitnet_py", "examples"],
        ["ruff", "check", *RUFF],
        ["ruff", "format", "--check", *RUFF],
    ],
    ids=" ".join,
)
def test_types_and_style(command: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-m", *command], cwd=PYTHON, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
