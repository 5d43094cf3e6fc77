"""The program bitnet-generate: the command line of the original's generate.py."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from .arguments import UsageError, parse
from .errors import BitNetError, TokenizerNotFoundError
from .fast_gen import FastGen, GenArgs


def get_prompts(interactive: bool) -> Iterator[list[str]]:
    """Prompts to answer: one of the original's, or what is typed, until the input ends."""
    if not interactive:
        yield ["Hello, my name is"]
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (input() edits lines once it is imported)
    while True:
        try:
            line = input("enter prompt: ")
        except EOFError:
            print("exiting")
            return
        yield [line]


def main(
    ckpt_dir: str | os.PathLike[str], interactive: bool = False, chat_format: bool = False, sampling: bool = False
) -> None:
    """Answers prompts with a checkpoint and prints answers and times, as the original's main does.

    chat_format: each prompt is a user's turn. sampling: draws tokens. NO_CUDA_GRAPHS in the environment names the
    phases total.
    """
    engine = FastGen.build(ckpt_dir, GenArgs())
    if engine.tokenizer is None:
        raise TokenizerNotFoundError(f"tokenizer.model: expected it here or in {ckpt_dir}, got no such file")
    if chat_format:
        from .tokenizer import ChatFormat

        engine.tokenizer = ChatFormat(engine.tokenizer)
    for prompts in get_prompts(interactive):
        if chat_format:
            tokens = [
                engine.tokenizer.encode_dialog_prompt([{"role": "user", "content": prompt}], completion=True)
                for prompt in prompts
            ]
        else:
            tokens = [engine.tokenizer.encode(prompt, bos=False, eos=False) for prompt in prompts]
        print(tokens)
        print(max(map(len, tokens)), engine.gen_args.gen_length)
        stats, answers = engine.generate_all(tokens, "NO_CUDA_GRAPHS" not in os.environ, sampling)
        for prompt, answer in zip(prompts, answers, strict=True):
            print(f"> {prompt}")
            print(engine.tokenizer.decode(answer))
            print("---------------")
        print(stats.show())
        print(f"Memory used: {stats.memory_used:.02f} GB", flush=True)


def command_line(arguments: Sequence[str] | None = None) -> int:
    """The program bitnet-generate; its exit status."""
    try:
        values = parse(sys.argv[1:] if arguments is None else arguments, main, "bitnet-generate")
    except UsageError as error:
        print(error, file=sys.stderr if error.status else sys.stdout)
        return error.status
    try:
        main(**values)
    except BitNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
