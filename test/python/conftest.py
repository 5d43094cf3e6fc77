"""Fixtures: the model of the repository, compiled by the bitnetc of this build."""

import os
from pathlib import Path

import pytest

import bitnet_py

SOURCE = Path(os.environ["BITNET_SOURCE_DIR"])


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
