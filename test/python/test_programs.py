"""The console scripts that a wheel installs. What is in the wheel is the matter of integration/test_wheel.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bitnet_py
from bitnet_py import programs

BIN = Path(os.environ["BITNET_BIN_DIR"])


def run(script: str, program: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own, with `program` as the one beside the package."""
    found = f"Path({str(program)!r})" if program else "None"
    code = (
        "from pathlib import Path\nfrom bitnet_py import programs\n"
        f"programs.packaged = lambda name: {found}\nprograms.{script}()"
    )
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_bitnet_is_the_runtimes_command_line() -> None:
    ran = run("bitnet", BIN / "bitnet", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage: bitnet SUBCOMMAND" in ran.stdout
    assert run("bitnet", BIN / "bitnet", "run", "none.bnx").returncode == 1


def test_bitnetc_is_the_compiler() -> None:
    if not (BIN / "bitnetc").exists():
        pytest.skip("bitnetc is not built")
    ran = run("bitnetc", BIN / "bitnetc", "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"bitnetc {bitnet_py.__version__}\n", "")
    ran = run("bitnetc", BIN / "bitnetc", "none.gguf")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)


def test_bitnetc_without_halide_says_what_to_install(tmp_path: Path) -> None:
    loader = tmp_path / "bitnetc"
    loader.write_text(
        '#!/bin/sh\necho "error while loading shared libraries: libHalide.so: cannot open" >&2; exit 127\n'
    )
    loader.chmod(0o755)
    ran = run("bitnetc", loader, "model.gguf")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == 'error: bitnetc: the halide package is not installed; pip install "bitnet_py[compiler]"\n'


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("bitnetc", "error: bitnetc: this build of bitnet_py is without the compiler; "),
        ("bitnet", "error: bitnet: expected the program beside this package, got nothing; "),
    ],
)
def test_a_program_that_is_not_there_is_named(script: str, said: str) -> None:
    ran = run(script, None)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(said)


def test_bitnetc_finds_the_halide_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halide").mkdir()
    (tmp_path / "halide" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/first")
    assert programs.environment()["LD_LIBRARY_PATH"] == f"/first:{tmp_path}/halide/lib64"
