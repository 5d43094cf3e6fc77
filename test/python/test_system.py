"""What the machine has, by real probes; what names of devices mean."""

import ctypes
import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bitnet_py
from bitnet_py import system


@pytest.mark.case(49)
def test_constants_and_device_info() -> None:
    assert (bitnet_py.CPU, bitnet_py.CUDA, bitnet_py.METAL) == ("cpu", "cuda", "metal")
    assert isinstance(bitnet_py.QuantizationType, dict)
    assert bitnet_py.QuantizationType == {"I2S": "i2s", "TL1": "tl1", "TL2": "tl2"}
    info = bitnet_py.get_device_info()
    assert set(info) == {"cpu", "gpu"}
    assert info["cpu"] == {"cores": len(os.sched_getaffinity(0)), "available": True}
    assert info["gpu"] == {
        "cuda_available": bitnet_py.is_cuda_available(),
        "metal_available": bitnet_py.is_metal_available(),
        "cuda_devices": bitnet_py.get_cuda_device_count(),
    }


@pytest.mark.case(49)
def test_available_models(tmp_path: Path) -> None:
    for name in ("b.gguf", "a.safetensors", "c.bin", "d.bnx", "e.txt", "gguf"):
        (tmp_path / name).touch()
    assert bitnet_py.list_available_models(tmp_path) == ["a.safetensors", "b.gguf", "c.bin", "d.bnx"]
    assert bitnet_py.list_available_models("/nonexistent") == []


@pytest.mark.case(49)
@pytest.mark.parametrize(
    "name", ["invalid", "", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "metal:0", "cuda:\N{SUPERSCRIPT TWO}"]
)
def test_no_device_is_a_value_error(name: str, model: bitnet_py.BitNetModel) -> None:
    with pytest.raises(ValueError, match="device: expected cpu, cuda, cuda:N or metal, got") as caught:
        bitnet_py.load_model(model.path, device=name)
    assert isinstance(caught.value, bitnet_py.ConfigError)


@pytest.mark.case(49)
def test_header_without_tensors_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(b"GGUF\x02\x00\x00\x00" + bytes(16))
    with pytest.raises(bitnet_py.ModelFormatError) as caught:
        bitnet_py.load_model(path)
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("name", ["cuda", "CUDA:0", "metal"])
def test_device_that_is_not_used_falls_back_with_one_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bitnet_py"):
        assert system.parse_device(name) == "cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("name", [None, "cpu", "CPU", "cpu:0"])
def test_cpu_is_the_cpu_without_a_word(name: str | None, caplog: pytest.LogCaptureFixture) -> None:
    assert system.parse_device(name, strict=True) == "cpu"
    assert not caplog.records


def test_strict_makes_the_fallback_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="use 'cpu'"):
        system.parse_device("cuda:0", strict=True)
    monkeypatch.setenv("BITNET_STRICT", "1")
    with pytest.raises(ValueError, match="use 'cpu'"):
        system.parse_device("cuda:0")
    assert system.parse_device("cuda:0", strict=False) == "cpu"
    monkeypatch.setenv("BITNET_STRICT", "0")
    assert system.parse_device("cuda:0") == "cpu"


def test_object_that_names_a_device_is_taken() -> None:
    class Device:  # torch.device
        def __str__(self) -> str:
            return "cuda:1"

    assert system.parse_device(Device()) == "cpu"


def test_cuda_is_what_the_driver_says(tmp_path: Path) -> None:
    """In a process of its own, since the answer is kept; a driver made here stands for one with two devices."""
    try:
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("this machine has a CUDA driver of its own")
    except OSError:
        assert bitnet_py.get_cuda_device_count() == 0
        assert not bitnet_py.is_cuda_available()
    if not (compiler := shutil.which("cc") or shutil.which("clang")):
        pytest.skip("no C compiler")
    source = b"int cuInit(unsigned f) { return 0; } int cuDeviceGetCount(int *n) { *n = 2; return 0; }"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", tmp_path / "libcuda.so.1"]
    subprocess.run(command, input=source, check=True)
    ran = subprocess.run(
        [sys.executable, "-c", "import bitnet_py as b; print(b.is_cuda_available(), b.get_cuda_device_count())"],
        env={**os.environ, "LD_LIBRARY_PATH": f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "True 2\n"


@pytest.mark.case(50)
def test_system_info() -> None:
    info = bitnet_py.get_system_info()
    assert set(info) == {"rust_version", "target_arch", "target_os", "features", "cpu_features"}
    assert info["rust_version"] == bitnet_py.__version__
    assert (info["target_arch"], info["target_os"]) == (platform.machine(), "linux")
    assert "cpu" in info["features"]
    known = Path("/proc/cpuinfo").read_text()
    for feature in ("avx2", "fma"):
        assert (feature in info["cpu_features"]) == (f" {feature} " in known)


def test_threads_are_those_of_new_generations(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    expected = bitnet_py.SimpleInference(model, tokenizer, threads=1).generate("And", temperature=0, max_tokens=4)
    assert bitnet_py.get_num_threads() == len(os.sched_getaffinity(0))
    bitnet_py.set_num_threads(3)
    try:
        assert bitnet_py.get_num_threads() == 3
        before = _threads()
        inference = bitnet_py.SimpleInference(model, tokenizer)
        assert inference.generate("And", temperature=0, max_tokens=4) == expected
        assert _threads() > before
    finally:
        bitnet_py.set_num_threads(0)
    for wrong, error in ((-1, ValueError), ("2", TypeError)):
        with pytest.raises(error, match="num_threads: expected"):
            bitnet_py.set_num_threads(wrong)


def test_loader_loads_for_its_device_and_tells_what_a_model_is(model: bitnet_py.BitNetModel) -> None:
    loader = bitnet_py.ModelLoader("CPU")
    assert loader.device == "cpu"
    assert "GGUF" in loader.available_formats()
    assert loader.load(model.path).path == model.path
    assert loader.extract_metadata(model.path) == {
        "architecture": "bitnet-b1.58",
        "vocab_size": 4096,
        "context_length": 512,
        "name": "bitnet-kjv",
        "version": "gguf v3, 68 tensors, tq1_0",
        "quantization": model.quantization,
    }
    with pytest.raises(ValueError, match="device: expected"):
        bitnet_py.ModelLoader("invalid")


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
