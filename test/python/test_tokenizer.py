"""The tokenizer and the original's chat format, against what the original gives on Llama 3's rank file.

The numbers of `case` are those of the list of behaviours that the package promises.
"""

import array
import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

import bitnet_py
from bitnet_py import ChatFormat, Message, Tokenizer


@pytest.fixture(scope="module")
def ranks(shared_data: Path) -> Path:
    return shared_data / "tokenizer" / "llama3.tokenizer.model"


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> Any:
    return json.loads((shared_data / "tokenizer" / "llama3-cases.json").read_text())


@pytest.fixture(scope="module")
def llama(ranks: Path) -> Tokenizer:
    return Tokenizer(str(ranks))


@pytest.fixture(scope="module")
def chat(llama: Tokenizer) -> ChatFormat:
    return ChatFormat(llama)


def plain(llama: Tokenizer, text: str, **how: Any) -> list[int]:
    return llama.encode(text, bos=False, eos=False, **how)


EOT = "<|eot_id|>"


@pytest.mark.case(1)
def test_attributes(llama: Tokenizer, cases: Any) -> None:
    assert (llama.n_words, llama.bos_id, llama.eos_id, llama.pad_id) == (128256, 128000, 128001, 128255)
    assert type(llama.stop_tokens) is set
    assert llama.stop_tokens == {128001, 128009}
    assert llama.eot_id == 128009
    assert llama.special_tokens == cases["special_tokens"]
    assert list(llama.special_tokens) == sorted(llama.special_tokens, key=llama.special_tokens.__getitem__)
    assert len(llama.special_tokens) == Tokenizer.num_reserved_special_tokens == 256
    assert llama.special_tokens["<|reserved_special_token_250|>"] == 128255
    assert llama.special_tokens["<|reserved_special_token_4|>"] == 128008
    assert (llama.model.name, llama.model.n_vocab) == ("llama3.tokenizer.model", 128256)
    assert r"\p{N}{1,3}" in Tokenizer.pat_str


@pytest.mark.case(2)
def test_encode(llama: Tokenizer) -> None:
    assert plain(llama, "Hello, my name is") == [9906, 11, 856, 836, 374]
    assert llama.encode("Hello, my name is", bos=True, eos=True) == [128000, 9906, 11, 856, 836, 374, 128001]
    assert llama.encode("", bos=True, eos=True) == [128000, 128001]
    assert plain(llama, "   ") == [262]
    assert llama.encode("Hello") == [128000, 9906]
    assert llama.encode("Hello", False, True) == [9906, 128001]
    assert llama.encode("Hello", bos=1, eos=[]) == [128000, 9906]  # type: ignore[arg-type]


@pytest.mark.case(3)
def test_allowed_special_tokens(llama: Tokenizer) -> None:
    assert plain(llama, f"a{EOT}b") == [64, 27, 91, 68, 354, 851, 91, 29, 65]
    assert plain(llama, f"a{EOT}b", allowed_special="all") == [64, 128009, 65]
    assert plain(llama, f"a{EOT}b", allowed_special={EOT}) == [64, 128009, 65]
    assert plain(llama, "a<|begin_of_text|>b", allowed_special={EOT}) == [64, 27, 91, 7413, 3659, 4424, 91, 29, 65]


@pytest.mark.case(4)
def test_disallowed_special_tokens(llama: Tokenizer) -> None:
    with pytest.raises(ValueError, match="disallowed special token") as error:
        plain(llama, f"a{EOT}b", disallowed_special="all")
    first = f"Encountered text corresponding to disallowed special token '{EOT}'."
    assert str(error.value).splitlines()[0] == first
    assert isinstance(error.value, bitnet_py.BitNetError)
    assert plain(llama, f"a{EOT}b", allowed_special={EOT}, disallowed_special="all") == [64, 128009, 65]
    with pytest.raises(ValueError, match="disallowed special token"):
        plain(llama, f"a{EOT}b", allowed_special={EOT}, disallowed_special=(EOT,))


@pytest.mark.case(5)
def test_any_text_may_be_disallowed(llama: Tokenizer) -> None:
    with pytest.raises(ValueError, match="disallowed special token 'b'"):
        plain(llama, "abc", disallowed_special=("b",))
    with pytest.raises(ValueError, match="disallowed special token 'b'"):
        plain(llama, "abc", disallowed_special="xyb")
    assert plain(llama, "abc", disallowed_special=None) == plain(llama, "abc")


@pytest.mark.case(6)
@pytest.mark.parametrize("wrong", [[EOT], (EOT,), {EOT: 1}, None, EOT, {1}], ids=repr)
def test_allowed_special_takes_sets_only(llama: Tokenizer, wrong: Any) -> None:
    with pytest.raises(TypeError, match="allowed_special: expected a set of str") as error:
        plain(llama, "x", allowed_special=wrong)
    assert isinstance(error.value, bitnet_py.BitNetError)
    assert plain(llama, EOT, allowed_special=frozenset([EOT])) == [128009]


@pytest.mark.case(7)
def test_encode_takes_str_only(llama: Tokenizer) -> None:
    class Text(str):
        __slots__ = ()

    for wrong in (b"x", None, 5, Text("x")):
        with pytest.raises(AssertionError, match="encode: expected a str, got") as error:
            llama.encode(wrong, bos=False, eos=False)  # type: ignore[arg-type]
        assert isinstance(error.value, TypeError)
        assert isinstance(error.value, bitnet_py.TokenizerTypeError)


@pytest.mark.case(8)
def test_surrogates(llama: Tokenizer) -> None:
    assert plain(llama, "\ud800") == [5809]
    assert plain(llama, "\ud83d\ude00") == plain(llama, "😀")
    assert llama.decode(plain(llama, "\ud83d\ude00")) == "😀"


@pytest.mark.case(9)
def test_decode(llama: Tokenizer) -> None:
    assert llama.decode([]) == ""
    assert llama.decode((9906, 11)) == "Hello,"
    assert llama.decode(range(5)) == '!"#$%'
    assert llama.decode([128000, 9906, 128001]) == "<|begin_of_text|>Hello<|end_of_text|>"
    assert llama.decode([128000, 9906, 128001], keep_special=False) == "Hello"
    assert llama.decode(array.array("I", [9906])) == "Hello"
    assert llama.decode(bytes([0, 1])) == '!"'
    assert llama.decode([True, False]) == '"!'
    assert llama.decode([250]) == "\ufffd"


def test_decode_takes_arrays(llama: Tokenizer) -> None:
    numpy = pytest.importorskip("numpy")
    assert llama.decode(numpy.array([9906, 11])) == "Hello,"
    assert llama.decode([numpy.int32(9906), numpy.uint64(11)]) == "Hello,"
    with pytest.raises(TypeError):
        llama.decode(numpy.array([1.5]))


@pytest.mark.case(10)
def test_decode_refuses(llama: Tokenizer) -> None:
    for unknown in ([128256], [9906, 2**32 - 1], [2**31]):
        with pytest.raises(KeyError) as error:
            llama.decode(unknown)
        assert error.value.args == (f"Invalid token for decoding: {unknown[-1]}",)
        assert str(error.value) == error.value.args[0]
    for outside in ([-1], [2**32], [9906, 2**70]):
        with pytest.raises(OverflowError):
            llama.decode(outside)
    wrong: list[Any] = [[1.5], ["a"], [None], iter([1]), {1}, "ab", 5, None]
    for tokens in wrong:
        with pytest.raises(TypeError) as type_error:
            llama.decode(tokens)
        assert isinstance(type_error.value, bitnet_py.BitNetError)


@pytest.mark.case(11)
def test_missing_file() -> None:
    with pytest.raises(AssertionError) as error:
        Tokenizer("/nope")
    assert error.value.args == ("/nope",)
    assert isinstance(error.value, FileNotFoundError)
    assert isinstance(error.value, bitnet_py.BitNetError)
    assert str(error.value) == "/nope: expected a tokenizer or model file, found none"


def test_malformed_line(tmp_path: Path) -> None:
    path = tmp_path / "ranks.model"
    path.write_text("YQ== 0\nYg== one\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}: line 2: expected 'base64 rank', got 'Yg== one'")) as error:
        Tokenizer(path)
    assert isinstance(error.value, bitnet_py.TokenizerFormatError)


@pytest.mark.case(12)
def test_long_texts_are_cut(llama: Tokenizer, cases: Any) -> None:
    assert plain(llama, "a" * 25_001) == plain(llama, "a" * 25_000) + plain(llama, "a")
    assert len(plain(llama, "a" * 25_001)) == 3126
    newlines = plain(llama, "\n" * 25_001)
    assert len(newlines) == 783
    assert newlines != llama.model.encode("\n" * 25_001)
    assert len(plain(llama, "1" * 30_000)) == 10_001
    for case in cases["encode_long"]:
        tokens = plain(llama, "".join(text * times for text, times in case["parts"]))
        assert len(tokens) == case["n_tokens"], case["id"]
        assert (tokens[: len(case["head"])], tokens[-len(case["tail"]) :]) == (case["head"], case["tail"]), case["id"]
        assert hashlib.sha256(",".join(map(str, tokens)).encode()).hexdigest() == case["tokens_sha256"], case["id"]


@pytest.mark.case(12)
def test_a_run_is_cut_wherever_it_starts(llama: Tokenizer) -> None:
    """What the original's loop over all characters does, next to what decides it here without looking at them all."""

    def cut(s: str, limit: int = 25_000) -> list[str]:
        parts, start, length, space = [], 0, 0, s[:1].isspace()
        for at, character in enumerate(s):
            if character.isspace() is space:
                length += 1
                if length > limit:
                    parts.append(s[start:at])
                    start, length = at, 1
            else:
                length, space = 1, not space
        return [*parts, s[start:]]

    from bitnet_py.tokenizer import _parts

    for before in (0, 1, 2, 9_999, 24_999, 25_000, 25_001):
        for run in (24_999, 25_000, 25_001, 50_000, 50_001, 60_001):
            for text in ("\x1c" * before + "x" * run + " ", "ab " * (before // 3) + "\t" * run + "yz"):
                assert list(_parts(text)) == cut(text), (before, run)


@pytest.mark.case(13)
def test_loading_logs_and_prints_nothing(
    ranks: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        Tokenizer(str(ranks))
    records = [record for record in caplog.records if record.name == "bitnet_py.tokenizer"]
    assert [record.levelno for record in records] == [logging.INFO] * 2
    assert str(ranks) in records[0].getMessage()
    assert records[1].getMessage() == "#words: 128256 - BOS ID: 128000 - EOS ID: 128001"
    assert capsys.readouterr() == ("", "")


@pytest.mark.case(14)
def test_every_text_of_the_original(llama: Tokenizer, cases: Any) -> None:
    for case in cases["encode"]:
        how: dict[str, Any] = {}
        for name in ("allowed_special", "disallowed_special"):
            if name in case:
                how[name] = case[name] if case[name] == "all" else set(case[name])
        if "error" in case:
            with pytest.raises(ValueError, match="disallowed special token") as error:
                llama.encode(case["text"], bos=case["bos"], eos=case["eos"], **how)
            assert case["error"] == "ValueError"
            assert str(error.value).splitlines()[0] == case["message_first_line"], case["id"]
            continue
        assert llama.encode(case["text"], bos=case["bos"], eos=case["eos"], **how) == case["tokens"], case["id"]
        tokens = plain(llama, case["text"])
        assert llama.decode(tokens) == case.get("decoded", case["text"]), case["id"]


@pytest.mark.case(9)
@pytest.mark.case(10)
def test_every_decoding_of_the_original(llama: Tokenizer, cases: Any) -> None:
    for case in cases["decode"]:
        if "error" in case:
            with pytest.raises(Exception) as error:  # noqa: PT011 (the case names its type)
                llama.decode(case["tokens"])
            assert case["error"] in [base.__name__ for base in type(error.value).__mro__], case
            if case["error"] == "KeyError":
                assert str(error.value) == case["message"].strip("'\"")
        else:
            assert llama.decode(case["tokens"]) == case["text"], case
            assert llama.model.decode_bytes(case["tokens"]).hex() == case["bytes_hex"], case


def test_encoding_is_shaped_like_tiktokens(llama: Tokenizer) -> None:
    encoding = llama.model
    assert encoding.encode("Hello") == encoding.encode_ordinary("Hello") == [9906]
    with pytest.raises(ValueError, match="disallowed special token"):
        encoding.encode(EOT)
    assert encoding.decode([9906]) == "Hello"
    with pytest.raises(UnicodeDecodeError):
        encoding.decode([250], errors="strict")
    assert encoding.decode_single_token_bytes(9906) == b"Hello"
    assert encoding.decode_tokens_bytes([9906, 128009]) == [b"Hello", EOT.encode()]
    assert encoding.encode_single_token("Hello") == encoding.encode_single_token(b"Hello") == 9906
    assert encoding.encode_single_token(EOT) == 128009
    with pytest.raises(KeyError):
        encoding.encode_single_token("Hello, my name")
    assert encoding.eot_token == 128001
    assert encoding.max_token_value == 128255
    assert len(encoding.token_byte_values()) == 128000
    assert encoding.special_tokens_set == set(llama.special_tokens)


# -- other vocabularies and files


def test_a_models_own(model: bitnet_py.BitNetModel, tmp_path: Path) -> None:
    own = Tokenizer(model)
    alone = bitnet_py.create_tokenizer(model.path)
    assert (own.bos_id, own.eos_id, own.eot_id, own.n_words) == (4080, 4081, 4089, model.info()["vocab"])
    assert own.stop_tokens == {4081, 4089}
    text = "And God said, Let there be light"
    tokens = own.encode(text)
    assert tokens == [4080, *plain(own, text)] == alone.encode(text)
    assert own.encode(text, eos=True) == [*tokens, 4081]
    assert own.decode(tokens) == "<|begin_of_text|>" + text == alone.decode(tokens)
    assert own.decode(tokens, keep_special=False) == text
    assert own.special_tokens == alone.special_tokens
    assert ChatFormat(own).encode_message(Message("user", "Hi"))[0][-1] == 4089
    assert ChatFormat(own).decode([4089]) == ""
    copy = tmp_path / "another name"
    copy.write_bytes(model.path.read_bytes())
    assert Tokenizer(copy).encode(text) == tokens, "what it is decides, not what it is called"


def test_a_checkpoints(checkpoint: Path, model: bitnet_py.BitNetModel, tmp_path: Path) -> None:
    """bitnetc converts what the runtime does not read."""
    own = Tokenizer(checkpoint, cache_dir=tmp_path)
    assert own.encode("In the beginning") == Tokenizer(model).encode("In the beginning")
    assert [file.suffix for file in tmp_path.iterdir() if file.name.startswith("kjv")] == [".tokenizer"]


def test_tokenizer_json(shared_data: Path, model: bitnet_py.BitNetModel, tmp_path: Path) -> None:
    folder = shared_data / "kjv" / "hf-bf16"
    for source in (folder, folder / "tokenizer.json"):
        tokenizer = Tokenizer(source, cache_dir=tmp_path)
        assert tokenizer.encode("In the beginning") == Tokenizer(model).encode("In the beginning")
        assert tokenizer.stop_tokens == Tokenizer(model).stop_tokens


def test_a_folders(ranks: Path, llama: Tokenizer, tmp_path: Path) -> None:
    """The original's folder: ranks beside .pt files, read without a compiler."""
    (tmp_path / "tokenizer.model").symlink_to(ranks)
    assert Tokenizer(tmp_path).encode("Hello, my name is") == llama.encode("Hello, my name is")


def test_without_a_compiler(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITNETC", str(tmp_path / "none"))
    with pytest.raises(bitnet_py.CompilerNotFoundError):
        Tokenizer(checkpoint, cache_dir=tmp_path)


def test_create_tokenizer(ranks: Path, llama: Tokenizer) -> None:
    chat = bitnet_py.create_tokenizer(ranks, chat_format=True)
    assert isinstance(chat, ChatFormat)
    assert isinstance(chat.tokenizer, Tokenizer)
    assert isinstance(bitnet_py.create_tokenizer(str(ranks)), Tokenizer)


# -- chat


@pytest.mark.case(15)
def test_headers(chat: ChatFormat, cases: Any) -> None:
    for case in cases["chat_headers"]:
        assert chat.encode_header({"role": case["role"], "content": ""}) == case["tokens"]
    assert chat.encode_header(Message("system", "")) == [2374, 25, 220]
    for role in ("tool", "User", ""):
        with pytest.raises(NotImplementedError) as error:
            chat.encode_header({"role": role, "content": ""})
        assert str(error.value) == f"Role {role} not implemented."
        assert isinstance(error.value, bitnet_py.BitNetError)
    for message, key in (({}, "role"), ({"role": "user"}, "content")):
        with pytest.raises(KeyError) as missing:
            chat.encode_message(message)
        assert missing.value.args == (key,)


@pytest.mark.case(16)
def test_messages(chat: ChatFormat) -> None:
    message = {"role": "user", "content": "  Hi there \n"}
    tokens = [1502, 25, 220, 13347, 1070, 128009]
    assert chat.encode_message(message) == (tokens, None)
    assert chat.encode_message(message, return_target=True) == (tokens, [-1] * 6)
    tokens = [72803, 25, 220, 13347, 1070, 128009]
    assert chat.encode_message({**message, "role": "assistant"}, True) == (tokens, [-1, -1, -1, 13347, 1070, 128009])
    with pytest.raises(TypeError, match="message: content: expected a str, got NoneType"):
        chat.encode_message({"role": "user", "content": None})


@pytest.mark.case(17)
@pytest.mark.case(18)
def test_dialog_prompts(chat: ChatFormat) -> None:
    dialog = [{"role": "user", "content": "What is AI?"}]
    opened = [128000, 1502, 25, 220, 3923, 374, 15592, 30, 128009, 72803, 25, 220]
    assert chat.encode_dialog_prompt(dialog, completion=True) == opened
    assert chat.encode_dialog_prompt([]) == [128000]
    assert chat.encode_dialog_prompt([], completion=True) == [128000, 72803, 25, 220]
    assert chat.encode_dialog_prompt([], True, True) == ([128000, 72803, 25, 220], [-1])


@pytest.mark.case(19)
def test_every_dialog_of_the_original(chat: ChatFormat, cases: Any) -> None:
    dialog = [Message("system", "S"), Message("user", "U"), Message("assistant", "A")]
    turns = [[2374, 25, 220, 50], [1502, 25, 220, 52], [72803, 25, 220, 32]]
    tokens = [128000, *(token for turn in turns for token in [*turn, 128009]), 72803, 25, 220]
    assert chat.encode_dialog_prompt(dialog, True, True) == (tokens, [-1] * 14 + [32, 128009])
    for case in cases["chat_dialogs"]:
        if "error" in case:
            with pytest.raises((NotImplementedError, KeyError)) as error:
                chat.encode_dialog_prompt(case["dialog"], case["completion"], case["return_target"])
            assert case["error"] in [base.__name__ for base in type(error.value).__mro__], case
            assert str(error.value.args[0]) == case["message"].strip("'"), case
            continue
        expected = (case["tokens"], case["targets"]) if case["return_target"] else case["tokens"]
        got: Any = chat.encode_dialog_prompt(case["dialog"], case["completion"], case["return_target"])
        assert got == expected, case


@pytest.mark.case(20)
def test_chat_decode(chat: ChatFormat, cases: Any) -> None:
    assert chat.decode([9906, 128009, 11, 128009]) == "Hello,"
    assert chat.decode([128000, 9906, 128001]) == "<|begin_of_text|>Hello<|end_of_text|>"
    for case in cases["chat_decode"]:
        assert chat.decode(case["tokens"]) == case["text"]


@pytest.mark.case(21)
def test_message_is_a_dictionary_with_attributes(chat: ChatFormat) -> None:
    message = Message(role="user", content="x")
    assert message == {"role": "user", "content": "x"} == Message("user", "x")
    assert isinstance(message, dict)
    assert (message.role, message.content) == ("user", "x")

    class Turn:
        role, content = "user", "x"

    assert chat.encode_dialog_prompt([Turn(), message, dict(message)])[1:] == chat.encode_message(message)[0] * 3
    assert chat.eot_id == 128009
    assert chat.encode_message(Message("user", EOT))[0].count(128009) == 1, "a user cannot end his turn"


def test_tokenizers_of_every_style(tmp_path: Path) -> None:
    """The same reference ids as the importer's test has, through bitnetc and the Python package."""
    try:
        bitnet_py.checkpoints.find_compiler()
    except bitnet_py.CompilerNotFoundError:
        pytest.skip("bitnetc is not built")
    cases = json.loads((Path(__file__).parents[1] / "data" / "tokenizer-cases.json").read_text())
    for name, style in cases["styles"].items():
        made = style["tokenizer"]
        made["model"] = {**cases["models"][made["model"]], "ignore_merges": made.pop("ignore_merges", False)}
        path = tmp_path / name / "tokenizer.json"
        path.parent.mkdir()
        path.write_text(json.dumps(made))
        tokenizer = Tokenizer(path, cache_dir=tmp_path / "cache")
        for text, ids in zip(cases["texts"], style["ids"], strict=True):
            got = tokenizer.encode(text, bos=tokenizer.bos_id >= 0, allowed_special="all")
            assert got == ids, (name, text)
