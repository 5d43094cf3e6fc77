"""Checkpoints become bundles here: bitnetc is called once, and its result kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import CompilerNotFoundError, ModelFormatError, ModelNotFoundError

_HEADER_BYTES = 1 << 20  # of each file; with size and time it tells two checkpoints of one name apart


def bundle_for(path: Path, *, target: str = "host", flags: Sequence[str] = (), cache_dir: Path | None = None) -> Path:
    """The bundle of a checkpoint (a .gguf or .safetensors file, or a folder), compiled if it is not in the cache.

    flags go to bitnetc as they are, e.g. ["--head=q8", "--set", "activation=relu2"].
    """
    compiler = find_compiler()
    command = [f"--target={target}", *flags]
    folder = cache_dir or _cache_folder() / "models"
    stem = path.stem if path.is_file() else path.resolve().name
    bundle = folder / f"{stem}-{_key(path, compiler, command)}.bnx"
    if bundle.exists():
        return bundle
    folder.mkdir(parents=True, exist_ok=True)
    # Compiled beside its final place and renamed, so that nobody sees half a bundle.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".compiling-") as temporary:
        unfinished = Path(temporary) / bundle.name
        _compile([str(compiler), str(path.absolute()), *command, "-o", str(unfinished)])
        unfinished.replace(bundle)
    return bundle


def find_compiler() -> Path:
    """bitnetc: $BITNETC, beside the package (wheel or build tree), on the PATH."""
    if named := os.environ.get("BITNETC"):
        if not _is_program(Path(named)):
            raise CompilerNotFoundError(f"BITNETC: expected a program, got '{named}'")
        return Path(named)
    package = Path(__file__).parent
    for candidate in (package / "bin" / "bitnetc", package.parent.parent / "bin" / "bitnetc"):
        if _is_program(candidate):
            return candidate
    if found := shutil.which("bitnetc"):
        return Path(found)
    raise CompilerNotFoundError(
        "bitnetc is neither beside this package nor on the PATH; set BITNETC to it, or load a compiled model (.bnx)"
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bitnet"


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.is_file())
    elif path.exists():
        yield path
    else:
        raise ModelNotFoundError(f"{path}: does not exist")


def _key(path: Path, compiler: Path, command: Sequence[str]) -> str:
    """Names what the bundle depends on: checkpoint, compiler, flags, and this CPU (for --target=host)."""
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())

    add(str(path.resolve()), *command)
    built = compiler.stat()
    add(built.st_size, built.st_mtime_ns)
    for file in _files(path):
        stat = file.stat()
        with file.open("rb") as opened:
            add(file.name, stat.st_size, stat.st_mtime_ns, hashlib.sha256(opened.read(_HEADER_BYTES)).digest())
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        add(next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), ""))
    return digest.hexdigest()[:16]


def _compile(command: Sequence[str]) -> None:
    """Runs bitnetc and passes on what it says on standard error: to a terminal, its progress bar too."""
    terminal = sys.stderr.isatty()
    read_end, write_end = os.openpty() if terminal else os.pipe()
    said = b""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write_end)
    except OSError as error:  # a file of another machine, a script whose interpreter is missing
        os.close(read_end)
        raise CompilerNotFoundError(f"{command[0]}: cannot run: {error.strerror}; set BITNETC to bitnetc") from error
    finally:
        os.close(write_end)
    with process as child:
        try:
            while block := _read(read_end):
                said = (said + block)[-4096:]
                sys.stderr.write(block.decode(errors="replace"))
                sys.stderr.flush()
        except BaseException:
            child.terminate()
            raise
        finally:
            os.close(read_end)
    if child.returncode != 0:
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = errors[-1] if errors else " ".join([f"exit code {child.returncode}", *lines[-1:]])
        raise ModelFormatError(f"bitnetc: {reason}")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how a terminal's other end says that it is closed
        return b""
