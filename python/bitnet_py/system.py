"""What this machine has: CPU, devices, threads, model files; and what names of devices mean here.

Everything is looked up when it is asked for: CUDA by its driver, CPU features by the runtime. Models run on the CPU.
ctypes and platform are imported by the functions that need them, for importing the package is to be quick.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from . import _runtime
from .errors import ArgumentTypeError, CompilerNotFoundError, ConfigError

_log = logging.getLogger(__name__)

CPU = "cpu"
CUDA = "cuda"
METAL = "metal"

QuantizationType = {"I2S": "i2s", "TL1": "tl1", "TL2": "tl2"}
"""Names of ternary packings, as BitNet-rs writes them."""

_MODEL_SUFFIXES = (".bin", ".bnx", ".gguf", ".safetensors")
_threads: int | None = None  # what set_num_threads asked for


def parse_device(device: object, *, strict: bool | None = None) -> str:
    """The device that runs the model: always "cpu" today.

    device: None, a string ("cpu", "cuda", "cuda:N", "metal", any case) or an object whose str() is one (torch.device).
    Other devices than the CPU fall back to it with one warning, or are an error if strict is true (None: if the
    environment variable BITNET_STRICT is set to anything but 0, no, false, off). ConfigError for any other name.
    """
    name = CPU if device is None else str(device).lower()
    if not re.fullmatch(r"cpu(:0)?|cuda(:\d+)?|metal", name, re.ASCII):
        raise ConfigError(f"device: expected cpu, cuda, cuda:N or metal, got {str(device)!r}")
    if not name.startswith(CPU):
        if strict is None:
            strict = os.environ.get("BITNET_STRICT", "").lower() not in ("", "0", "no", "false", "off")
        if strict:
            raise ConfigError(f"device: expected one that this build can use, got {name!r}; use 'cpu'")
        _log.warning("device %s cannot be used by this build: the model runs on the CPU", name)
    return CPU


def is_cuda_available() -> bool:
    """Whether a CUDA driver is here and finds a device. (Models run on the CPU all the same.)"""
    return get_cuda_device_count() > 0


@functools.lru_cache(maxsize=1)
def get_cuda_device_count() -> int:
    """Devices that the CUDA driver finds; 0 without a driver."""
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):  # no driver, or no driver by that name
        return 0
    return count.value


@functools.lru_cache(maxsize=1)
def is_metal_available() -> bool:
    """Whether this is a Mac whose Metal framework finds a device."""
    if sys.platform != "darwin":
        return False
    import ctypes

    try:
        create = ctypes.CDLL("/System/Library/Frameworks/Metal.framework/Metal").MTLCreateSystemDefaultDevice
    except (OSError, AttributeError):
        return False
    create.restype = ctypes.c_void_p
    return bool(create())


def get_device_info() -> dict[str, dict[str, Any]]:
    """{"cpu": {cores, available}, "gpu": {cuda_available, metal_available, cuda_devices}}; cores: that we may use."""
    return {
        "cpu": {"cores": _runtime.available_cpus(), "available": True},
        "gpu": {
            "cuda_available": is_cuda_available(),
            "metal_available": is_metal_available(),
            "cuda_devices": get_cuda_device_count(),
        },
    }


def get_system_info() -> dict[str, Any]:
    """rust_version (this package's; the key is the promised one), target_arch, target_os, features, cpu_features.

    features: "cpu", and "compiler" if bitnetc is found. cpu_features: those of this CPU that matter, e.g. "avx2".
    """
    import platform

    return {
        "rust_version": _runtime.version,
        "target_arch": platform.machine(),
        "target_os": platform.system().lower(),
        "features": [CPU, "compiler"] if _has_compiler() else [CPU],
        "cpu_features": _runtime.cpu_features(),
    }


def _has_compiler() -> bool:
    from .checkpoints import find_compiler

    try:
        find_compiler()
    except CompilerNotFoundError:
        return False
    return True


def set_num_threads(num_threads: int) -> None:
    """Threads of the generations that begin from now on and ask for no number themselves; 0: one for each CPU."""
    global _threads
    if not isinstance(num_threads, int):
        raise ArgumentTypeError(f"set_num_threads: num_threads: expected an int, got {type(num_threads).__name__}")
    if num_threads < 0:
        raise ConfigError(f"set_num_threads: num_threads: expected 0 or more, got {num_threads}")
    _threads = num_threads or None


def get_num_threads() -> int:
    """Threads of a generation that asks for no number itself."""
    return _threads or _runtime.available_cpus()


def default_threads() -> int:
    """What set_num_threads asked for, 0 if nothing: the runtime's own words for the same."""
    return _threads or 0


def list_available_models(path: str | os.PathLike[str]) -> list[str]:
    """Names of the model files in a folder (.bin, .bnx, .gguf, .safetensors), sorted; [] if there is no such folder."""
    folder = Path(path)
    if not folder.is_dir():
        return []
    return sorted(file.name for file in folder.iterdir() if file.suffix in _MODEL_SUFFIXES)
