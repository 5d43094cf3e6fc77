"""Names of Hugging Face repositories become paths on this disk.

What `hf download` or any other program left in the hub's cache is found there; nothing is ever downloaded here.
"""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

from .errors import ConfigError, ModelNotFoundError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_MODEL_FILES = (".bnx", ".gguf")


def find(
    name: str | os.PathLike[str],
    filename: str | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    revision: str = "main",
) -> Path:
    """The path of a model: a file or folder as it is, or the folder of "org/name" in the hub's cache.

    filename chooses a file in the folder and may be a pattern ("*i2_s.gguf"). Without it, a folder that holds no
    config.json but exactly one .bnx or .gguf file means that file.
    Raises ModelNotFoundError where there is nothing, ConfigError where a pattern fits several files.
    """
    path = Path(name)
    if not path.exists():
        path = _snapshot(os.fspath(name), cache_dir, revision)
    if filename is not None:
        return _file(path, filename, os.fspath(name))
    if path.is_dir() and not (path / "config.json").exists():
        models = sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES)
        if len(models) == 1:
            return models[0]
    return path


def cache_folder() -> Path:
    """The hub's cache: $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub."""
    for variable, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if value := os.environ.get(variable):
            return Path(value) / below
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface" / "hub"


def _snapshot(name: str, cache_dir: str | os.PathLike[str] | None, revision: str) -> Path:
    if not _REPOSITORY.fullmatch(name):
        raise ModelNotFoundError(f"{name}: does not exist")
    cache = Path(cache_dir) if cache_dir else cache_folder()
    folder = cache / f"models--{name.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    if not snapshot.is_dir():
        raise ModelNotFoundError(
            f"{name}: no such file or folder, and revision '{revision}' is not in the hub's cache {cache}; "
            f"nothing is downloaded here: run `hf download {name}` first"
        )
    return snapshot


def _file(folder: Path, pattern: str, name: str) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{name}: filename '{pattern}': expected a folder or repository, got a file")
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    found = [path for path in files if fnmatch.fnmatch(path, pattern)]
    if not found:
        raise ModelNotFoundError(f"{name}: no file is named '{pattern}'; there are: {', '.join(files) or 'none'}")
    if len(found) > 1:
        raise ConfigError(f"{name}: filename '{pattern}': expected one file, got {', '.join(found)}")
    return files[found[0]]
