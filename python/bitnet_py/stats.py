"""Time and tokens of the phases of a run: what FastGen.generate_all returns beside the answers."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass


def peak_memory() -> int:
    """The most memory that this process had in RAM at once, in bytes; mapped weights count as far as they are read."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass
class PhaseStats:
    """One phase that is over: its name, the tokens that it made, its seconds."""

    name: str
    tokens: int
    time: float

    @property
    def tokens_per_second(self) -> float:
        """0 for a phase that took no time."""
        return self.tokens / self.time if self.time > 0 else 0.0

    def show(self) -> str:
        """One line for people."""
        return (
            f"[{self.name}] generated tokens: {self.tokens} - total time: {self.time:.3f}s"
            f" - {self.tokens_per_second:.1f} tokens per second"
        )


class Stats:
    """Phases one after another.

    phases: those that are over. current: (name, tokens when it began, seconds when it began), or None before the first.
    prefill_tokens: answers' first tokens; the step that reads a prompt makes them, and no phase counts them.
    memory_used: the process's peak memory in GB (10^9 bytes), 0 if nobody measured it.
    """

    def __init__(self) -> None:
        self.phases: list[PhaseStats] = []
        self.current: tuple[str, int, float] | None = None
        self.prefill_tokens = 0
        self.memory_used = 0.0

    def phase(self, name: str, tokens: int = 0) -> None:
        """Ends the running phase and begins another; tokens is the count so far, of which a phase keeps its share."""
        now = time.time()
        self.end_phase(tokens, now)
        self.current = (name, tokens, now)

    def end_phase(self, tokens: int, now: float | None = None) -> None:
        """Adds the running phase to phases; nothing if none was begun. It stays the current one: called again, it is
        added again. now: seconds of time.time(), by default that moment."""
        if self.current is None:
            return
        name, tokens_before, began = self.current
        ended = time.time() if now is None else now
        self.phases.append(PhaseStats(name, tokens - tokens_before, ended - began))

    def add(self, name: str, tokens: int, seconds: float) -> None:
        """Adds a phase that was measured elsewhere."""
        self.phases.append(PhaseStats(name, tokens, seconds))

    @property
    def total_tokens(self) -> int:
        """All tokens of the answers."""
        return self.prefill_tokens + sum(phase.tokens for phase in self.phases)

    @property
    def total_time(self) -> float:
        """Seconds of all phases."""
        return sum(phase.time for phase in self.phases)

    @property
    def tokens_per_second(self) -> float:
        """total_tokens by total_time; 0 if nothing took time."""
        return self.total_tokens / self.total_time if self.total_time > 0 else 0.0

    @property
    def prefill_time(self) -> float:
        """Seconds of reading the prompts: of the first phase."""
        return self.phases[0].time if self.phases else 0.0

    @property
    def decode_time(self) -> float:
        """Seconds of making tokens after the first: of all other phases."""
        return self.total_time - self.prefill_time

    def show(self) -> str:
        """A line for each phase."""
        return "\n".join(phase.show() for phase in self.phases)

    def __repr__(self) -> str:
        return f"Stats(phases={self.phases!r}, memory_used={self.memory_used!r})"
