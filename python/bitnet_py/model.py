"""Models, as files on disk become them; the drop-in for the original's model.py.

ModelArgs, make_cache, cache_prefix and LayerCache are here under the original's module name.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import _runtime
from .arrays import joined, token_ids
from .checkpoints import open_bundle
from .errors import (
    ArgumentTypeError,
    CacheLengthError,
    ConfigError,
    InferenceError,
    ModelFormatError,
    ModelNotFoundError,
)
from .kv_cache import AttnBias, KeyValueCache, LayerCache, cache_prefix, make_cache
from .model_args import ModelArgs, named
from .system import default_threads, parse_device

__all__ = [
    "AttnBias",
    "BitNetModel",
    "LayerCache",
    "ModelArgs",
    "Transformer",
    "cache_prefix",
    "load_model",
    "make_cache",
]


class BitNetModel:
    """A loaded model: immutable, may be used by any number of threads and inferences. The original's Transformer.

    model: a file or folder (the other arguments are load_model's), or ModelArgs. The latter gives the original's model
    before load_state_dict: it has dimensions but no weights yet, and what needs them raises InferenceError.
    dtype: what the property dtype says. The numbers do not depend on it: activations are f32, weights ternary.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelArgs,
        device: object = None,
        dtype: object = "bfloat16",
        **options: Any,
    ) -> None:
        self._device = parse_device(device)
        self.dtype = str(dtype).removeprefix("torch.")
        self._engines: dict[tuple[int, int], _runtime.Engine] = {}
        self._lock = threading.Lock()
        self._loaded: tuple[Path, _runtime.Model] | None = None
        self._args: ModelArgs | None = None
        if isinstance(model, ModelArgs):
            if options:
                raise ArgumentTypeError(f"BitNetModel: {next(iter(options))}: expected a path with it, got ModelArgs")
            model.check()
            self._args = replace(model)
        else:
            args = options.get("model_args")
            self._loaded = _load(Path(model), **options)
            self._use_kernel = bool(args and named(args).get("use_kernel", False))

    @classmethod
    def from_gguf(cls, path: str | os.PathLike[str], device: object = None, **options: Any) -> BitNetModel:
        """A .gguf file. options: load_model's."""
        return cls(path, device, model_format="gguf", **options)

    @classmethod
    def from_safetensors(cls, path: str | os.PathLike[str], device: object = None, **options: Any) -> BitNetModel:
        """A .safetensors file with config.json beside it. options: load_model's."""
        return cls(path, device, model_format="safetensors", **options)

    @classmethod
    def from_pretrained(
        cls,
        model_path: str | os.PathLike[str],
        model_args: ModelArgs | Mapping[str, Any] | None = None,
        device: object = "cpu",
        dtype: object = "bfloat16",
        **options: Any,
    ) -> BitNetModel:
        """A folder: a Hugging Face one, the original's with .pt files, or one with a .gguf or .bnx file."""
        return cls(model_path, device, dtype, model_format="pretrained", model_args=model_args, **options)

    # -- what it is

    @property
    def path(self) -> Path:
        """The bundle that is mapped; of a checkpoint, the one in the cache that it was compiled to."""
        return self._opened()[0]

    @property
    def _native(self) -> _runtime.Model:
        return self._opened()[1]

    def _opened(self) -> tuple[Path, _runtime.Model]:
        if self._loaded is None:
            raise InferenceError("model: expected weights, got ModelArgs only; load_state_dict() or load_model(path)")
        return self._loaded

    @property
    def model_path(self) -> str:
        """The bundle's path as a string."""
        return str(self.path)

    @property
    def device(self) -> str:
        """Where it runs: "cpu"."""
        return self._device

    @property
    def config(self) -> ModelArgs:
        """The dimensions of the model, as the original names them."""
        if self._args is None:
            info, told = self.info(), self.describe()["model"]
            self._args = ModelArgs(
                dim=info["width"],
                n_layers=info["layers"],
                n_heads=info["heads"],
                n_kv_heads=info["kv_heads"],
                vocab_size=info["vocab"],
                ffn_dim=info["ffn_width"],
                norm_eps=told["norm_eps"],
                rope_theta=told["rope_theta"],
                use_kernel=self._use_kernel,
            )
        return self._args

    def info(self) -> _runtime.Info:
        """Name, dimensions, CPU variant, sizes in bytes."""
        return self._native.info()

    def describe(self) -> dict[str, Any]:
        """Everything that `bitnet inspect --json` shows."""
        description: dict[str, Any] = json.loads(self._native.describe())
        return description

    def num_parameters(self) -> int:
        """Weights of the model; a head that is the embedding is counted once. Scales are none: they follow from the
        weights that were trained."""
        if self._loaded is None:
            return self.config.num_parameters()
        weights = {
            tensor["name"]: tensor["rows"] * tensor["cols"]
            for tensor in self.describe()["tensors"]
            if tensor["name"]  # tables of angles have none; scales have their matrix's name and shape
        }
        return sum(weights.values())

    @property
    def parameter_count(self) -> int:
        """What num_parameters() counts, as a property."""
        return self.num_parameters()

    @property
    def memory_usage(self) -> int:
        """Bytes of weights, which are mapped from the bundle; each sequence adds info()["kv_bytes_per_token"] for each
        of its positions."""
        return self.info()["weight_bytes"]

    @property
    def architecture(self) -> str:
        """The family: "bitnet-b1.58" or "llama"."""
        return self.info()["family"]

    @property
    def quantization(self) -> str:
        """How the ternary weights are packed, e.g. "t2": two bits each."""
        packing: str = self.describe()["packing"]
        return packing

    @property
    def supports_streaming(self) -> bool:
        """True: every model can answer piece by piece."""
        return True

    # -- torch's manners

    def to(self, device: object = None, *_: object, **__: object) -> BitNetModel:
        """Itself; a device that cannot be used is warned of or an error, as in load_model. A dtype changes nothing."""
        if device is not None and not str(device).startswith("torch.") and "float" not in str(device):
            parse_device(device)
        return self

    def eval(self) -> BitNetModel:
        """Itself: it does nothing but inference."""
        return self

    def train(self, mode: bool = True) -> BitNetModel:
        """Itself for mode False; ConfigError for True, since packed ternary weights cannot be trained."""
        if mode:
            raise ConfigError("train: expected mode=False, got True; train the original and load its checkpoint")
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, **options: Any) -> None:
        """Takes the weights of one of the original's checkpoints: a dictionary of torch tensors or numpy arrays, in any
        of its three forms. It is compiled, once for the same weights. options: load_model's.

        strict: True; missing, superfluous and misshapen tensors are a ModelFormatError, a RuntimeError too.
        Generations and caches that have begun keep the weights that they began with. Needs numpy.
        """
        if not strict:
            raise ConfigError("load_state_dict: strict: expected True, got False; leave other tensors out")
        import tempfile

        from . import torch_file

        with tempfile.TemporaryDirectory(prefix="bitnet-") as folder:
            path = Path(folder) / "state_dict" / "state_dict.pt"
            torch_file.write(path, {name: torch_file.stored(tensor) for name, tensor in state_dict.items()})
            self._loaded = _load(path, model_args=self._args, **options)
        self._engines.clear()

    # -- running it

    def engine(self, threads: int | None = None, context: int | None = None) -> _runtime.Engine:
        """The engine that all generations with these numbers share, so that their rows run in one step.

        threads None: what set_num_threads says, or one for each CPU that this process may use. context None: the
        model's.
        """
        key = (default_threads() if threads is None else threads, context or 0)
        with self._lock:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = _runtime.Engine(self._native, context=key[1], threads=key[0])
        return engine

    def session(self, threads: int | None = None, context: int | None = None, sequences: int = 1) -> _runtime.Session:
        """A new key/value cache of its own, for raw steps."""
        threads = default_threads() if threads is None else threads
        return _runtime.Session(self._native, context=context or 0, threads=threads, sequences=sequences)

    def get_logits(self, tokens: Any) -> Any:
        """Logits after each token of one sequence, from its start: f32 [tokens, vocab], unscaled.

        tokens: ids as a list or an array. A torch tensor gives a tensor; else numpy, or without numpy an object with
        the buffer protocol and tolist().
        """
        ids = token_ids(tokens)
        session = self.session(context=min(max(len(ids), 1), self.info()["context"]))
        return joined([session.forward(ids, logits="all")], tokens)

    def forward(
        self, token_values: Any, token_lengths: Any, start_pos: Any, cache: KeyValueCache, kv_padding: int
    ) -> Any:
        """Logits after each token of several sequences: f32 [tokens, vocab], torch's if token_values is.

        token_values: the sequences' tokens one after another. token_lengths: how many of each. start_pos: positions
        that the cache holds of each already; what it holds beyond is forgotten. cache: of make_cache. kv_padding:
        positions of each sequence. CacheLengthError for a sequence that gets longer, InferenceError for a start_pos
        that the cache has not reached.
        """
        ids, lengths, starts = token_ids(token_values), token_ids(token_lengths), token_ids(start_pos)
        if len(lengths) != len(starts) or sum(lengths) != len(ids) or min((0, *lengths, *starts)) < 0:
            raise ConfigError(
                f"forward: expected a length and a start of each sequence, {len(ids)} tokens in all, got lengths"
                f" {lengths} and starts {starts}"
            )
        for length, start in zip(lengths, starts, strict=True):
            if start + length > kv_padding:
                raise CacheLengthError(f"forward: expected at most {kv_padding} positions, got {start + length}")
        if not isinstance(cache, KeyValueCache):
            raise ArgumentTypeError(f"cache: expected what make_cache returns, got {type(cache).__name__}")
        ends = [0, *itertools.accumulate(lengths)]
        with cache.state.lock:
            session = cache.state.session(self, kv_padding, len(lengths), starts)
            rows = [
                session.forward(ids[begin:end], logits="all", sequence=sequence)
                for sequence, (begin, end) in enumerate(itertools.pairwise(ends))
                if end > begin
            ]
        return joined(rows, token_values)

    def forward_with_attn_bias(self, token_values: Any, attn_bias: Any, cache: KeyValueCache) -> Any:
        """forward() whose lengths and starts an AttnBias (or xformers' mask with padded keys) says."""
        bias = AttnBias.of(attn_bias)
        starts = [after - rows for after, rows in zip(bias.kv_seqlen, bias.q_seqlen, strict=True)]
        return self.forward(token_values, bias.q_seqlen, starts, cache, bias.kv_padding)

    __call__ = forward

    def __repr__(self) -> str:
        if self._loaded is None:
            return f"<bitnet_py.BitNetModel without weights, {self.config}>"
        info = self.info()
        return f"<bitnet_py.BitNetModel {info['name']!r}, {info['cpu']}, {self.path}>"


Transformer = BitNetModel
"""The original's name."""


def load_model(
    model_path: str | os.PathLike[str],
    model_format: str | None = None,
    device: object = None,
    *,
    model_args: ModelArgs | Mapping[str, Any] | None = None,
    cpu: str | None = None,
    target: str = "host",
    compiler_flags: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> BitNetModel:
    """Loads a bundle (.bnx), or compiles a checkpoint (.gguf, .safetensors, .pt, a folder) and loads that.

    model_format: None or "auto" goes by the name; "gguf", "safetensors", "pretrained" (a folder), "torch" (.pt), "bnx".
    device: see parse_device. cpu forces one of the bundle's CPU variants. target, compiler_flags and cache_dir are for
    checkpoints: they go to bitnetc, and its result is kept in cache_dir (by default in cache.folder()). That takes
    seconds to minutes, once; verbose=False says nothing meanwhile.
    model_args: the dimensions, ModelArgs or a dictionary with some of them. A .pt checkpoint of another shape than 2B
    does not say n_heads and n_kv_heads; what a checkpoint does say must agree (else ModelFormatError).
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
        verbose=verbose,
    )


_FORMATS = {".bnx": "bnx", ".gguf": "gguf", ".safetensors": "safetensors", ".pt": "torch"}
_KINDS = "a .bnx, .gguf, .safetensors or .pt file or a folder"


def _load(
    path: Path,
    model_format: str | None = None,
    model_args: ModelArgs | Mapping[str, Any] | None = None,
    cpu: str | None = None,
    target: str = "host",
    compiler_flags: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> tuple[Path, _runtime.Model]:
    """The bundle of a file or folder, and that bundle opened."""
    given = named(model_args) if model_args is not None else {}
    flags = [*_settings(path, given), *compiler_flags]
    found = _found(path, model_format)
    if found.suffix == ".bnx" and found.is_file():
        bundle, native = found, _open(found, cpu)
    else:
        folder = Path(cache_dir) if cache_dir else None
        bundle, native = open_bundle(
            found, lambda made: _open(made, cpu), target=target, flags=flags, cache_dir=folder, verbose=verbose
        )
    _compare(given, native.info(), path)
    return bundle, native


def _settings(path: Path, given: Mapping[str, Any]) -> Iterator[str]:
    """bitnetc's flags for what a .pt checkpoint does not say."""
    if path.suffix != ".pt" and not any(path.glob("model_state*.pt")):
        return
    if "n_heads" in given:
        yield f"--set=heads={given['n_heads']}"
        yield f"--set=kv_heads={given.get('n_kv_heads') or given['n_heads']}"
    for name in ("norm_eps", "rope_theta"):
        if name in given and given[name] != getattr(ModelArgs, name):
            yield f"--set={name}={given[name]}"


def _compare(given: Mapping[str, Any], info: _runtime.Info, path: Path) -> None:
    """ModelFormatError unless the dimensions are those that the caller gave."""
    found = {
        "dim": info["width"],
        "n_layers": info["layers"],
        "n_heads": info["heads"],
        "n_kv_heads": info["kv_heads"],
        "vocab_size": info["vocab"],
        "ffn_dim": info["ffn_width"],
    }
    for name, value in found.items():
        expected = given.get(name)
        if expected is not None and expected != value:
            raise ModelFormatError(f"{path}: {name}: expected {expected}, as model_args has it, got {value}")


def _found(path: Path, model_format: str | None) -> Path:
    """The file or folder that is to be loaded, of the format that was asked for."""
    formats = {"auto", "pretrained", *_FORMATS.values()}
    if model_format is not None and model_format not in formats:
        expected = ", ".join(sorted(formats))
        raise ConfigError(f"model_format: expected one of {expected}, got {model_format!r}", "ValueError")
    if not path.exists():
        raise ModelNotFoundError(f"{path}: does not exist")
    found = "pretrained" if path.is_dir() else _FORMATS.get(path.suffix)
    if found is None:
        raise ConfigError(f"{path}: expected {_KINDS}, got '{path.suffix}'")
    if model_format not in (None, "auto", found):
        raise ConfigError(f"{path}: expected a model of the format {model_format!r}, got {found!r}")
    return (_only_bundle(path) or path) if found == "pretrained" else path


def _only_bundle(folder: Path) -> Path | None:
    """The .bnx file of a folder that has one, and no checkpoint that bitnetc takes."""
    names = [file.name for file in folder.iterdir()]
    if any(name.endswith((".gguf", ".pt", ".safetensors", ".safetensors.index.json")) for name in names):
        return None
    bundles = [name for name in names if name.endswith(".bnx")]
    return folder / bundles[0] if len(bundles) == 1 else None


# Loaded models by file: a model and its tokenizer share one mapping.
_loaded: weakref.WeakValueDictionary[tuple[object, ...], _runtime.Model] = weakref.WeakValueDictionary()


def _open(path: Path, cpu: str | None) -> _runtime.Model:
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, cpu)
    native = _loaded.get(key)
    if native is None:
        native = _loaded[key] = _runtime.Model(str(path), cpu)
    return native
