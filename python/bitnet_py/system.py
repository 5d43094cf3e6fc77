"""Devices: what the names that callers give them mean here."""

from __future__ import annotations

import logging
import os
import re

from .errors import ConfigError

_log = logging.getLogger(__name__)


def parse_device(device: object, *, strict: bool | None = None) -> str:
    """The device that runs the model: always "cpu" today.

    device: None, a string ("cpu", "cuda", "cuda:N", "metal", any case) or an object whose str() is one (torch.device).
    A device that is not there falls back to the CPU with one warning, or is an error if strict is true (None: if the
    environment variable BITNET_STRICT is 1). ConfigError for any other name.
    """
    name = "cpu" if device is None else str(device).lower()
    if not re.fullmatch(r"cpu(:0)?|cuda(:\d+)?|metal", name):
        raise ConfigError(f"device: expected cpu, cuda, cuda:N or metal, got {str(device)!r}")
    if not name.startswith("cpu"):
        if os.environ.get("BITNET_STRICT") == "1" if strict is None else strict:
            raise ConfigError(f"device: expected one that is there, got {name!r}; use 'cpu'")
        _log.warning("device %s is not available: the model runs on the CPU", name)
    return "cpu"
