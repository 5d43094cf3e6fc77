"""Text from a real model. What the numbers are is tested in test/e2e; here, that Python hands them on."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bitnet_py

PROMPT = "And God said"


def test_generate_is_what_the_command_line_writes(inference: bitnet_py.SimpleInference) -> None:
    command = [Path(os.environ["BITNET_BIN_DIR"]) / "bitnet", "run", inference.model.path, "-p", PROMPT, "-n", "16"]
    expected = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
    stream = inference.generate_stream(PROMPT, max_new_tokens=16)
    assert "".join(stream) == expected["text"]
    assert stream.tokens == expected["tokens"]
    assert stream.finish_reason == expected["finish_reason"]
    assert inference.generate(PROMPT, max_new_tokens=16) == expected["text"]


def test_seed_decides_what_is_drawn(inference: bitnet_py.SimpleInference) -> None:
    def drawn(seed: int) -> str:
        return inference.generate(PROMPT, max_new_tokens=24, temperature=1.5, seed=seed)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_stop_text_ends_the_text(inference: bitnet_py.SimpleInference) -> None:
    whole = inference.generate(PROMPT, max_new_tokens=24, ignore_eos=True)
    stop = whole[len(whole) // 2 :][:4]
    for stops in ([stop], stop):  # one string is one stop, not its letters
        assert inference.generate(PROMPT, max_new_tokens=24, ignore_eos=True, stop=stops) == whole[: whole.find(stop)]


def test_cancel_from_another_thread_ends_the_stream(inference: bitnet_py.SimpleInference) -> None:
    stream = inference.generate_stream(PROMPT, max_new_tokens=400, ignore_eos=True)
    first = next(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    assert len(first + "".join(stream)) < 100
    assert stream.finish_reason == "cancelled"


def test_streams_run_at_once_on_one_model(inference: bitnet_py.SimpleInference) -> None:
    prompts = [PROMPT, "In the beginning", "The LORD is my shepherd;"]
    alone = [inference.generate(prompt, max_new_tokens=12) for prompt in prompts]
    streams = [inference.generate_stream(prompt, max_new_tokens=12) for prompt in prompts]
    together = [""] * len(prompts)
    for _ in range(12):
        for i, stream in enumerate(streams):
            together[i] += next(stream, "")
    assert together == alone


def test_other_threads_run_while_a_step_computes(inference: bitnet_py.SimpleInference) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(inference.generate(PROMPT, max_new_tokens=12))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [inference.generate(PROMPT, max_new_tokens=12)] * 3


def test_tokenizer_round_trip(tokenizer: bitnet_py.Tokenizer) -> None:
    text = "In the 18th year: café ☃ 12345,"
    tokens = tokenizer.encode(text)
    assert tokens[0] == tokenizer.bos_id
    assert tokenizer.decode(tokens) == text
    assert tokenizer.encode(text, bos=False, eos=True) == [*tokens[1:], tokenizer.eos_id]
    assert len(tokenizer.encode("<|eot_id|>", bos=False)) > 1


def test_describe_is_what_inspect_shows(model: bitnet_py.BitNetModel) -> None:
    assert model.describe()["model"]["layers"] == model.info()["layers"] == 6


@pytest.mark.parametrize("example", ["basic_usage.py"])
def test_example_runs(example: str, model: bitnet_py.BitNetModel) -> None:
    program = Path(os.environ["BITNET_SOURCE_DIR"]) / "python" / "examples" / example
    ran = subprocess.run([sys.executable, program, model.path, PROMPT], check=True, capture_output=True, text=True)
    assert ran.stdout.count(PROMPT) >= 2
    assert "tok/s" in ran.stderr
