"""Rates, by GCRA: the theoretical arrival time (TAT) of the next start is all that is kept. Epoch seconds throughout.

Starts are spaced evenly, `period / size` apart; after a rest up to `burst` of them may come at once. Reads no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.exceptions import InvalidOption

_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPELLING = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(\d{0,6})([smhd])(?: burst (\d{1,6}))?")
ADVICE = 'write starts per second, minute, hour or day, as "10/m", "100/10m" or "10/m burst 5"'


@dataclass(frozen=True)
class Spacing:
    """How far apart starts are: `interval` seconds, and `burst` of them at once after a rest."""

    interval: float
    burst: int = 1

    @property
    def tolerance(self) -> float:
        """How long before its TAT a start may come, in seconds."""
        return (self.burst - 1) * self.interval

    def opens_at(self, tat: float) -> float:
        """When the next start may come."""
        return tat - self.tolerance

    def after_start(self, tat: float, now: float) -> float:
        """The TAT once a job has been started."""
        return max(tat, now) + self.interval

    def tightened(self, other: Spacing) -> Spacing:
        """The stricter of both in each respect."""
        return Spacing(max(self.interval, other.interval), min(self.burst, other.burst))

    def is_within(self, other: Spacing) -> bool:
        """Whether it allows no more than the other."""
        return self.tightened(other) == self


def parse(text: str) -> tuple[float, float, int]:
    """Starts, seconds of the period, and burst of a rate such as "10/m burst 5"; InvalidOption for any other text."""
    match = _SPELLING.fullmatch(text.strip())
    size, times, unit, burst = match.groups() if match else ("0", "", "s", None)
    seconds = _PERIODS[unit] * float(times or 1)
    if float(size) <= 0 or seconds <= 0 or (burst is not None and int(burst) < 1):
        raise InvalidOption(f"rate: {text!r:.60} is no rate; {ADVICE}", option="rate")
    return float(size), seconds, int(burst or 1)


def spelled(size: float, period: float, burst: int) -> str:
    """What `parse` reads as these figures: "10/m", "100/10m burst 5"; seconds with a fraction are said as such."""
    unit = next((unit for unit, seconds in reversed(_PERIODS.items()) if period % seconds == 0), None)
    times = period / _PERIODS[unit] if unit else period
    said = f"{'' if times == 1 else f'{times:.12g}'}{unit or 's'}"
    return f"{size:.12g}/{said}{f' burst {burst}' if burst > 1 else ''}"


def spacing(text: str) -> Spacing:
    """The spacing that a rate's text stands for; InvalidOption."""
    size, period, burst = parse(text)
    return Spacing(period / size, burst)
