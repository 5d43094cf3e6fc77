#!/usr/bin/env python3
"""Runs tools/setup where something is missing, on machines made of a folder of programs and a copy of the script.

Each case has its own checkout (a folder with a space in its name) and its own PATH; nothing is installed and the
network is not used. Argument: the source folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ALWAYS = ("bash", "cat", "cmp", "cp", "dirname", "env", "grep")


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


class Machine:
    """A checkout with only tools/setup and empty requirements, and a PATH with only what is named."""

    def __init__(self, root: Path, source: Path, **programs: str) -> None:
        self.checkout = root / "a checkout"
        self.bin = root / "bin"
        (self.checkout / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(source / "tools/setup", self.checkout / "tools/setup")
        (self.checkout / "tools/requirements.txt").touch()
        for name in ALWAYS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name, script in programs.items():
            program(self.bin / name.replace("_", "-"), script)

    def prepared(self) -> None:
        (self.checkout / ".venv").mkdir()
        (self.checkout / ".venv/installed").touch()

    def setup(self, **environment: str) -> tuple[int, str]:
        ran = subprocess.run(
            [self.checkout / "tools/setup"],
            cwd="/",  # run from another folder
            env={"PATH": str(self.bin), **environment},
            text=True,
            capture_output=True,
        )
        return ran.returncode, ran.stdout + ran.stderr


INSTALLED = "echo install ok installed"


def check_elsewhere_is_refused_until_told_otherwise(root: Path, source: Path) -> None:
    machine = Machine(root, source)
    machine.prepared()
    code, text = machine.setup()
    assert (code, text.count("\n")) == (1, 1), text
    for words in ("not a Debian system", "cmake", "BITNET_PACKAGES=present"):
        assert words in text, text
    assert machine.setup(BITNET_PACKAGES="present") == (0, "")


def check_without_root_the_command_is_printed(root: Path, source: Path) -> None:
    missing_one = f'[ "$4" = ccache ] || {INSTALLED}'
    machine = Machine(root, source, dpkg_query=missing_one, apt_get="exit 9", id="echo 1000")
    code, text = machine.setup()
    assert code == 1, text
    assert text.endswith("sudo apt-get update && sudo apt-get install --no-install-recommends ccache\n"), text


def check_a_failing_apt_is_one_line(root: Path, source: Path) -> None:
    machine = Machine(root, source, dpkg_query=":", apt_get="exit 100", id="echo 0")
    code, text = machine.setup()
    assert code == 1, text
    assert "setup: apt-get could not install" in text, text


def check_nothing_to_do_is_silent(root: Path, source: Path) -> None:
    machine = Machine(root, source, dpkg_query=INSTALLED)
    machine.prepared()
    assert machine.setup() == (0, "")


def check_a_half_made_environment_is_made_again(root: Path, source: Path) -> None:
    machine = Machine(root, source, dpkg_query=INSTALLED, python3=f'exec {sys.executable} "$@"')
    (machine.checkout / ".venv/bin").mkdir(parents=True)
    program(machine.checkout / ".venv/bin/python", "echo No module named pip; exit 1")
    code, text = machine.setup(PIP_NO_INDEX="1")
    assert code == 0, text
    assert (machine.checkout / ".venv/installed").exists()


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    os.environ.pop("BITNET_PACKAGES", None)
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            with tempfile.TemporaryDirectory() as folder:
                check(Path(folder), source)
                print("ok", name)


if __name__ == "__main__":
    main()
