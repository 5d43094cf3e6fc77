"""Where compiled checkpoints are kept: a folder of files, each named after a digest of what it was made of.

    python -m bitnet_py.cache list | path | clear [--older-than DAYS]

An entry is made once, however many processes ask for it: one makes it under a lock, the others wait. It appears by
renaming, so that nobody sees half of one. When the folder grows past BITNET_CACHE_BYTES (20e9), what was used longest
ago goes first. Digests of checkpoints are of their whole content; index.json beside the entries remembers them by each
file's path, size, times and inode, so that a file of many gigabytes is read for its digest once, not at each load.
What makes an entry of what is checkpoints.py's matter.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError

_SUFFIXES = (".bnx", ".tokenizer")
_INDEX = "index.json"
_DEFAULT_BYTES = 20_000_000_000
# An entry that was used this recently may be one that another process is about to open.
_GRACE_SECONDS = 60.0
# A file that changed this recently may change again without a new time: its digest is not remembered yet.
_RACY_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its path, the checkpoint that it was made of, bytes, and time of last use (time.time())."""

    path: Path
    source: str
    size: int
    last_used: float


def folder() -> Path:
    """The user's cache of models: $XDG_CACHE_HOME/bitnet/models, by default under ~/.cache. It need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bitnet" / "models"


def clear(older_than: float | None = None, cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Deletes the entries, or those not used for older_than seconds. Returns the bytes freed.

    Models that are loaded stay usable: the system keeps their files until they are closed.
    """
    where = _where(cache_dir)
    now = time.time()
    freed = 0
    for entry in list(where):
        if older_than is None or now - entry.last_used >= older_than:
            freed += _delete(entry)
    _sweep(where)
    if where.is_dir():
        _change_index(where, lambda index: None)
    return freed


def _where(cache_dir: str | os.PathLike[str] | None) -> Path:
    return Path(cache_dir) if cache_dir else folder()


def obtain(
    path: Path, make: Callable[[Path], None], *, source: str, say: Callable[[str], None] = lambda text: None
) -> bool:
    """Makes sure that the entry `path` exists, and marks it as used. Returns whether it had to be made.

    make(unfinished) writes the entry under another name; what it raises comes through, and nothing is left behind.
    say gets a line if another process is making the same entry.
    """
    if _use(path):
        return False
    limit = _limit()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock"), lambda: say(f"waiting for another process: {path.name}")):
            if _use(path):
                return False
            _remove_unfinished(path)
            unfinished = path.with_name(f".{path.name}.part")
            try:
                make(unfinished)
                unfinished.replace(path)
            finally:
                _remove_unfinished(path)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise
        raise ConfigError(
            f"{path.parent}: cannot keep compiled models there: {error.strerror}; name another folder with "
            "cache_dir= or XDG_CACHE_HOME"
        ) from error

    def add(index: dict[str, Any]) -> None:
        index["sources"][path.name] = source

    _change_index(path.parent, add)
    _evict(path, limit)
    return True


def discard(path: Path) -> None:
    """Deletes an entry that turned out to be damaged."""
    path.unlink(missing_ok=True)


def content_digest(files: builtins.list[Path], cache_dir: Path) -> str:
    """A digest of the names and whole contents of files. Only what changed since the last time is read."""
    known = _read_index(cache_dir)["contents"]
    digest = hashlib.sha256()
    new = {}
    for file in files:
        name = str(file.resolve())
        identity, changed = _identity(file)
        if known.get(name, [])[:-1] == identity:
            one = known[name][-1]
        else:
            settled = time.time() - changed > _RACY_SECONDS
            one = _file_digest(file)
            if settled and _identity(file)[0] == identity:
                new[name] = [*identity, one]
        digest.update(f"{file.name}\0{one}\0".encode())
    if new:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            cache_dir.mkdir(parents=True, exist_ok=True)
            _change_index(cache_dir, lambda index: index["contents"].update(new))
    return digest.hexdigest()


def _identity(file: Path) -> tuple[builtins.list[int], float]:
    """What differs when a file is another or was changed, and when that was last."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev], stat.st_ctime


def _file_digest(file: Path) -> str:
    digest = hashlib.sha256()
    block = memoryview(bytearray(1 << 20))
    with file.open("rb", buffering=0) as opened:
        while n := opened.readinto(block):
            digest.update(block[:n])
    return digest.hexdigest()


def _use(path: Path) -> bool:
    """Whether the entry exists; if so, its access time is now."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    except OSError:  # somebody else's cache, or one on a read-only disk
        return path.exists()
    return True


def _limit() -> float:
    text = os.environ.get("BITNET_CACHE_BYTES", "")
    try:
        limit = float(text) if text else _DEFAULT_BYTES
        if limit >= 0:
            return limit
    except ValueError:
        pass
    raise ConfigError(f"BITNET_CACHE_BYTES: expected a number of bytes, such as 20e9, got '{text}'")


def _evict(keep: Path, limit: float) -> None:
    """Deletes what was used longest ago until the folder is within its bound."""
    entries = list(keep.parent)
    excess = sum(entry.size for entry in entries) - limit
    for entry in reversed(entries):
        if excess <= 0:
            break
        if entry.path.name != keep.name and time.time() - entry.last_used > _GRACE_SECONDS:
            excess -= _delete(entry)
    _sweep(keep.parent)


def _delete(entry: Entry) -> int:
    try:
        entry.path.unlink()
    except OSError:
        return 0
    return entry.size


def _remove_unfinished(path: Path) -> None:
    for rest in path.parent.glob(f".{path.name}.part*"):
        rest.unlink(missing_ok=True)


def _sweep(where: Path) -> None:
    """Removes what processes left that were killed while they made an entry."""
    for rest in {file.name.split(".part")[0] for file in where.glob(".*.part*")}:
        with contextlib.suppress(BlockingIOError), _locked(where / f"{rest}.lock"):
            _remove_unfinished(where / rest[1:])


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a lock against other threads and processes; path is a file for that, gone afterwards.

    If somebody else has it: waits for it after a call of waiting(); without waiting, raises BlockingIOError.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    raise
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Who held it has removed the file: then this is a lock that nobody else sees.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _read_index(where: Path) -> dict[str, Any]:
    index: dict[str, Any] = {"contents": {}, "sources": {}}
    with contextlib.suppress(OSError, ValueError):  # a damaged index costs reading the checkpoints again
        read = json.loads((where / _INDEX).read_text())
        index.update({key: read[key] for key in index if isinstance(read.get(key), dict)})
    return index


def _change_index(where: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Applies a change, and forgets checkpoints and entries that are gone."""
    with _locked(where / f".{_INDEX}.lock", lambda: None):
        index = _read_index(where)
        change(index)
        index["contents"] = {name: value for name, value in index["contents"].items() if Path(name).exists()}
        index["sources"] = {name: value for name, value in index["sources"].items() if (where / name).exists()}
        unfinished = where / f".{_INDEX}.part"
        unfinished.write_text(json.dumps(index, indent=1))
        unfinished.replace(where / _INDEX)


def list(cache_dir: str | os.PathLike[str] | None = None) -> builtins.list[Entry]:
    """The entries, the one used last first."""
    where = _where(cache_dir)
    sources = _read_index(where)["sources"]
    entries = []
    for path in where.glob("*") if where.is_dir() else ():
        if path.suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                stat = path.stat()
                entries.append(Entry(path, sources.get(path.name, ""), stat.st_size, stat.st_atime))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def main(arguments: builtins.list[str] | None = None) -> int:
    """The command line `python -m bitnet_py.cache`."""
    import argparse  # not needed by those who only import the package

    parser = argparse.ArgumentParser(prog="python -m bitnet_py.cache", description="the cache of compiled models")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the entries, the one used last first")
    commands.add_parser("path", help="the folder")
    clearing = commands.add_parser("clear", help="delete the entries")
    clearing.add_argument("--older-than", type=float, metavar="DAYS", help="only those not used for so long")
    chosen = parser.parse_args(arguments)
    if chosen.command == "path":
        print(folder())
    elif chosen.command == "clear":
        days = chosen.older_than
        print(f"freed {clear(None if days is None else days * 86400) / 1e6:.1f} MB")
    else:
        entries = list()
        for entry in entries:
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
            print(f"{entry.size / 1e6:10.1f} MB  {used}  {entry.path.name}  {entry.source}")
        print(f"{sum(entry.size for entry in entries) / 1e6:10.1f} MB in {folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
