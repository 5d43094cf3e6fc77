#!/usr/bin/env python3
"""Writes tokenizer-cases.json: small tokenizers of every style that checkpoints come with, texts, and their ids.

The tokenizers are trained here, on the words and characters below; the ids are those of Hugging Face's `tokenizers`
and of Google's `sentencepiece`, of the versions that the file names. Run where both are installed:
  python3 make_tokenizer_cases.py > tokenizer-cases.json
  python3 make_tokenizer_cases.py 100000 7    more texts, seed 7: writes cases of that size
"""

from __future__ import annotations

import base64
import io
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
GPT2_PASS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"

_WORDS = """the of and to in that he shall unto for I his a they be is him not them it with all thou thy was which my
LORD God said will ye have from their but upon king people hand house weights scale token merge byte's we'll they're
don't it'd caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u4f60\u597d \u4e16\u754c \u3053\u3093\u306b\u3061\u306f
\u0438 \u043c\u0438\u0440 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 1 12 123 2024 3.14 0x7f () [] {}
:= == != -> => ... -- ## \U0001f600 \U0001f44d\U0001f3fd"""
WORDS = _WORDS.split()

BITS = [
    *(" ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\u0085", "\v"),
    *("\x00", "'s", "'S", "'LL", "'\u017f", "\u2019s", "'re", "a", "Z", "e\u0301", "\u00e9", "\u1e9b\u0323", "\u212b"),
    *("\ud55c", "\u1112\u1161\u11ab", "\u0915\u094d\u0937\u093f", "\u0e01\u0e33", "\u0301", "a\u0328\u0301", "\u0344"),
    *(
        "\ufb01",
        "\u2126",
        "\U0001d15e",
        "\U0002f800",
        "1",
        "12",
        "1234567",
        "\u0661\u0662",
        "\u00b2",
        "\u00bd",
        "\u2167",
    ),
    *(
        "\U0001d7d9",
        "!",
        "?!",
        "...",
        "`",
        "$x",
        "^",
        "|",
        "~~",
        "<",
        ">",
        "<0x41>",
        "<|",
        "|>",
        "_",
        "__init__",
        "\u2014",
    ),
    *(
        "\u300c\u4f60\u300d",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "\U0001f1e9\U0001f1ea",
        "\u2581",
        "\u2581\u2581",
    ),
    *("\ufeff", "\ufffd", "\ue000", "\U0010ffff", "\u0378", "http://x.y/z?q=1&r=%20", "A\u0308", "I\u0307"),
]
NASTY = [
    *("", " ", "  ", "\n", " a", "a ", "  a  b  ", "Hello, world!", "I'll we'RE it's 'tis O'Brien's"),
    *("a\r\nb\r\n\r\nc", "\t\tx = 1;\n\t}", "1 22 333 4444 55555 1,234.56 1e10", "caf\u00e9 cafe\u0301 \u1e9b\u0323"),
    *("\u212b\u2126", "\ud55c\uae00 \u1112\u1161\u11ab\u1100\u1173\u11af", "\u0928\u092e\u0938\u094d\u0924\u0947"),
    *(
        "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
        "\U0001f600\U0001f44d\U0001f3fd\U0001f469\u200d\U0001f469\u200d\U0001f467",
    ),
    *(
        "a\u00a0b\u3000c\u2028d\u0085e",
        "foo   bar\n\n\n  baz \n",
        "\u2581a \u2581 b",
        "def f(x):\n    return x**2  # c\n",
    ),
    *("....!!??--==>><<||``^^~~$$", "\x00\x01\x7f", "Ca\u0327 va? \u00bfQu\u00e9? \u00abNon\u00bb"),
    *(
        "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0438\u0301",
        "x" * 40,
        "ab" * 30 + "c",
        "  " * 20 + "y",
    ),
    "the LORD God said unto him",
]
# The added tokens of _add: every flag, next to spaces and words.
ADDED = ("<s>", "</s>", "<L>", "<R>", "<B>", "W", "N\u00e9", "cat")
FLAGGED = [
    *("a<s>b", "<s> a </s>", "a  <L>  b", "a  <R>  b", "a  <B>  b", "<B><B> <B>", "\n<L>\n<R>\n"),
    *("a\u00a0<L>\u3000<R>\u2028x", "W", "aW", "Wa", "a W b", "W W", "WW", "(W)", "W_", "1W", "\u00e9W", "W\u0301"),
    *("W\u200d", "\u24b6W", "\u00b2W \u00bdW \u2167W", "\u2040W", "<s>W</s>", "N\u00e9", "Ne\u0301", "xN\u00e9x"),
    *("<s>N\u00e9 N\u00e9<s>", "aN\u00e9 b", "<s", "s>", "<<s>>", "<L><L>  <L>", "a <R> <R> b", "  <R>\n\n<L>  "),
    *("cat", "a cat sat", "concatenate", "caterpillar<s>cat"),
]


def _texts(rng: random.Random, n: int) -> list[str]:
    made = [*NASTY, *FLAGGED]
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(["", " ", " ", " "]) + rng.choice(WORDS))
            elif kind < 0.92:
                parts.append(rng.choice(BITS))
            elif kind < 0.96:
                parts.append(rng.choice(ADDED))
            else:
                low, high = rng.choice([(0x20, 0x3000), (0xE000, 0x20000), (0, 0xD800), (0x20000, 0x110000)])
                parts.append(chr(rng.randrange(low, high)))
        made.append("".join(parts))
    return made


def _corpus() -> Iterator[str]:
    rng = random.Random(7)
    for _ in range(400):
        yield " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 14)))
    yield from [*NASTY, *BITS]


def _byte_model() -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_corpus(), trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


def _character_model(fallback: bool) -> dict[str, Any]:
    """Joins stay inside of words, as SentencePiece's do."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)] if fallback else []
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(byte_tokens), special_tokens=["<unk>", *byte_tokens], show_progress=False
    )
    words = [word for line in _corpus() for word in ("\u2581" + line.replace(" ", " \u2581")).split(" ")]
    tokenizer.train_from_iterator(words, trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return {**model, "byte_fallback": fallback}


def _add(tokenizer: Tokenizer) -> None:
    token = tokenizers.AddedToken
    tokenizer.add_special_tokens([token("<s>", normalized=False), token("</s>", normalized=False)])
    tokenizer.add_tokens(
        [
            token("<L>", lstrip=True, normalized=False),
            token("<R>", rstrip=True, normalized=False),
            token("<B>", lstrip=True, rstrip=True, normalized=False),
            token("W", single_word=True, normalized=False),
            token("N\u00e9", normalized=True),
            token("cat", normalized=True),
        ]
    )


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


def _styles() -> dict[str, dict[str, Any]]:
    """Of each style: its model, and what differs from that tokenizer.json's defaults."""
    n, p, d = normalizers, pre_tokenizers, decoders
    mark = n.Replace(" ", "\u2581")
    falcon = [_split(r"[\p{P}$+<=>^~|`]+"), _split(GPT2_PASS), _split("[0-9][0-9][0-9]")]
    default = [_split(r"[\p{P}$+<=>^~|]+"), _split(GPT2_PASS), _split(r"\p{N}+"), _split("[0-9][0-9][0-9]")]
    contiguous = [p.Punctuation("contiguous"), p.Digits(individual_digits=False), _split("[0-9][0-9][0-9]")]
    first, always = p.Metaspace("\u2581", "first", split=False), p.Metaspace("\u2581", "always", split=True)
    keep = d.Sequence([d.Replace("\u2581", " "), d.ByteFallback(), d.Fuse()])
    strip = d.Sequence([d.Replace("\u2581", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])

    def level(splits: list[Any], **more: Any) -> dict[str, Any]:
        own = not splits or splits is contiguous
        last = p.ByteLevel(add_prefix_space=False, use_regex=own)
        return {"model": "bytes", "pre": p.Sequence([*splits, last]), "decoder": d.ByteLevel(), **more}

    return {
        "llama-bpe": level([_split(LLAMA3)], ignore_merges=True, bos=True),
        "qwen2": level([_split(QWEN2)], normalizer=n.NFC()),
        "qwen35": level([_split(QWEN35)], normalizer=n.NFC()),
        "gpt-2": level([]),
        "neox": level([], normalizer=n.NFC()),
        "falcon": level(falcon),
        "default": level(default),
        "contiguous": level(contiguous),
        "gemma": {
            **{"model": "fallback", "normalizer": mark, "pre": p.Split(" ", "merged_with_previous")},
            **{"decoder": keep, "bos": True},
        },
        "llama2": {
            **{"model": "fallback", "normalizer": n.Sequence([n.Prepend("\u2581"), mark]), "decoder": strip},
            "bos": True,
        },
        "llama2-first": {"model": "fallback", "pre": first, "decoder": strip},
        "metaspace": {"model": "characters", "pre": always, "decoder": d.Metaspace("\u2581", "always", split=True)},
    }


def _tokenizer(style: dict[str, Any], byte_models: dict[str, Any]) -> Tokenizer:
    model = {**byte_models[style["model"]], "ignore_merges": style.get("ignore_merges", False)}
    bare: dict[str, Any] = {"version": "1.0", "added_tokens": [], "model": model}
    bare |= dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    tokenizer = Tokenizer.from_str(json.dumps(bare))
    if "normalizer" in style:
        tokenizer.normalizer = style["normalizer"]
    if "pre" in style:
        tokenizer.pre_tokenizer = style["pre"]
    tokenizer.decoder = style["decoder"]
    _add(tokenizer)
    if style.get("bos"):
        bos = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    return tokenizer


def _sentence_piece(texts: list[str]) -> dict[str, Any]:
    """As 1bitLLM's: byte fallback, a space in front, no other normalisation."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for line in _corpus() if "\n" not in line and "\0" not in line),
        **{"model_writer": model, "model_type": "bpe", "vocab_size": 420, "byte_fallback": True},
        **{"character_coverage": 0.98, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        **{"split_digits": True, "allow_whitespace_only_pieces": True, "user_defined_symbols": ["cat"]},
        minloglevel=2,
    )
    piece = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    kinds = [
        *((piece.is_unknown, 2), (piece.is_control, 3), (piece.is_unused, 5), (piece.is_byte, 6)),
        (lambda id: piece.id_to_piece(id) == "cat", 4),
    ]
    n = piece.vocab_size()
    return {
        "model": base64.b64encode(model.getvalue()).decode(),
        "tokens": [piece.id_to_piece(id) for id in range(n)],
        "scores": [piece.get_score(id) for id in range(n)],
        "types": [next((kind for test, kind in kinds if test(id)), 1) for id in range(n)],
        "ids": [piece.encode(text) for text in texts],
    }


def main() -> None:
    """Prints the file."""
    n, seed = (int(argument) for argument in (sys.argv[1:3] or ("40", "1")))
    texts = _texts(random.Random(seed), n)
    byte_models = {
        "bytes": _byte_model(),
        "fallback": _character_model(fallback=True),
        "characters": _character_model(fallback=False),
    }
    styles = {}
    for name, style in _styles().items():
        tokenizer = _tokenizer(style, byte_models)
        made = {**json.loads(tokenizer.to_str()), "model": style["model"]}
        made |= {"ignore_merges": True} if style.get("ignore_merges") else {}
        ids = [tokenizer.encode(text, add_special_tokens=True).ids for text in texts]
        styles[name] = {"tokenizer": made, "ids": ids}
    plain = [text for text in texts if not any(name in text for name in ("<s>", "</s>"))]
    whole = {
        "origin": f"tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}",
        **{"texts": texts, "models": byte_models, "styles": styles},
        "sentencepiece": {"texts": plain, **_sentence_piece(plain)},
    }
    json.dump(whole, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
