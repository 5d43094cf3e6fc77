#!/usr/bin/env python3
"""Checks every #include and every source file of the tree against the layer table.

The table is the one in tools/cmake/BitnetLayers.cmake (one owner); this reads it. A bad include is reported as
file:line: layer 'x' includes "y" of layer 'z', allowed: {...}. Run by ctest; arguments: the source folder.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# First path words of an include or file → layer. The longest match wins.
FOLDERS = {
    "runtime/format": "format",
    "runtime/cpu": "cpu",
    "runtime": "runtime",
    "dialects": "dialects",
    "codegen": "codegen",
    "compiler": "compiler",
    "tools": "tools",
    "python": "python",
    "test": "test",
}
# External headers that only some layers may name.
EXTERNAL = {
    r"(mlir|llvm)/": {"dialects", "compiler", "tools", "test"},
    r"Halide": {"codegen", "test"},
    r"(pybind11)/": {"python"},
}


def read_table(source: Path) -> dict[str, set[str]]:
    text = (source / "tools/cmake/BitnetLayers.cmake").read_text()
    rows = re.findall(r'^set\(BITNET_LAYERS_(\w+) "([^"]*)"\)', text, re.M)
    return {name: set(filter(None, allowed.split(";"))) | {name} for name, allowed in rows}


def layer_of(path: str) -> str | None:
    best = max((f for f in FOLDERS if path == f or path.startswith(f + "/")), key=len, default=None)
    return FOLDERS[best] if best else None


def problems(source: Path) -> list[str]:
    table = read_table(source)
    found = []
    files = [
        p
        for folder in ("runtime", "dialects", "codegen", "compiler", "tools", "python", "test")
        for p in sorted((source / folder).rglob("*"))
        if p.suffix in (".h", ".cpp", ".c")
    ]
    for path in files:
        relative = path.relative_to(source).as_posix()
        layer = layer_of(relative)
        assert layer is not None
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            quote, name = match.groups()
            target = layer_of(name)
            if quote == '"' and target is None and not name.endswith(".inc") and "/" not in name:
                found.append(f'{relative}:{number}: include "{name}" from the root, e.g. "runtime/format/layouts.h"')
            if target is not None and target not in table[layer]:
                found.append(
                    f"{relative}:{number}: layer '{layer}' includes \"{name}\" of layer '{target}', "
                    f"allowed: {{{', '.join(sorted(table[layer]))}}}"
                )
            for pattern, allowed in EXTERNAL.items():
                if re.match(pattern, name) and layer not in allowed:
                    found.append(
                        f"{relative}:{number}: layer '{layer}' includes \"{name}\", "
                        f"allowed only in: {{{', '.join(sorted(allowed))}}}"
                    )
    return found


def main() -> int:
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) if found else "layers: every include is allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
