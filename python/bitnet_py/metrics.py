"""Counters of what this process generated, for logs and dashboards.

snapshot() and prometheus() read them, reset() zeroes them, set_callback() hands every event to a function. Counting is
thread-safe; what a callback raises is logged and never reaches a generation. What the numbers mean for one request is
in its Completion; here they are sums.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

Event = dict[str, Any]

_HELP = {
    "requests_total": ("counter", "Generations that were started."),
    "requests_completed_total": ("counter", "Generations that ended by themselves."),
    "requests_cancelled_total": ("counter", "Generations that were cancelled or abandoned."),
    "prompt_tokens_total": ("counter", "Prompt tokens that were read."),
    "generated_tokens_total": ("counter", "Tokens that were drawn."),
    "prompt_seconds_total": ("counter", "Seconds spent reading prompts."),
    "generation_seconds_total": ("counter", "Seconds spent drawing tokens."),
    "active_streams": ("gauge", "Generations that run now."),
    "tokens_per_second": ("gauge", "Tokens drawn for each second spent drawing, over all requests."),
    "resident_memory_bytes": ("gauge", "Memory of this process that is in RAM."),
}
_LATENCIES = {
    "first_token_seconds": "Seconds from a generation's start to its first token.",
    "request_seconds": "Seconds from a generation's start to its end.",
}
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # upper bounds in seconds


class _Latency:
    """A histogram with fixed bounds."""

    def __init__(self) -> None:
        self.count, self.sum, self.max = 0, 0.0, 0.0
        self.below = [0] * len(_BUCKETS)  # cumulative, as Prometheus counts

    def add(self, seconds: float) -> None:
        self.count += 1
        self.sum += seconds
        self.max = max(self.max, seconds)
        for i, bound in enumerate(_BUCKETS):
            self.below[i] += seconds <= bound

    def summary(self) -> dict[str, float]:
        return {
            "count": self.count,
            "sum": self.sum,
            "mean": self.sum / self.count if self.count else 0.0,
            "max": self.max,
        }


class _Registry:
    """The numbers. `active` is what runs now, so reset() leaves it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a stream may be collected, and counted, while its thread counts another
        self.active = 0
        self.zero()

    def zero(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds = {"prompt": 0.0, "generation": 0.0}
        self.errors: Counter[str] = Counter()
        self.latencies = {name: _Latency() for name in _LATENCIES}


_registry = _Registry()
_callback: Callable[[Event], object] | None = None


def snapshot() -> dict[str, Any]:
    """The counters now.

    requests, completed, cancelled, active_streams; prompt_tokens, generated_tokens; prompt_seconds,
    generation_seconds (time inside the runtime), tokens_per_second; errors (by class) and errors_total;
    first_token_seconds and request_seconds, each with count, sum, mean, max; memory_bytes (resident, of the process).
    """
    with _registry.lock:
        counts, seconds = _registry.counts, _registry.seconds
        drawing = seconds["generation"]
        return {
            "requests": counts["requests"],
            "completed": counts["completed"],
            "cancelled": counts["cancelled"],
            "active_streams": _registry.active,
            "prompt_tokens": counts["prompt_tokens"],
            "generated_tokens": counts["generated_tokens"],
            "prompt_seconds": seconds["prompt"],
            "generation_seconds": drawing,
            "tokens_per_second": counts["generated_tokens"] / drawing if drawing > 0 else 0.0,
            "errors": dict(_registry.errors),
            "errors_total": sum(_registry.errors.values()),
            **{name: latency.summary() for name, latency in _registry.latencies.items()},
            "memory_bytes": _resident_bytes(),
        }


def reset() -> None:
    """Zeroes everything but active_streams, which is what runs now."""
    with _registry.lock:
        _registry.zero()


def set_callback(callback: Callable[[Event], object] | None) -> None:
    """Calls callback(event) for every event from now on, on the thread where it happens; None ends that.

    event["event"] is "start" (prompt_tokens), "first_token" (seconds), "end" (finish_reason, prompt_tokens,
    generated_tokens, prompt_seconds, generation_seconds, seconds) or "error" (error, the class's name, and message).
    What the callback raises is logged to "bitnet_py.metrics" and otherwise ignored.
    """
    global _callback
    _callback = callback


def prometheus() -> str:
    """The counters in Prometheus' text format 0.0.4, each name beginning with bitnet_."""
    values = snapshot()
    numbers = {
        "requests_total": values["requests"],
        "requests_completed_total": values["completed"],
        "requests_cancelled_total": values["cancelled"],
        "prompt_tokens_total": values["prompt_tokens"],
        "generated_tokens_total": values["generated_tokens"],
        "prompt_seconds_total": values["prompt_seconds"],
        "generation_seconds_total": values["generation_seconds"],
        "active_streams": values["active_streams"],
        "tokens_per_second": values["tokens_per_second"],
        "resident_memory_bytes": values["memory_bytes"],
    }
    lines: list[str] = []
    for name, (kind, text) in _HELP.items():
        lines += [f"# HELP bitnet_{name} {text}", f"# TYPE bitnet_{name} {kind}", f"bitnet_{name} {numbers[name]}"]
    lines += ["# HELP bitnet_errors_total Generations that failed.", "# TYPE bitnet_errors_total counter"]
    lines += [f'bitnet_errors_total{{class="{name}"}} {count}' for name, count in sorted(values["errors"].items())]
    with _registry.lock:
        for name, latency in _registry.latencies.items():
            lines += [f"# HELP bitnet_{name} {_LATENCIES[name]}", f"# TYPE bitnet_{name} histogram"]
            below = zip(_BUCKETS, latency.below, strict=True)
            lines += [f'bitnet_{name}_bucket{{le="{bound}"}} {count}' for bound, count in below]
            lines += [f'bitnet_{name}_bucket{{le="+Inf"}} {latency.count}']
            lines += [f"bitnet_{name}_sum {latency.sum}", f"bitnet_{name}_count {latency.count}"]
    return "\n".join(lines) + "\n"


def started(prompt_tokens: int) -> None:
    """A generation begins. Called by streams.py only, as are the next three."""
    with _registry.lock:
        _registry.counts["requests"] += 1
        _registry.active += 1
    _tell({"event": "start", "prompt_tokens": prompt_tokens})


def first_token(seconds: float) -> None:
    """The first token of a generation is drawn."""
    with _registry.lock:
        _registry.latencies["first_token_seconds"].add(seconds)
    _tell({"event": "first_token", "seconds": seconds})


def ended(finish_reason: str, timings: Mapping[str, Any], seconds: float) -> None:
    """A generation is over: by itself, cancelled or abandoned, or after failed(), with the finish "error"."""
    with _registry.lock:
        counts = _registry.counts
        _registry.active -= 1
        if finish_reason != "error":
            counts["cancelled" if finish_reason == "cancelled" else "completed"] += 1
        counts["prompt_tokens"] += timings["prompt_tokens"]
        counts["generated_tokens"] += timings["generated_tokens"]
        _registry.seconds["prompt"] += timings["prompt_seconds"]
        _registry.seconds["generation"] += timings["generation_seconds"]
        _registry.latencies["request_seconds"].add(seconds)
    _tell({"event": "end", "finish_reason": finish_reason, **timings, "seconds": seconds})


def failed(error: BaseException) -> None:
    """A generation could not begin or go on."""
    with _registry.lock:
        _registry.errors[type(error).__name__] += 1
    _tell({"event": "error", "error": type(error).__name__, "message": str(error)})


def _tell(event: Event) -> None:
    if (callback := _callback) is not None:
        try:
            callback(event)
        except Exception:
            _log.exception("the callback of metrics.set_callback raised; the generation goes on")


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
