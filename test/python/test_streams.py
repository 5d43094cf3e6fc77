"""Streams: every way to take one, cancel one and lose one; many at once.

A model that is slow enough to be interrupted is made here: 96 layers of random weights with the kernels of the
repository's model, 10 ms a token or more, and a minute for a prompt that fills its context.
"""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bitnet_py
from bitnet_py import metrics, streams
from bitnet_py.streams import Sampling

PROMPT = "And God said"
PROMPTS = [PROMPT, "In the beginning", "The LORD is my shepherd;"]
LONG = {"max_tokens": 400, "ignore_eos": True}
LONGER = {"max_tokens": 8000, "ignore_eos": True}  # of `slow`: seconds on any machine


@pytest.fixture(scope="module")
def greedy(model: bitnet_py.BitNetModel, tokenizer: bitnet_py.Tokenizer) -> bitnet_py.SimpleInference:
    config = bitnet_py.InferenceConfig(max_new_tokens=24, do_sample=False)
    return bitnet_py.SimpleInference(model, tokenizer, config)


@pytest.fixture(scope="module")
def slow(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bitnet_py.SimpleInference:
    maker = Path(os.environ["BITNET_BIN_DIR"]) / "make-dummy-model"
    if not maker.exists():
        pytest.skip("make-dummy-model is not built")
    folder = tmp_path_factory.mktemp("slow")
    shape = "--preset tiny --dim 256 --layers 96 --heads 4 --kv-heads 2 --ffn 768 --vocab 4096 --context 8192"
    command = [maker, folder / "slow.gguf", *shape.split(), "--encoding", "tq1_0", "--tokenizer", checkpoint]
    subprocess.run(command, check=True, capture_output=True)
    model = bitnet_py.load_model(folder / "slow.gguf", cache_dir=folder)
    return bitnet_py.SimpleInference(model, bitnet_py.create_tokenizer(model.path), bitnet_py.GenerationConfig())


@pytest.fixture(scope="module")
def step(slow: bitnet_py.SimpleInference) -> float:
    """Seconds of a step of `slow` with as many rows as there can be: 0.1 on a quiet Zen 4, much more elsewhere."""
    begin = time.perf_counter()
    slow.generate("a " * 126, max_tokens=1, ignore_eos=True)
    return time.perf_counter() - begin


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    before = metrics.snapshot()["active_streams"]
    yield
    assert metrics.snapshot()["active_streams"] == before


# -- one object, every way to take it


@pytest.mark.case(44)
@pytest.mark.parametrize("keywords", [{}, {"temperature": 1.5, "seed": 7}], ids=["greedy", "seeded"])
def test_pieces_joined_are_the_text(greedy: bitnet_py.SimpleInference, keywords: dict[str, float]) -> None:
    async def by_async_for() -> str:
        return "".join([piece async for piece in greedy.generate_stream(PROMPT, **keywords)])

    async def by_await() -> str:
        return await greedy.generate_stream(PROMPT, **keywords)

    expected = greedy.generate(PROMPT, **keywords)
    assert "".join(greedy.generate_stream(PROMPT, **keywords)) == expected
    assert asyncio.run(by_async_for()) == expected
    assert asyncio.run(by_await()) == expected
    assert greedy.generate_stream(PROMPT, **keywords).completion().text == expected


def test_ways_to_take_a_stream_may_be_mixed(greedy: bitnet_py.SimpleInference) -> None:
    async def mixed() -> tuple[str, str]:
        stream = greedy.generate_stream(PROMPT)
        taken = next(stream)
        async for piece in stream:
            taken += piece
            break
        rest = "".join(stream)
        return taken + rest, await stream  # what was delivered is part of the whole text

    assert asyncio.run(mixed()) == (greedy.generate(PROMPT),) * 2


@pytest.mark.case(45)
def test_stream_is_active_until_it_is_exhausted(greedy: bitnet_py.SimpleInference) -> None:
    stream = greedy.generate_stream(PROMPT)
    assert stream.is_active()
    assert stream.finish_reason is None
    next(stream)
    assert stream.is_active()
    for _ in stream:
        pass
    assert not stream.is_active()
    assert stream.finish_reason in ("stop", "length")
    assert next(stream, "nothing") == "nothing"
    stream.cancel()  # too late to change anything
    assert stream.finish_reason in ("stop", "length")


@pytest.mark.case(45)
def test_cancel_may_be_called_twice_and_keeps_what_was_delivered(greedy: bitnet_py.SimpleInference) -> None:
    stream = greedy.generate_stream(PROMPT, **LONG)
    first = next(stream)
    stream.cancel()
    stream.cancel()
    assert not stream.is_active()
    with pytest.raises(StopIteration):
        next(stream)
    with pytest.raises(StopAsyncIteration):
        asyncio.run(anext_of(stream))
    assert (stream.text, stream.finish_reason) == (first, "cancelled")
    assert stream.completion().finish_reason == "cancelled"


async def anext_of(stream: bitnet_py.StreamingGenerator) -> str:
    return await stream.__anext__()


@pytest.mark.case(45)
def test_statistics_of_a_stream(greedy: bitnet_py.SimpleInference) -> None:
    prompt = "And God said, Let there be light: and there was light: and" + " it" * 3
    stream = greedy.generate_stream(prompt, max_tokens=9, temperature=0.5, top_k=40, top_p=0.8, ignore_eos=True)
    before = stream.get_stream_stats()
    assert before == before | {
        "started": False,
        "active": True,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.8,
        "prompt_preview": prompt[:47] + "...",
        "prompt_length": len(prompt),
        "tokens_generated": 0,
        "finish_reason": None,
    }
    stream.completion()
    after = stream.get_stream_stats()
    assert after == after | {"started": True, "active": False, "tokens_generated": 9, "finish_reason": "length"}
    assert after["prompt_tokens"] == stream.timings["prompt_tokens"]
    assert after["tokens_per_second"] > 0
    assert stream.get_stream_stats()["elapsed_seconds"] == after["elapsed_seconds"] > 0  # it stands still at the end
    assert greedy.generate_stream("x" * 50).get_stream_stats()["prompt_preview"] == "x" * 50


def test_contexts_cancel_what_is_left(greedy: bitnet_py.SimpleInference) -> None:
    with greedy.generate_stream(PROMPT, **LONG) as stream:
        next(stream)
    assert stream.finish_reason == "cancelled"
    with contextlib.closing(greedy.generate_stream(PROMPT, **LONG)) as stream:
        next(stream)
    assert stream.finish_reason == "cancelled"

    async def asynchronous() -> bitnet_py.StreamingGenerator:
        async with greedy.generate_stream(PROMPT, **LONG) as stream:
            async for _ in stream:
                break
        return stream

    assert asyncio.run(asynchronous()).finish_reason == "cancelled"


# -- cancelling


def test_cancel_from_another_thread_ends_the_stream(greedy: bitnet_py.SimpleInference) -> None:
    stream = greedy.generate_stream(PROMPT, **LONG)
    first = next(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    assert "".join(stream) == ""
    assert stream.text == first
    assert stream.finish_reason == "cancelled"


def test_cancel_takes_effect_within_a_token(slow: bitnet_py.SimpleInference, step: float) -> None:
    """Also while the prompt is read: then within one batch of its rows, of 47."""
    for prompt in ("a", "a " * 6000):
        stream = slow.generate_stream(prompt, **LONGER)
        took: list[float] = []

        def cancel(stream: bitnet_py.StreamingGenerator = stream, took: list[float] = took) -> None:
            took.append(-time.perf_counter())
            stream.cancel()

        timer = threading.Timer(0.1, cancel)
        timer.start()
        n_pieces = sum(1 for _ in stream)
        took[0] += time.perf_counter()
        assert stream.finish_reason == "cancelled"
        assert n_pieces < 8000
        assert took[0] < max(5, 20 * step)


@pytest.mark.parametrize("prompt", ["a", "a " * 6000], ids=["generating", "reading"])
def test_interrupt_raises_within_a_token_and_frees(slow: bitnet_py.SimpleInference, step: float, prompt: str) -> None:
    program = """
import asyncio, sys, time
import bitnet_py as b
model = b.load_model(sys.argv[1])
inference = b.SimpleInference(model, b.create_tokenizer(sys.argv[1]))
def started(event):
    if event["event"] == sys.argv[3]:
        b.metrics.set_callback(None)
        print("ready", flush=True)
b.metrics.set_callback(started)
prompt, long = sys.argv[2], {"max_tokens": 100000, "max_length": 100000, "ignore_eos": True}
run = {
    "generate": lambda: inference.generate(prompt, **long),
    "async": lambda: asyncio.run(inference.generate_async(prompt, **long)),
    "batch": lambda: inference.batch_generate([prompt] * 3, **long),
}[sys.argv[4]]
try:
    run()
except KeyboardInterrupt:
    deadline = time.perf_counter() + 300
    while b.metrics.snapshot()["active_streams"] and time.perf_counter() < deadline:
        time.sleep(0.001)  # of asyncio, another thread ends its step
    print("interrupted", b.metrics.snapshot()["active_streams"], b.metrics.snapshot()["cancelled"], flush=True)
"""
    event = "start" if len(prompt) > 1 else "first_token"
    for way, requests in (("generate", 1), ("async", 1), ("batch", 3)):
        child = subprocess.Popen(
            [sys.executable, "-c", program, slow.model.path, prompt, event, way], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            if event == "start":
                time.sleep(0.1)
            child.send_signal(signal.SIGINT)
            begin = time.perf_counter()
            line = child.stdout.readline()
            assert line.split()[:2] == ["interrupted", "0"], line
            assert int(line.split()[2]) <= requests
            assert time.perf_counter() - begin < max(5, 20 * step)
        assert child.returncode == 0


def test_cancelled_task_cancels_its_generation(slow: bitnet_py.SimpleInference) -> None:
    async def timed(use: Callable[[bitnet_py.StreamingGenerator], object]) -> bitnet_py.StreamingGenerator:
        stream = slow.generate_stream("a", **LONGER)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(use(stream), 0.3)
        assert not stream.is_active()
        return stream

    async def read(stream: bitnet_py.StreamingGenerator) -> None:
        async for _ in stream:
            pass

    async def both() -> None:
        for use in (read, lambda stream: stream):
            stream = await timed(use)
            deadline = time.perf_counter() + 300  # the thread ends its step first
            while stream._request.finish is None and time.perf_counter() < deadline:
                await asyncio.sleep(0.01)
            assert stream.finish_reason == "cancelled"

    asyncio.run(both())


def test_abandoned_stream_frees_its_state_at_once(greedy: bitnet_py.SimpleInference) -> None:
    async def begin(stream: bitnet_py.StreamingGenerator) -> None:
        async for _ in stream:
            break

    gc.disable()
    try:
        for n_taken in (0, 1):
            stream = greedy.generate_stream(PROMPT, **LONG)
            if n_taken:
                next(stream)
                asyncio.run(begin(stream))
            kept = [weakref.ref(stream), weakref.ref(stream._request), weakref.ref(stream._request.generation)]
            del stream
            if sys.version_info < (3, 11):
                gc.collect()  # that asyncio.run left a cycle
            deadline = time.perf_counter() + 60  # of asyncio, the thread that made the piece lets go of it after us
            while n_taken and any(reference() for reference in kept) and time.perf_counter() < deadline:
                time.sleep(0.001)
            assert [reference() for reference in kept] == [None] * 3
    finally:
        gc.enable()


def test_ended_stream_frees_its_state_while_it_lives(greedy: bitnet_py.SimpleInference) -> None:
    for end in (lambda stream: stream.cancel(), lambda stream: stream.completion()):
        stream = greedy.generate_stream(PROMPT)
        generation = weakref.ref(stream._request.generation)
        next(stream)
        end(stream)
        assert generation() is None
        assert stream.timings["prompt_tokens"] > 0


def test_error_of_a_processor_ends_the_stream(greedy: bitnet_py.SimpleInference) -> None:
    def broken(logits: memoryview) -> None:
        raise ZeroDivisionError

    stream = greedy.generate_stream(PROMPT, logits_processor=broken)
    with pytest.raises(ZeroDivisionError):
        next(stream)
    assert (stream.is_active(), stream.finish_reason) == (False, "error")
    assert next(stream, None) is None


def test_stream_that_takes_from_itself_is_an_error(greedy: bitnet_py.SimpleInference) -> None:
    def itself(logits: memoryview) -> None:
        next(stream)

    stream = greedy.generate_stream(PROMPT, logits_processor=itself)
    with pytest.raises(bitnet_py.InferenceError, match="called by its own logits processor"):
        next(stream)


# -- many at once


@pytest.mark.case(46)
def test_interleaved_streams_give_what_each_gives_alone(greedy: bitnet_py.SimpleInference) -> None:
    alone = [greedy.generate(prompt) for prompt in PROMPTS]
    running = [greedy.generate_stream(prompt) for prompt in PROMPTS]
    together = [""] * len(PROMPTS)
    while any(stream.is_active() for stream in running):
        for i, stream in enumerate(running):
            together[i] += next(stream, "")
    assert together == alone


@pytest.mark.case(46)
def test_other_threads_run_python_while_a_stream_computes(slow: bitnet_py.SimpleInference) -> None:
    """Seconds of a counting thread, in time slices that a held GIL would stretch to a whole step's length."""
    stop, counts = threading.Event(), [0]

    def count() -> None:
        while not stop.is_set():
            counts[0] += 1

    def counted(seconds: float) -> int:
        counts[0] = 0
        time.sleep(seconds)
        return counts[0]

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with slow.generate_stream("a " * 6000) as stream:
            reader = threading.Thread(target=lambda: next(stream, None))
            reader.start()  # reads its prompt for many seconds
            while_computing = counted(0.25)
            assert stream.is_active()
            stream.cancel()
            reader.join()
        assert while_computing > counted(0.25) / 50  # it shares the CPUs, and never waits for a step to end
    finally:
        stop.set()
        thread.join()


def test_eight_threads_give_what_each_gives_alone(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [f"{PROMPTS[i % 3]} {i}" for i in range(8)]
    alone = [greedy.generate(prompt) for prompt in prompts]
    texts = [""] * 8

    def run(i: int) -> None:
        for _ in range(5):
            texts[i] = greedy.generate(prompts[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == alone


def test_eight_tasks_give_what_each_gives_alone(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [f"{PROMPTS[i % 3]} {i}" for i in range(8)]
    alone = [greedy.generate(prompt) for prompt in prompts]

    async def together() -> list[str]:
        return await asyncio.gather(*(greedy.generate_stream(prompt) for prompt in prompts))

    assert asyncio.run(together()) == alone
    names = {thread.name for thread in threading.enumerate()}
    assert any(name.startswith("bitnet-stream") for name in names)


def test_statistics_do_not_wait_for_a_step(slow: bitnet_py.SimpleInference, step: float) -> None:
    with slow.generate_stream("a " * 6000) as stream:
        reader = threading.Thread(target=lambda: next(stream, None))
        reader.start()
        time.sleep(0.1)
        begin = time.perf_counter()
        for _ in range(100):
            assert stream.get_stream_stats()["active"]
        took = time.perf_counter() - begin
        stream.cancel()
        reader.join()
    assert took < max(0.5, 20 * step)  # a hundred steps, if each waited for one


def test_random_cancels_leave_right_texts_and_nothing_behind(greedy: bitnet_py.SimpleInference) -> None:
    whole = {prompt: greedy.generate(prompt, max_tokens=60, ignore_eos=True) for prompt in PROMPTS}
    wrong: list[str] = []

    def one(chance: random.Random) -> None:
        prompt = chance.choice(PROMPTS)
        stream = greedy.generate_stream(prompt, max_tokens=60, ignore_eos=True)
        if chance.random() < 0.5:
            canceller = threading.Timer(chance.random() * 0.02, stream.cancel)
            canceller.start()
        text = "".join(stream)
        ended = stream.finish_reason == "cancelled"
        if text != whole[prompt] and not (ended and whole[prompt].startswith(text)):
            wrong.append(text)

    def run(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            one(chance)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_that_take_from_one_stream_get_each_piece_once(greedy: bitnet_py.SimpleInference) -> None:
    stream = greedy.generate_stream(PROMPT, max_tokens=200, ignore_eos=True)
    taken: list[list[str]] = [[], [], []]
    threads = [threading.Thread(target=pieces.extend, args=(stream,)) for pieces in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(pieces) for pieces in taken) == len(stream._request.pieces)
    assert sorted(piece for pieces in taken for piece in pieces) == sorted(stream._request.pieces)
    assert stream.text == greedy.generate(PROMPT, max_tokens=200, ignore_eos=True)


# -- text


FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}"


@pytest.mark.case(47)
def test_stream_never_splits_a_character(greedy: bitnet_py.SimpleInference) -> None:
    """The family emoji, forced upon the model byte by byte, and each of its beginnings."""
    tokens = greedy.tokenizer.encode(FAMILY, bos=False)
    assert len(tokens) == len(FAMILY.encode())  # no token is more than a byte
    for length in range(1, len(tokens) + 1):
        forced = iter(tokens[:length])

        def force(logits: memoryview, forced: Iterator[int] = forced) -> None:
            logits[next(forced)] = 1e9

        stream = greedy.generate_stream(PROMPT, max_tokens=length, logits_processor=force)
        pieces = list(stream)
        assert stream.tokens == tokens[:length]
        assert "".join(pieces) == FAMILY.encode()[:length].decode(errors="replace")
        assert "".join(pieces) == greedy.tokenizer.decode(tokens[:length])
        assert not any("\ufffd" in piece for piece in pieces[:-1])  # only what the end cut off


# -- batches


def test_complete_keeps_the_order_and_refills(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [greedy.tokenizer.encode(PROMPTS[i % 3], bos=True) for i in range(7)]
    samplings = [Sampling(max_tokens=3 + 5 * (i % 4), ignore_eos=True) for i in range(7)]
    alone = [
        streams.stream(greedy.model, prompt, its).completion() for prompt, its in zip(prompts, samplings, strict=True)
    ]
    seen: list[list[int]] = [[] for _ in prompts]
    together = streams.complete(
        greedy.model, prompts, samplings, batch=3, on_token=lambda i, token: seen[i].append(token)
    )
    assert [completion.tokens for completion in together] == [completion.tokens for completion in alone] == seen
    assert [completion.text for completion in together] == [completion.text for completion in alone]
    assert [completion.prompt_tokens for completion in together] == prompts
    assert streams.complete(greedy.model, [], Sampling()) == []


def test_complete_begins_the_next_when_one_ends(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [greedy.tokenizer.encode(PROMPT, bos=True)] * 3
    samplings = [Sampling(max_tokens=n, ignore_eos=True) for n in (2, 30, 2)]
    order: list[int] = []
    streams.complete(greedy.model, prompts, samplings, batch=2, on_token=lambda i, token: order.append(i))
    assert order.index(2) < len(order) - 1 - order[::-1].index(1)  # the third began before the second's end
    assert 2 not in order[: order.index(0) + 2]


def test_complete_with_a_seed_is_what_each_prompt_draws_alone(greedy: bitnet_py.SimpleInference) -> None:
    prompts = [greedy.tokenizer.encode(prompt, bos=True) for prompt in PROMPTS]
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=5)
    alone = [streams.stream(greedy.model, prompt, sampling).completion().tokens for prompt in prompts]
    assert [completion.tokens for completion in streams.complete(greedy.model, prompts, sampling)] == alone


def test_complete_that_fails_leaves_nothing_behind(greedy: bitnet_py.SimpleInference) -> None:
    prompt = greedy.tokenizer.encode(PROMPT, bos=True)

    def fail(i: int, token: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streams.complete(greedy.model, [prompt] * 5, Sampling(), batch=2, on_token=fail)
    with pytest.raises(bitnet_py.BitNetError):
        streams.complete(greedy.model, [prompt, [-1]], Sampling())
    with pytest.raises(bitnet_py.BitNetError):
        streams.complete(greedy.model, [prompt, []], Sampling())
    with pytest.raises(ValueError, match="sampling: expected one for each of 1 prompts, got 2"):
        streams.complete(greedy.model, [prompt], [Sampling()] * 2)
    with pytest.raises(ValueError, match="batch: expected 1 or more, got 0"):
        streams.complete(greedy.model, [prompt], Sampling(), batch=0)


# -- logging


def test_events_are_logged_and_nothing_is_printed(
    greedy: bitnet_py.SimpleInference, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, "bitnet_py"):
        greedy.generate(PROMPT)
    records = [(record.name, record.levelname) for record in caplog.records]
    assert records == [("bitnet_py.stream", "DEBUG"), ("bitnet_py.stream", "INFO")]
    assert capfd.readouterr() == ("", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("bitnet_py").handlers)
