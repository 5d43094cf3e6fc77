#!/usr/bin/env python3
"""A result as an SVG picture, by hand: a panel for each test, bars of all engines for each number of threads."""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import results
from engines import BenchError

FONT = 'font-family="sans-serif" font-size="11"'
OURS, PEERS = ["#1b6ca8", "#4d9ad0", "#93c4e8", "#c3dff3"], ["#8a8a8a", "#b5b5b5", "#d3d3d3"]
BAR, GAP, HEIGHT, TOP, BOTTOM, LEFT = 30, 26, 190, 58, 60, 20


def svg(result: Mapping[str, Any]) -> str:
    """Bars are medians, whiskers the range of the runs, a dashed line the limit of the first engine of this project."""
    colors = engine_colors(result)
    panels = []
    x = LEFT
    for test in dict.fromkeys(line["test"] for line in result["results"]):
        body, width = panel(result, test, colors, x)
        panels.append(body)
        x += width + 2 * GAP
    x = max(x, 560)
    legend, rows = legend_of(colors, HEIGHT + TOP + BOTTOM, x - LEFT)
    height = HEIGHT + TOP + BOTTOM + 20 * rows + 30
    machine = result["machine"]
    about = f"{machine['cpu']}, commit {result['commit'][:12]}, {result['when'][:10]}: tokens per second, medians"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{x}" height="{height}" {FONT}>',
            f'<rect width="{x}" height="{height}" fill="white"/>',
            label(LEFT, 20, about, 'font-size="13"'),
            *panels,
            legend,
            "</svg>",
            "",
        ]
    )


def engine_colors(result: Mapping[str, Any]) -> dict[str, str]:
    colors = {}
    for kind, palette in (("bitnet", OURS), ("peer", PEERS)):
        names = [engine["name"] for engine in result["engines"] if engine["kind"] == kind]
        colors.update({name: palette[i % len(palette)] for i, name in enumerate(names)})
    return colors


def panel(result: Mapping[str, Any], test: str, colors: Mapping[str, str], left: int) -> tuple[str, int]:
    """The panel of a test, and its width."""
    lines = [line for line in result["results"] if line["test"] == test]
    limits = {threads: limit_of(result, test, threads) for threads in {line["threads"] for line in lines}}
    highest: float = max([line["max"] for line in lines] + list(limits.values()))
    base = TOP + HEIGHT
    parts = [label(left, TOP - 16, test, 'font-weight="bold"')]

    def y(value: float) -> float:
        return base - value / highest * (HEIGHT - 14)

    x = left
    for threads in sorted(limits):
        begin = x
        for name, color in colors.items():
            for line in lines:
                if (line["engine"], line["threads"]) == (name, threads):
                    top, middle = y(line["median"]), x + BAR / 2
                    parts += [
                        f'<rect x="{x}" y="{top:.1f}" width="{BAR - 4}" height="{base - top:.1f}" fill="{color}"/>',
                        f'<path d="M{middle - 2} {y(line["min"]):.1f}V{y(line["max"]):.1f}" stroke="#333"/>',
                        label(middle - 2, y(line["max"]) - 4, f"{line['median']:.3g}", 'text-anchor="middle"'),
                    ]
                    x += BAR
        if limits[threads] > 0:
            at = y(limits[threads])
            parts.append(f'<path d="M{begin} {at:.1f}H{x - 4}" stroke="#c0392b" stroke-dasharray="4 3"/>')
        text = f"{threads} thread{'s' if threads > 1 else ''}"
        parts.append(label((begin + x - 4) / 2, base + 16, text, 'text-anchor="middle"'))
        x += GAP
    parts.append(f'<path d="M{left} {base}H{x - GAP}" stroke="#333"/>')
    return "\n".join(parts), x - GAP - left


def limit_of(result: Mapping[str, Any], test: str, threads: int) -> float:
    """Tokens per second that the first engine of this project would reach at the machine's limit; 0 = not known."""
    for line in result["results"]:
        if (line["test"], line["threads"]) == (test, threads):
            for share in ("share_of_read_bandwidth", "share_of_dot_product_peak"):
                if share in line and ours(result, line["engine"]):
                    return float(line["median"] / line[share])
    return 0.0


def ours(result: Mapping[str, Any], engine: str) -> bool:
    return any(entry["name"] == engine and entry["kind"] == "bitnet" for entry in result["engines"])


def legend_of(colors: Mapping[str, str], top: int, width: int) -> tuple[str, int]:
    """Names in rows of this width, and how many rows."""
    parts, x, row = [], LEFT, 0
    for name, color in [*colors.items(), ("limit of the machine", "")]:
        needed = 30 + 7 * len(name)
        if x > LEFT and x + needed > width:
            x, row = LEFT, row + 1
        y = top + 20 * row
        if color:
            parts.append(f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{color}"/>')
        else:
            parts.append(f'<path d="M{x} {y - 4}h12" stroke="#c0392b" stroke-dasharray="4 3"/>')
        parts.append(label(x + 17, y, name))
        x += needed
    return "\n".join(parts), row + 1


def label(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{html.escape(text)}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description="draws a result of compare.py")
    parser.add_argument("result", type=Path, help="what compare.py wrote")
    parser.add_argument("picture", type=Path, help="the .svg to write")
    flags = parser.parse_args()
    flags.picture.write_text(svg(results.load(flags.result)))


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"plot: {error}")
