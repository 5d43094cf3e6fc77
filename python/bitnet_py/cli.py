"""The command line, `python -m bitnet_py`: generate, chat, bench, info, compile. This file has the flags, what every
command needs, and the short commands; cli_chat.py and cli_bench.py have the long ones.

Results are on standard output, all else on standard error. Exit codes: 0 done, 1 failed (one line), 2 wrong command
line, 130 Ctrl-C (after what there was).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import _runtime
from .chat_template import chat_tokens
from .errors import BitNetError, ConfigError
from .generation import speculation_of
from .model import BitNetModel, load_model
from .streams import Sampling, StreamingGenerator, stream

INTERRUPTED = 130


class UsageError(Exception):
    """The command line is wrong in a way that argparse does not see."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.run is None:
        parser.error(f"expected a command: {', '.join(_COMMANDS)}")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _usage(args.parser, error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads on; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (BitNetError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _usage(parser: argparse.ArgumentParser, error: UsageError) -> NoReturn:
    parser.error(str(error))


# ---- flags


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bitnet_py",
        description="Runs ternary language models.",
        epilog="exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"bitnet_py {_runtime.version}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (summary, declare, run) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        command.set_defaults(run=run, parser=command)
        declare(command)
    return parser


def _declare_model(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    what = 'a .bnx, .gguf, .safetensors or .pt file, a checkpoint folder, or "org/name" in the Hugging Face cache'
    parser.add_argument("model", nargs="?", metavar="MODEL", help=what + ("" if needed else "; optional"))
    parser.add_argument("-m", "--model", dest="model_flag", metavar="MODEL", help="the same as a flag")
    parser.add_argument("--cpu", metavar="VARIANT", help="use this CPU variant of the bundle instead of the best one")


def _declare_sampling(parser: argparse.ArgumentParser, *, tokens: int, temperature: float, top_p: float) -> None:
    add = parser.add_argument
    add("-n", "--max-tokens", "--n-predict", type=int, default=tokens, metavar="N", dest="max_tokens",
        help="new tokens at most; -1 = until the context is full (%(default)s)")  # fmt: skip
    add("--temp", "--temperature", type=float, default=temperature, metavar="T", dest="temperature",
        help="temperature; 0 = always the likeliest token (%(default)s)")  # fmt: skip
    add("--top-k", type=int, default=0, metavar="K", help="draw from the K likeliest tokens; 0 = off (%(default)s)")
    add("--top-p", type=float, default=top_p, metavar="P",
        help="draw from the likeliest tokens that sum up to P; 1 = off (%(default)s)")  # fmt: skip
    add("--min-p", type=float, default=0.0, metavar="P",
        help="drop tokens less likely than P times the likeliest; 0 = off (%(default)s)")  # fmt: skip
    add("--repeat-penalty", type=float, default=1.0, metavar="F",
        help="make seen tokens less likely; 1 = off (%(default)s)")  # fmt: skip
    add("--repeat-last-n", type=int, default=64, metavar="N",
        help="tokens that --repeat-penalty looks back; -1 = all (%(default)s)")  # fmt: skip
    add("--presence-penalty", type=float, default=0.0, metavar="F",
        help="taken from the logits of generated tokens (%(default)s)")  # fmt: skip
    add("--frequency-penalty", type=float, default=0.0, metavar="F",
        help="taken once for each time a token was generated (%(default)s)")  # fmt: skip
    add("--seed", type=int, metavar="N", help="the same seed gives the same text (drawn anew if not given)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given several times")
    add("--logit-bias", action="append", default=[], type=_bias, metavar="ID=VALUE",
        help="add to a token's logit, -inf bans it; may be given several times")  # fmt: skip
    add("--speculate", type=_speculation, default="auto", metavar="HOW",
        help="also run guesses from the text so far, which never changes it: auto (greedy, where it pays), ngram (any "
        "sampling, where it pays), off, or how many, up to 15 (%(default)s)")  # fmt: skip
    add("--ignore-eos", action="store_true", help="go on past tokens that end a text")


def _declare_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-t", "--threads", type=_count, default=0, metavar="N", help="0 = one for each CPU (%(default)s)")
    add("-c", "--context", type=_count, default=0, metavar="N", help="positions to hold; 0 = as many as suits")
    add("--json", action="store_true", help="print JSON instead of text")
    add("-q", "--quiet", action="store_true", help="no statistics on standard error")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return value


def _bias(text: str) -> tuple[int, float]:
    token, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return int(token), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ID=VALUE, got '{text}'") from None


def _speculation(text: str) -> str | int:
    how: str | int = int(text) if text.isdecimal() else text
    try:
        speculation_of(how)
    except ConfigError:
        raise argparse.ArgumentTypeError(f"expected auto, off, ngram or a number from 1 to 15, got '{text}'") from None
    return how


# ---- what every command needs


def open_model(args: argparse.Namespace) -> BitNetModel:
    """The model that the command line names."""
    from . import hub

    if args.model and args.model_flag:
        raise UsageError("expected one model, got MODEL and --model")
    name = args.model or args.model_flag
    if not name:
        raise UsageError("expected a MODEL")
    return load_model(hub.find(name), cpu=args.cpu)


def tokenizer_of(model: BitNetModel) -> _runtime.Tokenizer:
    """The model's tokenizer; an error if it has none."""
    tokenizer = model._native.tokenizer()
    if tokenizer is None:
        raise ConfigError(f"{model.path}: has no tokenizer; compile it again with --tokenizer")
    return tokenizer


def sampling_of(args: argparse.Namespace) -> Sampling:
    """The sampling of the flags, with a seed in any case (so that it can be told)."""
    if args.max_tokens < -1 or args.max_tokens == 0:
        raise UsageError(f"--max-tokens: expected 1 or more, or -1, got {args.max_tokens}")
    return Sampling(
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        repetition_penalty=args.repeat_penalty,
        repetition_window=args.repeat_last_n,
        presence_penalty=args.presence_penalty,
        frequency_penalty=args.frequency_penalty,
        seed=random.getrandbits(32) if args.seed is None else args.seed,
        stop=tuple(args.stop),
        ignore_eos=args.ignore_eos,
        logit_bias=dict(args.logit_bias),
        logprobs=getattr(args, "logprobs", None),
        speculate=args.speculate,
    )


def write(text: str) -> None:
    """Text on standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_json(value: object, *, indent: int | None = 2) -> None:
    """An object on standard output."""
    print(json.dumps(value, indent=indent, ensure_ascii=False))


def timings_of(text: StreamingGenerator) -> dict[str, Any]:
    """Tokens, seconds and speeds; the first token comes from the prompt's own step, the others from further ones."""
    timings = text.timings
    drawn = timings["generated_tokens"] - 1
    read = timings["prompt_tokens"] - timings["cached_tokens"]
    return {
        **timings,
        "prompt_tokens_per_second": _per_second(read, timings["prompt_seconds"]),
        "generation_tokens_per_second": _per_second(drawn, timings["generation_seconds"]),
    }


def _per_second(count: float, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0


def summary_of(timings: Mapping[str, Any], finish_reason: str | None) -> str:
    """One line about a generation."""
    cached = f" ({timings['cached_tokens']} cached)" if timings["cached_tokens"] else ""
    return (
        f"prompt: {timings['prompt_tokens']} tokens{cached}, {timings['prompt_tokens_per_second']:.1f} tok/s; "
        f"first token after {timings['prompt_seconds']:.2f} s; "
        f"generation: {timings['generated_tokens']} tokens, {timings['generation_tokens_per_second']:.1f} tok/s; "
        f"{finish_reason}"
    )


# ---- generate


def _declare_generate(parser: argparse.ArgumentParser) -> None:
    _declare_model(parser)
    add = parser.add_argument
    add("-p", "--prompt", metavar="TEXT", help="the text to continue; - is standard input")
    add("-f", "--file", metavar="FILE", help="the text is in this file; - is standard input")
    add("--chat", action="store_true", help="the text is a user's message: apply the model's chat template")
    add("--system", metavar="TEXT", help="system message for --chat")
    add("--echo", action="store_true", help="print the prompt first")
    add("--logprobs", type=_count, metavar="N", help="with --json: log-probabilities of each token and the N likeliest")
    _declare_sampling(parser, tokens=128, temperature=0.0, top_p=1.0)
    _declare_run(parser)


def _generate(args: argparse.Namespace) -> int:
    if args.system is not None and not args.chat:
        raise UsageError("--system needs --chat")
    if args.logprobs is not None and not args.json:
        raise UsageError("--logprobs needs --json")
    sampling = sampling_of(args)
    prompt = _prompt_text(args)
    start = time.perf_counter()
    model = open_model(args)
    tokenizer = tokenizer_of(model)
    if args.chat:
        system = [{"role": "system", "content": args.system}] if args.system is not None else []
        tokens = chat_tokens(model, [*system, {"role": "user", "content": prompt}])
    else:
        tokens = tokenizer.encode(prompt, True, True)
    longest = model._native.info()["context"]
    needed = longest if args.max_tokens < 0 else min(len(tokens) + args.max_tokens, longest)
    text = stream(model, tokens, sampling, threads=args.threads, context=args.context or needed)
    load_seconds = time.perf_counter() - start
    if args.echo and not args.json:
        write(tokenizer.decode(tokens, False))
    interrupted = False
    try:
        for piece in text:
            if not args.json:
                write(piece)
    except KeyboardInterrupt:
        interrupted = True
    text.cancel()
    timings = timings_of(text)
    if args.json:
        result: dict[str, Any] = {
            "prompt_tokens": tokens,
            "tokens": text.tokens,
            "text": text.text,
            "finish_reason": text.finish_reason,
            "seed": sampling.seed,
            "timings": {"load_seconds": load_seconds, **timings},
        }
        if text.logprobs is not None:
            result["logprobs"] = [vars(entry) for entry in text.logprobs]
        print_json(result)
    else:
        write("\n")
    if not args.quiet:
        seed = f"; seed {sampling.seed}" if args.temperature > 0 else ""
        print(summary_of(timings, text.finish_reason) + seed, file=sys.stderr)
    return INTERRUPTED if interrupted else 0


def _prompt_text(args: argparse.Namespace) -> str:
    if args.prompt is not None and args.file is not None:
        raise UsageError("expected one of --prompt and --file, got both")
    if args.prompt is not None and args.prompt != "-":
        return str(args.prompt)
    if args.file is not None and args.file != "-":
        text = Path(args.file).read_text(encoding="utf-8", errors="replace")
    elif args.prompt is None and args.file is None and sys.stdin.isatty():
        raise UsageError("no text: give --prompt TEXT or --file FILE, or pipe it in")
    else:
        text = sys.stdin.read()
    return text.removesuffix("\n")  # the line end that an editor or echo put there


# ---- info


def _declare_info(parser: argparse.ArgumentParser) -> None:
    _declare_model(parser, needed=False)
    parser.add_argument("--json", action="store_true", help="print one object, of a model with the whole bundle")


def _info(args: argparse.Namespace) -> int:
    from . import checkpoints, system

    try:
        compiler: str | None = str(checkpoints.find_compiler())
    except BitNetError:
        compiler = None
    machine = system.get_system_info()
    shown: dict[str, Any] = {
        "version": machine["rust_version"],
        "system": f"{machine['target_os']} {machine['target_arch']}",
        "cpus": _runtime.available_cpus(),
        "cpu_variant": _runtime.cpu_variant(),
        "cpu_features": machine["cpu_features"],
        "compiler": compiler,
    }
    if args.model or args.model_flag:
        model = open_model(args)
        shown["model"] = {"path": str(model.path), **(model.describe() if args.json else model._native.info())}
    if args.json:
        print_json(shown)
        return 0
    for name, value in shown.items():
        if isinstance(value, Mapping):
            print(f"{name}:")
            for key, detail in value.items():
                print(f"  {key}: {detail}")
        else:
            print(f"{name}: {' '.join(value) if isinstance(value, list) else value or 'none'}")
    return 0


# ---- compile


def _declare_compile(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a .gguf, .safetensors or .pt file, or a checkpoint folder")
    add("-o", "--output", metavar="FILE", help="the bundle; default: the input's name with .bnx")
    add("--target", metavar="LIST", help="CPU families: portable, avx2, avx512, host (default)")
    add("--tokenizer", metavar="FILE", help="tokenizer to use instead of the checkpoint's")
    add("--head", metavar="KIND", help="output head: exact (default, unless it is small), f16 or q8")
    add("--packing", metavar="KIND", help="ternary weights: t2, t3, t5 or auto (default)")
    add("--kv", metavar="KIND", help="key/value cache: f16 (default), or q8: int8, half the bytes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="what the checkpoint does not say; repeatable")
    add("-j", "--jobs", type=_count, metavar="N", help="threads (default: one for each CPU)")
    add("--json", action="store_true", help="print the result as one object")
    add("-v", "--verbose", action="store_true", help="say what is done and decided")
    add("flags", nargs="*", metavar="-- FLAG", help="further flags, as bitnetc has them")


def _compile(args: argparse.Namespace) -> int:
    from . import checkpoints, programs

    values = ("output", "target", "tokenizer", "head", "kv", "packing", "jobs")
    command = [str(checkpoints.find_compiler()), args.checkpoint]
    command += [f"--{name}={getattr(args, name)}" for name in values if getattr(args, name) is not None]
    command += [f"--set={setting}" for setting in args.set]
    command += [f"--{name}" for name in ("json", "verbose") if getattr(args, name)]
    try:
        return subprocess.run([*command, *args.flags], env=programs.environment()).returncode
    except OSError as error:
        raise ConfigError(f"{command[0]}: cannot run: {error.strerror}; set BITNETC to bitnetc") from error


# ---- chat, bench


def _declare_chat(parser: argparse.ArgumentParser) -> None:
    _declare_model(parser)
    parser.add_argument("--system", metavar="TEXT", help="system message")
    parser.add_argument("--no-history", action="store_true", help="do not keep the typed lines for the next time")
    _declare_sampling(parser, tokens=512, temperature=0.7, top_p=0.95)
    _declare_run(parser)


def _chat(args: argparse.Namespace) -> int:
    from .cli_chat import chat

    return chat(args)


def _declare_bench(parser: argparse.ArgumentParser) -> None:
    _declare_model(parser)
    add = parser.add_argument
    for flags, default, what in (
        (("-p", "--n-prompt"), [512], "prompt lengths to measure; 0 = none"),
        (("-n", "--n-gen"), [128], "numbers of tokens to generate; 0 = none"),
        (("-d", "--depth"), [0], "positions that the cache holds before"),
        (("-t", "--threads"), [0], "threads; 0 = one for each CPU"),
    ):
        add(*flags, type=_counts, default=default, metavar="LIST", help=f"{what} ({default[0]})")
    add("-r", "--repetitions", type=_count, default=5, metavar="N", help="runs of each; the median counts (5)")
    add("--json", action="store_true", help="print one object with every run")


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _bench(args: argparse.Namespace) -> int:
    from .cli_bench import bench

    return bench(args)


_Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
_COMMANDS: dict[str, _Command] = {
    "generate": ("write text that continues a prompt", _declare_generate, _generate),
    "chat": ("talk with a model", _declare_chat, _chat),
    "bench": ("measure prompt (pp) and generation (tg) speed: medians and spread", _declare_bench, _bench),
    "info": ("show the system, and what a model is", _declare_info, _info),
    "compile": ("compile a checkpoint into a bundle (.bnx), by bitnetc", _declare_compile, _compile),
}
