"""The class that is shaped like vLLM's: batches whose every answer is what the prompt gets alone."""

import math
from pathlib import Path
from typing import Any

import pytest

import bitnet_py
from bitnet_py.llm import LLM, EmbeddingRequestOutput, RequestOutput, SamplingParams

PROMPTS = ["And God said", "In the beginning", "The LORD is my shepherd;", "Behold", "And it came to pass"]
GREEDY = SamplingParams(temperature=0, max_tokens=16)


@pytest.fixture(scope="module")
def llm(model: bitnet_py.BitNetModel) -> LLM:
    return LLM(model=str(model.path), max_num_seqs=3)


def texts(outputs: list[RequestOutput]) -> list[str]:
    return [output.outputs[0].text for output in outputs]


def test_greedy_texts_are_the_packages_own(llm: LLM, inference: bitnet_py.SimpleInference) -> None:
    outputs = llm.generate(PROMPTS, GREEDY, use_tqdm=False)
    assert texts(outputs) == [inference.generate(prompt, max_new_tokens=16, temperature=0) for prompt in PROMPTS]
    assert [output.prompt for output in outputs] == PROMPTS
    assert len({output.request_id for output in outputs}) == len(PROMPTS)
    first = outputs[0]
    assert first.finished
    assert len(first.prompt_token_ids) == 4
    assert first.outputs[0].finish_reason == "length"
    assert (first.outputs[0].index, first.outputs[0].logprobs, first.outputs[0].cumulative_logprob) == (0, None, None)
    assert first.metrics is not None
    assert (first.metrics.prompt_tokens, first.metrics.generated_tokens) == (4, 16)
    assert first.metrics.prompt_seconds > 0


def test_speculation_gives_the_same_texts(llm: LLM) -> None:
    guessing = LLM(model=str(llm.model.path), max_num_seqs=3, speculative_config={"method": "ngram"})
    for sampling in (GREEDY, SamplingParams(temperature=0.9, seed=5, max_tokens=60)):
        outputs = guessing.generate(PROMPTS, sampling, use_tqdm=False)
        assert texts(outputs) == texts(llm.generate(PROMPTS, sampling, use_tqdm=False))


def test_prompts_in_every_form(llm: LLM) -> None:
    tokens = llm.generate(PROMPTS[0], GREEDY, use_tqdm=False)[0].prompt_token_ids
    forms: list[Any] = [
        PROMPTS[0],
        [PROMPTS[0]],
        {"prompt": PROMPTS[0]},
        {"prompt_token_ids": tokens},
        [{"prompt_token_ids": tokens}],
        tokens,
        [tokens],
    ]
    answers = {tuple(texts(llm.generate(form, GREEDY, use_tqdm=False))) for form in forms}
    assert len(answers) == 1
    mixed = llm.generate([PROMPTS[1], {"prompt_token_ids": tokens}, tokens], GREEDY, use_tqdm=False)
    assert [output.prompt for output in mixed] == [PROMPTS[1], None, None]
    assert llm.generate([], GREEDY) == []
    for raw in (b"God", [b"God"]):
        with pytest.raises(TypeError, match="prompt: expected text or token ids, got bytes; decode them"):
            llm.generate(raw)


def test_one_sampling_for_each_prompt(llm: LLM) -> None:
    each = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in (1, 5, 9)]
    outputs = llm.generate(PROMPTS[:3], each, use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [1, 5, 9]
    with pytest.raises(ValueError, match="expected one for each of 2 prompts, got 3"):
        llm.generate(PROMPTS[:2], each)


def test_seeds(llm: LLM, model: bitnet_py.BitNetModel) -> None:
    params = SamplingParams(temperature=1.2, max_tokens=12, seed=5)
    assert texts(llm.generate(PROMPTS, params, use_tqdm=False)) == texts(llm.generate(PROMPTS, params, use_tqdm=False))

    def drawn(seed: int) -> list[str]:
        fresh = LLM(model=model.path, seed=seed)
        return texts(fresh.generate(PROMPTS, SamplingParams(temperature=1.2, max_tokens=12), use_tqdm=False))

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_several_answers(llm: LLM) -> None:
    params = SamplingParams(n=3, temperature=1.2, max_tokens=12, seed=5)
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    assert [answer.index for answer in output.outputs] == [0, 1, 2]
    assert len({answer.text for answer in output.outputs}) == 3
    alone = SamplingParams(temperature=1.2, max_tokens=12, seed=6)
    assert texts(llm.generate(PROMPTS[0], alone, use_tqdm=False)) == [output.outputs[1].text]
    assert output.metrics is not None
    assert output.metrics.generated_tokens == 36


def test_stop_texts(llm: LLM) -> None:
    (whole,) = texts(llm.generate(PROMPTS[0], GREEDY, use_tqdm=False))
    stop = whole[10:14]
    at = whole.find(stop)
    for include, text in ((False, whole[:at]), (True, whole[: at + len(stop)])):
        params = SamplingParams(temperature=0, max_tokens=16, stop=["@@", stop], include_stop_str_in_output=include)
        (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
        answer = output.outputs[0]
        assert (answer.text, answer.finish_reason, answer.stop_reason) == (text, "stop", stop)


def test_stop_tokens(llm: LLM) -> None:
    (output,) = llm.generate(PROMPTS[0], GREEDY, use_tqdm=False)
    tokens = output.outputs[0].token_ids
    at = tokens.index(tokens[6])
    params = SamplingParams(temperature=0, max_tokens=16, stop_token_ids=[tokens[at]])
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    answer = output.outputs[0]
    assert answer.token_ids == tokens[: at + 1]
    assert (answer.finish_reason, answer.stop_reason) == ("stop", tokens[at])
    assert answer.text == llm.get_tokenizer().decode(tokens[:at])


def test_the_end_token_ends_and_min_tokens_keeps_it_away(llm: LLM) -> None:
    eos = llm.get_tokenizer().eos_id
    bias = {eos: 1000.0}
    (output,) = llm.generate(PROMPTS[0], SamplingParams(temperature=0, logit_bias=bias), use_tqdm=False)
    answer = output.outputs[0]
    assert (answer.token_ids, answer.text, answer.finish_reason, answer.stop_reason) == ([eos], "", "stop", None)
    later = SamplingParams(temperature=0, logit_bias={eos: 1000.0}, ignore_eos=True, max_tokens=3)
    assert llm.generate(PROMPTS[0], later, use_tqdm=False)[0].outputs[0].token_ids == [eos] * 3
    least = SamplingParams(temperature=0, logit_bias=bias, min_tokens=4)
    (output,) = llm.generate(PROMPTS[0], least, use_tqdm=False)
    free = llm.generate(PROMPTS[0], GREEDY, use_tqdm=False)[0].outputs[0].token_ids
    assert output.outputs[0].token_ids == [*free[:4], eos]
    named = SamplingParams(temperature=0, logit_bias=bias, skip_special_tokens=False, include_stop_str_in_output=True)
    name = llm.generate(PROMPTS[0], named, use_tqdm=False)[0].outputs[0].text
    assert name == llm.get_tokenizer().decode([eos]) != ""


def test_logprobs(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=6, logprobs=2, prompt_logprobs=-1)
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    answer = output.outputs[0]
    assert answer.logprobs is not None
    assert output.prompt_logprobs is not None
    chosen = [entry[token] for token, entry in zip(answer.token_ids, answer.logprobs, strict=True)]
    assert [entry.rank for entry in chosen] == [1] * 6
    assert all(len(entry) == 2 for entry in answer.logprobs)
    assert answer.cumulative_logprob == sum(entry.logprob for entry in chosen)
    assert "".join(str(entry.decoded_token) for entry in chosen) == answer.text
    assert output.prompt_logprobs[0] is None
    every = output.prompt_logprobs[1]
    assert every is not None
    # 4,096 f32 logarithms, each within 2^-24 relative of values below 32: 4e-6 at most on the sum
    assert math.fsum(math.exp(entry.logprob) for entry in every.values()) == pytest.approx(1.0, abs=4e-6)
    # What was drawn after the prompt scores the same when it is given.
    longer = {"prompt_token_ids": output.prompt_token_ids + answer.token_ids}
    (scored,) = llm.generate(longer, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    assert scored.prompt_logprobs is not None
    given = scored.prompt_logprobs[len(output.prompt_token_ids) :]
    assert [entry[token].logprob for entry, token in zip(given, answer.token_ids, strict=True) if entry] == [
        entry.logprob for entry in chosen
    ]


def test_a_token_outside_of_the_best_has_no_rank(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=1, logit_bias={400: 1000.0})
    entry = llm.generate(PROMPTS[0], params, use_tqdm=False)[0].outputs[0].logprobs
    assert entry is not None
    assert len(entry[0]) == 2
    assert entry[0][400].rank is None


def test_allowed_tokens(llm: LLM) -> None:
    allowed = [300, 301, 302]
    params = SamplingParams(temperature=1.0, max_tokens=12, seed=1, allowed_token_ids=allowed)
    tokens = llm.generate(PROMPTS[0], params, use_tqdm=False)[0].outputs[0].token_ids
    assert set(tokens) <= set(allowed)
    assert len(tokens) == 12


def test_repetition_penalty_sees_the_prompt(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=12, repetition_penalty=1e6)
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    tokens = output.outputs[0].token_ids
    assert len(set(tokens)) == len(tokens)
    assert not set(tokens) & set(output.prompt_token_ids)


def test_detokenize(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=4, detokenize=False)
    answer = llm.generate(PROMPTS[0], params, use_tqdm=False)[0].outputs[0]
    assert answer.text == ""
    assert len(answer.token_ids) == 4


def test_chat(llm: LLM) -> None:
    dialogs = [[{"role": "user", "content": text}] for text in ("Who made the heaven?", "Who was Moses?")]
    both = llm.chat(dialogs, GREEDY, use_tqdm=False)
    alone = [llm.chat(dialog, GREEDY, use_tqdm=False)[0] for dialog in dialogs]
    assert texts(both) == texts(alone)
    assert both[0].prompt_token_ids == alone[0].prompt_token_ids
    shown = llm.get_tokenizer().decode(both[0].prompt_token_ids)
    assert shown.endswith("User: Who made the heaven?<|eot_id|>Assistant: ")


def test_embed(model: bitnet_py.BitNetModel, llm: LLM) -> None:
    with pytest.raises(
        ValueError, match=r'expected a model that gives .* with a head; .* LLM\(\.\.\., convert="embed"\)'
    ):
        llm.embed(PROMPTS)
    asked = LLM(model=model.path, convert="embed", max_model_len=8)
    outputs = asked.embed(PROMPTS[:2], use_tqdm=False)
    assert all(isinstance(output, EmbeddingRequestOutput) for output in outputs)
    assert outputs[0].outputs.hidden_size == 256
    assert math.fsum(x * x for x in outputs[0].outputs.embedding) == pytest.approx(1, rel=1e-9)
    for other in ({"runner": "pooling"}, {"task": "embed"}, {"task": "embedding", "threads": 1}):
        assert LLM(model.path, **other).embed(PROMPTS[1], use_tqdm=False)[0].outputs == outputs[1].outputs
    assert llm.embed(PROMPTS[1], pooling="last", use_tqdm=False)[0].outputs == outputs[1].outputs
    (raw,) = llm.embed(PROMPTS[1], pooling="last", normalize=False, use_tqdm=False)
    length = math.sqrt(math.fsum(x * x for x in raw.outputs.embedding))
    assert [x / length for x in raw.outputs.embedding] == outputs[1].outputs.embedding
    assert length != pytest.approx(1, rel=0.1)
    assert raw.prompt_token_ids == outputs[1].prompt_token_ids
    assert asked.embed([]) == []
    # The context may be full: nothing is to follow.
    assert len(asked.embed([[5] * 8], use_tqdm=False)[0].prompt_token_ids) == 8
    with pytest.raises(ValueError, match=r"prompt 0: expected at most 8 tokens \(max_model_len 8\), got 9; shorten it"):
        asked.embed([[5] * 9])
    with pytest.raises(ValueError, match="prompt 1: expected at least one token, got none"):
        asked.embed([[5], []])
    for pooling in ("none", "max"):
        with pytest.raises(ValueError, match=f"embed: pooling: expected last, first or mean, got '{pooling}'"):
            asked.embed(PROMPTS, pooling=pooling)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_p": 0.0}, "SamplingParams: top_p: expected more than 0, at most 1, got 0.0"),
        ({"temperature": -1.0}, "SamplingParams: temperature: expected 0 or more, got -1.0"),
        ({"n": 2, "temperature": 0}, "SamplingParams: n: expected 1 with temperature 0"),
        ({"max_tokens": 4, "min_tokens": 5}, "SamplingParams: min_tokens: expected 0 to max_tokens, got 5"),
        ({"best_of": 3}, "SamplingParams: best_of: not covered by this package; leave it out"),
        ({"bad_words": ["x"]}, "SamplingParams: bad_words: not covered by this package; leave it out"),
    ],
)
def test_illegal_sampling_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bitnet_py.ConfigError, match=message):
        SamplingParams(**arguments)


def test_constructor(model: bitnet_py.BitNetModel, llm: LLM, tmp_path: Path) -> None:
    LLM(model=model.path, tensor_parallel_size=1, dtype="auto", trust_remote_code=True, gpu_memory_utilization=0.9)
    with pytest.raises(TypeError, match="LLM: unexpected argument 'modle'"):
        LLM(model=model.path, modle=1)
    with pytest.raises(
        ValueError, match=r"LLM: speculative_config: expected \{'method': 'ngram'\}, got \{'method': 'eagle'\}"
    ):
        LLM("any.bnx", speculative_config={"method": "eagle"})
    with pytest.raises(ValueError, match="LLM: quantization: not covered by this package, got 'awq'"):
        LLM(model=model.path, quantization="awq")
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        LLM(model="nowhere")
    with pytest.raises(ValueError, match="max_model_len: expected 1 to 512, got 513"):
        LLM(model=model.path, max_model_len=513)
    short = LLM(model=model.path, max_model_len=8)
    with pytest.raises(ValueError, match=r"prompt 0: expected at most 7 tokens \(max_model_len 8\), got"):
        short.generate("In the beginning God created the heaven and the earth.")
    assert len(short.generate("And God said", SamplingParams(max_tokens=None))[0].outputs[0].token_ids) <= 5
    with pytest.raises(ValueError, match="prompt 0: expected at least one token, got none"):
        llm.generate([[]])


def test_progress_on_standard_error(llm: LLM, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    outputs = llm.generate(PROMPTS[:2], GREEDY)
    count = sum(len(output.outputs[0].token_ids) for output in outputs)
    captured = capsys.readouterr()
    assert f"{count}/{count} tokens" in captured.err
    assert captured.err.endswith("\n")
    assert captured.out == ""
    llm.generate(PROMPTS[:2], GREEDY, use_tqdm=False)
    assert capsys.readouterr().err == ""
