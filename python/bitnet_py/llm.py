"""Many prompts at once, with the shape of vLLM's offline API: LLM(...).generate(prompts, SamplingParams(...)).

    from bitnet_py.llm import LLM, SamplingParams
    llm = LLM(model="model.gguf")
    for output in llm.generate(["And God said", "In the beginning"], SamplingParams(temperature=0, max_tokens=32)):
        print(output.prompt, "->", output.outputs[0].text)

| part of vLLM | here |
|---|---|
| `LLM(model, seed, max_model_len, max_num_seqs)` | the same; model: a file or folder, or "org/name" in the hub's cache (nothing is downloaded) |
| `tokenizer`, `tokenizer_mode`, `trust_remote_code`, `tensor_parallel_size`, `dtype`, `revision`, `gpu_memory_utilization`, `swap_space`, `cpu_offload_gb`, `enforce_eager`, `disable_log_stats`, ... | accepted, without meaning here |
| `convert="embed"`, `runner="pooling"`, `task="embed"` | a model with a head embeds, too: the last token; models that give embeddings do without |
| `quantization`, `enable_lora`, `hf_overrides` | refused if given: they would change the model |
| `speculative_config` | `{"method": "ngram"}`: also where tokens are drawn at random, as far as it pays; without it greedy requests speculate; other methods are refused |
| `generate`, `chat`, `embed`, `get_tokenizer`, `get_default_sampling_params` | the same; prompts are text, token lists, or dictionaries with `prompt` or `prompt_token_ids` |
| `SamplingParams`: n, penalties, temperature, top_p, top_k, min_p, seed, stop, stop_token_ids, ignore_eos, max_tokens, min_tokens, logprobs, prompt_logprobs, detokenize, skip_special_tokens, include_stop_str_in_output, logit_bias, allowed_token_ids | the same; min_tokens runs its requests one by one |
| `best_of`, `bad_words`, `structured_outputs`, `guided_decoding`, `logits_processors`, `logprob_token_ids`, `thinking_token_budget`, `repetition_detection` | refused if given |
| `beam_search`, `score`, `classify`, `encode`, `pooling_params`, `truncate_prompt_tokens`, `sleep`, LoRA requests, tools, multi-modal prompts | not there |

Requests run together, rows of up to max_num_seqs sequences in one step; each output equals what it is alone.
"""  # noqa: E501

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from . import _runtime, hub, scoring
from .chat_template import chat_tokens
from .errors import ArgumentTypeError, ConfigError
from .model import load_model
from .progress import Progress
from .streams import Completion, Sampling, TokenLogprob, complete, stream
from .tokenizer import Tokenizer

Prompt = str | Sequence[int] | Mapping[str, Any]


@dataclass
class SamplingParams:
    """How to draw, with vLLM's names and defaults. Illegal or uncovered values are a ConfigError (a ValueError).

    temperature 0: greedy. top_k 0 or -1, top_p 1, min_p 0: off. repetition_penalty looks at prompt and answer,
    presence_penalty and frequency_penalty at the answer. seed None: drawn from the LLM's own. max_tokens None: until
    the context is full. logprobs, prompt_logprobs: that many of the likeliest tokens, -1 = all.
    """

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    # Known, and refused unless None.
    best_of: object = field(default=None, repr=False)
    bad_words: object = field(default=None, repr=False)
    structured_outputs: object = field(default=None, repr=False)
    guided_decoding: object = field(default=None, repr=False)
    logits_processors: object = field(default=None, repr=False)
    logprob_token_ids: object = field(default=None, repr=False)
    thinking_token_budget: object = field(default=None, repr=False)
    repetition_detection: object = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            if not item.repr and getattr(self, item.name):
                raise ConfigError(f"SamplingParams: {item.name}: not covered by this package; leave it out")
        self._require("n", self.n >= 1, "1 or more")
        self._require("temperature", self.temperature >= 0, "0 or more")
        self._require("top_p", 0 < self.top_p <= 1, "more than 0, at most 1")
        self._require("top_k", self.top_k >= -1, "-1 or more")
        self._require("min_p", 0 <= self.min_p <= 1, "0 to 1")
        self._require("repetition_penalty", self.repetition_penalty > 0, "more than 0")
        for name in ("presence_penalty", "frequency_penalty"):
            self._require(name, -2 <= getattr(self, name) <= 2, "-2 to 2")
        self._require("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "1 or more")
        self._require("min_tokens", 0 <= self.min_tokens <= (self.max_tokens or self.min_tokens), "0 to max_tokens")
        for name in ("logprobs", "prompt_logprobs"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= -1, "-1 or more")
        if self.temperature == 0:
            self._require("n", self.n == 1, "1 with temperature 0, where all answers are alike")
        self._require("stop", self.detokenize or not self.stop, "nothing without detokenize")
        self._require("allowed_token_ids", self.allowed_token_ids is None or len(self.allowed_token_ids) > 0, "some")

    def clone(self) -> SamplingParams:
        """A copy, which may be changed without changing this one."""
        return replace(self)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"SamplingParams: {name}: expected {expected}, got {getattr(self, name)!r}")

    def _stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


@dataclass(frozen=True)
class Logprob:
    """A token's log-probability. rank: 1 = the likeliest; None where it is not among those that were asked for."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    """One answer. token_ids hold the stop token, text does not.

    stop_reason: the stop text or id; None for the end token of the model. cumulative_logprob, logprobs: if asked for.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def finished(self) -> bool:
        """Whether the answer is complete (it always is)."""
        return self.finish_reason is not None


@dataclass(frozen=True)
class RequestMetrics:
    """Tokens and seconds of a request, of its n answers together; other requests may have shared the seconds."""

    prompt_tokens: int
    generated_tokens: int
    prompt_seconds: float
    generation_seconds: float


@dataclass
class RequestOutput:
    """A prompt and its answers. prompt_logprobs: one dictionary for each prompt token, None for the first."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool = True
    metrics: RequestMetrics | None = None


@dataclass(frozen=True)
class EmbeddingOutput:
    """A vector of hidden_size numbers."""

    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        """How many numbers the embedding has."""
        return len(self.embedding)


@dataclass(frozen=True)
class EmbeddingRequestOutput:
    """A prompt's embedding."""

    request_id: str
    outputs: EmbeddingOutput
    prompt_token_ids: list[int]
    finished: bool = True


_IGNORED = frozenset({
    "tokenizer", "tokenizer_mode", "skip_tokenizer_init", "trust_remote_code", "allowed_local_media_path",
    "tensor_parallel_size", "pipeline_parallel_size", "dtype", "revision", "tokenizer_revision",
    "gpu_memory_utilization", "kv_cache_memory_bytes", "swap_space", "cpu_offload_gb", "enforce_eager",
    "disable_custom_all_reduce", "disable_log_stats", "disable_async_output_proc", "runner", "convert", "task",
    "max_num_batched_tokens", "block_size", "enable_prefix_caching", "enable_chunked_prefill", "kv_cache_dtype",
    "device", "load_format", "download_dir", "distributed_executor_backend", "compilation_config", "hf_token",
})  # fmt: skip
# What asks for embeddings of a model that was not made for them.
_EMBEDS = {"convert": ("embed",), "runner": ("pooling",), "task": ("embed", "embedding")}
_REFUSED = frozenset({"quantization", "quantization_config", "enable_lora", "hf_overrides"})


class LLM:
    """A model that answers lists of prompts; the table above says what of vLLM's class is covered.

    max_model_len: positions of each sequence; None = the model's. max_num_seqs: sequences that run together.
    seed: of the requests that have none of their own. threads, compiler_flags: ours (see load_model).
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        seed: int = 0,
        max_model_len: int | None = None,
        max_num_seqs: int = 16,
        threads: int | None = None,
        compiler_flags: Sequence[str] = (),
        speculative_config: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            if name in _REFUSED:
                if value:
                    raise ConfigError(f"LLM: {name}: not covered by this package, got {value!r}; leave it out")
            elif name not in _IGNORED:
                raise ArgumentTypeError(f"LLM: unexpected argument '{name}'")
        if speculative_config and speculative_config.get("method") != "ngram":
            raise ConfigError(
                f"LLM: speculative_config: expected {{'method': 'ngram'}}, got {dict(speculative_config)!r}"
            )
        self._speculate = "ngram" if speculative_config else "auto"
        self.model = load_model(hub.find(model), compiler_flags=compiler_flags)
        info = self.model._native.info()
        if max_model_len is not None and not 0 < max_model_len <= info["context"]:
            raise ConfigError(f"LLM: max_model_len: expected 1 to {info['context']}, got {max_model_len}")
        if max_num_seqs < 1:
            raise ConfigError(f"LLM: max_num_seqs: expected 1 or more, got {max_num_seqs}")
        tokenizer = self.model._native.tokenizer()
        if tokenizer is None:
            raise ConfigError(f"{self.model.path}: has no tokenizer; compile it again with --tokenizer")
        self._tokenizer: _runtime.Tokenizer = tokenizer
        self._vocab, self._context = info["vocab"], max_model_len or info["context"]
        self._batch, self._threads = max_num_seqs, threads
        self._embeds = info["head"] == "none" or any(others.get(name) in values for name, values in _EMBEDS.items())
        self._random = random.Random(seed)
        self._numbers = itertools.count()

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Continues prompts, in their order. sampling_params: one for all, or one for each."""
        requests = self._requests(prompts, self._context - 1)
        params = self._params(sampling_params, len(requests))
        jobs = [
            (number, index, self._sampling(tokens, its, index))
            for number, ((_, tokens), its) in enumerate(zip(requests, params, strict=True))
            for index in range(its.n)
        ]
        completions = self._run(jobs, [tokens for _, tokens in requests], params, use_tqdm)
        answers: list[list[CompletionOutput]] = [[] for _ in requests]
        runs: list[list[Completion]] = [[] for _ in requests]
        for (number, index, sampling), completion in zip(jobs, completions, strict=True):
            answers[number].append(self._output(index, completion, sampling, params[number]))
            runs[number].append(completion)
        return [
            RequestOutput(
                request_id=str(next(self._numbers)),
                prompt=text,
                prompt_token_ids=tokens,
                prompt_logprobs=self._prompt_logprobs(tokens, its.prompt_logprobs),
                outputs=outputs,
                metrics=_metrics(done),
            )
            for (text, tokens), its, outputs, done in zip(requests, params, answers, runs, strict=True)
        ]

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping[str, Any]]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
        *,
        add_generation_prompt: bool = True,
        chat_template: str | None = None,
        tools: object = None,
    ) -> list[RequestOutput]:
        """Answers a conversation or several, through the model's chat template."""
        if tools:
            raise ConfigError("chat: tools: not covered by this package; leave them out")
        several = bool(messages) and not isinstance(messages[0], Mapping)
        dialogs: Sequence[Any] = messages if several else [messages]
        prompts = [
            chat_tokens(self.model, dialog, add_generation_prompt=add_generation_prompt, chat_template=chat_template)
            for dialog in dialogs
        ]
        return self.generate(prompts, sampling_params, use_tqdm)

    def embed(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        use_tqdm: bool = True,
    ) -> list[EmbeddingRequestOutput]:
        """Embeddings: the output of the final norm for the last token, of length 1, as vLLM does for such models.

        A model with a head was not trained for it: as in vLLM it takes LLM(convert="embed"), or pooling.
        pooling (ours): "last", "first" or "mean". normalize (ours): whether vectors are brought to length 1.
        """
        if pooling is None and not self._embeds:
            raise ConfigError(
                "embed: expected a model that gives embeddings, got one with a head; to pool its last token all the "
                'same, LLM(..., convert="embed")'
            )
        if pooling not in (None, "last", "first", "mean"):
            raise ConfigError(f"embed: pooling: expected last, first or mean, got '{pooling}'")
        outputs = []
        requests = self._requests(prompts, self._context)
        tokens_of = [tokens for _, tokens in requests]
        vectors = scoring.embed(
            self.model, tokens_of, pooling=pooling or "last", normalize=normalize, threads=self._threads
        )
        with Progress("embed", len(requests), enabled=use_tqdm) as progress:
            for tokens, vector in zip(tokens_of, vectors, strict=True):
                outputs.append(EmbeddingRequestOutput(str(next(self._numbers)), EmbeddingOutput(vector), tokens))
                progress.advance()
        return outputs

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return Tokenizer(self.model)

    def get_default_sampling_params(self) -> SamplingParams:
        """What generate takes without sampling_params."""
        return SamplingParams()

    # ---- inside ----

    def _requests(self, prompts: Prompt | Sequence[Prompt], most: int) -> list[tuple[str | None, list[int]]]:
        """Text (None if only tokens were given) and tokens, at most so many, of each prompt."""
        single = isinstance(prompts, str | Mapping) or (
            isinstance(prompts, Sequence) and len(prompts) > 0 and all(isinstance(item, int) for item in prompts)
        )
        several: Sequence[Any] = [prompts] if single else list(prompts)
        requests = []
        for i, prompt in enumerate(several):
            text, tokens = self._request(prompt)
            if not tokens:
                raise ConfigError(f"prompt {i}: expected at least one token, got none")
            if len(tokens) > most:
                raise ConfigError(
                    f"prompt {i}: expected at most {most} tokens (max_model_len {self._context}), got {len(tokens)}; "
                    "shorten it"
                )
            requests.append((text, tokens))
        return requests

    def _request(self, prompt: Any) -> tuple[str | None, list[int]]:
        if isinstance(prompt, Mapping):
            if "multi_modal_data" in prompt:
                raise ConfigError("prompt: multi_modal_data: not covered by this package")
            if "prompt_token_ids" in prompt:
                return prompt.get("prompt"), list(prompt["prompt_token_ids"])
            if "prompt" not in prompt:
                raise ConfigError(f"prompt: expected 'prompt' or 'prompt_token_ids', got {sorted(prompt)}")
            prompt = prompt["prompt"]
        if isinstance(prompt, str):
            return prompt, self._tokenizer.encode(prompt, True, True)
        if isinstance(prompt, bytes | bytearray):  # a sequence of integers as well
            raise ArgumentTypeError("prompt: expected text or token ids, got bytes; decode them")
        return None, list(prompt)

    def _params(self, params: SamplingParams | Sequence[SamplingParams] | None, count: int) -> list[SamplingParams]:
        if params is None or isinstance(params, SamplingParams):
            return [params or self.get_default_sampling_params()] * count
        if len(params) != count:
            raise ConfigError(f"sampling_params: expected one for each of {count} prompts, got {len(params)}")
        return list(params)

    def _sampling(self, tokens: Sequence[int], params: SamplingParams, index: int) -> Sampling:
        room = self._context - len(tokens)
        seed = self._random.getrandbits(63) if params.seed is None else params.seed + index
        bias = {int(token): float(value) for token, value in (params.logit_bias or {}).items()}
        if params.allowed_token_ids is not None:
            allowed = set(params.allowed_token_ids)
            bias = {token: bias.get(token, 0.0) if token in allowed else float("-inf") for token in range(self._vocab)}
        stop_tokens = [] if params.ignore_eos else self._tokenizer.stop_tokens()
        return Sampling(
            max_tokens=room if params.max_tokens is None else min(params.max_tokens, room),
            temperature=params.temperature,
            top_k=max(params.top_k, 0),
            top_p=params.top_p,
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            repetition_window=-1,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            seed=seed,
            stop=params._stops(),
            stop_tokens=(*stop_tokens, *(params.stop_token_ids or ())),
            logit_bias=bias,
            logprobs=None if params.logprobs is None else self._top(params.logprobs),
            speculate=self._speculate,
        )

    def _top(self, count: int) -> int:
        return self._vocab if count < 0 else min(count, self._vocab)

    def _run(
        self,
        jobs: Sequence[tuple[int, int, Sampling]],
        prompts: Sequence[list[int]],
        params: Sequence[SamplingParams],
        use_tqdm: bool,
    ) -> list[Completion]:
        """The completion of each job (number of its request, index of its answer, sampling)."""
        completions: dict[int, Completion] = {}
        together = [job for job, (number, _, _) in enumerate(jobs) if params[number].min_tokens == 0]
        expected = sum(sampling.max_tokens for _, _, sampling in jobs)
        with Progress("generate", expected, unit="tokens", enabled=use_tqdm) as progress:
            done = complete(
                self.model,
                [prompts[jobs[job][0]] for job in together],
                [jobs[job][2] for job in together],
                on_token=lambda _number, _token: progress.advance(),
                batch=self._batch,
                threads=self._threads,
                context=self._context,
            )
            completions.update(zip(together, done, strict=True))
            for job, (number, _, sampling) in enumerate(jobs):
                if job not in completions:
                    completions[job] = self._at_least(params[number].min_tokens, prompts[number], sampling)
                    progress.advance(len(completions[job].tokens))
        return [completions[job] for job in range(len(jobs))]

    def _at_least(self, count: int, prompt: list[int], sampling: Sampling) -> Completion:
        """A completion in which no stop token is drawn among the first `count` tokens."""

        def before_drawing(logits: Any) -> None:
            if len(text.tokens) < count:
                for token in sampling.stop_tokens or ():
                    logits[token] = float("-inf")

        text = stream(
            self.model,
            prompt,
            sampling,
            logits_processor=before_drawing,
            threads=self._threads,
            context=self._context,
        )
        return text.completion()

    def _output(
        self, index: int, completion: Completion, sampling: Sampling, params: SamplingParams
    ) -> CompletionOutput:
        tokens, text = completion.tokens, completion.text
        reason: int | str | None = None
        if completion.finish_reason == "stop":
            if tokens and tokens[-1] in (sampling.stop_tokens or ()):
                reason = tokens[-1] if tokens[-1] in (params.stop_token_ids or ()) else None
                if params.include_stop_str_in_output:
                    text += self._tokenizer.decode(tokens[-1:], not params.skip_special_tokens)
            else:
                reason = stop = self._stop_text(text, tokens, sampling.stop)
                if params.include_stop_str_in_output:
                    text += stop
        if not params.detokenize:
            text = ""
        elif not params.skip_special_tokens:
            text = self._with_special(tokens, sampling, params, reason)
        logprobs = None
        if completion.logprobs is not None:
            logprobs = [self._described(entry) for entry in completion.logprobs]
        return CompletionOutput(
            index=index,
            text=text,
            token_ids=tokens,
            cumulative_logprob=None if completion.logprobs is None else sum(e.logprob for e in completion.logprobs),
            logprobs=logprobs,
            finish_reason=completion.finish_reason,
            stop_reason=reason,
        )

    def _stop_text(self, text: str, tokens: Sequence[int], stops: Sequence[str]) -> str:
        """Which stop text follows the text."""
        rest = self._tokenizer.decode(tokens, False)[len(text) :]
        return max((stop for stop in stops if rest.startswith(stop)), key=len, default=rest)

    def _with_special(
        self, tokens: list[int], sampling: Sampling, params: SamplingParams, reason: int | str | None
    ) -> str:
        """The text with special tokens by name; ended where the text without them ends."""
        ended = bool(tokens) and tokens[-1] in (sampling.stop_tokens or ()) and not params.include_stop_str_in_output
        text = self._tokenizer.decode(tokens[:-1] if ended else tokens, True)
        if isinstance(reason, str) and (end := text.rfind(reason)) >= 0:
            text = text[: end + (len(reason) if params.include_stop_str_in_output else 0)]
        return text

    def _described(self, entry: TokenLogprob) -> dict[int, Logprob]:
        described = {
            token: Logprob(logprob, rank, self._text_of(token)) for rank, (token, logprob) in enumerate(entry.top, 1)
        }
        described.setdefault(entry.token, Logprob(entry.logprob, None, self._text_of(entry.token)))
        return described

    def _text_of(self, token: int) -> str:
        return self._tokenizer.token_bytes(token)[0].decode("utf-8", "replace")

    def _prompt_logprobs(self, tokens: Sequence[int], count: int | None) -> list[dict[int, Logprob] | None] | None:
        if count is None:
            return None
        entries = scoring.token_logprobs(self.model, tokens, self._top(count), threads=self._threads)
        return [None if entry is None else self._described(entry) for entry in entries]


def _metrics(runs: Sequence[Completion]) -> RequestMetrics:
    return RequestMetrics(
        prompt_tokens=len(runs[0].prompt_tokens),
        generated_tokens=sum(len(run.tokens) for run in runs),
        prompt_seconds=sum(run.timings["prompt_seconds"] for run in runs),
        generation_seconds=sum(run.timings["generation_seconds"] for run in runs),
    )
