"""Reads and writes torch.save's ZIP files (.pt) of named tensors, without torch. Nothing in a file is ever executed.

The layout: <stem>/data.pkl (a pickle of the names, with a persistent id for each storage), <stem>/data/<key> (raw
little-endian storages, not compressed), <stem>/version. Needs numpy; ConfigError says so where it is missing.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .arrays import is_torch, numpy_for, torch_module
from .errors import ModelFormatError, ModelNotFoundError

# torch's name of a storage: (torch's name of its dtype, numpy's dtype of its items). numpy has no bfloat16.
_STORAGES = {
    "BFloat16Storage": ("bfloat16", "<u2"),
    "HalfStorage": ("float16", "<f2"),
    "FloatStorage": ("float32", "<f4"),
    "DoubleStorage": ("float64", "<f8"),
    "CharStorage": ("int8", "i1"),
    "ByteStorage": ("uint8", "u1"),
    "BoolStorage": ("bool", "?"),
    "ShortStorage": ("int16", "<i2"),
    "IntStorage": ("int32", "<i4"),
    "LongStorage": ("int64", "<i8"),
}
_STORAGE_OF = {dtype: (name, item) for name, (dtype, item) in _STORAGES.items()}
_ALIGNMENT = 64  # of storages in the file, as torch aligns them


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file. dtype: torch's name without "torch."; array: numpy's, bfloat16 as its bits in uint16."""

    dtype: str
    array: Any


def stored(tensor: Any) -> StoredTensor:
    """A numpy array, or a torch tensor of any device and dtype that a file can hold. ModelFormatError for others."""
    if isinstance(tensor, StoredTensor):
        return tensor
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _STORAGE_OF:
        raise ModelFormatError(f"a tensor: expected a dtype among {', '.join(_STORAGE_OF)}, got {dtype}")
    if is_torch(tensor):
        tensor = tensor.detach().cpu().contiguous()
        if dtype == "bfloat16":
            tensor = tensor.view(torch_module().int16)
        return StoredTensor(dtype, tensor.numpy().view(_STORAGE_OF[dtype][1]))
    return StoredTensor(dtype, tensor)


def read(path: str | os.PathLike[str]) -> dict[str, StoredTensor]:
    """The tensors of a file, mapped and not copied; those that share a storage share memory.

    ModelNotFoundError; ModelFormatError if it is not such a file, is damaged, or its pickle names anything else than
    tensors and dictionaries.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _Unpickler(path, archive).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, OSError) as error:
        if isinstance(error, ModelFormatError):
            raise
        raise ModelFormatError(f"{path}: expected a .pt file of torch.save (its ZIP form), got {error}") from error
    if not isinstance(loaded, dict):
        raise ModelFormatError(f"{path}: expected a dictionary of tensors, got {type(loaded).__name__}")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise ModelFormatError(f"{path}: expected names with tensors, got {name!r} with {type(tensor).__name__}")
    return dict(loaded)


class _Unpickler(pickle.Unpickler):
    """A pickle of tensors: only the few names that torch.save writes for them exist."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
        if len(entries) != 1:
            raise ModelFormatError(f"{path}: expected one data.pkl in it, got {len(entries)}")
        self._path = path
        self._archive = archive
        self._storages: dict[str, Any] = {}
        self._prefix = entries[0].filename.removesuffix("data.pkl")
        super().__init__(archive.open(entries[0]), encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return name
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) in known:
            return known[module, name]
        raise ModelFormatError(f"{self._path}: expected tensors only, got a {module}.{name}; save its state_dict()")

    def persistent_load(self, pid: Any) -> tuple[str, Any]:
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in _STORAGES:
            raise ModelFormatError(f"{self._path}: expected a storage, got {pid!r}")
        dtype, item = _STORAGES[storage]
        if key not in self._storages:
            self._storages[key] = self._storage(self._prefix + "data/" + key, item, count)
        return dtype, self._storages[key]

    def _storage(self, name: str, item: str, count: int) -> Any:
        numpy = numpy_for("reading a .pt file")
        entry = self._archive.getinfo(name)
        expected = count * numpy.dtype(item).itemsize
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != expected:
            raise ModelFormatError(f"{self._path}: {name}: expected {expected} bytes, got {entry.file_size}")
        with self._path.open("rb") as file:
            file.seek(entry.header_offset)
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\3\4":
                raise ModelFormatError(f"{self._path}: {name}: expected a ZIP entry at byte {entry.header_offset}")
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        if count == 0:
            return numpy.zeros(0, item)
        return numpy.memmap(self._path, dtype=item, mode="r", offset=start, shape=(count,))

    def _tensor(
        self, storage: tuple[str, Any], offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
    ) -> StoredTensor:
        numpy = numpy_for("reading a .pt file")
        dtype, items = storage
        empty = 0 in shape
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or (not empty and last >= len(items)):
            raise ModelFormatError(f"{self._path}: a tensor of shape {list(shape)} lies outside its storage")
        bytes_per_step = [stride * items.itemsize for stride in strides]
        view = items[:0].reshape(shape) if empty else items[offset:]
        if not empty:
            view = numpy.lib.stride_tricks.as_strided(view, shape, bytes_per_step, writeable=False)
        return StoredTensor(dtype, view)


def write(path: str | os.PathLike[str], tensors: Mapping[str, StoredTensor]) -> None:
    """Writes a file that torch.load reads. Tensors of the same memory and shape share a storage. Nobody sees half a
    file: it is made beside its place and renamed."""
    first: dict[object, str] = {}
    with Writer(path) as file:
        for name, tensor in tensors.items():
            array = tensor.array
            memory = (tensor.dtype, array.__array_interface__["data"][0], array.shape, array.strides)
            file.add(name, tensor, first.setdefault(memory, name))


class Writer:
    """Writes a file tensor by tensor, so that only one need be in memory. A context manager: leaving it puts the file
    in its place; leaving it by an exception leaves nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._tensors: dict[str, tuple[str, str, tuple[int, ...]]] = {}  # of a name: its key, dtype, shape

    def __enter__(self) -> Writer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        self._unfinished = Path(name)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb")
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def add(self, name: str, tensor: StoredTensor, same_as: str = "") -> None:
        """Stores a tensor in row-major order; or, if it is the same as one that was added before, where that one is."""
        numpy = numpy_for("writing a .pt file")
        if same_as in self._tensors:
            self._tensors[name] = self._tensors[same_as]
            return
        key = str(len(self._tensors))
        rows = numpy.ascontiguousarray(tensor.array, dtype=_STORAGE_OF[tensor.dtype][1])
        self._entry(f"data/{key}", rows.reshape(-1).view(numpy.uint8).data)
        self._tensors[name] = (key, tensor.dtype, tuple(tensor.array.shape))

    def _entry(self, name: str, data: Any) -> None:
        entry = zipfile.ZipInfo(f"{self._path.stem}/{name}")  # of 1980: the same tensors give the same bytes
        entry.file_size = len(data)
        start = self._file.tell() + 30 + len(entry.filename.encode()) + 4
        padding = -start % _ALIGNMENT
        entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        with self._archive.open(entry, "w") as opened:
            opened.write(data)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is None:
                self._entry("data.pkl", _pickle(self._tensors))
                self._entry("version", b"3\n")
                self._archive.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                mask = os.umask(0)
                os.umask(mask)
                self._unfinished.chmod(0o666 & ~mask)
                self._unfinished.replace(self._path)
        finally:
            with contextlib.suppress(OSError, ValueError):
                self._archive.close()  # after an error: so that it does not try later
            self._file.close()
            self._unfinished.unlink(missing_ok=True)


def _pickle(tensors: Mapping[str, tuple[str, str, tuple[int, ...]]]) -> bytes:
    """The pickle (protocol 2) that torch.save writes for a dictionary of row-major tensors."""
    out = bytearray(b"\x80\x02}(")
    for name, (key, dtype, shape) in tensors.items():
        count, strides = 1, [0] * len(shape)
        for axis in reversed(range(len(shape))):
            strides[axis] = count
            count *= max(shape[axis], 1)
        numel = 0 if 0 in shape else count
        out += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += _text("storage") + f"ctorch\n{_STORAGE_OF[dtype][0]}\n".encode() + _text(key) + _text("cpu")
        out += _integer(numel) + b"tQ" + _integer(0)
        out += _tuple(shape) + _tuple(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    return bytes(out + b"u.")


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(_integer(value) for value in values) + b"t"
