"""A bar on standard error for work whose end is known: tqdm's if it is installed, else a plain one on terminals."""

from __future__ import annotations

import importlib
import sys
import time
from types import TracebackType
from typing import Any

_INTERVAL = 0.1  # seconds between drawings
_WIDTH = 24


class Progress:
    """Counts to at most `total`. A context manager: leaving it ends the line."""

    def __init__(self, what: str, total: int, *, unit: str = "requests", enabled: bool = True) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._start, self._drawn = 0, time.monotonic(), 0.0
        self._tqdm: Any = _tqdm(what, total, unit) if enabled else None
        self._plain = enabled and self._tqdm is None and sys.stderr.isatty()

    def advance(self, count: int = 1) -> None:
        """Counts so many steps as done and shows it."""
        self._done += count
        if self._tqdm is not None:
            self._tqdm.update(count)
        elif self._plain and (now := time.monotonic()) - self._drawn >= _INTERVAL:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        speed = self._done / max(time.monotonic() - self._start, 1e-9)
        bar = "#" * round(share * _WIDTH)
        line = f"{self._what} [{bar:<{_WIDTH}}] {self._done}/{self._total} {self._unit}, {speed:.1f}/s"
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._total = self._done  # what was expected may have been too much
        if self._tqdm is not None:
            self._tqdm.total = self._total
            self._tqdm.close()
        elif self._plain:
            self._draw()
            sys.stderr.write("\n")


def _tqdm(what: str, total: int, unit: str) -> Any:
    try:
        bar: Any = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    return bar(total=total, desc=what, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)
