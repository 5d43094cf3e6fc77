"""Text of tokens for models without a tokenizer: the same rules as the runtime's."""

import json
from pathlib import Path

import pytest

from bitnet_py import _runtime
from bitnet_py.detokenizer import Detokenizer


@pytest.fixture(scope="module")
def llama3(shared_data: Path) -> _runtime.Tokenizer:
    return _runtime.Tokenizer(str(shared_data / "tokenizer" / "llama3.tokenizer.model"))


def pieces(llama3: _runtime.Tokenizer, tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], str | None]:
    detokenizer, texts = Detokenizer(llama3, stop), []
    for i, token in enumerate(tokens):
        text, finish = detokenizer.event(token, "length" if i + 1 == len(tokens) else None)
        texts.append(text)
        if finish:
            return texts, finish
    return texts, None


@pytest.mark.case(47)
def test_beginnings_of_the_family_emoji_never_split_a_character(llama3: _runtime.Tokenizer, shared_data: Path) -> None:
    cases = json.loads((shared_data / "tokenizer" / "llama3-cases.json").read_text())["decode"]
    family = [case for case in cases if "family" in case.get("note", "")]
    assert len(family) > 5
    for case in family:
        texts, _ = pieces(llama3, case["tokens"])
        assert "".join(texts) == case["text"]
        assert not any("\ufffd" in text for text in texts[:-1])


def test_text_of_tokens_is_what_decode_gives(llama3: _runtime.Tokenizer, shared_data: Path) -> None:
    cases = json.loads((shared_data / "tokenizer" / "llama3-cases.json").read_text())["decode"]
    checked = 0
    for case in cases:
        if not case.get("tokens") or "error" in case or any(not 0 <= token < 128256 for token in case["tokens"]):
            continue
        assert "".join(pieces(llama3, case["tokens"])[0]) == llama3.decode(case["tokens"], keep_special=False), case
        checked += 1
    assert checked > 40


def test_stop_text_over_several_tokens_is_held_back_and_left_out(llama3: _runtime.Tokenizer) -> None:
    tokens = llama3.encode("one two three four", False, False)
    texts, finish = pieces(llama3, tokens, (" three", "never"))
    assert ("".join(texts), finish) == ("one two", "stop")
    texts, finish = pieces(llama3, tokens, ("o three", "w"))  # the first in the text counts
    assert ("".join(texts), finish) == ("one t", "stop")
    texts, finish = pieces(llama3, tokens, ("four!", "fours"))  # held back to the end, and no stop after all
    assert (texts[-1], "".join(texts), finish) == (" four", "one two three four", "length")


def test_special_tokens_are_no_text(llama3: _runtime.Tokenizer) -> None:
    hello = llama3.encode("Hello", False, False)
    assert "".join(pieces(llama3, [128000, *hello, 128009, *hello])[0]) == "HelloHello"
    assert Detokenizer(llama3, ()).event(hello[0], "stop") == ("", "stop")
