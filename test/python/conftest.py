"""Options and fixtures: the model of the repository, compiled by the bitnetc of this build."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import bitnet_py

SOURCE = Path(os.environ["BITNET_SOURCE_DIR"])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--requires-integration", action="store_true", help="run the tests that take minutes, too")
    parser.addoption("--measures-speed", action="store_true", help="run those that compare speeds, on a quiet machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What lies in integration/ is marked so. It and what compares speeds is skipped unless it was asked for."""
    options = {"integration": "--requires-integration", "speed": "--measures-speed"}
    for item in items:
        if "integration" in item.path.parent.parts:
            item.add_marker("integration")
        for marker, option in options.items():
            if item.get_closest_marker(marker) and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=f"{marker}; run with {option}"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference data beside the repository: outputs of the original and of other engines."""
    folder = Path(os.environ.get("BITNET_SHARED_DATA") or SOURCE / ".." / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("shared test data not found (BITNET_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def assert_imports_quickly() -> Callable[[Callable[[str], str]], None]:
    """Takes what runs Python code in a new process, with compiled files there, and gives its output."""

    def check(run: Callable[[str], str]) -> None:
        def seconds(module: str) -> float:
            return float(run(f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"))

        # The least processor time: what else runs here does not count. Where that of asyncio says that the CPU is slow,
        # the package may take twice as long; it takes as long.
        times = [(seconds("bitnet_py"), seconds("asyncio")) for _ in range(7)]
        ours, known = map(min, zip(*times, strict=True))
        assert ours < max(0.1, 2 * known), times

    return check


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    return SOURCE / "test" / "data" / "kjv-tq1_0.gguf"


@pytest.fixture(scope="session")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bitnet_py.BitNetModel:
    try:
        bitnet_py.checkpoints.find_compiler()
    except bitnet_py.CompilerNotFoundError:
        pytest.skip("bitnetc is not built")
    return bitnet_py.load_model(checkpoint, cache_dir=tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tokenizer(model: bitnet_py.BitNetModel) -> bitnet_py.Tokenizer:
    return bitnet_py.create_tokenizer(model.path)


@pytest.fixture(scope="session")
def inference(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> bitnet_py.SimpleInference:
    return bitnet_py.SimpleInference(model, tokenizer, threads=1)
