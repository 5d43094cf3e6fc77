#!/usr/bin/env python3
"""Runs the commands of README's first screen, as a reader would, and checks that what it links to exists.

The commands are taken from README.md itself. `model.gguf` is the model of the repository; the programs and the Python
module are those of the build under test. tools/demo is run on that build (BITNET_PRESET), tools/check only looked for,
since it runs this test. Arguments: source folder, build folder, Python interpreter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def fail(message: str) -> None:
    sys.exit(f"README.md: {message}")


def main() -> None:
    source, build, python = (Path(a) for a in sys.argv[1:4])
    text = (source / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link and not (source / link).exists():
            fail(f"links to {link}, which is not there")
    section = text.split("\n## Try it\n")[1].split("\n## ")[0]
    commands = [line.split("  #")[0].strip() for line in section.splitlines() if line.startswith("    ")]
    if not [c for c in commands if c.startswith("python ")]:
        fail("expected the three commands of the first screen, found " + repr(commands))
    environment = dict(os.environ, BITNET_PRESET=build.name, CCACHE_DISABLE="1")
    environment["PATH"] = f"{build / 'bin'}:{python.parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(build / "python")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(source / "test/data/kjv-tq1_0.gguf", Path(folder) / "model.gguf")
        for command in commands:
            where: Path = Path(folder)
            if command.startswith("tools/"):
                where = source
                if not os.access(source / command, os.X_OK):
                    fail(f"{command} is not an executable file")
                if command != "tools/demo":
                    continue
            result = subprocess.run(command, shell=True, cwd=where, env=environment, text=True, capture_output=True)
            if result.returncode != 0:
                fail(f"'{command}' exited with {result.returncode}:\n{result.stdout}{result.stderr}")
            if re.match(r"(tools/demo|bitnet |python )", command) and "LORD" not in result.stdout:
                fail(f"'{command}' was expected to write text in the model's manner, got:\n{result.stdout}")


if __name__ == "__main__":
    main()
