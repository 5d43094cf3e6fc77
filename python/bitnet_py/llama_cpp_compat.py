"""A class `Llama` with the shape of llama-cpp-python's, on this package's engine: change the import, keep the script.

    from bitnet_py.llama_cpp_compat import Llama
    llm = Llama(model_path="model.gguf", n_ctx=0)
    print(llm("And God said", max_tokens=32, temperature=0)["choices"][0]["text"])
    for chunk in llm.create_chat_completion(messages, stream=True): ...

| part of llama-cpp-python | here |
|---|---|
| `Llama(model_path, n_ctx, n_threads, seed, pooling_type, last_n_tokens_size, chat_format)` | the same; n_ctx 0 = the model's, above the model's: lowered with a warning |
| `n_gpu_layers`, `split_mode`, `main_gpu`, `tensor_split`, `vocab_only`, `use_mmap`, `use_mlock`, `n_batch`, `n_ubatch`, `n_threads_batch`, `attention_type`, `logits_all`, `embedding`, `offload_kqv`, `flash_attn`, `op_offload`, `swa_full`, `no_perf`, `numa`, `type_k`, `type_v`, `spm_infill`, `verbose` | accepted, without meaning here: one CPU path, files are mapped, logprobs and embeddings always work |
| `kv_overrides`, `lora_*`, `rope_*`, `yarn_*`, `chat_handler`, `tokenizer` | refused if given: they would change the model (see `bitnetc --set`, `compiler_flags=`) |
| `draft_model=LlamaPromptLookupDecoding(...)` | guesses from the text so far, also where tokens are drawn at random, as many as pay; greedy texts have them without it. The text is the same; other draft models are refused |
| `from_pretrained(repo_id, filename)` | files on this disk and in the hub's cache; nothing is downloaded |
| `__call__`, `create_completion` | same arguments, defaults and dictionaries, plus `timings`; `stream=True` gives chunks of whole characters |
| `create_chat_completion` | same; the model's own template, or chat_format: "chatml", "llama-3" or Jinja source; `logprobs`, `top_logprobs`, `stream` |
| `logit_bias`, `logits_processor`, `stopping_criteria`, `stop`, `echo`, `seed` | the same; a seed gives the same text on every machine, at any load |
| `presence_penalty`, `frequency_penalty` | count what was generated (the OpenAI definition), not the prompt |
| prompts that go on from earlier ones | what was read is not read again, as in the original |
| `top_p`, `min_p` | cut after the temperature is applied (llama.cpp: before) |
| `typical_p`, `tfs_z`, `mirostat_mode`, `grammar`, `suffix`, `tools`, `functions`, `response_format` of JSON | refused by name, unless they are off |
| `tokenize`, `detokenize`, `token_bos/eos/nl`, `n_ctx`, `n_embd`, `n_vocab`, `metadata` | the same |
| `embed`, `create_embedding` | the same; where pooling_type does not say otherwise, the last token of models that give embeddings, the mean of others |
| `eval`, `sample`, `generate`, `reset`, `n_tokens`, `input_ids`, `eval_tokens`, `eval_logits` | the same, with prefixes kept by `generate` |
| `save_state`, `load_state` | a state holds the tokens; loading replays them, which gives the same bits |
| `set_cache`, `LlamaCache`, `LlamaGrammar`, `create_chat_completion_openai_v1`, pickling | not there |

Completions may be asked for by several threads at once; `eval`, `sample` and `generate` share one state, so they may not.
"""  # noqa: E501

from __future__ import annotations

import os
import random
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from . import _runtime, hub, openai_shapes, scoring
from .chat_template import chat_tokens
from .errors import ArgumentTypeError, ConfigError
from .llama_completion import (
    LogitsProcessor,
    LogitsProcessorList,
    Run,
    StoppingCriteriaList,
    StoppingCriterion,
    ids,
    list_of,
    process,
    scores,
)
from .model import BitNetModel, load_model
from .streams import Sampling

LLAMA_DEFAULT_SEED = 0xFFFFFFFF
LLAMA_POOLING_TYPE_UNSPECIFIED = -1
LLAMA_POOLING_TYPE_NONE = 0
LLAMA_POOLING_TYPE_MEAN = 1
LLAMA_POOLING_TYPE_CLS = 2
LLAMA_POOLING_TYPE_LAST = 3

# Names that llama-cpp-python gives to chat templates; None: the model's.
_CHAT_FORMATS: dict[str, str | None] = {
    "chat_template.default": None,
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "llama-3": "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
}
_POOLINGS = {-1: "mean", 0: "none", 1: "mean", 2: "first", 3: "last"}
_IGNORED = frozenset({
    "n_gpu_layers", "split_mode", "main_gpu", "tensor_split", "vocab_only", "use_mmap", "use_mlock", "n_batch",
    "n_ubatch", "n_threads_batch", "attention_type", "logits_all", "embedding", "offload_kqv", "flash_attn",
    "op_offload", "swa_full", "no_perf", "numa", "type_k", "type_v", "spm_infill",
})  # fmt: skip
# What would change the model or its text, with the value that changes nothing.
_REFUSED: dict[str, Any] = {
    **dict.fromkeys(("kv_overrides", "lora_base", "lora_path", "chat_handler", "tokenizer")),
    "lora_scale": 1.0,
    "rope_scaling_type": -1,
    "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0,
    "yarn_ext_factor": -1.0,
    "yarn_attn_factor": 1.0,
    "yarn_beta_fast": 32.0,
    "yarn_beta_slow": 1.0,
    "yarn_orig_ctx": 0,
}


@dataclass(frozen=True)
class LlamaState:
    """What `save_state` gives: the tokens that were evaluated, and the seed."""

    input_ids: tuple[int, ...]
    seed: int

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)


@dataclass(frozen=True)
class LlamaPromptLookupDecoding:
    """For Llama's draft_model. The numbers are accepted without meaning: as many tokens are guessed as pay."""

    max_ngram_size: int = 2
    num_pred_tokens: int = 10


class Llama:
    """A model with the methods of llama-cpp-python's `Llama`; the table above says which.

    model_path: a .gguf or .bnx file, or any checkpoint that load_model takes; the first load compiles it.
    seed: -1 (or LLAMA_DEFAULT_SEED) draws anew each time; any other makes the sequence of calls reproducible.
    compiler_flags (ours): for bitnetc, e.g. ["--set", "activation=relu2"].
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        seed: int = LLAMA_DEFAULT_SEED,
        n_ctx: int = 512,
        n_threads: int | None = None,
        pooling_type: int = LLAMA_POOLING_TYPE_UNSPECIFIED,
        last_n_tokens_size: int = 64,
        chat_format: str | None = None,
        verbose: bool = True,
        compiler_flags: Sequence[str] = (),
        draft_model: object = None,
        **others: Any,
    ) -> None:
        if draft_model is not None and type(draft_model).__name__ != "LlamaPromptLookupDecoding":
            kind = type(draft_model).__name__
            raise ConfigError(f"Llama: draft_model: expected LlamaPromptLookupDecoding, got {kind}; leave it out")
        self._speculate = "auto" if draft_model is None else "ngram"
        for name, value in others.items():
            if name in _REFUSED:
                _refuse("Llama", name, value, _REFUSED[name])
            elif name not in _IGNORED:
                raise ArgumentTypeError(f"Llama: unexpected argument '{name}'")
        if pooling_type not in _POOLINGS:
            raise ConfigError(f"Llama: pooling_type: expected one of {sorted(_POOLINGS)}, got {pooling_type}")
        if chat_format is not None and chat_format not in _CHAT_FORMATS and "{" not in chat_format:
            raise ConfigError(
                f"Llama: chat_format: expected {', '.join(_CHAT_FORMATS)} or Jinja source, got '{chat_format}'; "
                "leave it out for the model's own"
            )
        if n_ctx < 0:
            raise ConfigError(f"Llama: n_ctx: expected 0 (the model's) or more, got {n_ctx}")
        self.model_path = os.fspath(model_path)
        self.verbose = verbose
        self.chat_format = chat_format
        self._chat_template = _CHAT_FORMATS.get(chat_format, chat_format) if chat_format is not None else None
        self.last_n_tokens_size = last_n_tokens_size
        self._pooling_type = pooling_type
        self._model: BitNetModel | None = load_model(model_path, compiler_flags=compiler_flags)
        self._info = self._model._native.info()
        if pooling_type == LLAMA_POOLING_TYPE_UNSPECIFIED and self._info["head"] == "none":
            self._pooling_type = LLAMA_POOLING_TYPE_LAST
        tokenizer = self._model._native.tokenizer()
        if tokenizer is None:
            raise ConfigError(f"{self.model_path}: has no tokenizer; compile it again with --tokenizer")
        self._tokenizer: _runtime.Tokenizer = tokenizer
        self._n_ctx = n_ctx or self._info["context"]
        if self._n_ctx > self._info["context"]:
            warnings.warn(
                f"Llama: n_ctx: expected at most {self._info['context']} (the model's context), got {n_ctx}; lowered",
                RuntimeWarning,
                stacklevel=2,
            )
            self._n_ctx = self._info["context"]
        self.n_threads = n_threads or 0
        self.set_seed(seed)
        self._session: _runtime.Session | None = None
        self._tokens: list[int] = []  # what the session holds
        self._logits: _runtime.Floats | None = None  # of its last token

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None = None,
        *,
        local_dir: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        **arguments: Any,
    ) -> Llama:
        """A model of a Hugging Face repository that is on this disk already: in local_dir or in the hub's cache.

        filename may be a pattern. Nothing is downloaded; the error for a missing one says how to get it.
        """
        for name in ("additional_files", "local_dir_use_symlinks"):
            arguments.pop(name, None)
        where = local_dir if local_dir is not None else repo_id
        return cls(hub.find(where, filename, cache_dir=cache_dir), **arguments)

    # ---- completions ----

    def create_completion(
        self,
        prompt: str | Sequence[int],
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | Sequence[str] | None = (),
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriterion | Sequence[StoppingCriterion] | None = None,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None,
        grammar: object = None,
        logit_bias: Mapping[int, float] | None = None,
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Continues a prompt (text, or tokens as they are). A dictionary, or with stream an iterator of chunks.

        max_tokens None or <= 0: until the context is full. temperature 0: always the likeliest token.
        logprobs: that many of the likeliest tokens for each token. Errors are ConfigError (a ValueError).
        """
        where = "create_completion"
        _refuse(where, "suffix", suffix, None)
        _refuse_samplers(where, typical_p, tfs_z, mirostat_mode, grammar)
        is_text = isinstance(prompt, str)
        tokens = self._tokenizer.encode(prompt, True, True) if isinstance(prompt, str) else list(prompt)
        run = self._run(
            tokens,
            self._sampling(
                tokens,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                min_p=min_p,
                top_k=top_k,
                stop=stop,
                frequency_penalty=frequency_penalty,
                presence_penalty=presence_penalty,
                repeat_penalty=repeat_penalty,
                seed=seed,
                logit_bias=logit_bias,
                logprobs=logprobs,
            ),
            logits_processor,
            stopping_criteria,
        )
        answer = openai_shapes.Answer(model or self.model_path, chat=False)
        before = prompt if is_text else self._tokenizer.decode(tokens, False)
        if stream:
            return run.chunks(answer, str(before))
        return run.whole(answer, str(before), echo)

    __call__ = create_completion

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: object = None,
        function_call: object = None,
        tools: object = None,
        tool_choice: object = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | Sequence[str] | None = (),
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None,
        grammar: object = None,
        logit_bias: Mapping[int, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Answers a conversation, [{"role": ..., "content": ...}, ...], through the model's chat template."""
        where = "create_chat_completion"
        for name, value in (("functions", functions), ("function_call", function_call), ("tools", tools)):
            _refuse(where, name, value or None, None)
        _refuse(where, "tool_choice", tool_choice if tool_choice not in ("none", "auto") else None, None)
        _refuse(where, "response_format", (response_format or {}).get("type", "text"), "text")
        _refuse_samplers(where, typical_p, tfs_z, mirostat_mode, grammar)
        tokens = chat_tokens(self._loaded, messages, chat_template=self._chat_template)
        run = self._run(
            tokens,
            self._sampling(
                tokens,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                min_p=min_p,
                top_k=top_k,
                stop=stop,
                frequency_penalty=frequency_penalty,
                presence_penalty=presence_penalty,
                repeat_penalty=repeat_penalty,
                seed=seed,
                logit_bias=logit_bias,
                logprobs=(top_logprobs or 0) if logprobs else None,
            ),
            logits_processor,
            None,
        )
        answer = openai_shapes.Answer(model or self.model_path, chat=True)
        return run.chunks(answer, "") if stream else run.whole(answer, "", False)

    # ---- text and tokens ----

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Token ids of UTF-8 text; special: special tokens written in it become their ids."""
        return self._tokenizer.encode(text.decode("utf-8", "replace"), add_bos, special)

    def detokenize(
        self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False
    ) -> bytes:
        """The bytes of tokens, which may be part of a character; special: special tokens by name."""
        return b"".join(self._bytes_of(token, special) for token in tokens)

    def token_bos(self) -> int:
        """The token that begins a text; -1 = none."""
        return self._info["bos"]

    def token_eos(self) -> int:
        """The token that ends a text; -1 = none."""
        return self._info["eos"]

    def token_nl(self) -> int:
        """The token of a line break; -1 = none."""
        tokens = self._tokenizer.encode("\n", False, False)
        return tokens[0] if len(tokens) == 1 else -1

    def n_ctx(self) -> int:
        """Positions of the context."""
        return self._n_ctx

    def n_embd(self) -> int:
        """Length of an embedding."""
        return self._info["width"]

    def n_vocab(self) -> int:
        """Number of tokens."""
        return self._info["vocab"]

    def pooling_type(self) -> int:
        """How embeddings are pooled, a LLAMA_POOLING_TYPE_*."""
        return self._pooling_type

    @property
    def metadata(self) -> dict[str, str]:
        """What the model says of itself, in GGUF's words where there are some."""
        info = self._info
        words = {
            "general.name": info["name"],
            "general.architecture": info["family"],
            f"{info['family']}.context_length": info["context"],
            f"{info['family']}.embedding_length": info["width"],
            f"{info['family']}.block_count": info["layers"],
            f"{info['family']}.feed_forward_length": info["ffn_width"],
            f"{info['family']}.attention.head_count": info["heads"],
            f"{info['family']}.attention.head_count_kv": info["kv_heads"],
            "tokenizer.ggml.bos_token_id": info["bos"],
            "tokenizer.ggml.eos_token_id": info["eos"],
        }
        template = self._native.chat_template()
        if template is not None:
            words["tokenizer.chat_template"] = template
        return {name: str(word) for name, word in words.items()}

    # ---- embeddings ----

    def embed(
        self, input: str | Sequence[str], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> Any:
        """The embedding of a text (a list of floats) or of several (a list of those).

        Of the final norm's outputs, the last (models that give embeddings) or the mean (others), unless pooling_type
        says otherwise; NONE gives a vector for each token.
        truncate: cut at the context instead of an error (ours: a token that the tokenizer puts at the end stays, since
        models that give embeddings look at it). return_count: also the number of tokens.
        """
        texts = [input] if isinstance(input, str) else list(input)
        tokens = [self.tokenize(text.encode()) for text in texts]
        if truncate:
            tokens = [self._cut(part) for part in tokens]
        for part in tokens:
            if len(part) > self._n_ctx:
                raise ConfigError(f"embed: expected at most {self._n_ctx} tokens (n_ctx), got {len(part)}")
        pooling = _POOLINGS[self._pooling_type]
        vectors = list(
            scoring.embed(self._loaded, tokens, pooling=pooling, normalize=normalize, threads=self.n_threads or None)
        )
        result = vectors[0] if isinstance(input, str) else vectors
        return (result, sum(map(len, tokens))) if return_count else result

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> dict[str, Any]:
        """Embeddings in the shape of the OpenAI API."""
        texts = [input] if isinstance(input, str) else list(input)
        vectors, count = self.embed(texts, return_count=True)
        return openai_shapes.embeddings(model or self.model_path, vectors, count)

    # ---- one token at a time ----

    @property
    def n_tokens(self) -> int:
        """Tokens that were evaluated."""
        return len(self._tokens)

    @property
    def input_ids(self) -> Any:
        """Those tokens, as an array if NumPy is there."""
        return ids(self._tokens)

    @property
    def eval_tokens(self) -> deque[int]:
        """The tokens that were evaluated, the latest last, at most n_ctx."""
        return deque(self._tokens, maxlen=self._n_ctx)

    @property
    def eval_logits(self) -> deque[list[float]]:
        """The logits of the last of them (empty before the first)."""
        return deque(self._logits.tolist() if self._logits is not None else [], maxlen=1)

    def reset(self) -> None:
        """Forgets all tokens."""
        self._keep(0)

    def eval(self, tokens: Sequence[int]) -> None:
        """Appends tokens to the state."""
        if tokens:
            self._logits = self._state().forward(list(tokens), logits="last")
            self._tokens.extend(tokens)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None,
        grammar: object = None,
    ) -> int:
        """Draws the token after those that were evaluated; does not append it."""
        _refuse_samplers("sample", typical_p, tfs_z, mirostat_mode, grammar)
        sampler = self._sampler(
            temp, top_k, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty, self._next_seed(None)
        )
        for token in self._tokens:
            sampler.accept(token)
        return self._draw(sampler, list_of(logits_processor, LogitsProcessorList))

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None,
        stopping_criteria: StoppingCriterion | Sequence[StoppingCriterion] | None = None,
        grammar: object = None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Tokens without end (stop tokens are yielded too) until the caller or stopping_criteria ends it.

        reset: start from these tokens, keeping what the state has in common with them; else append them.
        What is sent into the generator is appended after the token it yielded.
        """
        _refuse_samplers("generate", typical_p, tfs_z, mirostat_mode, grammar)
        processors = list_of(logits_processor, LogitsProcessorList)
        criteria = list_of(stopping_criteria, StoppingCriteriaList)
        sampler = self._sampler(
            temp, top_k, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty, self._next_seed(None)
        )
        pending = list(tokens)
        if not pending:
            raise ConfigError("generate: tokens: expected at least one, got none")
        if reset:
            common = self.longest_token_prefix(self._tokens, pending[:-1])
            self._keep(common)
            pending = pending[common:]
        for token in self._tokens:
            sampler.accept(token)
        while True:
            for token in pending:
                sampler.accept(token)
            self.eval(pending)
            token = self._draw(sampler, processors)
            if criteria and criteria(self.input_ids, scores(self._last_row())):
                return
            sampler.accept(token, True)
            more = yield token
            self.eval([token])
            pending = list(more) if more is not None else []

    def save_state(self) -> LlamaState:
        """The state of `eval`: its tokens and the seed."""
        return LlamaState(tuple(self._tokens), self._seed)

    def load_state(self, state: LlamaState) -> None:
        """Goes back to a state. Its tokens are evaluated again, where they differ: the results are the same bits."""
        common = self.longest_token_prefix(self._tokens, state.input_ids[:-1])
        self._keep(common)
        self.eval(state.input_ids[common:])
        self._seed = state.seed

    def set_seed(self, seed: int) -> None:
        """Makes the calls after this one reproducible; -1: draws anew each time."""
        self._seed = seed
        known = seed not in (-1, LLAMA_DEFAULT_SEED)
        self._random: random.Random = random.Random(seed) if known else random.SystemRandom()

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """How many tokens two lists have in common at their beginnings."""
        length = 0
        for x, y in zip(a, b, strict=False):
            if x != y:
                break
            length += 1
        return length

    def set_cache(self, cache: object) -> None:
        """Refused unless None: there is no cache of prompts. The text is the same without one."""
        _refuse("set_cache", "cache", cache, None)

    def close(self) -> None:
        """Lets go of the model; its memory is freed with the last generation that uses it."""
        self._session = self._logits = self._model = None
        self._tokens = []

    def __enter__(self) -> Llama:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("Llama: cannot be pickled; open the model again in the other process: the file is shared")

    # ---- inside ----

    def _cut(self, tokens: list[int]) -> list[int]:
        """The first n_ctx tokens, the last of which is the end token where tokens end with it."""
        if len(tokens) <= self._n_ctx:
            return tokens
        kept = 1 if tokens[-1] == self.token_eos() else 0
        return tokens[: self._n_ctx - kept] + tokens[len(tokens) - kept :]

    @property
    def _loaded(self) -> BitNetModel:
        if self._model is None:
            raise ConfigError("Llama: the model was closed")
        return self._model

    @property
    def _native(self) -> _runtime.Model:
        return self._loaded._native

    def _state(self) -> _runtime.Session:
        if self._session is None:
            self._session = _runtime.Session(self._native, context=self._n_ctx, threads=self.n_threads)
        return self._session

    def _keep(self, length: int) -> None:
        """Cuts the state to its first tokens. Logits of the last one are computed again when they are needed."""
        if length < len(self._tokens):
            self._state().truncate(length)
            del self._tokens[length:]
            self._logits = None

    def _last_row(self) -> Any:
        if self._logits is None:
            raise ConfigError("sample: expected tokens that were evaluated, got none; call eval first")
        return scoring.rows(self._logits)[-1]

    def _draw(self, sampler: _runtime.Sampler, processors: LogitsProcessorList | None) -> int:
        row = self._last_row()
        if processors:
            row = memoryview(bytearray(row)).cast("f")  # what the model said stays as it is
            process(processors, self._tokens, row)
        return sampler.sample(row)

    def _sampler(
        self,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repeat_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        seed: int,
    ) -> _runtime.Sampler:
        return _runtime.Sampler(
            self.n_vocab(),
            temperature=max(temperature, 0.0),
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repeat_penalty,
            repetition_window=self.last_n_tokens_size,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=seed,
        )

    def _next_seed(self, seed: int | None) -> int:
        return self._random.getrandbits(63) if seed is None else seed & (2**64 - 1)

    def _sampling(
        self,
        tokens: Sequence[int],
        *,
        max_tokens: int | None,
        temperature: float,
        top_p: float,
        min_p: float,
        top_k: int,
        stop: str | Sequence[str] | None,
        frequency_penalty: float,
        presence_penalty: float,
        repeat_penalty: float,
        seed: int | None,
        logit_bias: Mapping[int, float] | None,
        logprobs: int | None,
    ) -> Sampling:
        if not tokens:
            raise ConfigError("prompt: expected at least one token, got none; give a text that is not empty")
        room = self._n_ctx - len(tokens)
        if room <= 0:
            raise ConfigError(
                f"prompt: expected fewer than {self._n_ctx} tokens (n_ctx), got {len(tokens)}; "
                "shorten it, or give Llama a larger n_ctx (0 = the model's)"
            )
        return Sampling(
            max_tokens=min(max_tokens, room) if max_tokens is not None and max_tokens > 0 else room,
            temperature=max(temperature, 0.0),
            top_k=max(top_k, 0),
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repeat_penalty,
            repetition_window=self.last_n_tokens_size,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=self._next_seed(seed),
            stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            logit_bias={int(token): float(bias) for token, bias in (logit_bias or {}).items()},
            logprobs=logprobs,
            reuse_prefix=True,
            speculate=self._speculate,
        )

    def _bytes_of(self, token: int, special: bool = False) -> bytes:
        text, is_special = self._tokenizer.token_bytes(token)
        return text if special or not is_special else b""

    def _run(
        self,
        tokens: list[int],
        sampling: Sampling,
        logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None,
        stopping_criteria: StoppingCriterion | Sequence[StoppingCriterion] | None,
    ) -> Run:
        return Run(
            self._loaded,
            self._tokenizer,
            tokens,
            sampling,
            threads=self.n_threads or None,
            context=self._n_ctx,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
        )


def _refuse(where: str, name: str, value: object, neutral: object) -> None:
    if value is not None and value != neutral:
        raise ConfigError(f"{where}: {name}: not covered by this package, got {value!r}; leave it out")


def _refuse_samplers(where: str, typical_p: float, tfs_z: float, mirostat_mode: int, grammar: object) -> None:
    _refuse(where, "typical_p", typical_p, 1.0)
    _refuse(where, "tfs_z", tfs_z, 1.0)
    _refuse(where, "mirostat_mode", mirostat_mode, 0)
    _refuse(where, "grammar", grammar, None)
