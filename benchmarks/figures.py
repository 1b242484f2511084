"""From trials to figures: what is compared with what, and the bounds the project has set itself. Must not print."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

OURS = "ours"


@dataclass(frozen=True)
class Trial:
    """One system once.

    `drain_per_s`, `enqueue_per_s` and `submit_per_s` (by room) are jobs per second, the second only where
    the system has one call for many; `idle_ms` has p50, p95 and p99;
    `cpu` has CPU seconds of worker, postgres and redis during the drain and `others_share`; `sql` (drain) and
    `submit_sql` (by room) are per job; `error` says why there are no figures.
    """

    system: str
    round: int
    order: int
    jobs: int
    drain_per_s: float = 0.0
    drain_seconds: float = 0.0
    enqueue_per_s: float | None = None
    submit_per_s: dict[str, float] = field(default_factory=dict)
    submit_sql: dict[str, dict[str, float]] = field(default_factory=dict)
    idle_ms: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    sql: dict[str, float] = field(default_factory=dict)
    dearest: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


Figure = Callable[[Trial], float | None]


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and highest value of the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Goal:
    """What a figure must reach and what it aims for."""

    must_reach: float
    aims_for: float
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """How a figure stands to it."""
        sign = -1 if self.at_most else 1
        if sign * value >= sign * self.aims_for:
            return "aim met"
        return "reached" if sign * value >= sign * self.must_reach else "not reached"


@dataclass(frozen=True)
class Bound:
    """One line of the project's performance goals: a figure of ours ÷ a figure of a peer in the same round.

    Without a goal it is reported only. `ours` is the variant of this platform that stands above the line.
    """

    figure: str
    of_ours: Figure
    peer: str
    of_peer: Figure
    goal: Goal | None = None
    ours: str = OURS


def drain(trial: Trial) -> float | None:
    """Throughput: worker ready → last finish recorded."""
    return trial.drain_per_s


def submit_many(trial: Trial) -> float | None:
    """Submitting all jobs of the drain in one call; None where the system has no such call."""
    return trial.enqueue_per_s


def idle_p50(trial: Trial) -> float | None:
    """Submission → first act of the body, median of an idle system."""
    return trial.idle_ms.get("p50")


def submit_in(room: str) -> Figure:
    """Submitting one by one, in one situation."""
    return lambda trial: trial.submit_per_s.get(room)


_DELAY = submit_in("no worker")
BOUNDS: tuple[Bound, ...] = (
    Bound("one job per message ÷ Celery + django-celery-results", drain, "results", drain, Goal(3, 6)),
    Bound("the same ÷ that peer, connection kept", drain, "results-reuse", drain),
    Bound("the same ÷ that peer, starts not recorded", drain, "results-minimal", drain),
    Bound("the same ÷ that peer, starts not recorded, connection kept", drain, "results-minimal-reuse", drain),
    Bound("the same ÷ Celery, nothing recorded", drain, "raw", drain, Goal(0.4, 0.6)),
    Bound("the same ÷ Celery, nothing recorded, in a Django site", drain, "raw-django", drain),
    Bound("the same ÷ procrastinate", drain, "procrastinate", drain, Goal(1.3, 2.5)),
    Bound("the same ÷ django-tasks-db", drain, "tasks-db", drain),
    Bound("the same ÷ that peer, connection kept", drain, "tasks-db-reuse", drain),
    Bound("LOOK_AHEAD=8 ÷ this platform as it comes", drain, OURS, drain, ours="ours-ahead"),
    Bound("the same ÷ Celery + django-celery-results", drain, "results", drain, ours="ours-ahead"),
    Bound("the same ÷ Celery, nothing recorded", drain, "raw", drain, ours="ours-ahead"),
    Bound("the same ÷ procrastinate", drain, "procrastinate", drain, ours="ours-ahead"),
    Bound("limits that do not bind ÷ this platform without them", drain, OURS, drain, Goal(0.85, 0.97), "ours-limits"),
    Bound("submit one by one, pool full ÷ `delay()`", submit_in("pool full"), "raw", _DELAY, Goal(1.2, 2)),
    Bound(
        "submit one by one, room, a feeder admits ÷ `delay()`", submit_in("feeder admits"), "raw", _DELAY, Goal(0.7, 1)
    ),
    Bound(
        "submit one by one, room, the caller admits ÷ `delay()`",
        submit_in("caller admits"),
        "raw",
        _DELAY,
        Goal(0.35, 0.5),
    ),
    Bound("submit many ÷ procrastinate's `batch_defer`", submit_many, "procrastinate", submit_many, Goal(0.8, 1.5)),
    Bound("idle submit → start, p50 ÷ Celery, nothing recorded", idle_p50, "raw", idle_p50, Goal(2, 1.5, at_most=True)),
)


def spread(trials: Sequence[Trial], system: str, figure: Figure) -> Spread | None:
    """The figure over all rounds of one system; None when it was never measured."""
    values = [value for trial in trials if trial.system == system and (value := _value(trial, figure)) is not None]
    return _spread(values)


def ratio(trials: Sequence[Trial], bound: Bound) -> Spread | None:
    """Ours ÷ the peer, taken within each round; None when no round has both."""
    by_place = {(trial.system, trial.round): trial for trial in trials}
    values = []
    for number in sorted({trial.round for trial in trials}):
        ours, peer = by_place.get((bound.ours, number)), by_place.get((bound.peer, number))
        above = _value(ours, bound.of_ours) if ours else None
        below = _value(peer, bound.of_peer) if peer else None
        if above is not None and below:
            values.append(above / below)
    return _spread(values)


def _value(trial: Trial, figure: Figure) -> float | None:
    return None if trial.error else figure(trial)


def _spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None
