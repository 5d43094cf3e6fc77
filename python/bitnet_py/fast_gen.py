"""FastGen, the original's engine: answers to many prompts at once. bitnet_py.generate has it in its old place.

Drawing tokens is streams.py's; this module says with which settings, finds a checkpoint's tokenizer, and reports times.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import streams
from .arrays import joined, token_ids
from .config import InferenceConfig
from .errors import ArgumentTypeError, ConfigError, ModelNotFoundError, TokenizerNotFoundError
from .inference import SimpleInference
from .model import BitNetModel, ModelArgs
from .stats import Stats, peak_memory
from .streams import StreamingGenerator
from .system import parse_device
from .tokenizer import Tokenizer

_log = logging.getLogger("bitnet_py.generate")

_BATCH = 16  # prompts that are answered together
_SAMPLING_OF_THE_ORIGINAL = {"temperature": 0.7, "top_p": 0.95, "top_k": 0}


@dataclass
class GenArgs:
    """How FastGen answers.

    gen_length: new tokens at most. gen_bsz: prompts together; 16 are in any case. prompt_length: tokens of a prompt
    that the original can take (here: that compile_prefill's replay takes). use_sampling: draw tokens, instead of taking
    the likeliest. temperature, top_p, top_k (None: off): how. repetition_penalty: for drawing and not; 1 is off.
    """

    gen_length: int = 32
    gen_bsz: int = 1
    prompt_length: int = 64
    use_sampling: bool = False
    temperature: float = 0.8
    top_p: float = 0.9
    top_k: int | None = None
    repetition_penalty: float = 1.0


class FastGen:
    """The original's engine: a model, a tokenizer and GenArgs. Also named InferenceEngine.

    Every prompt's answer is what it would be alone, in any batch; any number of prompts of any length up to the model's
    context goes, and gen_length 0 and 1 too. An answer that begins with the stop token is only that. Sampling follows
    gen_args; BITNET_PY_COMPAT_SAMPLING=1 in the environment gives the original's fixed temperature 0.7 and top_p 0.95.
    Nothing is printed; the logger bitnet_py.generate tells the same.

    Constructors, told apart by the arguments' types: FastGen(gen_args, model_args, prefill_model, decode_model,
    tokenizer), InferenceEngine(prefill_model, decode_model, tokenizer, gen_args, device=None), InferenceEngine(model,
    tokenizer, device=None). Attributes: gen_args, model_args, prefill_model and decode_model (the latter answers),
    tokenizer (a Tokenizer or ChatFormat, may be assigned), device, max_seq_length.
    """

    GRAPH_WARMUPS = 1  # the original's; nothing is warmed up here

    tokenizer: Any
    gen_args: GenArgs

    def __init__(self, *arguments: Any, **named: Any) -> None:
        models: list[BitNetModel] = []
        others: list[Any] = []
        gen_args: GenArgs | None = None
        model_args: ModelArgs | None = None
        device: object = None
        for value in [*arguments, *_by_name(named)]:
            if isinstance(value, GenArgs):
                gen_args = value
            elif isinstance(value, ModelArgs):
                model_args = value
            elif isinstance(value, BitNetModel):
                models.append(value)
            elif (hasattr(value, "encode") and hasattr(value, "decode")) or hasattr(value, "encode_dialog_prompt"):
                others.append(value)
            elif value is not None:
                device = value
        if not 1 <= len(models) <= 2:
            raise ArgumentTypeError(f"FastGen: expected one or two models, got {len(models)}; see its docstring")
        if len(others) > 1:
            raise ArgumentTypeError(f"FastGen: expected one tokenizer, got {len(others)}")
        self.device = parse_device(device)
        self.gen_args = gen_args or GenArgs()
        self.prefill_model = models[0]
        self.decode_model = models[-1]
        self.model_args = model_args or self.decode_model.config
        self.tokenizer = others[0] if others else None

    @classmethod
    def build(
        cls,
        ckpt_dir: str | os.PathLike[str],
        gen_args: GenArgs | None = None,
        device: object = None,
        tokenizer_path: str | os.PathLike[str] | None = None,
        num_layers: int = 13,
        use_full_vocab: bool = False,
        *,
        model_args: ModelArgs | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> FastGen:
        """Loads a checkpoint and its tokenizer.

        ckpt_dir: the original's folder (model_state_int2.pt or model_state_fp16.pt, either is enough), one with a .gguf
        or .bnx file, a Hugging Face folder, or such a file itself. model_args: for .pt checkpoints of other dimensions
        than 2B. num_layers and use_full_vocab do nothing, as in the original. options: load_model's.

        The tokenizer: tokenizer_path, or the first there is of ./tokenizer.model, tokenizer.model and tokenizer.json in
        ckpt_dir (with a warning, none that has more tokens than the model), and what the model brings along; None with
        a warning if there is none.

        FileNotFoundError if something is missing, RuntimeError (ModelFormatError) for wrong tensors.
        """
        del num_layers, use_full_vocab
        began = time.perf_counter()
        path = Path(ckpt_dir)
        if not path.exists():
            raise ModelNotFoundError(f"{path}: does not exist")
        if tokenizer_path is not None and not Path(tokenizer_path).exists():
            raise TokenizerNotFoundError(str(tokenizer_path))
        files = _files(path) if tokenizer_path is None else [Path(tokenizer_path)]
        model = BitNetModel(path, device, model_args=model_args, **options)
        tokenizer = _tokenizer(files, model, options.get("cache_dir"))
        made = cls(gen_args or GenArgs(), model.config, model, model, tokenizer)
        _log.info("loaded model in %.2f seconds", time.perf_counter() - began)
        return made

    @property
    def max_seq_length(self) -> int:
        """Positions that the original's cache has for each sequence; longer texts go too."""
        return self.gen_args.prompt_length + self.gen_args.gen_length

    # -- token ids

    def generate_all(
        self,
        prompts: Any,
        use_cuda_graphs: bool = True,
        use_sampling: bool | None = None,
        *,
        seed: int | None = None,
    ) -> tuple[Stats, list[list[int]]]:
        """Answers to prompts: the new tokens of each, up to gen_length or the stop token, which ends its answer.

        prompts: a list of prompts, each a list or array of token ids, or an array of two dimensions. They are taken as
        they are: no BOS is added. The stop token is the tokenizer's eot_id at this moment. use_cuda_graphs only names
        the phases: prefill and decode, or total and total. use_sampling: None takes gen_args'. seed: the prompts are
        drawn with seed, seed + 1, ...; None draws anew each time.

        The first phase lasts until each prompt has its first token; the second counts all others. ConfigError for an
        empty prompt, ContextFullError for one that is longer than the context.
        """
        ids = [token_ids(prompt, "prompts") for prompt in _rows(prompts)]
        if not all(ids):
            raise ConfigError(f"prompts: expected tokens in each, got none in prompt {ids.index([])}")
        _log.info("%d %d", max(map(len, ids), default=0), self.gen_args.gen_length)
        use_sampling = self.gen_args.use_sampling if use_sampling is None else use_sampling
        answers: list[list[int]] = [[] for _ in ids]
        first = second = 0.0
        if self.gen_args.gen_length > 0:
            size = max(_BATCH, self.gen_args.gen_bsz)
            for begin in range(0, len(ids), size):
                batch = ids[begin : begin + size]
                samplings = [self._sampling(use_sampling, seed, begin + i) for i in range(len(batch))]
                times = self._answer(batch, samplings, answers[begin : begin + size])
                first, second = first + times[0], second + times[1]
        return self._stats(answers, first, second, use_cuda_graphs), answers

    def _answer(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[streams.Sampling], answers: Sequence[list[int]]
    ) -> tuple[float, float]:
        """Fills the answers; seconds until each had its first token, and after that."""
        waiting = set(range(len(prompts)))
        began = all_begun = time.perf_counter()

        def on_token(prompt: int, token: int) -> None:
            nonlocal all_begun
            answers[prompt].append(token)
            if prompt in waiting:
                waiting.remove(prompt)
                all_begun = time.perf_counter()

        streams.complete(self.decode_model, prompts, samplings, on_token=on_token, batch=len(prompts))
        return all_begun - began, time.perf_counter() - all_begun

    def _sampling(self, use_sampling: bool, seed: int | None, number: int = 0) -> streams.Sampling:
        args = self.gen_args
        stop = getattr(self.tokenizer, "eot_id", None)
        return streams.Sampling(
            max_tokens=args.gen_length,
            repetition_penalty=args.repetition_penalty,
            seed=None if seed is None else seed + number,
            stop_tokens=() if stop is None or stop < 0 else (stop,),
            **(_drawing(args) if use_sampling else {}),
        )

    def _stats(self, answers: Sequence[Sequence[int]], first: float, second: float, use_cuda_graphs: bool) -> Stats:
        stats = Stats()
        if answers:
            lengths = [len(answer) for answer in answers]
            stats.prefill_tokens = sum(length > 0 for length in lengths)
            stats.add("prefill" if use_cuda_graphs else "total", 0, first)
            stats.add("decode" if use_cuda_graphs else "total", sum(lengths) - stats.prefill_tokens, second)
        stats.memory_used = peak_memory() / 1e9
        return stats

    # -- text

    def generate(self, prompt: str, *settings: Any, **options: Any) -> str:
        """The continuation of a text, without it and without special tokens. For settings and options see
        SimpleInference.generate; gen_args say the rest."""
        return self._inference().generate(prompt, *settings, **options)

    def generate_stream(self, prompt: str, *settings: Any, **options: Any) -> StreamingGenerator:
        """generate() piece by piece."""
        return self._inference().generate_stream(prompt, *settings, **options)

    def _inference(self) -> SimpleInference:
        if self.tokenizer is None:
            raise TokenizerNotFoundError("generate: expected a tokenizer, got None; assign the engine's attribute")
        args = self.gen_args
        config = InferenceConfig(
            max_length=self.decode_model.info()["context"],
            max_new_tokens=args.gen_length,
            do_sample=args.use_sampling,
            repetition_penalty=args.repetition_penalty,
            **_drawing(args),
        )
        return SimpleInference(self.decode_model, self.tokenizer, config)

    # -- single steps, as the original's CUDA graphs have them

    def compile_prefill(self) -> Callable[..., Any]:
        """replay(tokens, seq_lens=None): reads gen_bsz prompts, each padded to prompt_length, one after another in
        tokens, and returns the logits after each token, f32 [gen_bsz * prompt_length, vocab]. seq_lens: their real
        lengths, on which nothing depends: padding comes after them. Both replays of an engine share one cache."""
        count, length = self.gen_args.gen_bsz, self.gen_args.prompt_length
        self._session = self.decode_model.session(context=self.max_seq_length, sequences=count)

        def replay(tokens: Any, seq_lens: Any = None) -> Any:
            ids = token_ids(tokens)
            lengths = [length] * count if seq_lens is None else token_ids(seq_lens, "seq_lens")
            if len(ids) != count * length or len(lengths) != count:
                raise ConfigError(f"tokens: expected {count} x {length}, got {len(ids)} and {len(lengths)} lengths")
            rows = []
            for sequence in range(count):
                self._session.truncate(0, sequence)
                begin = sequence * length
                rows.append(self._session.forward(ids[begin : begin + length], logits="all", sequence=sequence))
            return joined(rows, tokens)

        return replay

    def compile_generate(self) -> Callable[..., Any]:
        """replay(tokens, seq_lens): one more token of each sequence, after compile_prefill's replay; f32 [gen_bsz,
        vocab]. seq_lens: the lengths with these tokens."""
        if not hasattr(self, "_session"):
            self.compile_prefill()
        count = self.gen_args.gen_bsz

        def replay(tokens: Any, seq_lens: Any) -> Any:
            ids, lengths = token_ids(tokens), token_ids(seq_lens, "seq_lens")
            if len(ids) != count or len(lengths) != count:
                raise ConfigError(f"tokens: expected {count} and as many lengths, got {len(ids)} and {len(lengths)}")
            rows = []
            for sequence, (token, length) in enumerate(zip(ids, lengths, strict=True)):
                self._session.truncate(length - 1, sequence)
                rows.append(self._session.forward([token], logits="last", sequence=sequence))
            return joined(rows, tokens)

        return replay

    def __repr__(self) -> str:
        return f"<bitnet_py.FastGen {self.decode_model!r}, {self.gen_args}>"


InferenceEngine = FastGen
"""BitNet-rs's name."""


def _by_name(named: dict[str, Any]) -> Iterator[Any]:
    """Values of keyword arguments, in the order of the constructors."""
    names = ("args", "gen_args", "model_args", "model", "prefill_model", "decode_model", "tokenizer", "device")
    for name in named:
        if name not in names:
            raise ArgumentTypeError(f"FastGen: {name}: expected one of {', '.join(names)}")
    for name in names:
        if name in named:
            yield named[name]


def _rows(prompts: Any) -> Iterable[Any]:
    """The prompts in a list or an array of two dimensions."""
    if hasattr(prompts, "tolist"):
        prompts = prompts.tolist()
    rows = list(prompts)
    for row in rows:
        if isinstance(row, (int, str)):
            raise ArgumentTypeError(f"prompts: expected a list of token ids for each, got {type(row).__name__} {row!r}")
    return rows


def _drawing(args: GenArgs) -> dict[str, Any]:
    """How tokens are drawn, if they are."""
    if os.environ.get("BITNET_PY_COMPAT_SAMPLING", "") not in ("", "0"):
        return _SAMPLING_OF_THE_ORIGINAL
    return {"temperature": args.temperature, "top_p": args.top_p, "top_k": args.top_k or 0}


# -- finding the tokenizer


def _files(checkpoint: Path) -> list[Path]:
    """Those there are of a tokenizer, the best first."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    candidates = (Path("tokenizer.model"), folder / "tokenizer.model", folder / "tokenizer.json")
    return [path for path in candidates if path.is_file()]


def _tokenizer(files: Sequence[Path], model: BitNetModel, cache_dir: str | os.PathLike[str] | None) -> Tokenizer | None:
    """The first that is for the model, or the model's own, or None."""
    for path in files:
        tokenizer = Tokenizer(path, cache_dir=cache_dir)
        if tokenizer.n_words <= model.info()["vocab"]:
            return tokenizer
        _log.warning(
            "%s: has %d tokens, the model only %d: it is left out", path, tokenizer.n_words, model.info()["vocab"]
        )
    if model.describe()["tokenizer"]:
        return Tokenizer(model)
    _log.warning("%s: no tokenizer found: give token ids, or assign the engine's tokenizer", model.path)
    return None
