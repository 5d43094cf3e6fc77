"""Asks the original implementation and bitnet_py the same prompts and compares their tokens.

Both run one program, in a process each; only its import lines differ. Greedy, each prompt alone, since that is what the
original does rightly. The original needs its own folder (with tokenizer.model and its CUDA kernels), torch and a GPU.

    python -m bitnet_py.side_by_side CHECKPOINT --original BitNet/gpu --prompts "Hello, my name is"
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__

PROMPTS = ("Hello, my name is", "The capital of France is", "In the year 2024,")

# The original's FastGen reads tokenizer.eot_id, which only its ChatFormat has: hence ChatFormat for plain prompts too.
_PROGRAM = """
import json, sys, time
from {generate} import FastGen, GenArgs
from {tokenizer} import ChatFormat
job = json.load(sys.stdin)
g = FastGen.build(job["checkpoint"], GenArgs(gen_length=job["length"]), job["device"])
plain, g.tokenizer = g.tokenizer, ChatFormat(g.tokenizer)
answers = []
for prompt in job["prompts"]:
    tokens = plain.encode(prompt, bos=False, eos=False)
    began = time.perf_counter()
    _, results = g.generate_all([tokens], use_cuda_graphs=True, use_sampling=False)
    seconds = time.perf_counter() - began
    answers.append(dict(tokens=results[0], text=plain.decode(results[0]), seconds=seconds))
print("\\n" + json.dumps(answers))
"""
_ORIGINAL = _PROGRAM.format(generate="generate", tokenizer="tokenizer")
_OURS = _PROGRAM.format(generate="bitnet_py.generate", tokenizer="bitnet_py.tokenizer")


class _CannotRun(Exception):
    """One of the two implementations did not answer; the text is the last line that it wrote."""


def _answers(program: str, python: str, folder: Path, job: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        ran = subprocess.run([python, "-c", program], cwd=folder, input=json.dumps(job), capture_output=True, text=True)
    except OSError as error:
        raise _CannotRun(f"{python}: {error.strerror}") from None
    if ran.returncode != 0:
        raise _CannotRun((ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1])
    answers: list[dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return answers


def _agreement(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two answers share from their beginnings."""
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Ask the original implementation and bitnet_py the same prompts and compare their tokens.",
        epilog="Exit status: 0 all tokens are equal, 1 some differ, 2 one of the two did not run.",
    )
    parser.add_argument("checkpoint", help="a folder with model_state_int2.pt (for bitnet_py alone: any model)")
    parser.add_argument(
        "--original", metavar="FOLDER", help="the original's gpu folder; without it only bitnet_py runs"
    )
    parser.add_argument("--original-python", metavar="PROGRAM", default=sys.executable, help="its Python (with torch)")
    parser.add_argument("--original-device", default="cuda:0", help="its device (default: %(default)s)")
    parser.add_argument("--length", type=int, default=32, help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--prompts", nargs="+", help="texts to continue")
    parser.add_argument("--json", metavar="FILE", help="write all answers there")
    parser.add_argument("--version", action="version", version=f"bitnet_py {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None, prompts: Sequence[str] = PROMPTS) -> int:
    """Compares, prints a table for each prompt, and returns the exit status that --help explains."""
    options = _parser().parse_args(arguments)
    prompts = options.prompts or list(prompts)
    job = {"checkpoint": str(Path(options.checkpoint).resolve()), "length": options.length, "prompts": list(prompts)}
    here = Path.cwd()
    sides = [("bitnet_py", _OURS, sys.executable, here, "cpu")]
    if options.original:
        here = Path(options.original)  # where both look for ./tokenizer.model
        sides = [
            ("original", _ORIGINAL, options.original_python, here, options.original_device),
            ("bitnet_py", _OURS, sys.executable, here, "cpu"),
        ]
    # The processes start elsewhere and must still find this very package.
    package = str(Path(__file__).resolve().parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), package) if p)
    answers: dict[str, list[dict[str, Any]]] = {}
    for name, program, python, folder, device in sides:
        try:
            answers[name] = _answers(program, python, folder, job | {"device": device})
        except _CannotRun as error:
            print(f"{name}: did not run: {error}", file=sys.stderr)
            return 2
    same = True
    for i, prompt in enumerate(prompts):
        print(f"> {prompt}")
        for name, all_answers in answers.items():
            answer = all_answers[i]
            print(f"  {name:9} {len(answer['tokens']):4} tokens in {answer['seconds']:.2f} s: {answer['text']!r}")
        if "original" in answers:
            first, second = (answers[name][i]["tokens"] for name in ("original", "bitnet_py"))
            agree = _agreement(first, second)
            same = same and first == second
            print(f"  the first {agree} of {max(len(first), len(second))} tokens are equal")
    if options.json:
        Path(options.json).write_text(json.dumps(answers, indent=2) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
