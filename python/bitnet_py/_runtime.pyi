# What binding/ defines.
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypedDict, type_check_only

from typing_extensions import Buffer, Never

# (token or -1, text, finish or None)
_Event: TypeAlias = tuple[int, str, str | None]

version: str

class _pybind11_type(type): ...

@type_check_only
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
    kv: str

@type_check_only
class Timings(TypedDict):
    prompt_tokens: int
    generated_tokens: int
    prompt_seconds: float
    generation_seconds: float
    cached_tokens: int
    drafted_tokens: int
    accepted_tokens: int

class Tokenizer(metaclass=_pybind11_type):
    def __init__(self, path: str) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...
    @property
    def pad(self) -> int: ...
    def encode(self, text: str, add_special: bool, parse_special: bool, continues: bool = False) -> list[int]: ...
    def decode(self, tokens: Sequence[int], keep_special: bool) -> str: ...
    def token_bytes(self, token: int) -> tuple[bytes, bool]: ...
    def stop_tokens(self) -> list[int]: ...
    def special_tokens(self) -> dict[str, int]: ...

class Model(metaclass=_pybind11_type):
    def __init__(self, path: str, cpu: str | None = None) -> None: ...
    def info(self) -> Info: ...
    def describe(self) -> str: ...
    def tokenizer(self) -> Tokenizer | None: ...
    def chat_template(self) -> str | None: ...
    def render_chat(self, messages: list[tuple[str, str]], open_answer: bool) -> str: ...

class Floats(Buffer):
    def __init__(self, *_: Never, **__: Never) -> None: ...  # made by the classes below only
    @property
    def shape(self) -> tuple[int, int]: ...
    def tolist(self) -> list[list[float]]: ...

class Session(metaclass=_pybind11_type):
    def __init__(self, model: Model, context: int = 0, threads: int = 0, sequences: int = 1) -> None: ...
    @property
    def context(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def forward(self, tokens: Sequence[int], logits: str = "last", sequence: int = 0) -> Floats: ...
    def embed(self, tokens: Sequence[int], sequence: int = 0) -> Floats: ...
    def embed_last(self, texts: Sequence[Sequence[int]]) -> Floats: ...
    def length(self, sequence: int = 0) -> int: ...
    def truncate(self, length: int, sequence: int = 0) -> None: ...

class Engine(metaclass=_pybind11_type):
    def __init__(self, model: Model, context: int = 0, threads: int = 0) -> None: ...
    @property
    def context(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int = 0,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        repetition_window: int = 64,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        seed: int = 0,
        logit_bias: Mapping[int, float] | None = None,
        stop: Sequence[str] = [],
        stop_tokens: Sequence[int] | None = None,
        ignore_eos: bool = False,
        reuse_prefix: bool = False,
        all_logits: bool = False,
        speculate: int = 0,
    ) -> Generation: ...

class Generation(metaclass=_pybind11_type):
    def __init__(self, *_: Never, **__: Never) -> None: ...  # made by Engine.generate only
    def next(self, logits_processor: Callable[[memoryview], object] | None = None) -> _Event: ...
    def cancel(self) -> None: ...
    def timings(self) -> Timings: ...
    def logprobs(self, n: int) -> tuple[float, list[tuple[int, float]]]: ...
    def logits(self) -> Floats: ...

class Sampler(metaclass=_pybind11_type):
    def __init__(
        self,
        vocab: int,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        repetition_window: int = 64,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        seed: int = 0,
    ) -> None: ...
    def sample(self, logits: Buffer) -> int: ...
    def accept(self, token: int, drawn: bool = False) -> None: ...

def logprobs(logits: Buffer, token: int, n: int) -> tuple[float, list[tuple[int, float]]]: ...
def advance(generations: Sequence[Generation]) -> list[_Event | None]: ...
def cpu_features() -> list[str]: ...
def cpu_variant() -> str: ...
def available_cpus() -> int: ...
