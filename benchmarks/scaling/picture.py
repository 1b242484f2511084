"""The two curves as one SVG file: no script, no font of its own, readable on light and on dark paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scaling.cases import BY_LANES, BY_WAITING, Point, curve

WIDTH, HEIGHT = 760, 300
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .quiet { fill: #57606a }
  .axis { stroke: #8c959f; fill: none }
  .grid { stroke: #d0d7de; fill: none }
  .curve { stroke: #0969da; stroke-width: 2; fill: none }
  .dot { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .axis { stroke: #656c76 }
    .grid { stroke: #30363d }
    .curve { stroke: #58a6ff }
    .dot { fill: #58a6ff }
  }
"""


@dataclass(frozen=True)
class _Frame:
    """Where a panel is drawn, and what its axes span: `decades` of the lower axis, 0 to `top` of the other."""

    left: float
    decades: tuple[int, int]
    top: float
    right_by: float = 290
    upper: float = 60
    lower: float = 240

    def x(self, value: float) -> float:
        first, last = self.decades
        return self.left + (math.log10(value) - first) / max(last - first, 1) * self.right_by

    def y(self, value: float) -> float:
        return self.lower - value / self.top * (self.lower - self.upper)


def draw(points: Sequence[Point]) -> str:
    """Milliseconds of one admission, over the jobs and over the lanes that wait."""
    waiting = [(point.waiting, point) for point in curve(points, BY_WAITING)]
    lanes = [(point.lanes, point) for point in curve(points, BY_LANES)]
    top = _round_up(max(max(point.took_ms) for point in points))
    parts = [
        _panel(50, top, waiting, "One admission, ms, by jobs waiting", "jobs waiting, in 100 lanes"),
        _panel(430, top, lanes, "by lanes waiting", "lanes, 100,000 jobs in them"),
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = 'role="img" aria-label="Milliseconds of one admission, by jobs waiting and by lanes waiting"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>\n<style>{_STYLE}</style>\n{"".join(parts)}</svg>\n'


def _panel(left: float, top: float, curve: Sequence[tuple[int, Point]], title: str, below: str) -> str:
    values = [value for value, _ in curve] or [1]
    frame = _Frame(left, (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))), top)
    middle = left + frame.right_by / 2
    return "".join(
        [
            _text(left, 30, title, "title", "start"),
            *_grid(frame),
            *_whiskers(frame, curve),
            _line(frame, curve),
            *_dots(frame, curve),
            _text(middle, HEIGHT - 15, below, "quiet", "middle"),
        ]
    )


def _grid(frame: _Frame) -> list[str]:
    """The two axes with their marks: quarters of the height, and powers of ten."""
    parts, right = [], frame.left + frame.right_by
    for value in (frame.top * quarter / 4 for quarter in range(5)):
        y, kind = frame.y(value), "grid" if value else "axis"
        parts.append(f'<path class="{kind}" d="M{frame.left:.0f} {y:.1f}H{right:.0f}"/>\n')
        parts.append(_text(frame.left - 6, y + 4, f"{value:g}", "quiet", "end"))
    powers = [10**decade for decade in range(frame.decades[0], frame.decades[1] + 1)]
    return parts + [_text(frame.x(power), frame.lower + 18, f"{power:,}", "quiet", "middle") for power in powers]


def _whiskers(frame: _Frame, curve: Sequence[tuple[int, Point]]) -> list[str]:
    return [
        f'<path class="axis" d="M{frame.x(value):.1f} {frame.y(min(point.took_ms)):.1f}'
        f'V{frame.y(max(point.took_ms)):.1f}"/>\n'
        for value, point in curve
    ]


def _line(frame: _Frame, curve: Sequence[tuple[int, Point]]) -> str:
    along = " ".join(f"{frame.x(value):.1f},{frame.y(point.ms):.1f}" for value, point in curve)
    return f'<polyline class="curve" points="{along}"/>\n'


def _dots(frame: _Frame, curve: Sequence[tuple[int, Point]]) -> list[str]:
    parts = []
    for value, point in curve:
        x, y = frame.x(value), frame.y(point.ms)
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>\n')
        parts.append(_text(x + 7, y - 8, f"{point.ms:.1f}", "", "start"))
    return parts


def _text(x: float, y: float, words: str, kind: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{words}</text>\n'


def _round_up(value: float) -> float:
    """The next of 1, 2, 4 and 8 times a power of ten: its quarters are round numbers."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)
