"""What is measured of cancelling, and the bounds of it. Must not measure or print."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Goal

WAITING = 100_000
PROBES = 200


@dataclass(frozen=True)
class Cancelling:
    """One run. `…_s` are seconds, one for each time; `…_per_s` jobs per second; `forced` is how many were killed."""

    waiting: int
    submit_many_per_s: float
    cancel_many_per_s: float
    submit_s: Sequence[float]
    cancel_s: Sequence[float]
    aborted_s: Sequence[float]
    dead_s: Sequence[float]
    undisturbed_per_s: float
    disturbed_per_s: float
    forced: int


@dataclass(frozen=True)
class Line:
    """A figure with its bound."""

    text: str
    value: Callable[[Cancelling], float]
    goal: Goal


LINES = (
    Line(
        "cancel all that wait, by a filter ÷ `submit_many` of them",
        lambda found: found.cancel_many_per_s / found.submit_many_per_s,
        Goal(1, 1),
    ),
    Line(
        "cancel one that waits ÷ submit one, p50",
        lambda found: statistics.median(found.cancel_s) / statistics.median(found.submit_s),
        Goal(2, 2, at_most=True),
    ),
    Line("request → `JobAborted`, p95, s", lambda found: p95(found.aborted_s), Goal(1.5, 1.5, at_most=True)),
    Line("forced: request → its process is dead, p95, s", lambda found: p95(found.dead_s), Goal(2, 2, at_most=True)),
    Line(
        "drain of others while jobs beside them are cancelled by force ÷ while they run",
        lambda found: found.disturbed_per_s / found.undisturbed_per_s,
        Goal(0.9, 0.9),
    ),
)


def p95(seconds: Sequence[float]) -> float:
    """Of two or more."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]
