"""The class that is shaped like llama-cpp-python's: what it answers is what the package's own classes answer."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bitnet_py
from bitnet_py.llama_cpp_compat import Llama, LlamaPromptLookupDecoding, LogitsProcessorList, StoppingCriteriaList

PROMPT = "And God said"
MESSAGES = [{"role": "user", "content": "Who made the heaven?"}]


@pytest.fixture(scope="module")
def llama(model: bitnet_py.BitNetModel) -> Llama:
    return Llama(model_path=str(model.path), n_ctx=0, verbose=False)


def text_of(answer: Any) -> str:
    return str(answer["choices"][0]["text"])


def test_greedy_text_is_the_packages_own(llama: Llama, inference: bitnet_py.SimpleInference) -> None:
    answer = llama(PROMPT, max_tokens=24, temperature=0)
    assert text_of(answer) == inference.generate(PROMPT, max_new_tokens=24, temperature=0)
    choice = answer["choices"][0]
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["model"] == llama.model_path
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 24, "total_tokens": 28}
    assert answer["timings"]["prompt_tokens"] == 4


def test_defaults_are_the_originals(llama: Llama) -> None:
    answer = llama(PROMPT)
    assert answer["usage"]["completion_tokens"] <= 16
    same = llama(PROMPT, max_tokens=16, temperature=0.8, top_p=0.95, min_p=0.05, top_k=40, repeat_penalty=1.0, seed=7)
    assert text_of(llama(PROMPT, seed=7)) == text_of(same)


def test_prompt_lookup_gives_the_same_text(llama: Llama) -> None:
    drafting = Llama(model_path=llama.model_path, n_ctx=0, draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4))
    for arguments in ({"temperature": 0}, {"temperature": 0.7, "seed": 3}):
        assert text_of(drafting(PROMPT, max_tokens=80, **arguments)) == text_of(
            llama(PROMPT, max_tokens=80, **arguments)
        )


def test_tokens_are_a_prompt_as_they_are(llama: Llama) -> None:
    tokens = llama.tokenize(PROMPT.encode())
    assert text_of(llama(tokens, temperature=0)) == text_of(llama(PROMPT, temperature=0))
    assert text_of(llama(tokens[1:], temperature=0)) != text_of(llama(PROMPT, temperature=0))


@pytest.mark.parametrize("arguments", [{"temperature": 0}, {"seed": 3}, {"temperature": 0, "stop": ["LORD"]}])
def test_chunks_joined_are_the_whole(llama: Llama, arguments: dict[str, Any]) -> None:
    chunks = list(llama(PROMPT, max_tokens=40, stream=True, **arguments))
    whole = llama(PROMPT, max_tokens=40, **arguments)
    assert "".join(map(text_of, chunks)) == text_of(whole)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_closing_a_stream_ends_it(llama: Llama) -> None:
    before = bitnet_py.metrics.snapshot()["active_streams"]
    chunks = llama(PROMPT, max_tokens=400, stream=True)
    next(chunks)
    assert bitnet_py.metrics.snapshot()["active_streams"] == before + 1
    chunks.close()
    assert bitnet_py.metrics.snapshot()["active_streams"] == before


def test_stop_and_echo(llama: Llama) -> None:
    whole = text_of(llama(PROMPT, max_tokens=40, temperature=0))
    stop = whole[10:14]
    for stops in (stop, [stop], ["not there", stop]):
        answer = llama(PROMPT, max_tokens=40, temperature=0, stop=stops)
        assert text_of(answer) == whole[: whole.find(stop)]
        assert answer["choices"][0]["finish_reason"] == "stop"
    assert text_of(llama(PROMPT, max_tokens=40, temperature=0, echo=True)) == PROMPT + whole


def test_seed_decides_what_is_drawn(llama: Llama, model: bitnet_py.BitNetModel) -> None:
    def drawn(seed: int) -> str:
        return text_of(llama(PROMPT, max_tokens=24, temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=seed))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)

    def calls(seed: int) -> list[str]:
        with Llama(model_path=model.path, seed=seed) as seeded:
            return [text_of(seeded(PROMPT, temperature=1.5, top_k=0, top_p=1.0, min_p=0.0)) for _ in range(2)]

    assert calls(5) == calls(5)
    assert calls(5)[0] != calls(5)[1]
    assert calls(-1) != calls(-1)


def test_logprobs_are_a_distribution_and_greedy_takes_the_best(llama: Llama) -> None:
    n_vocab = llama.n_vocab()
    logprobs = llama(PROMPT, max_tokens=4, temperature=0, logprobs=n_vocab)["choices"][0]["logprobs"]
    tokens = llama.tokenize(PROMPT.encode())
    llama.reset()
    llama.eval(tokens)
    logits = llama.eval_logits[-1]
    total = math.fsum(math.exp(logit - max(logits)) for logit in logits)
    best = max(range(n_vocab), key=logits.__getitem__)
    expected = -math.log(total)
    assert logprobs["token_logprobs"][0] == pytest.approx(expected, abs=1e-5)  # f32 of values near 1
    assert logprobs["tokens"][0] == llama.detokenize([best]).decode()
    columns = (logprobs[key] for key in ("tokens", "token_logprobs", "top_logprobs"))
    for token, logprob, top in zip(*columns, strict=True):
        assert top[token] == logprob == max(top.values())
    assert logprobs["text_offset"][0] == len(PROMPT)
    assert logprobs["text_offset"][1] == len(PROMPT) + len(logprobs["tokens"][0])


def test_all_logprobs_sum_to_one(model: bitnet_py.BitNetModel, llama: Llama) -> None:
    # By ids, for several ids may have one text.
    from bitnet_py.scoring import token_logprobs

    entry = token_logprobs(model, llama.tokenize(PROMPT.encode()), llama.n_vocab())[1]
    assert entry is not None
    # 4,096 f32 logarithms, each within 2^-24 relative of values below 32: 4e-6 at most on the sum
    assert math.fsum(math.exp(logprob) for _, logprob in entry.top) == pytest.approx(1.0, abs=4e-6)


def test_logprobs_of_an_echoed_prompt_are_those_of_the_text(llama: Llama) -> None:
    answer = llama(PROMPT, max_tokens=4, temperature=0, logprobs=1)
    text = PROMPT + text_of(answer)
    echoed = llama(text, max_tokens=1, temperature=0, logprobs=1, echo=True)["choices"][0]["logprobs"]
    assert echoed["token_logprobs"][0] is None
    assert echoed["text_offset"][0] == 0
    prompt_tokens = len(llama.tokenize(PROMPT.encode())) - 1
    assert echoed["token_logprobs"][prompt_tokens:-1] == answer["choices"][0]["logprobs"]["token_logprobs"]


def test_logprobs_in_chunks_are_those_of_the_whole(llama: Llama) -> None:
    arguments: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "logprobs": 2}
    parts = [chunk["choices"][0]["logprobs"] for chunk in llama(PROMPT, stream=True, **arguments)]
    whole = llama(PROMPT, **arguments)["choices"][0]["logprobs"]
    for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [item for part in parts if part for item in part[key]] == whole[key]


def test_logit_bias_bans_and_forces(llama: Llama) -> None:
    first = llama.tokenize(text_of(llama(PROMPT, max_tokens=1, temperature=0)).encode(), add_bos=False)[0]
    banned = llama(PROMPT, max_tokens=8, temperature=0, logit_bias={first: -math.inf}, logprobs=0)
    assert llama.detokenize([first]).decode() not in banned["choices"][0]["logprobs"]["tokens"]
    forced = llama.tokenize(b"and", add_bos=False)[-1]
    answer = llama(PROMPT, max_tokens=3, temperature=0, logit_bias={str(forced): 1000.0})
    assert text_of(answer) == llama.detokenize([forced] * 3).decode()


def test_the_end_token_is_no_part_of_the_answer(llama: Llama) -> None:
    answer = llama(PROMPT, temperature=0, logit_bias={llama.token_eos(): 1000.0}, logprobs=1)
    assert text_of(answer) == ""
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["logprobs"]["tokens"] == []
    assert answer["usage"]["completion_tokens"] == 0


def test_penalties_follow_their_formula(llama: Llama) -> None:
    """Greedy with penalties equals greedy over logits that the test penalises itself."""

    def expected(presence: float, frequency: float, repeat: float) -> list[int]:
        tokens, drawn = llama.tokenize(PROMPT.encode()), []
        llama.reset()
        llama.eval(tokens)
        for _ in range(24):
            logits = llama.eval_logits[-1]
            for token in set(tokens):
                logits[token] = logits[token] / repeat if logits[token] > 0 else logits[token] * repeat
            for token in set(drawn):
                logits[token] -= presence + frequency * drawn.count(token)
            best = max(range(len(logits)), key=logits.__getitem__)
            tokens.append(best)
            drawn.append(best)
            llama.eval([best])
        return drawn

    plain = llama(PROMPT, max_tokens=24, temperature=0)
    for presence, frequency, repeat in ((1.5, 0.0, 1.0), (0.0, 1.9, 1.0), (0.0, 0.0, 1.25)):
        answer = llama(
            PROMPT,
            max_tokens=24,
            temperature=0,
            presence_penalty=presence,
            frequency_penalty=frequency,
            repeat_penalty=repeat,
        )
        assert text_of(answer) == llama.detokenize(expected(presence, frequency, repeat)).decode()
        assert text_of(answer) != text_of(plain)


def test_min_p_of_one_is_greedy(llama: Llama) -> None:
    greedy = text_of(llama(PROMPT, max_tokens=24, temperature=0))
    loose: dict[str, Any] = {"max_tokens": 24, "temperature": 1.5, "top_k": 0, "top_p": 1.0, "seed": 1}
    assert text_of(llama(PROMPT, min_p=1.0, **loose)) == greedy
    assert text_of(llama(PROMPT, min_p=0.0, **loose)) != greedy
    assert text_of(llama(PROMPT, max_tokens=24, temperature=1.5, top_k=1, seed=1)) == greedy


def test_logits_processors_and_stopping_criteria(llama: Llama) -> None:
    forced = llama.tokenize(b"and", add_bos=False)[-1]
    seen: list[int] = []

    def force(input_ids: Any, scores: Any) -> Any:
        seen.append(len(input_ids))
        scores = scores.copy()
        scores[:] = -math.inf
        scores[forced] = 0
        return scores

    answer = llama(PROMPT, max_tokens=3, temperature=0, logits_processor=LogitsProcessorList([force]))
    assert text_of(answer) == llama.detokenize([forced] * 3).decode()
    assert seen == [4, 5, 6]

    enough = StoppingCriteriaList([lambda input_ids, scores: len(input_ids) >= 4 + 5])
    answer = llama(PROMPT, max_tokens=40, temperature=0, stopping_criteria=enough)
    assert text_of(answer) == text_of(llama(PROMPT, max_tokens=5, temperature=0))
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 5


def test_chat_is_a_completion_of_the_template(llama: Llama) -> None:
    answer = llama.create_chat_completion(MESSAGES, max_tokens=12, temperature=0)
    assert isinstance(answer, dict)
    assert answer["object"] == "chat.completion"
    message = answer["choices"][0]["message"]
    assert message["role"] == "assistant"
    prompt = llama.metadata["tokenizer.chat_template"] and "User: Who made the heaven?<|eot_id|>Assistant: "
    tokens = [llama.token_bos(), *llama.tokenize(prompt.encode(), add_bos=False, special=True)]
    assert answer["usage"]["prompt_tokens"] == len(tokens)
    assert message["content"] == text_of(llama(tokens, max_tokens=12, temperature=0))


def test_chat_chunks(llama: Llama) -> None:
    arguments: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    chunks = list(llama.create_chat_completion(MESSAGES, stream=True, **arguments))
    whole: Any = llama.create_chat_completion(MESSAGES, **arguments)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    joined = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert joined == whole["choices"][0]["message"]["content"]
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    content = whole["choices"][0]["logprobs"]["content"]
    assert [entry for part in parts if part for entry in part["content"]] == content
    assert len(content) == whole["usage"]["completion_tokens"]
    assert content[0]["top_logprobs"][0]["token"] == content[0]["token"]
    assert bytes(content[0]["bytes"]).decode() == content[0]["token"]


def test_embeddings(llama: Llama, model: bitnet_py.BitNetModel) -> None:
    texts = ["the LORD is my shepherd", "the LORD is a man of war", "5 6 7"]
    vectors = llama.embed(texts, normalize=True)
    assert [len(vector) for vector in vectors] == [llama.n_embd()] * 3
    assert all(math.isclose(math.fsum(x * x for x in vector), 1, rel_tol=1e-9) for vector in vectors)
    assert llama.embed(texts[0], normalize=True) == vectors[0]

    def likeness(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2])
    answer = llama.create_embedding(texts)
    assert answer["usage"]["total_tokens"] == sum(len(llama.tokenize(text.encode())) for text in texts)
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    each = Llama(model_path=model.path, pooling_type=0).embed(texts[0])
    last = Llama(model_path=model.path, pooling_type=3).embed(texts[0])
    assert each[-1] == last
    mean = [math.fsum(column) / len(each) for column in zip(*each, strict=True)]
    assert llama.embed(texts[0]) == mean


def test_tokens_and_text(llama: Llama, tokenizer: Any) -> None:
    tokens = llama.tokenize(PROMPT.encode())
    assert tokens == [llama.token_bos(), *llama.tokenize(PROMPT.encode(), add_bos=False)]
    assert llama.detokenize(tokens) == PROMPT.encode()
    assert llama.detokenize(llama.tokenize("é€😀".encode())) == "é€😀".encode()
    assert llama.n_vocab() == 4096
    assert llama.n_ctx() == 512
    assert llama.detokenize([llama.token_nl()]) == b"\n"


def test_state_goes_back_exactly(llama: Llama) -> None:
    tokens = llama.tokenize(PROMPT.encode())
    llama.reset()
    llama.eval(tokens)
    state, logits = llama.save_state(), llama.eval_logits[-1]
    llama.eval([5, 6, 7])
    assert llama.n_tokens == len(tokens) + 3
    assert llama.eval_logits[-1] != logits
    llama.load_state(state)
    assert list(llama.eval_tokens) == tokens
    assert llama.eval_logits[-1] == logits


def test_generate_yields_what_a_completion_draws(llama: Llama) -> None:
    tokens = llama.tokenize(PROMPT.encode())
    text = text_of(llama(PROMPT, max_tokens=10, temperature=0))

    def ten(generator: Iterator[int]) -> list[int]:
        return [token for token, _ in zip(generator, range(10), strict=False)]

    for _ in range(2):  # the second time the prompt is kept
        assert llama.detokenize(ten(llama.generate(tokens, temp=0))).decode() == text
    llama.set_seed(4)
    drawn = ten(llama.generate(tokens, temp=1.5))
    llama.set_seed(4)
    assert ten(llama.generate(tokens, temp=1.5)) == drawn
    llama.reset()
    llama.eval(tokens)
    assert llama.detokenize([llama.sample(temp=0)]).decode() == text[: len(llama.detokenize([llama.sample(temp=0)]))]


def test_threads_may_share_one(llama: Llama) -> None:
    prompts = [PROMPT, "In the beginning", "The LORD is my shepherd;", "Behold"]
    alone = [text_of(llama(prompt, temperature=0)) for prompt in prompts]
    together = [""] * len(prompts)

    def ask(i: int) -> None:
        together[i] = text_of(llama(prompts[i], temperature=0))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suffix": "x"}, "create_completion: suffix: not covered by this package, got 'x'; leave it out"),
        ({"typical_p": 0.5}, "create_completion: typical_p: not covered by this package, got 0.5; leave it out"),
        ({"mirostat_mode": 2}, "create_completion: mirostat_mode: not covered by this package, got 2; leave it out"),
        ({"top_p": -1.0}, "top_p"),
        ({"prompt": []}, "prompt: expected at least one token, got none; give a text that is not empty"),
        ({"prompt": "word " * 600}, "prompt: expected fewer than 512 tokens"),
    ],
)
def test_refusals_are_value_errors_that_say_why(llama: Llama, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bitnet_py.ConfigError, match=message) as raised:
        llama(**{"prompt": PROMPT, **arguments})
    assert isinstance(raised.value, ValueError)


def test_chat_refusals(llama: Llama) -> None:
    with pytest.raises(bitnet_py.ConfigError, match="tools: not covered"):
        llama.create_chat_completion(MESSAGES, tools=[{"type": "function"}])
    with pytest.raises(bitnet_py.ConfigError, match="response_format: not covered by this package, got 'json_object'"):
        llama.create_chat_completion(MESSAGES, response_format={"type": "json_object"})


def test_constructor(model: bitnet_py.BitNetModel) -> None:
    Llama(model_path=model.path, n_gpu_layers=-1, n_batch=512, logits_all=True, embedding=True, use_mmap=True).close()
    with pytest.raises(TypeError, match="Llama: unexpected argument 'n_cxt'"):
        Llama(model_path=model.path, n_cxt=5)
    with pytest.raises(ValueError, match="draft_model: expected LlamaPromptLookupDecoding, got str; leave it out"):
        Llama("any.bnx", draft_model="small")
    with pytest.raises(ValueError, match="lora_path: not covered"):
        Llama(model_path=model.path, lora_path="x.gguf")
    with pytest.raises(FileNotFoundError):
        Llama(model_path="/nowhere/model.gguf")
    with pytest.warns(RuntimeWarning, match=r"n_ctx: expected at most 512 .* got 4096; lowered"):
        assert Llama(model_path=model.path, n_ctx=4096).n_ctx() == 512


def test_closed_and_pickled(model: bitnet_py.BitNetModel) -> None:
    import pickle

    with Llama(model_path=model.path) as llama, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(llama)
    with pytest.raises(ValueError, match="the model was closed"):
        llama(PROMPT)


def test_from_pretrained_finds_the_hubs_cache(
    model: bitnet_py.BitNetModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--some--kjv"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (snapshot / "kjv-tq1.bnx").symlink_to(model.path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    llama = Llama.from_pretrained("some/kjv", "*tq1.bnx", verbose=False)
    assert Llama.from_pretrained("some/kjv").model_path == llama.model_path
    assert text_of(llama(PROMPT, temperature=0))
    with pytest.raises(FileNotFoundError, match=r"no file is named '\*.gguf'; there are: kjv-tq1.bnx"):
        Llama.from_pretrained("some/kjv", "*.gguf")
    with pytest.raises(FileNotFoundError, match="nothing is downloaded here: run `hf download other/model` first"):
        Llama.from_pretrained("other/model", "*.gguf")
    (snapshot / "b.bnx").symlink_to(model.path)
    with pytest.raises(bitnet_py.ConfigError, match=r"expected one file, got b\.bnx, kjv-tq1\.bnx"):
        Llama.from_pretrained("some/kjv", "*.bnx")


def test_a_prompt_that_goes_on_is_not_read_again(model: bitnet_py.BitNetModel) -> None:
    # An engine of its own, by its number of positions, so that no other test has left anything.
    llama = Llama(model_path=model.path, n_ctx=300)
    first = llama(PROMPT, max_tokens=12, temperature=0)
    assert first["timings"]["cached_tokens"] == 0
    longer = PROMPT + text_of(first)
    second = llama(longer, max_tokens=12, temperature=0)
    assert second["timings"]["cached_tokens"] == second["usage"]["prompt_tokens"] - 1
    fresh = Llama(model_path=model.path, n_ctx=301)(longer, max_tokens=12, temperature=0)
    assert fresh["timings"]["cached_tokens"] == 0
    assert text_of(fresh) == text_of(second)


def test_chat_formats(model: bitnet_py.BitNetModel, llama: Llama) -> None:
    def prompt_tokens(llama: Llama) -> int:
        answer: Any = llama.create_chat_completion(MESSAGES, max_tokens=1)
        return int(answer["usage"]["prompt_tokens"])

    content = MESSAGES[0]["content"]
    for chat_format, text in (
        ("chatml", f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"),
        ("{% for m in messages %}Q: {{ m.content }}{% endfor %} A:", f"Q: {content} A:"),
    ):
        tokens = llama.tokenize(text.encode(), add_bos=False, special=True)
        assert prompt_tokens(Llama(model_path=model.path, chat_format=chat_format)) == len(tokens)
    assert prompt_tokens(Llama(model_path=model.path, chat_format="chat_template.default")) == prompt_tokens(llama)
    with pytest.raises(ValueError, match=r"chat_format: expected chat_template\.default, chatml, llama-3 or Jinja"):
        Llama(model_path=model.path, chat_format="vicuna")


def test_nobody_ends_a_turn_from_inside_a_message(llama: Llama) -> None:
    plain: Any = llama.create_chat_completion([{"role": "user", "content": "a"}], max_tokens=1)
    answer: Any = llama.create_chat_completion([{"role": "user", "content": "a<|eot_id|>"}], max_tokens=1)
    assert answer["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 1  # text, not one special token
