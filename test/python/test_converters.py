"""The original's checkpoint files: reading, writing, packing and converting them gives its bytes."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bitnet_py import ModelFormatError, ModelNotFoundError, torch_file
from bitnet_py.bfloat16 import from_float, to_float
from bitnet_py.convert_checkpoint import convert_ts_checkpoint
from bitnet_py.convert_safetensors import convert
from bitnet_py.pack_weight import convert_weight_int2_to_int8, convert_weight_int8_to_int2
from bitnet_py.torch_file import StoredTensor

numpy = pytest.importorskip("numpy")


@pytest.fixture(scope="session")
def tiny(shared_data: Path) -> Path:
    return shared_data / "ms_gpu" / "tiny-ckpt"


def facts(tensors: dict[str, StoredTensor]) -> dict[str, dict[str, object]]:
    return {
        name: {
            "dtype": f"torch.{tensor.dtype}",
            "shape": list(tensor.array.shape),
            "sha256": hashlib.sha256(tensor.array.tobytes()).hexdigest(),
        }
        for name, tensor in tensors.items()
    }


def expected(tiny: Path, file: str) -> dict[str, dict[str, object]]:
    known = json.loads((tiny / "expected.json").read_text())["files"][file]
    return {name: {key: tensor[key] for key in ("dtype", "shape", "sha256")} for name, tensor in known.items()}


@pytest.mark.parametrize("file", ["model_state.pt", "model_state_fp16.pt", "model_state_int2.pt"])
def test_pt_files_are_read_and_written_again(file: str, tiny: Path, tmp_path: Path) -> None:
    tensors = torch_file.read(tiny / file)
    assert facts(tensors) == expected(tiny, file)
    torch_file.write(tmp_path / file, tensors)
    assert facts(torch_file.read(tmp_path / file)) == expected(tiny, file)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_written_files_have_the_structure_of_torchs(tiny: Path, tmp_path: Path) -> None:
    """Same entries, same stored bytes, and a pickle of the same instructions, but for the memo and the size of ints."""
    torch_file.write(tmp_path / "model_state.pt", torch_file.read(tiny / "model_state.pt"))
    ours, theirs = zipfile.ZipFile(tmp_path / "model_state.pt"), zipfile.ZipFile(tiny / "model_state.pt")
    assert ours.testzip() is None
    assert sorted(ours.namelist()) == sorted(theirs.namelist())
    for entry in ours.infolist():
        assert entry.compress_type == zipfile.ZIP_STORED
        if not entry.filename.endswith("data.pkl"):
            assert ours.read(entry) == theirs.read(entry.filename)
    assert calls_in(ours.read("model_state/data.pkl")) == calls_in(theirs.read("model_state/data.pkl"))


def calls_in(pickled: bytes) -> list[object]:
    """What an unpickler is asked to do: storages and the calls that make tensors of them."""
    seen: list[object] = []

    class Recorder(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return lambda *arguments: seen.append((module, name, arguments))

        def persistent_load(self, pid: Any) -> object:
            kind, storage, key, device, count = pid
            storage()
            return kind, seen.pop(), key, device, count

    names = list(Recorder(io.BytesIO(pickled)).load())
    return [*seen, names]


def test_views_of_storages_are_read(shared_data: Path) -> None:
    tensors = torch_file.read(shared_data / "ms_gpu" / "pt-views.pt")
    known = json.loads((shared_data / "ms_gpu" / "pt-views.json").read_text())
    assert tensors.keys() == known.keys()
    for name, tensor in tensors.items():
        values = to_float(tensor.array) if tensor.dtype == "bfloat16" else tensor.array
        assert f"torch.{tensor.dtype}" == known[name]["dtype"]
        assert values.tolist() == known[name]["values"]
    assert numpy.shares_memory(tensors["a"].array, tensors["transposed"].array)


def test_a_pickle_that_calls_something_else_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("executed",)

    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"a": Evil()}))
    with pytest.raises(ModelFormatError, match=r"expected tensors only, got a builtins\.print"):
        torch_file.read(path)


def test_damaged_pt_files_are_errors(tiny: Path, tmp_path: Path, shared_data: Path) -> None:
    whole = (tiny / "model_state_int2.pt").read_bytes()
    path = tmp_path / "damaged.pt"
    for text in (b"", whole[: len(whole) // 2], whole[:4] + whole[5:]):
        path.write_bytes(text)
        with pytest.raises(ModelFormatError, match=r"damaged\.pt"):
            torch_file.read(path)
    with pytest.raises(ModelFormatError, match="its ZIP form"):
        torch_file.read(shared_data / "ms_gpu" / "pt-views-legacy.pt")
    with pytest.raises(ModelNotFoundError):
        torch_file.read(tmp_path / "none.pt")


def test_a_tensor_outside_its_storage_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "outside.pt"
    torch_file.write(path, {"a": StoredTensor("int8", numpy.arange(6, dtype="i1").reshape(2, 3))})
    # The pickle's shape (2, 3) becomes (2, 4), the ZIP's checksum is not looked at by the C reader either.
    raw = path.read_bytes()
    assert raw.count(b"(J\2\0\0\0J\3\0\0\0t") == 1
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data.replace(b"(J\2\0\0\0J\3\0\0\0t", b"(J\2\0\0\0J\4\0\0\0t"))
    with pytest.raises(ModelFormatError, match=r"shape \[2, 4\] lies outside its storage"):
        torch_file.read(path)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"before")

    def interrupted() -> None:
        with torch_file.Writer(path) as file:
            file.add("a", StoredTensor("float32", numpy.zeros(4, "f4")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.case(37)
def test_int2_packing_is_the_originals(shared_data: Path) -> None:
    known = json.loads((shared_data / "ms_gpu" / "int2-pack-cases.json").read_text())
    assert len(known["cases"]) == 4
    for case in known["cases"]:
        weight = numpy.array(case["weight"], numpy.int8).reshape(case["N"], case["K"])
        packed = convert_weight_int8_to_int2(weight)
        assert packed.tobytes().hex() == case["packed_hex"]
        assert list(packed.shape) == case["shape"]
        assert (convert_weight_int2_to_int8(packed) == weight).all()


@pytest.mark.case(37)
def test_int2_packing_puts_each_weight_in_its_place(shared_data: Path) -> None:
    known = json.loads((shared_data / "ms_gpu" / "int2-pack-cases.json").read_text())
    assert len(known["probes"]) == 12
    for probe in known["probes"]:
        weight = numpy.full((probe["N"], probe["K"]), -2, numpy.int8)
        weight[probe["n"], probe["k"]] = 1
        packed = convert_weight_int8_to_int2(weight).view(numpy.uint8).reshape(-1)
        assert packed.nonzero()[0].tolist() == [probe["byte_offset"]]
        assert packed[probe["byte_offset"]] == probe["byte_value_for_+1_others_-2"]


@pytest.mark.parametrize("weight", [[[0] * 32] * 15, [[0] * 16] * 16, [[2] * 32] * 16, [0] * 32])
def test_int2_packing_refuses_other_shapes_and_weights(weight: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="weight: expected"):
        convert_weight_int8_to_int2(numpy.array(weight, numpy.int8))


@pytest.mark.case(38)
def test_convert_checkpoint_gives_the_originals_tensors(tiny: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(tiny / "model_state.pt", tmp_path))
    command = [sys.executable, "-m", "bitnet_py.convert_checkpoint", "--input", source]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0].startswith("ModelArgs(dim=64, n_layers=2")
    assert [line.partition(" to ")[0] for line in said[1:]] == ["Saving checkpoint"] * 2
    for file in ("model_state_fp16.pt", "model_state_int2.pt"):
        made = facts(torch_file.read(tmp_path / file))
        assert made == expected(tiny, file)
        assert list(made) == list(expected(tiny, file))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.case(38)
def test_fp16_values_are_ternary_times_scale(tiny: Path, tmp_path: Path) -> None:
    fp16, int2 = convert_ts_checkpoint(input_path=shutil.copy(tiny / "model_state.pt", tmp_path))
    floats, packed = torch_file.read(fp16), torch_file.read(int2)
    names = [name for name in packed if name.endswith("_scale")]
    assert len(names) == 8
    for name in names:
        weight, scales = name.removesuffix("_scale"), to_float(packed[name].array)
        ternary = convert_weight_int2_to_int8(packed[weight].array)
        assert set(numpy.unique(ternary)) <= {-1, 0, 1}
        rows = {"wqkv": [64, 32, 32], "w13": [96, 96]}.get(weight.split(".")[-2], [64])
        scale = numpy.repeat(scales[: len(rows)], rows)[:, None]
        assert (to_float(floats[weight].array) == ternary * scale).all()


@pytest.mark.parametrize(("mean_in_f32", "differing"), [(True, 4663), (False, 5044)])
def test_convert_safetensors_then_checkpoint(
    mean_in_f32: bool, differing: int, shared_data: Path, tmp_path: Path
) -> None:
    """The original's scripts under torch 2 gave a checkpoint of which 4663 weights are not those of the model's own
    int2 file, since they make weights ternary in bfloat16 (the data's README); names, shapes and order agree."""
    kjv = shared_data / "kjv"
    state = convert(str(kjv / "hf-bf16" / "model.safetensors"), str(tmp_path / "model_state.pt"))
    assert state.stat().st_size < 1.01 * (kjv / "hf-bf16" / "model.safetensors").stat().st_size  # head = embedding
    _, int2 = convert_ts_checkpoint(input_path=str(state), mean_in_f32=mean_in_f32)
    ours, theirs = torch_file.read(int2), torch_file.read(kjv / "gpu" / "model_state_int2.pt")
    assert ours.keys() == theirs.keys()
    other = 0
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].array.shape) == (tensor.dtype, tensor.array.shape)
        if tensor.dtype == "int8":
            weights = [convert_weight_int2_to_int8(each[name].array) for each in (ours, theirs)]
            other += int((weights[0] != weights[1]).sum())
        elif not name.endswith("_scale"):
            assert (ours[name].array == tensor.array).all()
    assert other == differing


def test_converters_say_what_is_wrong(tiny: Path, tmp_path: Path, shared_data: Path) -> None:
    def run(program: str, *arguments: object) -> str:
        command = [sys.executable, "-m", f"bitnet_py.{program}", *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert ran.returncode in (1, 2)
        return ran.stderr.splitlines()[-1]

    assert "--input" in run("convert_checkpoint")
    assert "does not exist" in run("convert_checkpoint", "--input", "none.pt")
    int2 = shutil.copy(tiny / "model_state_int2.pt", tmp_path)
    assert "expected a bfloat16 matrix, got int8" in run("convert_checkpoint", "--input", int2)
    packed = shared_data / "kjv" / "hf-packed" / "model.safetensors"
    assert "take the bf16 checkpoint" in run("convert_safetensors", "--safetensors_file", packed)
    whole = shared_data / "kjv" / "hf-bf16" / "model.safetensors"
    name = ("--model_name", "3B")
    assert "expected one of 2B, got '3B'" in run("convert_safetensors", "--safetensors_file", whole, *name)
    assert not [path for path in tmp_path.iterdir() if path.name != "model_state_int2.pt"]


def test_bfloat16_rounds_as_torch_does() -> None:
    values = numpy.array([1.0, 1.00390625, 1.01171875, -0.0, 3.4e38, numpy.inf, numpy.nan, 1e-40], numpy.float32)
    bits = from_float(values)
    assert bits[:6].tolist() == [0x3F80, 0x3F80, 0x3F82, 0x8000, 0x7F80, 0x7F80]  # ties to even, overflow
    assert numpy.isnan(to_float(bits[6]))
    every = numpy.arange(1 << 16, dtype=numpy.uint16)
    finite = every[numpy.isfinite(to_float(every))]
    assert (from_float(to_float(finite)) == finite).all()
