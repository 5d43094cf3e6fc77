"""The original's generate.py: its classes, its folder of files, its command line. A program of its user runs unchanged
but for the imports."""

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import bitnet_py as b
from bitnet_py import torch_file
from bitnet_py.bfloat16 import from_float
from bitnet_py.convert_checkpoint import convert_ts_checkpoint
from bitnet_py.torch_file import StoredTensor

numpy = pytest.importorskip("numpy")

KJV_HEADS = {"n_heads": 4, "n_kv_heads": 2}
SHEPHERD = [4080, 449, 341, 335, 378, 2395, 26]
BEGINNING = [4080, 1136, 258, 2058, 386, 3357]
JESUS = [4080, 550, 388, 671, 321, 337, 11]  # is answered with <|eot_id|>


class Ends:
    """A tokenizer whose end of a turn is the given token; the rest is the model's."""

    def __init__(self, tokenizer: Any, eot_id: int) -> None:
        self.tokenizer = tokenizer
        self.eot_id = eot_id

    def encode(self, text: str, **options: bool) -> list[int]:
        tokens: list[int] = self.tokenizer.encode(text, **options)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens)
        return text


@pytest.fixture
def engine(model: b.BitNetModel, tokenizer: Any) -> b.FastGen:
    return b.FastGen(b.GenArgs(), model.config, model, model, Ends(tokenizer, -1))


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> dict[str, list[int]]:
    """Greedy tokens of transformers, which go on past tokens that stop."""
    cases = json.loads((shared_data / "kjv" / "ref" / "kjv-ref.json").read_text())["cases"]
    return {case["prompt"]: case["greedy_ids"] for case in cases}


# -- configuration and statistics


@pytest.mark.case(22)
def test_gen_args_are_the_originals() -> None:
    text = "GenArgs(gen_length=32, gen_bsz=1, prompt_length=64, use_sampling=False, temperature=0.8, top_p=0.9"
    assert repr(b.GenArgs()).startswith(text)
    assert b.GenArgs() == b.GenArgs(32, 1, 64)
    args = b.GenArgs()
    args.gen_bsz = 2
    assert dataclasses.asdict(args)["gen_bsz"] == 2


@pytest.mark.case(23)
def test_phase_stats_show_the_originals_line() -> None:
    shown = b.PhaseStats("decode", 31, 0.5).show()
    assert shown == "[decode] generated tokens: 31 - total time: 0.500s - 62.0 tokens per second"
    shown = b.PhaseStats("prefill", 0, 1.23456).show()
    assert shown == "[prefill] generated tokens: 0 - total time: 1.235s - 0.0 tokens per second"
    assert "0.0 tokens per second" in b.PhaseStats("decode", 1, 0).show()


@pytest.mark.case(24)
def test_stats_end_phases_as_the_original_does() -> None:
    stats = b.Stats()
    stats.end_phase(3)
    assert stats.phases == []
    stats.phase("a", tokens=4)
    assert stats.current is not None
    stats.end_phase(10, now=stats.current[2] + 2.0)
    (phase,) = stats.phases
    assert (phase.name, phase.tokens) == ("a", 6)
    assert phase.time == pytest.approx(2.0)
    assert stats.current is not None
    stats.end_phase(11)
    assert [phase.tokens for phase in stats.phases] == [6, 7]
    stats.phase("b", 12)
    assert [phase.tokens for phase in stats.phases] == [6, 7, 8]
    assert stats.show().count("\n") == 2


# -- generate_all


def phases(stats: b.Stats) -> list[tuple[str, int]]:
    return [(phase.name, phase.tokens) for phase in stats.phases]


@pytest.mark.case(25)
def test_an_answer_without_a_stop_is_gen_length_long(engine: b.FastGen, reference: dict[str, list[int]]) -> None:
    stats, answers = engine.generate_all([SHEPHERD], use_cuda_graphs=True, use_sampling=False)
    assert answers == [reference["The LORD is my shepherd;"][:32]]
    assert phases(stats) == [("prefill", 0), ("decode", 31)]
    assert phases(engine.generate_all([SHEPHERD], False, False)[0]) == [("total", 0), ("total", 31)]
    assert stats.total_tokens == 32
    assert stats.total_time == stats.prefill_time + stats.decode_time > 0
    assert stats.tokens_per_second == 32 / stats.total_time
    assert stats.memory_used > 0


@pytest.mark.case(26)
def test_an_answer_ends_with_the_stop_token(engine: b.FastGen, tokenizer: Any) -> None:
    whole = engine.generate_all([SHEPHERD])[1][0]
    assert whole[5] not in whole[:5]
    engine.tokenizer = Ends(tokenizer, whole[5])
    stats, answers = engine.generate_all([SHEPHERD])
    assert answers == [whole[:6]]
    assert phases(stats) == [("prefill", 0), ("decode", 5)]


@pytest.mark.case(27)
def test_a_first_token_that_stops_is_the_whole_answer(model: b.BitNetModel, tokenizer: Any) -> None:
    stats, answers = b.FastGen(b.GenArgs(), model, Ends(tokenizer, 4089)).generate_all([JESUS])
    assert answers == [[4089]]
    assert phases(stats) == [("prefill", 0), ("decode", 0)]


@pytest.mark.case(28)
def test_only_the_end_of_a_turn_stops(engine: b.FastGen, tokenizer: Any, reference: dict[str, list[int]]) -> None:
    """4080 and 4089 are special tokens, and the model's own stop tokens hold the latter."""
    expected = reference["Then said Jesus unto them,"][:32]
    assert {4080, 4089} < set(expected)
    engine.tokenizer = Ends(tokenizer, 4081)
    assert engine.generate_all([JESUS])[1] == [expected]


@pytest.mark.case(29)
def test_short_answers(engine: b.FastGen) -> None:
    whole = engine.generate_all([SHEPHERD])[1][0]
    for length, decoded in ((2, 1), (1, 0), (0, 0)):
        engine.gen_args.gen_length = length
        stats, answers = engine.generate_all([SHEPHERD])
        assert answers == [whole[:length]]
        assert phases(stats) == [("prefill", 0), ("decode", decoded)]


@pytest.mark.case(30)
def test_no_prompts_and_long_prompts(engine: b.FastGen) -> None:
    stats, answers = engine.generate_all([])
    assert answers == []
    assert phases(stats) == []
    engine.gen_args.gen_length = 2
    for length in (64, 65, 300):
        assert len(engine.generate_all([[4080, *[258] * (length - 1)]])[1][0]) == 2
    with pytest.raises(b.ContextFullError):
        engine.generate_all([[258] * 600])
    with pytest.raises(ValueError, match="got none in prompt 1") as caught:
        engine.generate_all([[1], []])
    assert isinstance(caught.value, b.BitNetError)
    with pytest.raises(TypeError, match="expected a list of token ids"):
        engine.generate_all([1, 2, 3])


@pytest.mark.case(31)
@pytest.mark.parametrize("gen_bsz", [1, 2, 32])
def test_answers_of_a_batch_are_those_of_each_prompt_alone(engine: b.FastGen, tokenizer: Any, gen_bsz: int) -> None:
    engine.tokenizer = Ends(tokenizer, 4089)
    engine.gen_args = b.GenArgs(gen_length=12, gen_bsz=gen_bsz)
    prompts = [SHEPHERD, JESUS, BEGINNING, SHEPHERD[:2], [4080, *range(300, 360)]] * 5
    alone = [engine.generate_all([prompt])[1][0] for prompt in prompts[:5]] * 5
    stats, answers = engine.generate_all(prompts)
    assert answers == alone
    assert len({len(answer) for answer in answers}) > 1
    assert phases(stats) == [("prefill", 0), ("decode", sum(map(len, answers)) - len(answers))]
    assert stats.total_tokens == sum(map(len, answers))


@pytest.mark.case(32)
def test_flags_may_be_left_out_and_any_tokenizer_goes(model: b.BitNetModel, checkpoint: Path) -> None:
    engine = b.FastGen(b.GenArgs(gen_length=4), model, b.create_tokenizer(model.path))
    assert engine.tokenizer.eot_id == 4089
    _, answers = engine.generate_all([SHEPHERD], use_cuda_graphs=True)
    engine.tokenizer = b.ChatFormat(engine.tokenizer)
    assert engine.generate_all([SHEPHERD])[1] == answers
    assert engine.generate_all([JESUS])[1] == [[4089]]


def test_prompts_may_be_arrays(engine: b.FastGen) -> None:
    engine.gen_args.gen_length = 4
    expected = engine.generate_all([SHEPHERD, JESUS])[1]
    assert engine.generate_all(numpy.array([SHEPHERD, JESUS]))[1] == expected
    assert engine.generate_all([numpy.array(SHEPHERD), tuple(JESUS)])[1] == expected


def test_sampling_follows_gen_args_and_the_seed(engine: b.FastGen, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int, **changes: Any) -> list[list[int]]:
        engine.gen_args = b.GenArgs(gen_length=24, use_sampling=True, **changes)
        return engine.generate_all([SHEPHERD, SHEPHERD], seed=seed)[1]

    greedy = engine.generate_all([SHEPHERD], use_sampling=False)[1][0][:24]
    first = drawn(1)
    assert first == drawn(1)
    assert first[0] != first[1]
    assert first[1] == drawn(2)[0]
    assert drawn(1, top_k=1) == [greedy, greedy]
    assert drawn(1, top_p=1e-6) == [greedy, greedy]
    assert drawn(1, temperature=0) == [greedy, greedy]
    originals = drawn(1, temperature=0.7, top_p=0.95)
    assert originals != first
    monkeypatch.setenv("BITNET_PY_COMPAT_SAMPLING", "1")
    assert drawn(1) == originals


def test_nothing_is_printed_but_logged(
    engine: b.FastGen, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "bitnet_py.generate"):
        engine.generate_all([SHEPHERD, BEGINNING])
    assert [record.message for record in caplog.records if record.name == "bitnet_py.generate"] == ["7 32"]
    assert capfd.readouterr() == ("", "")


# -- the engine as an object


def test_constructors_are_told_apart_by_types(model: b.BitNetModel, tokenizer: Any) -> None:
    assert b.InferenceEngine is b.FastGen
    args = b.GenArgs(gen_length=4)
    for engine in (
        b.FastGen(args, b.ModelArgs(), model, model, tokenizer),
        b.InferenceEngine(model, model, tokenizer, args, device="cpu"),
        b.InferenceEngine(model, tokenizer, args),
        b.InferenceEngine(prefill_model=model, decode_model=model, tokenizer=tokenizer, gen_args=args),
        b.InferenceEngine(model=model, tokenizer=tokenizer, gen_args=args, device="cuda"),
    ):
        assert engine.prefill_model is engine.decode_model is model
        assert engine.tokenizer is tokenizer
        assert engine.gen_args is args
        assert engine.device == "cpu"
        assert engine.max_seq_length == 68
        assert engine.GRAPH_WARMUPS == 1
    assert b.InferenceEngine(model, tokenizer, "cpu").max_seq_length == 96
    with pytest.raises(TypeError, match="one or two models, got 0"):
        b.FastGen(args, tokenizer)
    with pytest.raises(TypeError, match="tokeniser"):
        b.FastGen(model, tokeniser=tokenizer)


def test_text_in_text_out(model: b.BitNetModel, tokenizer: Any, inference: b.SimpleInference) -> None:
    engine = b.FastGen(b.GenArgs(gen_length=8), model, tokenizer)
    text = engine.generate("The LORD is my shepherd;")
    assert text == tokenizer.decode(engine.generate_all([SHEPHERD])[1][0])
    assert "".join(engine.generate_stream("The LORD is my shepherd;")) == text
    engine.tokenizer = b.ChatFormat(tokenizer)
    assert engine.generate("The LORD is my shepherd;") == text
    assert len(engine.generate_stream("And", max_tokens=3).completion().tokens) == 3
    drawn = [engine.generate("And", temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_replays_are_single_steps(engine: b.FastGen) -> None:
    engine.gen_args = b.GenArgs(gen_length=4, gen_bsz=2, prompt_length=8)
    padded = [[*SHEPHERD, 1], [*BEGINNING, 1, 1]]
    prefill, generate = engine.compile_prefill(), engine.compile_generate()
    rows = prefill(numpy.array(padded).reshape(-1), [7, 6])
    assert rows.shape == (16, 4096)
    assert (rows[:7] == engine.decode_model.get_logits(SHEPHERD)).all()
    assert (rows[8:14] == engine.decode_model.get_logits(BEGINNING)).all()
    tokens = [int(rows[6].argmax()), int(rows[13].argmax())]
    step = generate(numpy.array(tokens), [8, 7])
    assert step.shape == (2, 4096)
    assert (step[1] == engine.decode_model.get_logits([*BEGINNING, tokens[1]])[-1]).all()


# -- the original's folder


def write_rank_file(path: Path) -> None:
    """64 tokens of one byte; with the 256 special ones that makes the 320 of the tiny checkpoint."""
    letters = b"abcdefghijklmnopqrstuvwxyz ,.:;!?'-\n0123456789ABCDEGHILMNOPRSTUW"
    assert len(set(letters)) == 64
    path.write_text("".join(f"{base64.b64encode(bytes([byte])).decode()} {i}\n" for i, byte in enumerate(letters)))


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """For XDG_CACHE_HOME: no compiled models, but the kernels that the user's has."""
    home = tmp_path_factory.mktemp("cache")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitnet" / "kernels"
    user.mkdir(parents=True, exist_ok=True)
    (home / "bitnet").mkdir()
    (home / "bitnet" / "kernels").symlink_to(user)
    return str(home)


@pytest.fixture
def tiny_folder(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: str) -> Path:
    """What the original's user has: a folder with the checkpoint, and the tokenizer beside the program."""
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    folder = tmp_path / "work" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(shared_data / "ms_gpu" / "tiny-ckpt" / "model_state_int2.pt", folder)
    (folder / "params.json").write_text('{"n_heads": 4, "n_kv_heads": 2}')
    write_rank_file(folder.parent / "tokenizer.model")
    monkeypatch.chdir(folder.parent)
    return folder


@pytest.mark.case(39)
def test_one_of_the_two_files_is_enough(tiny_folder: Path, shared_data: Path) -> None:
    args = b.GenArgs(gen_length=12)
    prompts = [[1, 2, 3, 4, 5], [42]]
    engine = b.FastGen.build(str(tiny_folder), args, "cuda:0", num_layers=13, use_full_vocab=True)
    assert engine.model_args == b.ModelArgs(64, 2, 4, 2, 320, 96)
    assert (engine.tokenizer.n_words, engine.tokenizer.eot_id) == (320, 73)
    answers = engine.generate_all(prompts)[1]
    (tiny_folder / "model_state_int2.pt").unlink()
    shutil.copy(shared_data / "ms_gpu" / "tiny-ckpt" / "model_state_fp16.pt", tiny_folder)
    assert b.FastGen.build(tiny_folder, args, "cpu").generate_all(prompts)[1] == answers


@pytest.mark.case(39)
@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_wrong_tensors_are_runtime_errors(change: str, tiny_folder: Path) -> None:
    path = tiny_folder / "model_state_int2.pt"
    tensors = {
        name: StoredTensor(tensor.dtype, numpy.array(tensor.array)) for name, tensor in torch_file.read(path).items()
    }
    name = "layers.1.ffn_norm.weight"
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["layers.1.bias"] = tensors[name]
    else:
        tensors[name] = StoredTensor("bfloat16", tensors[name].array[:32])
    torch_file.write(path, tensors)
    with pytest.raises(RuntimeError, match=r"layers\.1\.(ffn_norm|bias)") as caught:
        b.FastGen.build(tiny_folder, b.GenArgs(), "cpu")
    assert isinstance(caught.value, b.BitNetError)


@pytest.mark.case(39)
def test_missing_files_are_file_not_found_errors(tiny_folder: Path) -> None:
    for path, tokenizer in ((tiny_folder / "none", None), (tiny_folder, "none.model")):
        with pytest.raises(FileNotFoundError) as caught:
            b.FastGen.build(path, b.GenArgs(), "cpu", tokenizer_path=tokenizer)
        assert isinstance(caught.value, b.BitNetError)
    (tiny_folder / "model_state_int2.pt").unlink()
    with pytest.raises(b.BitNetError, match="checkpoints"):
        b.FastGen.build(tiny_folder, b.GenArgs(), "cpu")


def test_without_a_tokenizer_ids_still_go(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tiny_folder.parent / "tokenizer.model").unlink()
    engine = b.FastGen.build(tiny_folder, b.GenArgs(gen_length=4))
    assert engine.tokenizer is None
    assert "no tokenizer found" in caplog.text
    assert engine.generate_all([[1, 2, 3, 4, 5]])[1] == [[319, 148, 43, 117]]
    with pytest.raises(b.TokenizerNotFoundError):
        engine.generate("Hello")
    status, _, err = run(["-m", "bitnet_py.generate", "checkpoints"], tiny_folder.parent)
    assert (status, err.splitlines()[-1]) == (
        1,
        "error: tokenizer.model: expected it here or in checkpoints, got no such file",
    )


def test_a_tokenizer_of_another_model_is_left_out(
    checkpoint: Path,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "tokenizer.model").symlink_to(shared_data / "tokenizer" / "llama3.tokenizer.model")
    monkeypatch.chdir(tmp_path)
    engine = b.FastGen.build(checkpoint, cache_dir=tmp_path / "cache")
    assert engine.tokenizer.n_words == 4096
    assert "has 128256 tokens, the model only 4096" in caplog.text


def test_build_takes_every_form(checkpoint: Path, model: b.BitNetModel, tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model.gguf").symlink_to(checkpoint)
    expected = b.FastGen(b.GenArgs(), model, b.create_tokenizer(model.path)).generate_all([SHEPHERD])[1]
    for path in (checkpoint, tmp_path / "gguf", model.path, shared_data / "kjv" / "hf-packed"):
        engine = b.FastGen.build(path, b.GenArgs(), cache_dir=tmp_path / "cache")
        assert engine.tokenizer.n_words == 4096
        assert engine.generate_all([SHEPHERD])[1] == expected


PROGRAM = """
    from bitnet_py.generate import FastGen, GenArgs
    from bitnet_py.tokenizer import Tokenizer, ChatFormat

    ckpt_dir, prompts = "checkpoints", ["Hello, my name is", "What is 2?"]
    g = FastGen.build(ckpt_dir, GenArgs(), "cuda:0")
    assert Tokenizer("./tokenizer.model").n_words == g.tokenizer.n_words
    tokens = [g.tokenizer.encode(x, bos=False, eos=False) for x in prompts]
    stats, out_tokens = g.generate_all(tokens, use_cuda_graphs=True, use_sampling=False)
    for i, prompt in enumerate(prompts):
        print(f"> {prompt}")
        print(repr(g.tokenizer.decode(out_tokens[i])))
    g.tokenizer = ChatFormat(g.tokenizer)
    dialogs = [[{"role": "user", "content": prompt}] for prompt in prompts]
    tokens = [g.tokenizer.encode_dialog_prompt(dialog=dialog, completion=True) for dialog in dialogs]
    stats, out_tokens = g.generate_all(tokens, use_cuda_graphs=True, use_sampling=False)
    print(tokens[0])
    print([repr(g.tokenizer.decode(t)) for t in out_tokens])
    for phase_stats in stats.phases:
        print(phase_stats.show())
"""


def run(arguments: Sequence[object], folder: Path, typed: str = "", **environment: str) -> tuple[int, str, str]:
    ran = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_a_program_of_the_original_runs_with_other_imports(tiny_folder: Path) -> None:
    (tiny_folder.parent / "program.py").write_text(textwrap.dedent(PROGRAM))
    status, out, err = run(["program.py"], tiny_folder.parent)
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "> Hello, my name is"
    assert lines[2] == "> What is 2?"
    header = {"U": 62, "s": 18, "e": 4, "r": 17, ":": 29, " ": 26}
    assert json.loads(lines[4])[:7] == [64, *[header[letter] for letter in "User: "]]
    assert [line.split("]")[0] for line in lines[6:]] == ["[prefill", "[decode"]
    engine = b.FastGen.build(tiny_folder, b.GenArgs())
    prompt = engine.tokenizer.encode("Hello, my name is", bos=False, eos=False)
    answer = engine.tokenizer.decode(engine.generate_all([prompt])[1][0])
    assert lines[1] == repr(answer)
    assert engine.generate("Hello, my name is", max_tokens=4) != ""  # by the tokenizer that the checkpoint lacks


def test_a_program_runs_on_a_model_that_speaks(shared_data: Path, tmp_path: Path, cache_home: str) -> None:
    """kjv in the original's form, with its own tokenizer beside it."""
    kjv, folder = shared_data / "kjv", tmp_path / "checkpoints"
    shutil.copytree(kjv / "gpu", folder, copy_function=os.symlink)
    (folder / "tokenizer.json").symlink_to(kjv / "hf-bf16" / "tokenizer.json")
    program = """
        from bitnet_py.generate import FastGen, GenArgs
        g = FastGen.build("checkpoints", GenArgs(gen_length=48), "cuda:0", model_args={"n_heads": 4, "n_kv_heads": 2})
        prompt = g.tokenizer.encode("The LORD is my shepherd;", bos=True, eos=False)
        stats, out_tokens = g.generate_all([prompt], use_cuda_graphs=True, use_sampling=False)
        print(g.tokenizer.decode(out_tokens[0]))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    status, out, err = run(["program.py"], tmp_path, XDG_CACHE_HOME=cache_home)
    assert status == 0, err
    assert out.startswith(" and the LORD hath made thee a man.\nAnd the LORD said unto Moses, Behold, I will not go up")


# -- the command line


@pytest.fixture(scope="session")
def big_vocabulary(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, cache_home: str) -> Path:
    """A folder as the original's user has it: the original's tokenizer, and a checkpoint of random weights for it."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "checkpoints").mkdir()
    shutil.copy(shared_data / "tokenizer" / "llama3.tokenizer.model", folder / "tokenizer.model")
    random, tensors = numpy.random.default_rng(5), {}

    def add(name: str, *shape: int) -> None:
        values = random.standard_normal(shape, numpy.float32) * (0.3 if len(shape) == 2 else 0.1) + (len(shape) == 1)
        tensors[name + ".weight"] = StoredTensor("bfloat16", from_float(values))

    for layer in ("layers.0.", "layers.1."):
        add(layer + "attention.wqkv", 128, 64)
        add(layer + "attention.wo", 64, 64)
        add(layer + "feed_forward.w13", 192, 64)
        add(layer + "feed_forward.w2", 64, 96)
        for norm in ("attention_norm", "ffn_norm", "attention.attn_sub_norm"):
            add(layer + norm, 64)
        add(layer + "feed_forward.ffn_sub_norm", 96)
    add("tok_embeddings", 128256, 64)
    add("output", 128256, 64)
    add("norm", 64)
    torch_file.write(folder / "checkpoints" / "model_state.pt", tensors)
    convert_ts_checkpoint(input_path=str(folder / "checkpoints" / "model_state.pt"))
    (folder / "checkpoints" / "params.json").write_text('{"dim": 64, "n_heads": 4, "n_kv_heads": 2}')
    (folder / "cache").symlink_to(cache_home)
    return folder


def generate(folder: Path, *arguments: str, typed: str = "", **environment: str) -> list[str]:
    command = ["-m", "bitnet_py.generate", "checkpoints", *arguments]
    status, out, err = run(command, folder, typed, XDG_CACHE_HOME=str(folder / "cache"), **environment)
    assert status == 0, err
    return out.split("\n")


TIMES = [
    r"\[prefill\] generated tokens: 0 - total time: \d+\.\d{3}s - 0\.0 tokens per second",
    r"\[decode\] generated tokens: \d+ - total time: \d+\.\d{3}s - \d+\.\d tokens per second",
    r"Memory used: \d+\.\d{2} GB",
]


@pytest.mark.case(41)
def test_command_line_prints_the_originals_lines(big_vocabulary: Path) -> None:
    lines = generate(big_vocabulary, "--chat_format")
    assert lines[:3] == [
        "[[128000, 1502, 25, 220, 9906, 11, 856, 836, 374, 128009, 72803, 25, 220]]",
        "13 32",
        "> Hello, my name is",
    ]
    end = lines.index("---------------")
    assert end > 3
    assert "<|eot_id|>" not in "\n".join(lines[3:end])
    for line, pattern in zip(lines[end + 1 :], [*TIMES, ""], strict=True):
        assert re.fullmatch(pattern, line)


def test_command_line_without_chat_format(big_vocabulary: Path) -> None:
    lines = generate(big_vocabulary)
    assert lines[:3] == ["[[9906, 11, 856, 836, 374]]", "5 32", "> Hello, my name is"]
    assert generate(big_vocabulary, "-s")[:3] == lines[:3]


@pytest.mark.case(42)
def test_interactive_turns_are_independent(big_vocabulary: Path) -> None:
    lines = generate(big_vocabulary, "--chat-format", "-i", typed="Hello\nWorld\n")
    text = "\n".join(lines)
    assert text.count("enter prompt: ") == 3
    assert lines[-2] == "enter prompt: exiting"
    assert lines[0] == "enter prompt: [[128000, 1502, 25, 220, 9906, 128009, 72803, 25, 220]]"
    second = next(line for line in lines[1:] if line.startswith("enter prompt: "))
    assert second == "enter prompt: [[128000, 1502, 25, 220, 10343, 128009, 72803, 25, 220]]"
    assert "> World" in lines


@pytest.mark.case(43)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CKPT_DIR: is missing"),
        (["x", "--unknown"], "--unknown: no such option"),
        (["x", "-c"], "-c: could be --ckpt_dir or --chat_format"),
        (["x", "y"], "y: one argument too many"),
        (["--ckpt_dir"], "--ckpt_dir: expected a value"),
        (["x", "--interactive=maybe"], "expected True or False, got 'maybe'"),
    ],
)
def test_wrong_arguments_show_the_usage(arguments: list[str], message: str, tmp_path: Path) -> None:
    status, out, err = run(["-m", "bitnet_py.generate", *arguments], tmp_path)
    assert (status, out) == (2, "")
    assert message in err
    assert "usage: bitnet-generate CKPT_DIR [--interactive] [--chat_format] [--sampling]" in err


@pytest.mark.case(43)
def test_environment_names_the_phases(big_vocabulary: Path) -> None:
    lines = generate(big_vocabulary, "--nointeractive", "--chat_format=True", NO_CUDA_GRAPHS="")
    assert sum(line.startswith("[total]") for line in lines) == 2


def test_command_line_help_and_errors(tmp_path: Path) -> None:
    status, out, _ = run(["-m", "bitnet_py.generate", "--help"], tmp_path)
    assert status == 0
    assert out.startswith("usage: bitnet-generate CKPT_DIR")
    status, out, err = run(["-m", "bitnet_py.generate", "none"], tmp_path)
    assert (status, out, err) == (1, "", "error: none: does not exist\n")
