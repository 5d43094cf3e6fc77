"""Counters: what one generation adds, what a callback hears and may not break."""

import logging
import re
import threading

import pytest

import bitnet_py
from bitnet_py import metrics

PROMPT = "And God said"
GREEDY = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}


@pytest.fixture(autouse=True)
def fresh() -> None:
    metrics.reset()


def test_a_generation_is_counted(inference: bitnet_py.SimpleInference) -> None:
    completion = inference.complete(PROMPT, **GREEDY)
    seen = metrics.snapshot()
    assert (seen["requests"], seen["completed"], seen["cancelled"], seen["active_streams"]) == (1, 1, 0, 0)
    assert seen["prompt_tokens"] == len(completion.prompt_tokens)
    assert seen["generated_tokens"] == 8
    assert seen["first_token_seconds"]["count"] == seen["request_seconds"]["count"] == 1
    assert 0 < seen["first_token_seconds"]["sum"] <= seen["request_seconds"]["sum"]
    assert seen["tokens_per_second"] > 0
    assert seen["memory_bytes"] > 1 << 20
    metrics.reset()
    assert metrics.snapshot()["requests"] == 0


def test_active_cancelled_and_abandoned_streams_are_counted(inference: bitnet_py.SimpleInference) -> None:
    streams = [inference.generate_stream(PROMPT, **GREEDY) for _ in range(3)]
    assert metrics.snapshot()["active_streams"] == 3
    metrics.reset()  # does not forget what runs
    next(streams[0])
    streams[0].cancel()
    del streams[1:]
    assert metrics.snapshot()["active_streams"] == 0
    assert metrics.snapshot()["cancelled"] == 3


def test_errors_are_counted_by_class(inference: bitnet_py.SimpleInference) -> None:
    def broken(logits: memoryview) -> None:
        raise ZeroDivisionError("of the caller")

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="of the caller"):
            inference.complete(PROMPT, logits_processor=broken, **GREEDY)
    assert metrics.snapshot()["errors"] == {"ZeroDivisionError": 2}
    assert metrics.snapshot()["errors_total"] == 2
    assert metrics.snapshot()["active_streams"] == 0


def test_callback_hears_every_event(inference: bitnet_py.SimpleInference) -> None:
    events: list[metrics.Event] = []
    metrics.set_callback(events.append)
    try:
        inference.complete(PROMPT, **GREEDY)
    finally:
        metrics.set_callback(None)
    inference.complete(PROMPT, **GREEDY)
    assert [event["event"] for event in events] == ["start", "first_token", "end"]
    assert events[-1]["finish_reason"] == "length"
    assert events[-1]["generated_tokens"] == 8


def test_what_a_callback_raises_does_not_reach_the_generation(
    inference: bitnet_py.SimpleInference, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(event: metrics.Event) -> None:
        raise RuntimeError("broken callback")

    expected = inference.generate(PROMPT, **GREEDY)
    metrics.set_callback(callback)
    try:
        with caplog.at_level(logging.ERROR, "bitnet_py.metrics"):
            assert inference.generate(PROMPT, **GREEDY) == expected
    finally:
        metrics.set_callback(None)
    assert "broken callback" in caplog.text


def test_counting_from_many_threads_loses_nothing() -> None:
    timings = {"prompt_tokens": 2, "generated_tokens": 3, "prompt_seconds": 0.5, "generation_seconds": 0.25}

    def count() -> None:
        for _ in range(500):
            metrics.started(2)
            metrics.first_token(0.02)
            metrics.ended("stop", timings, 0.75)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = metrics.snapshot()
    assert (seen["requests"], seen["completed"], seen["generated_tokens"]) == (4000, 4000, 12000)
    assert seen["generation_seconds"] == 1000
    assert seen["tokens_per_second"] == 12


def test_prometheus_text_has_one_type_for_each_name_and_the_numbers(inference: bitnet_py.SimpleInference) -> None:
    inference.complete(PROMPT, **GREEDY)
    metrics.failed(ValueError("x"))
    text = metrics.prometheus()
    number = r"[0-9.e+-]+"
    for line in text.splitlines():
        assert re.fullmatch(rf'# (HELP|TYPE) bitnet_\w+ .+|bitnet_\w+(\{{\w+="[^"]+"\}})? {number}', line), line
    types = re.findall(r"# TYPE (\w+) (counter|gauge|histogram)", text)
    assert len({name for name, _ in types}) == len(types)
    for line in (
        "bitnet_requests_total 1",
        "bitnet_generated_tokens_total 8",
        'bitnet_errors_total{class="ValueError"} 1',
        'bitnet_request_seconds_bucket{le="+Inf"} 1',
        "bitnet_request_seconds_count 1",
    ):
        assert line in text.splitlines()
    assert text.endswith("\n")
