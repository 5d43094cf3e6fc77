"""SimpleInference: what its configuration and a call's keywords mean, on a real model. Streams: test_streams.py."""

import asyncio
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import bitnet_py

PROMPT = "And God said"
GREEDY = bitnet_py.InferenceConfig(max_new_tokens=16, do_sample=False)


@pytest.fixture(scope="module")
def greedy(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> bitnet_py.SimpleInference:
    return bitnet_py.SimpleInference(model, tokenizer, GREEDY)


def test_generate_is_what_the_command_line_writes(greedy: bitnet_py.SimpleInference) -> None:
    command = [Path(os.environ["BITNET_BIN_DIR"]) / "bitnet", "run", greedy.model.path, "-p", PROMPT, "-n", "16"]
    expected = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)
    completion = greedy.complete(PROMPT)
    assert completion.text == greedy.generate(PROMPT) == expected["text"]
    assert completion.tokens == expected["tokens"]
    assert completion.finish_reason == expected["finish_reason"]


@pytest.mark.parametrize("speculate", ["auto", "off", "ngram", 1, 7, 15])
def test_speculation_never_changes_a_text(
    greedy: bitnet_py.SimpleInference,
    model: bitnet_py.BitNetModel,
    tokenizer: bitnet_py.Tokenizer,
    speculate: str | int,
) -> None:
    prompt = "And Adam begat Seth; and Seth begat Enos; and Enos begat Cainan; and Cainan begat"
    plain = greedy.complete(prompt, max_new_tokens=80, speculate="off")
    guessed = greedy.complete(prompt, max_new_tokens=80, speculate=speculate)
    assert guessed.tokens == plain.tokens
    assert plain.timings["drafted_tokens"] == 0
    if isinstance(speculate, int):  # "auto" and "ngram" guess as far as it pays, which the machine's mood decides
        assert guessed.timings["accepted_tokens"] > 0
    elif speculate == "off":
        assert guessed.timings["drafted_tokens"] == 0
    hot: dict[str, Any] = {
        "max_new_tokens": 60,
        "temperature": 1.2,
        "seed": 3,
        "repetition_penalty": 1.1,
        "logprobs": 2,
    }
    drawn = greedy.complete(prompt, **hot, speculate=speculate)
    assert drawn.logprobs == greedy.complete(prompt, **hot, speculate="off").logprobs
    assert speculate != "auto" or drawn.timings["drafted_tokens"] == 0
    config = bitnet_py.GenerationConfig(max_tokens=20, temperature=0, speculate=speculate)
    assert bitnet_py.SimpleInference(model, tokenizer, config).complete(prompt).tokens == plain.tokens[:20]


def test_illegal_speculation_is_refused(greedy: bitnet_py.SimpleInference) -> None:
    for wrong in ("always", 0, 16, True, 2.0):
        with pytest.raises(
            bitnet_py.ConfigError, match="speculate: expected 'auto', 'off', 'ngram' or a number from 1"
        ):
            greedy.generate(PROMPT, speculate=wrong)


# -- the configuration


def test_defaults_are_those_of_the_contract() -> None:
    assert repr(bitnet_py.InferenceConfig()) == (
        "InferenceConfig(max_length=2048, max_new_tokens=128, temperature=0.8, top_p=0.9, top_k=None, "
        "repetition_penalty=1.0, do_sample=True, seed=None, pad_token_id=None, eos_token_id=None)"
    )
    assert repr(bitnet_py.GenerationConfig()) == (
        "GenerationConfig(max_tokens=100, temperature=0.7, top_p=0.9, top_k=50)"
    )
    assert "BitNetConfig" in repr(bitnet_py.BitNetConfig())


def test_default_configuration_samples_another_text_each_time(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    inference = bitnet_py.SimpleInference(model, tokenizer)
    assert inference.config == bitnet_py.InferenceConfig()
    assert len({inference.generate(PROMPT, max_tokens=32) for _ in range(3)}) > 1


def test_seed_of_the_configuration_fixes_the_text(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> None:
    def drawn(seed: int) -> str:
        config = bitnet_py.InferenceConfig(max_new_tokens=24, temperature=1.5, seed=seed)
        return bitnet_py.SimpleInference(model, tokenizer, config).generate(PROMPT)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(-1) == drawn(-1)


def test_configuration_may_be_changed_and_replaced(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    inference = bitnet_py.SimpleInference(model, tokenizer, bitnet_py.InferenceConfig(do_sample=False))
    inference.config.max_new_tokens = 3
    assert len(inference.complete(PROMPT).tokens) == 3
    inference.config = bitnet_py.GenerationConfig(max_tokens=4, temperature=0)
    assert len(inference.complete(PROMPT).tokens) == 4


def test_max_length_bounds_prompt_and_text_together(greedy: bitnet_py.SimpleInference) -> None:
    prompt = greedy.complete(PROMPT).prompt_tokens
    assert len(greedy.complete(PROMPT, max_length=len(prompt) + 5).tokens) == 5
    assert len(greedy.complete(PROMPT, max_length=len(prompt) + 500).tokens) == 16
    with pytest.raises(bitnet_py.ContextFullError, match=r"expected fewer than 3 tokens \(max_length\), got 4"):
        greedy.generate(PROMPT, max_length=3)


def test_end_token_of_the_configuration_ends_the_text(greedy: bitnet_py.SimpleInference) -> None:
    tokens = greedy.complete(PROMPT).tokens
    end = tokens[5]
    for keywords in ({"eos_token_id": end}, {"stop_tokens": [end]}, {"stop_token_ids": [end]}):
        completion = greedy.complete(PROMPT, **keywords)
        assert completion.tokens == tokens[: tokens.index(end) + 1]
        assert completion.finish_reason == "stop"
        assert completion.text == greedy.tokenizer.decode(tokens[: tokens.index(end)])


# -- keywords of a call


def test_temperature_of_a_call_asks_for_sampling(greedy: bitnet_py.SimpleInference) -> None:
    assert greedy.generate(PROMPT, temperature=2.0, seed=1) != greedy.generate(PROMPT)
    assert greedy.generate(PROMPT, temperature=2.0, seed=1, do_sample=False) == greedy.generate(PROMPT)


def test_positional_arguments_are_those_of_the_promised_engine(greedy: bitnet_py.SimpleInference) -> None:
    completion = greedy.complete(PROMPT, 5, 1.5, 0.5, 7, seed=3)
    named = greedy.complete(PROMPT, max_new_tokens=5, temperature=1.5, top_p=0.5, top_k=7, seed=3)
    assert completion.tokens == named.tokens
    assert len(named.tokens) == 5


def test_top_k_of_one_is_greedy(greedy: bitnet_py.SimpleInference) -> None:
    assert greedy.generate(PROMPT, temperature=3.0, top_k=1) == greedy.generate(PROMPT)
    assert greedy.generate(PROMPT, temperature=3.0, min_p=1.0) == greedy.generate(PROMPT)


def test_stop_text_ends_the_text(greedy: bitnet_py.SimpleInference) -> None:
    whole = greedy.generate(PROMPT, max_new_tokens=24, ignore_eos=True)
    stop = whole[len(whole) // 2 :][:4]
    for stops in ([stop], stop, (stop, "never")):  # one string is one stop, not its letters
        assert greedy.generate(PROMPT, max_new_tokens=24, ignore_eos=True, stop=stops) == whole[: whole.find(stop)]


def test_logit_bias_forbids_and_forces_tokens(greedy: bitnet_py.SimpleInference) -> None:
    first = greedy.complete(PROMPT).tokens[0]
    assert greedy.complete(PROMPT, logit_bias={first: -1000.0}).tokens[0] != first
    assert set(greedy.complete(PROMPT, logit_bias={str(first): 1000}).tokens) == {first}


def test_repetition_penalty_changes_a_repeating_text(greedy: bitnet_py.SimpleInference) -> None:
    text = greedy.generate(PROMPT, max_tokens=100)
    assert greedy.generate(PROMPT, max_tokens=100, repeat_penalty=1.5, repeat_last_n=-1) != text


def test_logprobs_are_those_of_the_drawn_and_the_likeliest(greedy: bitnet_py.SimpleInference) -> None:
    completion = greedy.complete(PROMPT, logprobs=3)
    assert completion.logprobs is not None
    assert [one.token for one in completion.logprobs] == completion.tokens
    for one in completion.logprobs:  # greedy: the drawn token is the likeliest
        assert one.top[0] == (one.token, one.logprob)
        assert len(one.top) == 3
        assert 0 >= one.top[0][1] >= one.top[1][1] >= one.top[2][1]
        assert sum(math.exp(logprob) for _, logprob in one.top) <= 1 + 1e-5
    assert greedy.complete(PROMPT).logprobs is None
    assert greedy.complete(PROMPT, logprobs=False).logprobs is None
    only_drawn = greedy.complete(PROMPT, logprobs=True).logprobs
    assert only_drawn is not None
    assert [one.logprob for one in only_drawn] == [one.logprob for one in completion.logprobs]
    assert only_drawn[0].top == []


def test_logits_processor_changes_what_is_drawn(greedy: bitnet_py.SimpleInference) -> None:
    forced = greedy.tokenizer.encode(" light", bos=False)[0]

    def force(logits: memoryview) -> None:
        assert (logits.format, logits.shape) == ("f", (greedy.model.info()["vocab"],))
        logits[forced] = 1e9

    assert set(greedy.complete(PROMPT, logits_processor=force).tokens) == {forced}


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"max_tokens": 0}, ValueError, "max_new_tokens: expected 1 or more, got 0"),
        ({"temperature": -0.1}, ValueError, "temperature: expected a finite number, 0 or more, got -0.1"),
        ({"temperature": math.nan}, ValueError, "temperature: expected a finite number, 0 or more, got nan"),
        ({"temperature": math.inf}, ValueError, "temperature: expected a finite number, 0 or more, got inf"),
        ({"top_p": 0.0}, ValueError, "top_p: expected a number above 0, at most 1, got 0.0"),
        ({"top_p": 1.1}, ValueError, "top_p: expected a number above 0, at most 1, got 1.1"),
        ({"top_k": -1}, ValueError, r"top_k: expected 0 \(off\) or more, got -1"),
        ({"min_p": 2}, ValueError, "min_p: expected a number from 0 to 1, got 2"),
        ({"repetition_penalty": 0}, ValueError, "repetition_penalty: expected a finite number above 0, got 0"),
        ({"temperature": "hot"}, TypeError, "temperature: expected a finite number, 0 or more, got str"),
        ({"max_tokens": 1.5}, TypeError, "max_new_tokens: expected 1 or more, got float"),
        ({"temprature": 1.0}, TypeError, "generate: unknown keyword 'temprature'; expected one of .*temperature"),
        ({"max_tokens": 1, "max_new_tokens": 2}, TypeError, "max_new_tokens: expected once, got it under two names"),
    ],
)
def test_wrong_keywords_are_named(
    greedy: bitnet_py.SimpleInference, keywords: dict[str, Any], error: type[Exception], text: str
) -> None:
    for generate in (greedy.generate, greedy.generate_stream, greedy.complete):
        with pytest.raises(error, match=text) as caught:
            generate(PROMPT, **keywords)
        assert isinstance(caught.value, bitnet_py.BitNetError)


def test_wrong_configuration_is_a_value_error_when_used(
    model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer
) -> None:
    inference = bitnet_py.SimpleInference(model, tokenizer, bitnet_py.GenerationConfig(top_p=7.0))
    with pytest.raises(ValueError, match="top_p: expected a number above 0, at most 1, got 7"):
        inference.generate(PROMPT)


def test_prompt_longer_than_the_context_is_an_error(greedy: bitnet_py.SimpleInference) -> None:
    small = bitnet_py.SimpleInference(greedy.model, greedy.tokenizer, GREEDY, context=4)
    with pytest.raises(bitnet_py.ContextFullError):
        small.generate("And God said, Let there be light")


def test_text_ends_where_the_context_does(greedy: bitnet_py.SimpleInference) -> None:
    small = bitnet_py.SimpleInference(greedy.model, greedy.tokenizer, GREEDY, context=8)
    completion = small.complete(PROMPT)
    assert completion.finish_reason == "length"
    assert completion.tokens == greedy.complete(PROMPT).tokens[: len(completion.tokens)]
    assert len(completion.tokens) <= 8 - len(completion.prompt_tokens) + 1


# -- the rest


def test_text_shows_no_special_tokens(greedy: bitnet_py.SimpleInference) -> None:
    end = greedy.tokenizer.eos_id
    completion = greedy.complete(PROMPT, logit_bias={end: 1000}, ignore_eos=True)
    assert completion.tokens == [end] * 16
    assert completion.text == ""
    assert greedy.complete(PROMPT, logit_bias={end: 1000}).tokens == [end]


def test_model_without_a_tokenizer_speaks_by_the_given_one(
    shared_data: Path, tokenizer: bitnet_py.Tokenizer, tmp_path: Path
) -> None:
    """The same weights, compiled with a tokenizer and without."""
    source = shared_data / "kjv" / "hf-bf16"
    for folder, files in (("with", source.iterdir()), ("without", source.glob("[cm]*"))):
        (tmp_path / folder).mkdir()
        for file in files:
            shutil.copy(file, tmp_path / folder)
    own = bitnet_py.SimpleInference(bitnet_py.load_model(tmp_path / "with", cache_dir=tmp_path), tokenizer, GREEDY)
    bare = bitnet_py.SimpleInference(bitnet_py.load_model(tmp_path / "without", cache_dir=tmp_path), tokenizer, GREEDY)
    assert bare.model._native.tokenizer() is None
    whole = own.generate(PROMPT, max_tokens=48)
    assert len(whole) > 48
    stop = whole[len(whole) // 2 :][:5]
    end = own.complete(PROMPT).tokens[9]
    for keywords in ({}, {"stop": stop}, {"eos_token_id": end}, {"logit_bias": {tokenizer.eos_id: 1000.0}}):
        expected, got = (one.complete(PROMPT, max_tokens=48, **keywords) for one in (own, bare))
        assert (got.text, got.finish_reason) == (expected.text, expected.finish_reason)
        assert got.tokens == expected.tokens
        assert bare.batch_generate([PROMPT], max_tokens=48, **keywords) == [expected.text]
    assert "".join(bare.generate_stream(PROMPT, max_tokens=48)) == whole


def test_chat_format_is_taken_for_its_tokenizer(greedy: bitnet_py.SimpleInference) -> None:
    chat = bitnet_py.SimpleInference(greedy.model, bitnet_py.ChatFormat(greedy.tokenizer), GREEDY)
    assert chat.generate(PROMPT) == greedy.generate(PROMPT)
    assert chat.batch_generate([PROMPT]) == [greedy.generate(PROMPT)]


def test_batch_gives_what_each_prompt_gives_alone(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [PROMPT, "In the beginning", "The LORD is my shepherd;", "And it came to pass"]
    alone = [greedy.generate(prompt, ignore_eos=True) for prompt in prompts]
    for batch in (1, 2, 16):
        assert greedy.batch_generate(prompts, batch=batch, ignore_eos=True) == alone
    assert greedy.last_stats["generated_tokens"] == 16 * len(prompts)
    assert greedy.last_stats["finish_reasons"] == ["length"] * len(prompts)
    assert bitnet_py.batch_generate(greedy, prompts, ignore_eos=True) == alone
    assert greedy.batch_generate([]) == []
    with pytest.raises(TypeError, match="expected a list of texts, got one text"):
        greedy.batch_generate(PROMPT)


def test_statistics_of_a_request(greedy: bitnet_py.SimpleInference) -> None:
    completion = greedy.complete(PROMPT, ignore_eos=True)
    stats = greedy.last_stats
    assert stats["prompt_tokens"] == len(completion.prompt_tokens) == completion.timings["prompt_tokens"]
    assert stats["generated_tokens"] == 16
    assert 0 < stats["prompt_seconds"] + stats["generation_seconds"] <= stats["seconds"]
    assert stats["tokens_per_second"] == pytest.approx(16 / stats["seconds"])


def test_asynchronous_functions_give_the_same(greedy: bitnet_py.SimpleInference) -> None:
    async def everything() -> None:
        model = await bitnet_py.load_model_async(greedy.model.path)
        tokenizer = await bitnet_py.create_tokenizer_async(greedy.model.path)
        inference = bitnet_py.AsyncInference(model, tokenizer, GREEDY)
        expected = greedy.generate(PROMPT)
        assert await inference.generate(PROMPT) == expected
        assert await inference.generate_async(PROMPT) == await greedy.generate_async(PROMPT) == expected
        assert (await inference.complete(PROMPT)).tokens == greedy.complete(PROMPT).tokens
        assert await inference.batch_generate([PROMPT] * 3) == [expected] * 3
        with pytest.raises(FileNotFoundError):
            await bitnet_py.load_model_async("/nope.gguf")

    asyncio.run(everything())
