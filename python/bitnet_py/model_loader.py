"""ModelLoader, BitNet-rs's name for load_model() with a device of its own; load_model() is all that it needs."""

from __future__ import annotations

import os
from typing import Any

from .model import BitNetModel, load_model
from .system import CPU, parse_device


class ModelLoader:
    """Loads models for one device. device: see parse_device."""

    def __init__(self, device: object = CPU) -> None:
        self._device = parse_device(device)

    @property
    def device(self) -> str:
        """Where its models run: "cpu"."""
        return self._device

    def load(self, path: str | os.PathLike[str], **options: Any) -> BitNetModel:
        """load_model(path, device=self.device, **options)."""
        return load_model(path, device=self._device, **options)

    def extract_metadata(self, path: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
        """architecture, vocab_size, context_length, name, version (of the file's format, as its source tells it) and
        quantization of a model. A checkpoint is compiled for it, once; a compiled model is only mapped."""
        model = self.load(path, **options)
        info = model.info()
        return {
            "architecture": model.architecture,
            "vocab_size": info["vocab"],
            "context_length": info["context"],
            "name": info["name"],
            "version": model.describe()["model"]["source"],
            "quantization": model.quantization,
        }

    def available_formats(self) -> list[str]:
        """What load() takes."""
        return ["BNX", "GGUF", "SafeTensors", "HuggingFace", "PyTorch"]

    def __repr__(self) -> str:
        return f"ModelLoader(device={self._device!r})"
