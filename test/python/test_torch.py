"""Beside torch, where it is installed: its files and ours, its arithmetic, its tensors in and out."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import bitnet_py as b
from bitnet_py import torch_file
from bitnet_py.convert_checkpoint import convert_ts_checkpoint, quantize
from bitnet_py.pack_weight import convert_weight_int2_to_int8, convert_weight_int8_to_int2

torch = pytest.importorskip("torch", reason="torch is not installed")
numpy = pytest.importorskip("numpy")

PROMPT = [4080, 449, 341, 335, 378, 2395, 26]


def bits(tensor: Any) -> Any:
    return tensor.contiguous().view(torch.int16).numpy().view("u2")


def test_torch_loads_what_is_written_here(shared_data: Path, tmp_path: Path) -> None:
    tiny = shared_data / "ms_gpu" / "tiny-ckpt"
    for path in convert_ts_checkpoint(input_path=shutil.copy(tiny / "model_state.pt", tmp_path)):
        ours, theirs = torch.load(path, weights_only=True), torch.load(tiny / path.name, weights_only=True)
        assert list(ours) == list(theirs)
        for name, tensor in theirs.items():
            assert (ours[name].dtype, ours[name].stride()) == (tensor.dtype, tensor.stride())
            assert torch.equal(ours[name], tensor)


def test_what_torch_writes_is_read(tmp_path: Path) -> None:
    whole = torch.arange(12, dtype=torch.float32).view(3, 4)
    tensors = {"whole": whole, "turned": whole.t(), "row": whole[1:2], "half": whole.half(), "bf16": whole.bfloat16()}
    torch.save(tensors, tmp_path / "torch.pt")
    read = torch_file.read(tmp_path / "torch.pt")
    for name, tensor in tensors.items():
        expected = bits(tensor) if name == "bf16" else tensor.numpy()
        assert (read[name].array == expected).all()
    torch_file.write(tmp_path / "again.pt", {name: torch_file.stored(tensor) for name, tensor in tensors.items()})
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (640, 2560), (100, 37)])
def test_bfloat16_is_torchs_arithmetic(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = (torch.randn(*shape) * 0.1).bfloat16()
    s = 1.0 / weight.abs().mean().clamp_(min=1e-5)
    expected = (weight * s).round().clamp(-1, 1)
    torch_1 = int(torch.__version__.partition(".")[0]) < 2
    ternary, values, scale = quantize(bits(weight), mean_in_f32=not torch_1)
    assert (ternary == expected.to(torch.int8).numpy()).all()
    assert (values == bits(expected / s)).all()
    assert scale == float(1.0 / s)


def test_tensors_give_tensors(model: b.BitNetModel) -> None:
    tokens = torch.tensor(PROMPT)
    expected = torch.from_numpy(numpy.asarray(model.get_logits(PROMPT)))
    assert torch.equal(model.get_logits(tokens), expected)
    lengths, starts = torch.IntTensor([len(PROMPT)]), torch.IntTensor([0])
    assert torch.equal(model.forward(tokens, lengths, starts, b.make_cache(model.config, 16), 16), expected)
    engine = b.FastGen(b.GenArgs(gen_length=6), model, torch.device("cpu"))
    assert engine.generate_all(torch.tensor([PROMPT, PROMPT]))[1] == engine.generate_all([PROMPT, PROMPT])[1]
    ternary = torch.randint(-1, 2, (32, 64), dtype=torch.int8)
    packed = convert_weight_int8_to_int2(ternary)
    assert (packed.dtype, packed.shape) == (torch.int8, (32, 16))
    assert torch.equal(convert_weight_int2_to_int8(packed), ternary)
    assert model.to(torch.bfloat16) is model


def test_top_p_follows_torchs_seed() -> None:
    def drawn(seed: int) -> Any:
        torch.manual_seed(seed)
        return b.top_p(torch.full((8, 64), 1 / 64), 0.9)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert (drawn(1).dtype, drawn(1).shape) == (torch.int64, (8, 1))


def test_a_state_dict_of_torch_is_a_model(shared_data: Path, tmp_path: Path) -> None:
    state = torch.load(shared_data / "ms_gpu" / "tiny-ckpt" / "model_state_fp16.pt", weights_only=True)
    transformer = b.Transformer(b.ModelArgs(64, 2, 4, 2, 320, 96), device=torch.device("cpu"), dtype=torch.bfloat16)
    transformer.load_state_dict(state, cache_dir=tmp_path)
    assert transformer.get_logits(torch.tensor([1, 2, 3, 4, 5])).argmax(1).tolist() == [17, 91, 26, 293, 319]
    assert transformer.dtype == "bfloat16"
