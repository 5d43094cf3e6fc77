"""What a caller can catch, and what the texts are."""

import builtins
import copy
import pickle
from pathlib import Path

import pytest

import bitnet_py
from bitnet_py import errors

COMBINATIONS = {
    "ConfigError": "ValueError",
    "ArgumentTypeError": "TypeError",
    "ModelNotFoundError": "FileNotFoundError",
    "ModelFormatError": "ValueError RuntimeError",
    "UnsupportedModelError": "ValueError RuntimeError",
    "CompilerNotFoundError": "FileNotFoundError",
    "TokenizerNotFoundError": "FileNotFoundError AssertionError",
    "TokenizerFormatError": "ValueError",
    "TokenizerTypeError": "AssertionError TypeError",
    "DisallowedSpecialTokenError": "ValueError",
    "UnknownTokenError": "KeyError",
    "TokenOverflowError": "OverflowError",
    "UnknownRoleError": "NotImplementedError",
    "MessageKeyError": "KeyError",
    "CacheLengthError": "AssertionError",
    "InferenceError": "RuntimeError",
    "OutOfMemoryError": "RuntimeError MemoryError",
    "ContextFullError": "RuntimeError ValueError",
    "GenerationCancelledError": "RuntimeError",
}


@pytest.mark.case(48)
def test_plain_error_has_a_type_before_its_message() -> None:
    error = bitnet_py.BitNetError("m", "E")
    assert (str(error), error.message, error.error_type) == ("E: m", "m", "E")
    assert bitnet_py.BitNetError("m").error_type == "BitNetError"
    assert str(bitnet_py.BitNetError("m")) == "BitNetError: m"


@pytest.mark.parametrize(("name", "also"), COMBINATIONS.items())
def test_every_class_is_ours_and_built_in(name: str, also: str) -> None:
    error = getattr(bitnet_py, name)("what went wrong")
    for expected in (bitnet_py.BitNetError, *(getattr(builtins, one) for one in also.split())):
        assert isinstance(error, expected)
    assert str(error) == error.message == "what went wrong"  # a KeyError's own str() is a repr
    assert error.error_type == name
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), other.error_type) == (type(error), str(error), error.error_type)


def test_no_class_is_missing_in_the_table_of_combinations() -> None:
    classes = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)}
    assert classes - {"BitNetError", "ModelError"} == set(COMBINATIONS)
    assert classes <= set(bitnet_py.__all__)


def test_other_names_are_the_same_classes() -> None:
    assert bitnet_py.BitNetBaseError is bitnet_py.BitNetError
    assert bitnet_py.ConfigurationError is bitnet_py.ValidationError is bitnet_py.ConfigError
    assert bitnet_py.KernelError is bitnet_py.InferenceError
    assert bitnet_py.QuantizationError is bitnet_py.ModelFormatError


def test_unknown_status_is_an_inference_error() -> None:
    assert type(errors.from_status(8, "x")) is bitnet_py.InferenceError
    assert type(errors.from_status(6, "x")) is bitnet_py.ContextFullError


@pytest.mark.case(48)
@pytest.mark.parametrize("expected", [bitnet_py.BitNetError, FileNotFoundError, OSError])
def test_missing_model_is_a_file_not_found_error(expected: type[Exception]) -> None:
    with pytest.raises(expected, match="does not exist"):
        bitnet_py.load_model("/nope.gguf")


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
    with pytest.raises(ValueError, match=r"expected a \.bnx, \.gguf, .* or a folder, got '\.txt'"):
        bitnet_py.load_model(path)


def test_unknown_cpu_variant_is_an_error(model: bitnet_py.BitNetModel) -> None:
    with pytest.raises(bitnet_py.BitNetError, match="cray"):
        bitnet_py.load_model(model.path, cpu="cray")
