"""Eight threads and eight asyncio tasks generate at once on one model, with random cancels: every text is the one that
its prompt gives alone (or a beginning of it), and memory stays flat."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import bitnet_py

SECONDS, WARM_UP = 60.0, 15.0
CANCELLED, WARM_TEXTS = 100, 300  # which take longer than that on a slow machine
LONGEST = 1800.0
FLAT = 2 << 20  # bytes
PROMPTS = [
    "And God said",
    "In the beginning",
    "The LORD is my shepherd;",
    "And it came to pass in those days, that there went out a decree",
    "Jesus wept",
    "And the angel of the LORD said unto her,",
    "Now the",
    "Thou shalt not",
]
TOKENS = 48


def resident_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):  # what this process has written: not the mapped weights
            return int(line.split()[1]) * 1024
    raise AssertionError("smaps_rollup: expected a line Private_Dirty")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc/self/smaps_rollup")
def test_threads_and_tasks_with_cancels_neither_leak_nor_mix(inference: bitnet_py.SimpleInference) -> None:
    settings: list[dict[str, object]] = [{"temperature": 0.0}, {"temperature": 1.0, "seed": 7}]
    jobs = [(prompt, setting) for prompt in PROMPTS for setting in settings]

    def start(job: int) -> bitnet_py.StreamingGenerator:
        prompt, setting = jobs[job]
        return inference.generate_stream(prompt, max_tokens=TOKENS, **setting)

    alone = ["".join(start(job)) for job in range(len(jobs))]
    begin = time.monotonic()
    wrong: list[str] = []
    n_texts, n_cancelled = [0], [0]
    count = threading.Lock()

    def goes_on() -> bool:
        return time.monotonic() - begin < (SECONDS if n_cancelled[0] > CANCELLED else LONGEST)

    def judge(job: int, text: str, was_cancelled: bool) -> None:
        with count:
            n_texts[0] += 1
            n_cancelled[0] += was_cancelled
        if not (alone[job].startswith(text) if was_cancelled else text == alone[job]):
            wrong.append(f"{jobs[job]}: expected {alone[job]!r}, got {text!r}")

    def chosen(randomly: random.Random) -> tuple[int, int | None, Callable[[bitnet_py.StreamingGenerator], None]]:
        """A job, after how many pieces it is cancelled (None: never), and how."""
        after = randomly.randrange(1, TOKENS) if randomly.random() < 0.4 else None

        def from_another_thread(stream: bitnet_py.StreamingGenerator) -> None:
            other = threading.Thread(target=stream.cancel)
            other.start()
            other.join()

        how = randomly.choice([bitnet_py.StreamingGenerator.cancel, from_another_thread])
        return randomly.randrange(len(jobs)), after, how

    def thread(seed: int) -> None:
        randomly = random.Random(seed)
        while goes_on():
            job, after, cancel = chosen(randomly)
            stream, text = start(job), ""
            for n, piece in enumerate(stream, 1):
                text += piece
                if n == after:
                    cancel(stream)
            judge(job, text, stream.finish_reason == "cancelled")

    async def task(seed: int) -> None:
        randomly = random.Random(seed)
        while goes_on():
            job, after, cancel = chosen(randomly)
            stream, text, n = start(job), "", 0
            async for piece in stream:
                text, n = text + piece, n + 1
                if n == after:
                    cancel(stream)
            judge(job, text, stream.finish_reason == "cancelled")

    async def tasks() -> None:
        await asyncio.gather(*(task(100 + i) for i in range(8)))

    memory: list[int] = []

    def watch() -> None:
        time.sleep(WARM_UP)
        while n_texts[0] < WARM_TEXTS and goes_on():
            time.sleep(1)
        memory.append(resident_bytes())
        while goes_on():
            time.sleep(1)
            memory.append(resident_bytes())

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(8)]
    threads += [threading.Thread(target=lambda: asyncio.run(tasks())), threading.Thread(target=watch)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    gc.collect()
    print(
        f"{n_texts[0]} texts, {n_cancelled[0]} cancelled; private memory after warm-up {memory[0] >> 10} KiB,"
        f" growth {(max(memory) - memory[0]) >> 10} KiB"
    )
    assert not wrong, wrong[:3]
    assert n_cancelled[0] > CANCELLED
    assert n_texts[0] > 3 * n_cancelled[0] // 2
    assert max(memory) - memory[0] <= FLAT
