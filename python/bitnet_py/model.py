"""Models and their tokenizers, as files on disk become them."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _runtime
from .checkpoints import bundle_for
from .errors import ConfigError, ModelNotFoundError, UnsupportedModelError
from .system import parse_device


class BitNetModel:
    """A loaded model: immutable, may be used by any number of threads and inferences.

    model is a file or folder that load_model takes; the other arguments are load_model's too.
    """

    def __init__(self, model: str | os.PathLike[str], device: object = None, **options: Any) -> None:
        self.device = parse_device(device)
        self.path, self._native = _load(Path(model), **options)
        self._engines: dict[tuple[int, int], _runtime.Engine] = {}
        self._lock = threading.Lock()

    def info(self) -> _runtime.Info:
        """Name, dimensions, CPU variant, sizes."""
        return self._native.info()

    def describe(self) -> dict[str, Any]:
        """Everything that `bitnet inspect --json` shows."""
        description: dict[str, Any] = json.loads(self._native.describe())
        return description

    def engine(self, threads: int | None = None, context: int | None = None) -> _runtime.Engine:
        """The engine that all generations with these numbers share, so that their rows run in one step.

        threads None: one for each CPU that this process may use. context None: the model's.
        """
        key = (threads or 0, context or 0)
        with self._lock:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = _runtime.Engine(self._native, context=key[1], threads=key[0])
        return engine

    def session(self, threads: int | None = None, context: int | None = None, sequences: int = 1) -> _runtime.Session:
        """A new key-value cache of its own, for raw steps."""
        return _runtime.Session(self._native, context=context or 0, threads=threads or 0, sequences=sequences)

    def __repr__(self) -> str:
        info = self.info()
        return f"<bitnet_py.BitNetModel {info['name']!r}, {info['cpu']}, {self.path}>"


class Tokenizer:
    """The tokenizer inside a bundle."""

    def __init__(self, native: _runtime.Model) -> None:
        tokenizer = native.tokenizer()
        if tokenizer is None:
            raise UnsupportedModelError("tokenizer: the bundle has none; compile it with --tokenizer=FILE")
        self._native = tokenizer
        self.n_words = native.info()["vocab"]
        self.bos_id = tokenizer.bos
        self.eos_id = tokenizer.eos
        self.stop_tokens = frozenset(tokenizer.stop_tokens())

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
    model_path: str | os.PathLike[str],
    model_format: str | None = None,
    device: object = None,
    *,
    model_args: Mapping[str, Any] | None = None,
    cpu: str | None = None,
    target: str = "host",
    compiler_flags: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> BitNetModel:
    """Loads a bundle (.bnx), or compiles a checkpoint (.gguf, .safetensors, .pt, a folder) and loads that.

    model_format: None or "auto" goes by the name; "gguf", "safetensors", "pretrained" (a folder), "torch" (.pt), "bnx".
    device: see parse_device. cpu forces one of the bundle's CPU variants. target, compiler_flags and cache_dir are for
    checkpoints: they go to bitnetc, and its result is kept in cache_dir (by default in the user's cache folder).
    model_args: numbers that a .pt checkpoint does not say (n_heads, n_kv_heads).
    """
    return BitNetModel(
        model_path,
        device,
        model_format=model_format,
        model_args=model_args,
        cpu=cpu,
        target=target,
        compiler_flags=compiler_flags,
        cache_dir=cache_dir,
    )


def create_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a model file; if that model is loaded, nothing is read again.

    For a checkpoint that was loaded with flags of its own, give the path of its bundle (model.path).
    """
    return Tokenizer(_open(_bundle(Path(path)), None))


_FORMATS = {".bnx": "bnx", ".gguf": "gguf", ".safetensors": "safetensors", ".pt": "torch", ".pth": "torch"}
_KINDS = "a .bnx, .gguf, .safetensors or .pt file or a folder"


def _load(
    path: Path,
    model_format: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    cpu: str | None = None,
    target: str = "host",
    compiler_flags: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Path, _runtime.Model]:
    """The bundle of a file or folder, and that bundle opened."""
    bundle = _bundle(path, model_format, [*_settings(model_args), *compiler_flags], target, cache_dir)
    return bundle, _open(bundle, cpu)


def _settings(model_args: Mapping[str, Any] | None) -> Iterator[str]:
    for ours, names in (
        ("heads", ("n_heads", "num_attention_heads")),
        ("kv_heads", ("n_kv_heads", "num_key_value_heads")),
    ):
        for name in names:
            if model_args and (value := model_args.get(name)) is not None:
                yield f"--set={ours}={value}"


def _bundle(
    path: Path,
    model_format: str | None = None,
    flags: Sequence[str] = (),
    target: str = "host",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    formats = {"auto", "pretrained", *_FORMATS.values()}
    if model_format is not None and model_format not in formats:
        raise ConfigError(f"model_format: expected one of {', '.join(sorted(formats))}, got {model_format!r}")
    if not path.exists():
        raise ModelNotFoundError(f"{path}: does not exist")
    found = "pretrained" if path.is_dir() else _FORMATS.get(path.suffix)
    if found is None:
        raise ConfigError(f"{path}: expected {_KINDS}, got '{path.suffix}'")
    if model_format not in (None, "auto", found):
        raise ConfigError(f"{path}: expected a model of the format {model_format!r}, got {found!r}")
    if found == "bnx":
        return path
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
