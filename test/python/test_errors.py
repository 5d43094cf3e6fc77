"""What a caller can catch."""

from pathlib import Path

import pytest

import bitnet_py


def test_missing_model_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(bitnet_py.ModelNotFoundError, match="does not exist") as caught:
        bitnet_py.load_model(tmp_path / "none.bnx")
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, bitnet_py.BitNetError)


def test_file_that_is_no_bundle_is_a_value_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "noise.bnx"
    path.write_bytes(b"not a bundle " * 100)
    with pytest.raises(bitnet_py.ModelFormatError, match=r"noise\.bnx") as caught:
        bitnet_py.load_model(path)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_unknown_kind_of_file_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.touch()
    with pytest.raises(
        ValueError, match=r"expected a \.bnx, \.gguf, \.safetensors or \.pt file or a folder, got '\.txt'"
    ):
        bitnet_py.load_model(path)


def test_unknown_cpu_variant_is_an_error(model: bitnet_py.BitNetModel) -> None:
    with pytest.raises(bitnet_py.BitNetError, match="cray"):
        bitnet_py.load_model(model.path, cpu="cray")


def test_prompt_longer_than_the_context_is_an_error(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    with pytest.raises(bitnet_py.ContextFullError):
        bitnet_py.SimpleInference(model, tokenizer, context=4).generate("And God said, Let there be light")


def test_no_new_tokens_is_a_value_error(inference: bitnet_py.SimpleInference) -> None:
    with pytest.raises(ValueError, match="max_new_tokens: expected 1 or more, got 0"):
        inference.generate("And", max_new_tokens=0)
