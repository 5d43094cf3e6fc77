# What binding/ defines.
from collections.abc import Sequence
from typing import TypedDict

version: str

class Info(TypedDict):
    name: str
    family: str
    cpu: str
    head: str
    layers: int
    width: int
    ffn_width: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    max_rows: int
    bos: int
    eos: int
    ternary_weights: int
    file_bytes: int
    weight_bytes: int
    bytes_per_token: int
    kv_bytes_per_token: int

class Timings(TypedDict):
    prompt_tokens: int
    generated_tokens: int
    prompt_seconds: float
    generation_seconds: float

class Tokenizer:
    def __init__(self, path: str) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...
    @property
    def pad(self) -> int: ...
    def encode(self, text: str, add_special: bool, parse_special: bool) -> list[int]: ...
    def decode(self, tokens: Sequence[int], keep_special: bool) -> str: ...
    def token_bytes(self, token: int) -> tuple[bytes, bool]: ...
    def stop_tokens(self) -> list[int]: ...
    def special_tokens(self) -> dict[str, int]: ...

class Model:
    def __init__(self, path: str, cpu: str | None = None) -> None: ...
    def info(self) -> Info: ...
    def describe(self) -> str: ...
    def tokenizer(self) -> Tokenizer | None: ...
    def chat_template(self) -> str | None: ...
    def render_chat(self, messages: list[tuple[str, str]], open_answer: bool) -> str: ...

class Generation:
    def __init__(
        self,
        model: Model,
        prompt: list[int],
        context: int,
        threads: int,
        max_tokens: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        repetition_window: int,
        seed: int,
        ignore_eos: bool,
        stop: list[str],
    ) -> None: ...
    def next(self) -> tuple[int, str, str | None]: ...
    def cancel(self) -> None: ...
    def timings(self) -> Timings: ...
