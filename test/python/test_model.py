"""Models as objects: what they say of themselves, logits, caches; sampling on arrays."""

import dataclasses
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bitnet_py as b
from bitnet_py import torch_file
from bitnet_py.model import AttnBias

numpy = pytest.importorskip("numpy")


@pytest.fixture(scope="session")
def tiny(shared_data: Path) -> Path:
    return shared_data / "ms_gpu" / "tiny-ckpt"


@pytest.fixture(scope="session", params=["int2", "fp16"])
def tiny_model(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> b.BitNetModel:
    path = tiny / f"model_state_{request.param}.pt"
    args = {"n_heads": 4, "n_kv_heads": 2}
    return b.load_model(path, model_args=args, cache_dir=tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def golden(tiny: Path) -> list[dict[str, Any]]:
    """What the original's forward gave, with its own epsilon of the sub-norms."""
    runs = json.loads((tiny / "forward-golden.json").read_text())["runs"]
    return [run for run in runs if run["sub_norm_eps"] == 1e-6]


# -- dimensions


@pytest.mark.case(22)
def test_model_args_are_the_originals() -> None:
    text = (
        "ModelArgs(dim=2560, n_layers=30, n_heads=20, n_kv_heads=5, vocab_size=128256, ffn_dim=6912, norm_eps=1e-05,"
        " rope_theta=500000.0, use_kernel=False)"
    )
    assert repr(b.ModelArgs()) == text
    assert b.ModelArgs() == b.ModelArgs(2560, 30)
    assert dataclasses.asdict(b.ModelArgs(dim=64)) == b.ModelArgs(64).to_dict()
    assert len(b.ModelArgs().to_dict()) == 9
    assert b.ModelArgs.from_dict({"dim": 2560}) == b.ModelArgs()


def test_model_args_from_other_names(caplog: pytest.LogCaptureFixture) -> None:
    config = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 768}
    args = b.ModelArgs.from_dict({**config, "rms_norm_eps": 1e-6, "torch_dtype": "bfloat16"})
    assert args == b.ModelArgs(dim=256, n_heads=4, n_kv_heads=2, ffn_dim=768, norm_eps=1e-6)
    assert "torch_dtype" in caplog.text


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"n_kv_heads": 3}, {"vocab_size": 0}, {"n_heads": 0}])
def test_a_transformer_checks_its_dimensions(wrong: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match=next(iter(wrong))) as caught:
        b.Transformer(b.ModelArgs(**wrong))
    assert isinstance(caught.value, ValueError)


def test_a_transformer_without_weights_says_so() -> None:
    transformer = b.Transformer(b.ModelArgs())
    assert transformer.num_parameters() == 2_741_155_840
    assert transformer.config == b.ModelArgs()
    with pytest.raises(b.InferenceError, match="expected weights"):
        transformer.get_logits([1])


def test_a_transformer_takes_a_state_dict(tiny: Path, tiny_model: b.BitNetModel, tmp_path: Path) -> None:
    tensors = torch_file.read(tiny / "model_state_int2.pt")
    transformer = b.Transformer(b.ModelArgs(64, 2, 4, 2, 320, 96))
    transformer.load_state_dict(tensors, strict=True, cache_dir=tmp_path)
    assert (transformer.get_logits([1, 2, 3]) == tiny_model.get_logits([1, 2, 3])).all()
    for wrong in (b.ModelArgs(64, 3, 4, 2, 320, 96), b.ModelArgs(64, 2, 4, 2, 321, 96)):
        with pytest.raises(RuntimeError, match="expected"):
            b.Transformer(wrong).load_state_dict(tensors, cache_dir=tmp_path)
    del tensors["norm.weight"]
    with pytest.raises(RuntimeError, match=r"norm\.weight"):
        transformer.load_state_dict(tensors, cache_dir=tmp_path)


# -- what a loaded model says


def test_a_model_describes_itself(model: b.BitNetModel) -> None:
    assert b.Transformer is b.BitNetModel
    assert model.num_parameters() == model.parameter_count == 5_776_640  # the data's README
    assert model.config == b.ModelArgs(256, 6, 4, 2, 4096, 768)
    assert (model.device, model.dtype, model.architecture) == ("cpu", "bfloat16", "bitnet-b1.58")
    assert model.memory_usage == model.info()["weight_bytes"] > 0
    assert model.supports_streaming
    assert model.model_path == str(model.path)
    assert model.quantization == "t2"
    assert model.eval() is model
    assert model.to("cpu") is model
    assert model.train(False) is model
    with pytest.raises(ValueError, match="expected mode=False"):
        model.train()


def test_a_quantized_head_is_no_other_weight(checkpoint: Path, tmp_path: Path) -> None:
    model = b.load_model(checkpoint, compiler_flags=["--head=q8"], cache_dir=tmp_path)
    assert model.num_parameters() == 5_776_640


def test_devices_fall_back_or_are_refused(
    model: b.BitNetModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert b.load_model(model.path, device="CUDA:0").device == "cpu"
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with pytest.raises(ValueError, match="device"):
        b.load_model(model.path, device="invalid")
    monkeypatch.setenv("BITNET_STRICT", "1")
    with pytest.raises(b.ConfigError, match="cuda:0"):
        b.load_model(model.path, device="cuda:0")


def test_formats(model: b.BitNetModel, checkpoint: Path, tmp_path: Path) -> None:
    for name in (None, "auto", "bnx"):
        assert b.load_model(model.path, name).path == model.path
    with pytest.raises(b.BitNetError) as caught:
        b.load_model(model.path, model_format="onnx")
    assert caught.value.error_type == "ValueError"
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match="format 'gguf', got 'bnx'"):
        b.BitNetModel.from_gguf(model.path)
    with pytest.raises(b.ModelFormatError, match="n_layers: expected 30, as model_args has it, got 6"):
        b.load_model(model.path, model_args=b.ModelArgs(256, 30, 4, 2, 4096, 768))
    (tmp_path / "model.bnx").symlink_to(model.path)
    assert b.BitNetModel.from_pretrained(tmp_path).config == model.config


def test_every_form_of_a_checkpoint_is_the_same_model(model: b.BitNetModel, shared_data: Path, tmp_path: Path) -> None:
    kjv, tokens = shared_data / "kjv", [4080, 449, 341, 335, 378, 2395, 26]
    expected = model.get_logits(tokens)
    arguments: dict[str, Any] = {"cache_dir": tmp_path}
    flags = ["--set=sub_norm_eps=1e-5"]  # the original's form stands for 1e-6
    for loaded in (
        b.BitNetModel.from_pretrained(kjv / "hf-packed", **arguments),
        b.BitNetModel.from_safetensors(kjv / "hf-packed" / "model.safetensors", **arguments),
        b.load_model(
            kjv / "gpu",
            model_args={"n_heads": 4, "n_kv_heads": 2},
            compiler_flags=flags,
            **arguments,
        ),
    ):
        assert (loaded.get_logits(tokens) == expected).all()


def test_engines_are_shared_between_threads(model: b.BitNetModel) -> None:
    engines: list[object] = []
    threads = [threading.Thread(target=lambda: engines.append(model.engine(threads=1, context=64))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, engines))) == 1
    assert model.engine(threads=1, context=32) is not engines[0]


# -- logits


def greedy(model: b.BitNetModel, prompt: list[int], count: int) -> list[int]:
    args, padding = model.config, len(prompt) + count
    cache = b.make_cache(args, padding)
    rows = model.forward(prompt, [len(prompt)], [0], cache, padding)
    tokens = [int(rows[-1].argmax())]
    while len(tokens) < count:
        rows = model.forward(tokens[-1:], [1], [len(prompt) + len(tokens) - 1], cache, padding)
        tokens.append(int(rows[0].argmax()))
    return tokens


def equal_up_to_a_small_margin(ours: list[int], run: dict[str, Any], margin: float) -> bool:
    for token, expected, its in zip(ours, run["greedy12_fp32"], run["margins"], strict=True):
        if token != expected:
            return bool(its < margin)
    return True


@pytest.mark.case(33)
def test_greedy_tokens_of_the_originals_model(tiny_model: b.BitNetModel, golden: list[dict[str, Any]]) -> None:
    assert len(golden) == 3
    for run in golden:
        tokens = greedy(tiny_model, run["prompt"], 12)
        assert equal_up_to_a_small_margin(tokens, run, 0.1)
        expected, logits = numpy.array(run["last_logits"]), tiny_model.get_logits(run["prompt"])[-1]
        cosine = (logits @ expected) / numpy.sqrt((logits @ logits) * (expected @ expected))
        assert cosine > 0.999


@pytest.mark.case(34)
def test_argmax_at_every_position_of_a_prompt(tiny_model: b.BitNetModel, golden: list[dict[str, Any]]) -> None:
    for run in golden:
        assert tiny_model.get_logits(run["prompt"]).argmax(axis=1).tolist() == run["argmax_per_position"]


def test_logits_of_every_position_are_those_of_one_forward(model: b.BitNetModel) -> None:
    tokens = [4080, 1136, 258, 2058, 386, 3357]
    whole = model.get_logits(tokens)
    assert whole.shape == (6, 4096)
    assert whole.dtype == numpy.float32
    for form in (numpy.array(tokens), tuple(tokens), memoryview(numpy.array(tokens, "i4"))):
        assert (model.get_logits(form) == whole).all()
    with pytest.raises(TypeError, match="expected token ids"):
        model.get_logits("text")


def test_forward_goes_on_where_a_cache_ends(model: b.BitNetModel) -> None:
    first, second = [4080, 1136, 258, 2058, 386, 3357], [4080, 449, 341, 335]
    alone = [model.get_logits(first), model.get_logits(second)]
    cache = b.make_cache(model.config, 2 * 16)
    prefix = b.cache_prefix(cache, 2 * 16)
    rows = model.forward(numpy.array(first[:4] + second[:3]), [4, 3], [0, 0], prefix, 16)
    assert (rows == numpy.concatenate([alone[0][:4], alone[1][:3]])).all()
    bias = AttnBias.from_seqlens([2, 1], kv_padding=16, kv_seqlen=[6, 4])
    rows = model.forward_with_attn_bias(first[4:] + second[3:], bias, cache)
    assert (rows == numpy.concatenate([alone[0][4:], alone[1][3:]])).all()
    # Back to position 2, with a mask as xformers has it.
    mask = SimpleNamespace(
        q_seqinfo=SimpleNamespace(seqstart_py=[0, 1, 1]),
        k_seqinfo=SimpleNamespace(seqlen=numpy.array([3, 4]), padding=16),
    )
    assert (model.forward_with_attn_bias([first[2]], mask, cache) == alone[0][2]).all()


def test_forward_refuses_what_a_cache_cannot_hold(model: b.BitNetModel) -> None:
    cache = b.make_cache(model.config, 8)
    with pytest.raises(AssertionError, match="at most 8 positions, got 9"):
        model.forward([1] * 9, [9], [0], cache, 8)
    with pytest.raises(b.InferenceError, match="expected at most 0"):
        model.forward([1], [1], [3], cache, 8)
    with pytest.raises(b.ConfigError, match="2 tokens in all"):
        model.forward([1, 1], [1], [0], cache, 8)
    with pytest.raises(TypeError, match="make_cache"):
        model.forward([1], [1], [0], [], 8)  # type: ignore[arg-type]


def test_without_numpy(model: b.BitNetModel) -> None:
    """Logits are an object with the buffer protocol, ids work; what needs numpy says so."""
    program = f"""
        import sys
        sys.modules["numpy"] = None
        import bitnet_py as b
        model = b.load_model({model.model_path!r})
        logits = model.get_logits([4080, 1136])
        assert memoryview(logits).shape == (2, 4096) == logits.shape
        print(max(range(4096), key=logits.tolist()[1].__getitem__))
        print(b.FastGen(b.GenArgs(gen_length=2), model).generate_all([[4080, 1136]])[1])
        for call in (lambda: b.make_cache(model.config, 4), lambda: b.top_p([[1.0]], 0.5)):
            try:
                call()
            except b.ConfigError as error:
                print(error)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    likeliest = int(model.get_logits([4080, 1136])[1].argmax())
    lines = ran.stdout.splitlines()
    assert lines[0] == str(likeliest)
    assert lines[1].startswith(f"[[{likeliest}, ")
    assert [line.partition(":")[0] for line in lines[2:]] == ["make_cache", "top_p"]
    assert all(line.endswith("pip install numpy") for line in lines[2:])


# -- caches


@pytest.mark.case(40)
def test_caches_have_the_originals_shapes() -> None:
    args = b.ModelArgs(dim=256, n_layers=3, n_heads=4, n_kv_heads=2)
    cache = b.make_cache(args, 10)
    assert len(cache) == 3
    for pair in cache:
        assert isinstance(pair, tuple)
        for array in pair:
            assert array.shape == (1, 10, 2, 2, 64)
            assert not array.any()
            assert tuple(stride // array.itemsize for stride in array.strides) == (1280, 128, 64, 0, 1)
    assert b.make_cache(model_args=dataclasses.replace(args, n_kv_heads=None), length=10)[0][0].shape == (
        1,
        10,
        4,
        1,
        64,
    )
    assert len(b.make_cache(args, 10, n_layers=2)) == 2
    prefix = b.cache_prefix(cache, 4)
    assert prefix[2][1].shape == (1, 4, 2, 2, 64)
    cache[2][1][0, 3, 1, 0, 5] = 7
    assert prefix[2][1][0, 3, 1, 1, 5] == 7
    with pytest.raises(AssertionError) as caught:
        b.cache_prefix(cache, 11)
    assert isinstance(caught.value, b.BitNetError)
    assert b.cache_prefix([], 5) == []


# -- top_p

PROBABILITIES = [0.5, 0.3, 0.15, 0.05]


@pytest.mark.case(35)
@pytest.mark.parametrize(("p", "kept"), [(0, 1), (0.5, 2), (0.79, 2), (0.8, 2), (0.94, 3), (0.95, 4), (1, 4)])
def test_top_p_keeps_the_token_that_crosses(p: float, kept: int) -> None:
    numpy.random.seed(1)
    order = [2, 0, 3, 1]  # unsorted rows give the tokens of the sorted ones
    drawn = b.top_p([[PROBABILITIES[i] for i in order]] * 20000, p)
    assert drawn.shape == (20000, 1)
    counts = numpy.bincount(numpy.array(order)[drawn.reshape(-1)], minlength=4)
    assert (counts > 0).tolist() == [i < kept for i in range(4)]
    mass = numpy.array(PROBABILITIES[:kept])
    assert numpy.abs(counts[:kept] / 20000 - mass / mass.sum()).max() < 0.015


def test_top_p_follows_numpys_seed() -> None:
    def drawn(seed: int) -> list[list[int]]:
        numpy.random.seed(seed)
        tokens: list[list[int]] = b.top_p(numpy.full((8, 64), 1 / 64), 0.9).tolist()
        return tokens

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.case(36)
def test_one_overwhelming_probability_is_always_drawn(model: b.BitNetModel) -> None:
    logits = numpy.zeros((4, 100), numpy.float32)
    logits[range(4), [7, 0, 99, 50]] = 200
    probabilities = numpy.exp(logits - 200) / numpy.exp(logits - 200).sum(axis=-1, keepdims=True)
    assert b.top_p(probabilities, 0.95).reshape(-1).tolist() == logits.argmax(axis=-1).tolist()
    engine = b.FastGen(b.GenArgs(gen_length=8, use_sampling=True, temperature=1e-4), model)
    cold = b.FastGen(b.GenArgs(gen_length=8), model)
    prompt = [[4080, 449, 341, 335, 378, 2395, 26]]
    assert engine.generate_all(prompt)[1] == cold.generate_all(prompt)[1]
