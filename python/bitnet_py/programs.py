"""The compiled programs that a wheel brings: bitnetc and bitnet, and the console scripts that run them.

A wheel has bitnetc without Halide, which is a package of its own; here it is looked for. Only the package's own
programs are run from here; which bitnetc compiles a checkpoint is checkpoints.find_compiler's matter.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

INSTALL = 'pip install "bitnet_py[compiler]"'


def packaged(name: str) -> Path | None:
    """The program of this name in the wheel or in the build tree that the package is part of."""
    package = Path(__file__).parent
    for candidate in (package / "bin" / name, package.parent.parent / "bin" / name):
        if is_program(candidate):
            return candidate
    return None


def is_program(path: Path) -> bool:
    """Whether path is a file that may be executed."""
    return path.is_file() and os.access(path, os.X_OK)


def is_console_script(path: Path) -> bool:
    """Whether path is one of the scripts that pip makes of bitnetc() and bitnet() below."""
    with path.open("rb") as file:
        return f"{__package__}.{Path(__file__).stem}".encode() in file.read(4096)


def environment() -> dict[str, str]:
    """The environment for bitnetc, in which it finds the halide package of this interpreter.

    A wheel's bitnetc looks beside its own package; Halide may be installed elsewhere, as with `pip install --user`.
    """
    found = dict(os.environ)
    halide = importlib.util.find_spec("halide")
    if halide and halide.origin:
        folder = str(Path(halide.origin).parent / "lib64")
        found["LD_LIBRARY_PATH"] = ":".join(filter(None, [found.get("LD_LIBRARY_PATH"), folder]))
    return found


def bitnetc() -> NoReturn:
    """The console script `bitnetc`: the compiler of the package."""
    program = packaged("bitnetc")
    if program is None:
        sys.exit(f"error: bitnetc: this build of bitnet_py is without the compiler; {INSTALL}, or build bitnetc")
    ran = subprocess.run([program, "--version"], env=environment(), capture_output=True, text=True)
    if lacks_halide(ran.returncode, ran.stderr):
        sys.exit(f"error: bitnetc: the halide package is not installed; {INSTALL}")
    os.execve(program, ["bitnetc", *sys.argv[1:]], environment())


def lacks_halide(code: int, stderr: str) -> bool:
    """Whether a run of bitnetc ended in the system's loader, which did not find Halide."""
    return code == 127 and "libHalide" in stderr


def bitnet() -> NoReturn:
    """The console script `bitnet`: the command line of the runtime."""
    program = packaged("bitnet")
    if program is None:
        sys.exit("error: bitnet: expected the program beside this package, got nothing; install bitnet_py again")
    os.execv(program, ["bitnet", *sys.argv[1:]])
