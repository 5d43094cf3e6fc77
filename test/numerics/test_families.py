"""Every family, from files with its real keys and names through the compiler to logits, against reference.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import reference
from tiny_checkpoints import END_ID

import bitnet_py
from bitnet_py import _runtime
from bitnet_py.llama_cpp_compat import Llama
from bitnet_py.llm import LLM


def as_array(floats: _runtime.Floats) -> np.ndarray:
    return np.array(floats, np.float32)


@pytest.fixture(params=families.CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> families.Case:
    make: Callable[[Path], families.Case] = request.param
    return make(tmp_path / "checkpoint")


def load(case: families.Case) -> _runtime.Model:
    """Compiled without a cache of bundles; kernels are shared between cases."""
    return bitnet_py.load_model(case.path, cache_dir=case.path.parent / "cache", verbose=False)._native


def test_equals_the_formulas(case: families.Case) -> None:
    expected = reference.Reference(case.config, case.shape, case.weights)
    model = load(case)
    session = _runtime.Session(model, threads=1)
    if case.embeds:
        refuses_generation(model)
        hidden, got = expected.hidden(families.TOKENS), as_array(session.embed(families.TOKENS))
        bound = reference.tolerance(lambda seed: expected.hidden(families.TOKENS, seed), hidden)
        report(hidden, got, bound)
        return
    logits, got = expected.logits(families.TOKENS), as_array(session.forward(families.TOKENS, logits="all"))
    bound = reference.tolerance(lambda seed: expected.logits(families.TOKENS, seed), logits)
    report(logits, got, bound)
    greedy(expected, model)


def report(expected: np.ndarray, got: np.ndarray, bound: float) -> None:
    assert got.shape == expected.shape
    off = np.abs(got - expected)
    worst = np.unravel_index(off.argmax(), off.shape)
    spread = float(expected.std())
    print(f"largest difference {off.max():.2e} of a bound of {bound:.2e}; spread of the values {spread:.2f}")
    assert bound < 1e-3 * spread, f"the bound {bound} says little about values that spread by {spread}"
    assert off.max() <= bound, f"at {worst}: expected {expected[worst]}, got {got[worst]}, bound {bound}"


def greedy(expected: reference.Reference, model: _runtime.Model) -> None:
    """The tokens that both continue with, where the reference's choice is clear: a value beside a tie moves logits by
    about a hundredth of their spread."""
    session = _runtime.Session(model, threads=1)
    tokens = families.TOKENS[:4]
    row = as_array(session.forward(tokens))[-1]
    clear = 0
    for _ in range(12):
        logits = expected.logits(tokens)[-1]
        best, second = np.sort(logits)[[-1, -2]]
        if best - second > 0.05 * logits.std():
            clear += 1
            assert int(row.argmax()) == int(logits.argmax())
        tokens.append(int(row.argmax()))
        row = as_array(session.forward(tokens[-1:]))[-1]
    assert clear >= 6


def test_a_gguf_gives_the_logits_of_its_folder(tmp_path: Path) -> None:
    """Bit for bit, with a head that is the embedding, local layers and a scaled rotation."""
    logits = [
        as_array(
            _runtime.Session(load(make(tmp_path / make.__name__)), threads=1).forward(families.TOKENS, logits="all")
        )
        for make in (families.gemma3, families.gemma3_gguf)
    ]
    assert np.array_equal(logits[0].view(np.uint32), logits[1].view(np.uint32))


# ---- embeddings ----

TEXT = "Caf\u00e9, near"


def refuses_generation(model: _runtime.Model) -> None:
    assert model.info()["head"] == "none"
    refusal = "expected a model with a head, got one that gives embeddings; use bitnet embed, or embed"
    with pytest.raises(bitnet_py.BitNetError, match=refusal):
        _runtime.Engine(model)
    with pytest.raises(bitnet_py.BitNetError, match="logits: expected a model with a head"):
        _runtime.Session(model, threads=1).forward(families.TOKENS)


_EMBEDDING = [case for case in families.CASES if case.__name__.startswith("embedding")]


@pytest.mark.parametrize("make", _EMBEDDING, ids=lambda make: make.__name__)
def test_embeds_texts(make: Callable[[Path], families.Case], tmp_path: Path) -> None:
    """bitnet embed, LLM.embed and llama_cpp's embed give the last token's vector of the tokens and the eos."""
    case = make(tmp_path / "checkpoint")
    tokens = case.ids(TEXT)
    expected = reference.Reference(case.config, case.shape, case.weights)
    vector = expected.vector(tokens)
    bound = reference.tolerance(lambda seed: expected.vector(tokens, seed), vector)
    assert bound < 0.2 * float(vector.std())
    bundle = bitnet_py.load_model(case.path, cache_dir=tmp_path / "cache", verbose=False).path

    programs = Path(os.environ["BITNET_BIN_DIR"])
    run = subprocess.run(
        [programs / "bitnetc", "check", case.path, "--json"], capture_output=True, text=True, check=True
    )
    padded = case.path.suffix == ".gguf"  # to the rows of the embedding
    assert json.loads(run.stdout)["tokenizer"]["tokens"] == (case.shape.vocab if padded else END_ID + 1)

    program = programs / "bitnet"
    run = subprocess.run(
        [program, "embed", bundle, TEXT, "other", "--json"], capture_output=True, text=True, check=True
    )
    first, other = json.loads(run.stdout)["embeddings"]
    assert (first["text"], first["tokens"], other["tokens"]) == (TEXT, len(tokens), len(case.ids("other")))
    assert np.abs(np.float32(first["embedding"]) - vector).max() <= bound
    lines = subprocess.run(
        [program, "embed", bundle, "-f", "-"], input=f"other\n{TEXT}\n", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [np.float32(line.split()).tolist() for line in lines] == [
        np.float32(v["embedding"]).tolist() for v in (other, first)
    ]

    llm = LLM(bundle)
    ours = llm.embed([TEXT], use_tqdm=False)[0].outputs.embedding
    assert np.float32(ours).tolist() == first["embedding"]
    llama = Llama(str(bundle), n_ctx=0, verbose=False)
    assert llama.embed(TEXT, normalize=True) == ours
    created = llama.create_embedding([TEXT, "other"])
    assert created["data"][0]["embedding"] == llama.embed(TEXT) != ours
    assert created["usage"]["total_tokens"] == len(tokens) + len(case.ids("other"))


def test_embeddings_are_the_same_bits_however_they_are_computed(tmp_path: Path) -> None:
    """Of texts of 1 to 64 tokens: in one step and in steps of 8, by 1, 2 and 5 threads, alone and after others."""
    case = families.embedding_qwen3(tmp_path / "checkpoint")
    texts = [list(range(1, n + 1)) for n in (64, 1, 4, 5, 17, 63)]

    def vectors(threads: int, texts: list[list[int]], **how: Any) -> list[list[float]]:
        model = bitnet_py.load_model(case.path, cache_dir=tmp_path / "cache", verbose=False, **how)
        llm = LLM(model.path, threads=threads)
        return [output.outputs.embedding for output in llm.embed(texts, use_tqdm=False)]

    expected = vectors(1, texts)
    assert len({tuple(vector) for vector in expected}) == len(texts)
    hows: list[dict[str, Any]] = [{}, {"compiler_flags": ["--max-rows=8"]}, {"target": "portable"}]
    for how in hows:
        for threads in (1, 2, 5):
            assert vectors(threads, texts, **how) == expected, (how, threads)
    assert [vectors(1, [text])[0] for text in texts] == expected
    native = load(case)
    session = _runtime.Session(native, sequences=2)  # a step for two texts, whose sequences are empty again
    alone = [_runtime.Session(native).embed(text).tolist()[-1] for text in texts[:2]]
    assert session.embed_last(texts[:2]).tolist() == alone
    assert (session.length(0), session.length(1)) == (0, 0)
    with pytest.raises(bitnet_py.ConfigError, match=r"step: row 1: token: expected \[0, 269\], got 270"):
        session.embed_last([[1, 270]])
    with pytest.raises(bitnet_py.ConfigError, match=r"truncate: sequence: expected \[0, 1\], got 2"):
        session.embed_last([[1]] * 3)


def test_a_text_that_is_cut_keeps_its_end(tmp_path: Path) -> None:
    """The token at the end is what a model that gives embeddings looks at."""
    bundle = bitnet_py.load_model(
        families.embedding_qwen3(tmp_path / "checkpoint").path, cache_dir=tmp_path / "cache", verbose=False
    ).path
    llama = Llama(str(bundle), n_ctx=8, verbose=False)
    cut, count = llama.embed("1234567 and more", return_count=True)
    assert (cut, count) == (llama.embed("1234567"), 8)
    with pytest.raises(ValueError, match=r"embed: expected at most 8 tokens \(n_ctx\), got 9"):
        llama.embed("12345678", truncate=False)
    with pytest.raises(ValueError, match=r"prompt 0: expected at most 64 tokens \(max_model_len 64\), got 65"):
        LLM(bundle).embed("x" * 64)
    program = Path(os.environ["BITNET_BIN_DIR"]) / "bitnet"
    run = subprocess.run([program, "embed", bundle, "x" * 63, "x" * 64], capture_output=True, text=True)
    assert run.returncode == 1
    assert "text 2: expected 1 to 64 tokens (the context), got 65; shorten it" in run.stderr
    with pytest.raises(bitnet_py.BitNetError, match="expected a model with a head, got one that gives embeddings"):
        LLM(bundle).generate("a", use_tqdm=False)
    with pytest.raises(bitnet_py.BitNetError, match="expected a model with a head, got one that gives embeddings"):
        llama("a")


def test_a_model_with_a_head_does_not_embed(tmp_path: Path) -> None:
    """Unless it is compiled without it."""
    case = families.embedding_qwen3(tmp_path / "checkpoint")
    flags = ["--set", "pooling=none"]
    bundle = bitnet_py.load_model(case.path, cache_dir=tmp_path / "cache", compiler_flags=flags, verbose=False).path
    program = Path(os.environ["BITNET_BIN_DIR"]) / "bitnet"
    run = subprocess.run([program, "embed", bundle, "a"], capture_output=True, text=True)
    assert run.returncode == 1
    with pytest.raises(ValueError, match="embed: expected a model that gives embeddings, got one with a head"):
        LLM(bundle).embed("a")
    assert (
        "embed: expected a model that gives embeddings, got one with a head; bitnetc --set pooling=last" in run.stderr
    )
