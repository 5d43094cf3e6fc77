"""Checkpoints become bundles here: bitnetc is called once for each, and its result kept in the cache (cache.py).

A checkpoint is a .gguf, .safetensors or .pt file, or a folder in one of the forms that bitnetc imports. What bitnetc
says goes to standard error, on a terminal with its progress bar; nothing is said with verbose=False or BITNET_QUIET=1.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from . import _runtime
from .errors import CompilerNotFoundError, ModelFormatError, ModelNotFoundError, UnsupportedModelError
from .programs import INSTALL, environment, is_console_script, is_program, lacks_halide, packaged

T = TypeVar("T")

# Kinds of files that bitnetc reads in a checkpoint's folder: weights, and what lies beside them.
_WEIGHTS = (".gguf", ".safetensors", ".pt")
_BESIDE = (".json", ".jinja", ".model", ".tiktoken")
_POOLING = Path("1_Pooling", "config.json")  # of sentence-transformers
_GGUF_PART = re.compile(r"(.+-)\d{5}(-of-\d{5}\.gguf)")


def bundle_for(
    path: Path,
    *,
    target: str = "host",
    flags: Sequence[str] = (),
    cache_dir: Path | None = None,
    verbose: bool = True,
) -> Path:
    """The bundle of a checkpoint, compiled if it is not in the cache.

    target: the CPU families to compile for, as bitnetc takes them. flags go to bitnetc as they are, e.g.
    ["--head=q8", "--set", "activation=relu2"]. Raises ModelNotFoundError, ModelFormatError with bitnetc's error,
    CompilerNotFoundError if there is no compiler or it lacks Halide, ConfigError if the cache cannot be written.
    """
    return _obtain(path, ".bnx", target, flags, cache_dir, verbose)[0]


def open_bundle(
    path: Path,
    load: Callable[[Path], T],
    *,
    target: str = "host",
    flags: Sequence[str] = (),
    cache_dir: Path | None = None,
    verbose: bool = True,
) -> tuple[Path, T]:
    """bundle_for, and what load makes of the bundle. A cached bundle that is damaged is compiled again, once."""
    return _opened(load, _speaker(verbose), lambda: _obtain(path, ".bnx", target, flags, cache_dir, verbose))


def tokenizer_for(
    path: Path, *, flags: Sequence[str] = (), cache_dir: Path | None = None, verbose: bool = True
) -> Path:
    """The tokenizer of a checkpoint (or of a tokenizer's own file or folder) in the form that _runtime.Tokenizer reads.

    Made by `bitnetc --emit=tokenizer` and kept like a bundle. Raises what bundle_for does.
    """
    return _obtain(path, ".tokenizer", None, ["--emit=tokenizer", *flags], cache_dir, verbose)[0]


def open_tokenizer(path: Path, *, cache_dir: Path | None = None, verbose: bool = True) -> _runtime.Tokenizer:
    """tokenizer_for, opened. A cached one that is damaged is made again, once."""
    flags = ["--emit=tokenizer"]
    return _opened(
        lambda made: _runtime.Tokenizer(str(made)),
        _speaker(verbose),
        lambda: _obtain(path, ".tokenizer", None, flags, cache_dir, verbose),
    )[1]


def _opened(
    load: Callable[[Path], T], say: Callable[[str], None], obtain: Callable[[], tuple[Path, bool]]
) -> tuple[Path, T]:
    """The entry of the cache, and what load makes of it; if it is an old one and damaged, of a new one."""
    from . import cache  # not above: what the package imports cannot be run as python -m bitnet_py.cache

    entry, made = obtain()
    try:
        return entry, load(entry)
    except ModelFormatError as error:
        if made or isinstance(error, UnsupportedModelError):
            raise
        say(f"compiling again: {error}")
        cache.discard(entry)
    entry, _ = obtain()
    return entry, load(entry)


def find_compiler() -> Path:
    """bitnetc: $BITNETC, beside the package (wheel or build tree), on the PATH."""
    if named := os.environ.get("BITNETC"):
        if not is_program(Path(named)):
            raise CompilerNotFoundError(f"BITNETC: expected a program, got '{named}'")
        return Path(named)
    if program := packaged("bitnetc"):
        return program
    for folder in os.get_exec_path():
        candidate = Path(folder) / "bitnetc"
        if is_program(candidate) and not is_console_script(candidate):
            return candidate
    raise CompilerNotFoundError(
        f"bitnetc is neither beside this package nor on the PATH; {INSTALL}, set BITNETC to it, "
        "or load a compiled model (.bnx)"
    )


def _obtain(
    path: Path, suffix: str, target: str | None, flags: Sequence[str], cache_dir: Path | None, verbose: bool
) -> tuple[Path, bool]:
    """The entry of the cache, and whether it was made by this call."""
    from . import cache

    say = _speaker(verbose)
    folder = cache_dir or cache.folder()
    files = _files(path)
    compiler = find_compiler()
    content = cache.content_digest([*files, *_tokenizer_files(flags)], folder)
    built = cache.content_digest([compiler], folder)
    # --target=host is another thing on another CPU, of which only the variant matters.
    cpu = _runtime.cpu_variant() if target and "host" in target.split(",") else ""
    command = [*([f"--target={target}"] if target else []), *flags]
    key = hashlib.sha256("\0".join([content, built, cpu, *command]).encode()).hexdigest()[:16]
    stem = path.stem if path.is_file() else path.resolve().name
    entry = folder / f"{stem}-{key}{suffix}"

    def make(unfinished: Path) -> None:
        if suffix == ".bnx":
            say(f"compiling {path.name} for {cpu or target}, once")
        start = time.monotonic()
        # Without --json its last line would name the unfinished file.
        _run([str(compiler), str(path.absolute()), *command, "--json", "-o", str(unfinished)], verbose)
        if not unfinished.exists():
            raise ModelFormatError(f"{compiler}: expected it to write a file, got none")
        if suffix == ".bnx":
            size = unfinished.stat().st_size
            say(f"compiled in {time.monotonic() - start:.1f} s, {size / 1e6:.1f} MB: {entry}")

    return entry, cache.obtain(entry, make, source=str(path.resolve()), say=say)


def _files(path: Path) -> list[Path]:
    """What bitnetc reads of a checkpoint, or may: of a folder, all of its kinds; a GGUF file and the parts that it was
    split into; other files with their neighbours."""
    if path.is_dir():
        return _of_kind(path, (*_WEIGHTS, *_BESIDE))
    if not path.exists():
        raise ModelNotFoundError(f"{path}: does not exist")
    if part := _GGUF_PART.fullmatch(path.name):
        others = re.compile(re.escape(part[1]) + r"\d{5}" + re.escape(part[2]))
        return sorted(file for file in path.parent.iterdir() if others.fullmatch(file.name))
    return [path] if path.suffix == ".gguf" else [path, *_of_kind(path.parent, _BESIDE, but=path)]


def _tokenizer_files(flags: Sequence[str]) -> list[Path]:
    """The files behind --tokenizer."""
    named = [flag.partition("=")[2] for flag in flags if flag.startswith("--tokenizer=")]
    named += [value for flag, value in itertools.pairwise(flags) if flag == "--tokenizer"]
    return [file for path in map(Path, named) if path.exists() for file in _files(path)]


def _of_kind(folder: Path, kinds: tuple[str, ...], but: Path | None = None) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix in kinds] + [folder / _POOLING]
    return sorted(file for file in files if file.is_file() and file != but)


def _run(command: Sequence[str], verbose: bool) -> None:
    """Runs bitnetc and passes on what it says on standard error: to a terminal, its progress bar too."""
    passed_on = verbose and not _quiet()
    read_end, write_end = os.openpty() if passed_on and sys.stderr.isatty() else os.pipe()
    ours = packaged("bitnetc")
    said = b""
    process = None
    try:
        try:
            with _ctrl_c_at_the_end():
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=write_end,
                    env=environment() if ours and command[0] == str(ours) else None,
                )
        finally:
            os.close(write_end)
        while block := _read(read_end):
            said = (said + block)[-4096:]
            if passed_on:
                sys.stderr.write(block.decode(errors="replace"))
                sys.stderr.flush()
        code = process.wait()
    except OSError as error:  # a file of another machine, a script whose interpreter is missing
        if process:
            raise
        raise CompilerNotFoundError(f"{command[0]}: cannot run: {error.strerror}; set BITNETC to bitnetc") from error
    finally:
        os.close(read_end)
        if process and process.returncode is None:
            process.terminate()
            try:
                process.wait(5)  # so that nothing is being written when the caller cleans up
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if code == 0:
        return
    text = said.decode(errors="replace")
    if lacks_halide(code, text):
        raise CompilerNotFoundError(
            f"{command[0]}: the halide package is not installed; {INSTALL}, or load a compiled model (.bnx)"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    reason = errors[-1] if errors else " ".join([f"exit code {code}", *lines[-1:]])
    raise ModelFormatError(f"bitnetc: {reason}")


@contextlib.contextmanager
def _ctrl_c_at_the_end() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: it must not come between the start of a process and knowing of it."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # it is not raised here
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how a terminal's other end says that it is closed
        return b""


def _quiet() -> bool:
    return os.environ.get("BITNET_QUIET", "") not in ("", "0")


def _speaker(verbose: bool) -> Callable[[str], None]:
    if not verbose or _quiet():
        return lambda text: None
    return lambda text: print(f"bitnet_py: {text}", file=sys.stderr, flush=True)
