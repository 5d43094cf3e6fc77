"""The programs in python/examples and the code in the package's pages run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bitnet_py

PYTHON = Path(os.environ["BITNET_SOURCE_DIR"]) / "python"


def run(example: str, *arguments: object) -> str:
    """What an example prints, given these arguments."""
    command = [sys.executable, str(PYTHON / "examples" / example), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def greedy(inference: bitnet_py.SimpleInference, prompt: str, tokens: int) -> str:
    config = bitnet_py.InferenceConfig(max_new_tokens=tokens, do_sample=False)
    return bitnet_py.SimpleInference(inference.model, inference.tokenizer, config).generate(prompt)


def test_basic_usage(model: bitnet_py.BitNetModel, inference: bitnet_py.SimpleInference) -> None:
    out = run("basic_usage.py", model.path, "Blessed are")
    assert out.startswith(f"{model.num_parameters():,} parameters on cpu\n")
    assert "Blessed are" + greedy(inference, "Blessed are", 32) in out
    assert out.endswith("32 tokens, ended by length\n")


def test_fastgen_compatibility(model: bitnet_py.BitNetModel, inference: bitnet_py.SimpleInference) -> None:
    out = run("fastgen_compatibility.py", model.path)
    for prompt in ("And God said", "And it came to pass"):
        assert f"> {prompt}\n{greedy(inference, prompt, 24)}\n---------------\n" in out
    assert re.search(r"\[prefill\] generated tokens: 0 .*\n\[decode\] generated tokens: 46 - total time: ", out)


def test_async_streaming(model: bitnet_py.BitNetModel, inference: bitnet_py.SimpleInference) -> None:
    out = run("async_streaming.py", model.path)
    for prompt in ("And God said", "And it came to pass"):
        assert f"done: {prompt + greedy(inference, prompt, 24)!r}\n" in out
    (cut,) = re.findall(r"cancelled: (.*)\n", out)
    assert cut[:-1] in repr("Blessed are" + greedy(inference, "Blessed are", 24))
    assert f"awaited: {greedy(inference, 'The LORD is', 24)!r}\n" in out


def test_performance_comparison(model: bitnet_py.BitNetModel) -> None:
    out = run("performance_comparison.py", model.path)
    assert re.search(r"^\d+ tokens in [\d.]+ s: \d+ tokens/s, [\d.]+ ms a prompt$", out, re.MULTILINE)
    assert re.search(r"^all processors are \d+\.\d\d times as fast as one$", out, re.MULTILINE)
    assert out.endswith("equal texts: 3 of 3\n")


def test_migration_example(model: bitnet_py.BitNetModel, inference: bitnet_py.SimpleInference) -> None:
    out = run("migration_example.py", model.path)
    assert "compatible: True; uses ['FastGen', 'GenArgs', 'Stats']\n" in out
    assert "story.py:3: from generate import FastGen, GenArgs" in out
    assert out.endswith("And God said" + greedy(inference, "And God said", 24) + "\n")


@pytest.mark.parametrize("example", sorted(p.name for p in (PYTHON / "examples").glob("*.py")))
def test_every_example_is_tested(example: str) -> None:
    assert f"def test_{example.removesuffix('.py')}(" in Path(__file__).read_text()
