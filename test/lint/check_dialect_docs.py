"""The pages of dialects/ and compiler/ name every op, type and pass; every constraint has an invalid case, every pass
its files, and every op's example stands in the round-trip test, which parses it.

usage: check_dialect_docs.py SOURCE_DIR
"""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
problems = []


def read(path):
    return (root / path).read_text()


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def without_names(text):
    """The same for two texts that differ in the names of values and in white space."""
    return re.sub(r"\s+", "", re.sub(r"%\w+(:\d+)?(#\d+)?", "%", text))


page = read("dialects/README.md")
for dialect, folder in (("bitnet", "BitNet"), ("kernel", "Kernel")):
    section = page.split(f"## `{dialect}`")[1].split("## `")[0]
    ops = read(f"dialects/{folder}/{folder}Ops.td")
    types = read(f"dialects/{folder}/{folder}Dialect.td")
    round_trip = without_names(re.sub(r"//.*", "", read(f"test/dialects/{folder}/ops.mlir")))
    invalid = read(f"test/dialects/{folder}/invalid.mlir")
    for body in re.split(r"^def ", ops, flags=re.M)[1:]:
        match = re.match(rf'{folder}_\w+ : {folder}_Op<"(\w+)"', body)
        if not match:
            continue
        op = match.group(1)
        if not re.search(rf"`{op}\b", section):
            problems.append(f"dialects/README.md: expected a line for {dialect}.{op}, got none")
        example = re.search(r"```mlir\n(.*?)```", body, flags=re.S)
        if not example or without_names(example.group(1)) not in round_trip:
            problems.append(f"{folder}Ops.td: {op}: expected an example that test/dialects/{folder}/ops.mlir has too")
        for number in re.findall(r"- C(\d+):", body):
            if f"@{op}_c{number}" not in invalid:
                problems.append(f"test/dialects/{folder}/invalid.mlir: expected a case @{op}_c{number}, got none")
    for name in re.findall(rf'{folder}_Type<"\w+", "(\w+)">', types):
        if f"!{dialect}.{name}<" not in section:
            problems.append(f"dialects/README.md: expected a line for !{dialect}.{name}, got none")

table = read("compiler/README.md")
passes = re.findall(r'def (\w+)Pass : BitNetPass<"([\w-]+)">', read("compiler/transforms/Passes.td"))
for name, flag in passes:
    if snake(name).replace("_", "-") != flag:
        problems.append(f"Passes.td: {name}: expected the flag {snake(name).replace('_', '-')}, got {flag}")
    if f"| `--bitnet-{flag}` |" not in table:
        problems.append(f"compiler/README.md: expected a line for --bitnet-{flag}, got none")
    for path in (f"compiler/transforms/{name}.cpp", f"test/compiler/transforms/{flag}.mlir"):
        if not (root / path).exists():
            problems.append(f"{path}: expected a file, got none")
if not passes:
    problems.append("Passes.td: expected passes, got none")

print("\n".join(problems) or "ok")
sys.exit(bool(problems))
