"""The wheel, as its user gets it: built by tools/wheel, installed in a new virtual environment, run without compilers.

Nothing of the checkout or of the build under test is on the paths of what runs here. Packages come from pip's index.
BITNET_WHEEL names a wheel that is tried instead of building one.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import bitnet_py

SOURCE = Path(os.environ["BITNET_SOURCE_DIR"])
OTHERS = [minor for minor in (10, 11, 12, 13) if minor != sys.version_info.minor]
EXAMPLES = sorted((SOURCE / "python" / "examples").glob("*.py"))


class Environment:
    """A virtual environment whose programs are the only ones on the PATH."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": str(self.bin), "HOME": str(self.folder), "LANG": "C.UTF-8"}
        text = [str(part) for part in command]
        text[0] = str(self.bin / text[0])
        return subprocess.run(text, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=600)

    def install(self, *what: object) -> None:
        ran = subprocess.run(
            [self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *map(str, what)],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        if "No matching distribution found" in ran.stderr or "Could not find a version" in ran.stderr:
            pytest.skip(f"pip's index is not reached: {ran.stderr.splitlines()[-1]}")
        assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("BITNET_WHEEL"):
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("dist")
    ran = subprocess.run([SOURCE / "tools" / "wheel", folder], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def runtime_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("runtime"))
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def with_compiler(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("compiler"))
    environment.install(f"bitnet_py[compiler] @ file://{wheel}")
    return environment


def test_is_for_any_linux_of_its_age(wheel: Path) -> None:
    assert re.fullmatch(r"bitnet_py-[\d.]+-cp3\d+-cp3\d+-manylinux_2_\d+_x86_64\.whl", wheel.name)


def test_holds_module_programs_types_and_libraries(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    sources = {f"bitnet_py/{path.name}" for path in (SOURCE / "python" / "bitnet_py").glob("*.py*")}
    expected = {"bitnet_py/py.typed", "bitnet_py/libbitnet_runtime.so", "bitnet_py/bin/bitnetc", "bitnet_py/bin/bitnet"}
    assert sources | expected <= names
    assert any(re.match(r"bitnet_py/_runtime\..*\.so$", name) for name in names)
    others = {name for name in names - sources - expected if not re.match(r"bitnet_py/_runtime\.|bitnet_py-", name)}
    added = r"bitnet_py/licenses/[\w-]+\.txt|bitnet_py\.libs/libsentencepiece-\w+\.so"
    assert all(re.match(added, name) for name in others), others


def test_the_source_archive_holds_sources_only(wheel: Path) -> None:
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=SOURCE, check=True, capture_output=True, text=True).stdout
    assert names - {"PKG-INFO"} <= set(tracked.splitlines())
    assert not [name for name in names if name.startswith("test/")]


def test_brings_one_package_along(runtime_only: Environment) -> None:
    listed = runtime_only.run("python", "-m", "pip", "list", "--format=freeze").stdout
    names = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert names - {"pip", "setuptools"} == {"bitnet_py", "jinja2", "markupsafe"}


def test_import_is_quick(
    runtime_only: Environment, assert_imports_quickly: Callable[[Callable[[str], str]], None]
) -> None:
    assert_imports_quickly(lambda code: runtime_only.run("python", "-c", code).stdout)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs_the_examples(example: Path, runtime_only: Environment, model: bitnet_py.BitNetModel) -> None:
    ran = runtime_only.run("python", example, model.path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def test_runs_the_programs(runtime_only: Environment, model: bitnet_py.BitNetModel) -> None:
    ran = runtime_only.run("bitnet", "run", model.path, "-p", "And God said", "-n", 8, "--temp", 0)
    assert (ran.returncode, bool(ran.stdout)) == (0, True), ran.stderr
    for program in ("bitnet-generate", "bitnet-py"):
        ran = runtime_only.run(program, "--help")
        assert (ran.returncode, ran.stdout.startswith("usage:")) == (0, True), ran.stdout + ran.stderr


def test_without_halide_compiling_says_what_to_install(runtime_only: Environment, checkpoint: Path) -> None:
    ran = runtime_only.run("bitnetc", checkpoint)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == 'error: bitnetc: the halide package is not installed; pip install "bitnet_py[compiler]"\n'
    ran = runtime_only.run("python", "-c", f"import bitnet_py; bitnet_py.load_model({str(checkpoint)!r})")
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("bitnet_py.errors.CompilerNotFoundError: "), ran.stderr
    assert 'the halide package is not installed; pip install "bitnet_py[compiler]"' in last


def test_with_halide_it_compiles(with_compiler: Environment, checkpoint: Path) -> None:
    code = f"import bitnet_py; print(bitnet_py.load_model({str(checkpoint)!r}).num_parameters())"
    first, second = (with_compiler.run("python", "-c", code) for _ in range(2))
    assert int(first.stdout) > 4_000_000, first.stderr
    assert "compiling" in first.stderr
    assert (second.stdout, second.stderr) == (first.stdout, "")
    ran = with_compiler.run("bitnetc", checkpoint, "-o", with_compiler.folder / "made.bnx")
    assert ran.returncode == 0, ran.stderr
    ran = with_compiler.run("python", EXAMPLES[0], with_compiler.folder / "made.bnx")
    assert ran.returncode == 0, ran.stderr


def runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


@pytest.mark.parametrize("minor", [OTHERS[0], OTHERS[-1]], ids=lambda minor: f"3.{minor}")
def test_pip_installs_the_runtime_from_a_checkout(minor: int, model: bitnet_py.BitNetModel, tmp_path: Path) -> None:
    """With the oldest and the newest Python, where the machine has them; without the compiler, as it takes long."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python3.{minor}", *map(str, pyenv.glob(f"3.{minor}.*/bin/python"))]
    found = [name for name in candidates if shutil.which(name) and runs(name)]
    if not found:
        pytest.skip(f"there is no Python 3.{minor}")
    environment = Environment(tmp_path, found[0])
    environment.install("--config-settings=cmake.define.BITNET_COMPILER=OFF", SOURCE)
    for example in EXAMPLES:
        ran = environment.run("python", example, model.path)
        assert ran.returncode == 0, ran.stderr
    assert environment.run("bitnetc").stderr.startswith(
        "error: bitnetc: this build of bitnet_py is without the compiler"
    )
