"""Models and their tokenizers, as files on disk become them."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _runtime
from .checkpoints import bundle_for
from .errors import ConfigError, ModelNotFoundError


class Model:
    """A loaded bundle: immutable, may be used by any number of threads and inferences."""

    def __init__(self, path: Path, native: _runtime.Model) -> None:
        self.path = path
        self._native = native

    @property
    def info(self) -> _runtime.Info:
        """Name, dimensions, CPU variant, sizes."""
        return self._native.info()

    def describe(self) -> dict[str, Any]:
        """Everything that `bitnet inspect --json` shows."""
        description: dict[str, Any] = json.loads(self._native.describe())
        return description

    def __repr__(self) -> str:
        info = self.info
        return f"<bitnet_py.Model {info['name']!r}, {info['cpu']}, {self.path}>"


class Tokenizer:
    """The tokenizer inside a bundle."""

    def __init__(self, native: _runtime.Model) -> None:
        self._native = native
        info = native.info()
        self.n_words = info["vocab"]
        self.bos_id = info["bos"]
        self.eos_id = info["eos"]
        self.stop_tokens = frozenset(native.stop_tokens())

    def encode(self, text: str, *, bos: bool = True, eos: bool = False) -> list[int]:
        """Token ids. Special tokens that are written in the text stay text."""
        tokens = self._native.encode(text, add_special=False, parse_special=False)
        before = [self.bos_id] if bos and self.bos_id >= 0 else []
        after = [self.eos_id] if eos and self.eos_id >= 0 else []
        return before + tokens + after

    def decode(self, tokens: Sequence[int], *, keep_special: bool = False) -> str:
        """The text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return self._native.decode(list(tokens), keep_special)


def load_model(
    path: str | os.PathLike[str],
    *,
    cpu: str | None = None,
    target: str = "host",
    compiler_flags: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> Model:
    """Loads a bundle (.bnx), or compiles a checkpoint (.gguf, .safetensors, a folder) and loads that.

    cpu forces one of the bundle's CPU variants. target, compiler_flags and cache_dir are for checkpoints: they go to
    bitnetc, and its result is kept in cache_dir (by default in the user's cache folder).
    """
    bundle = _bundle(Path(path), target, compiler_flags, cache_dir)
    return Model(bundle, _open(bundle, cpu))


def create_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a model file; if that model is loaded, nothing is read again.

    For a checkpoint that was loaded with flags of its own, give the path of its bundle (model.path).
    """
    return Tokenizer(_open(_bundle(Path(path), "host", (), None), None))


def _bundle(path: Path, target: str, flags: Sequence[str], cache_dir: str | os.PathLike[str] | None) -> Path:
    if not path.exists():
        raise ModelNotFoundError(f"{path}: does not exist")
    if path.suffix == ".bnx":
        return path
    if not path.is_dir() and path.suffix not in (".gguf", ".safetensors"):
        raise ConfigError(f"{path}: expected a .bnx, .gguf or .safetensors file or a folder, got '{path.suffix}'")
    return bundle_for(path, target=target, flags=flags, cache_dir=Path(cache_dir) if cache_dir else None)


# Loaded models by file: a model and its tokenizer share one mapping.
_loaded: weakref.WeakValueDictionary[tuple[object, ...], _runtime.Model] = weakref.WeakValueDictionary()


def _open(path: Path, cpu: str | None) -> _runtime.Model:
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, cpu)
    native = _loaded.get(key)
    if native is None:
        native = _loaded[key] = _runtime.Model(str(path), cpu)
    return native
