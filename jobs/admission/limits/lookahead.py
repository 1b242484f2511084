"""How many jobs are admitted beyond each slot: LOOK_AHEAD, and more where jobs are short.

Priority, fairness and pause do not reach an admitted job. If jobs last some milliseconds, a tenth of a second of work
ahead costs no order, and one admission serves many jobs instead of two. A feeder measures how long jobs last, from pass
to pass, for a pool in which one task waits and each pass takes every slot.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from jobs.core.conf import settings

SHORT = 0.1  # seconds of each slot's work that may be admitted ahead of it
MOST = 10  # jobs for each slot
TOGETHER = 0.002  # seconds; jobs that finish closer together are answered by one admission
_FRESH = 1.0  # seconds without a pass after which a measurement is dropped
_WEIGHT = 0.3  # of the newest interval in the moving average


@dataclass
class _Pace:
    """One pool: when a pass last admitted, jobs of which task, and the seconds a slot takes for one of them."""

    at: float = 0.0
    task: str = ""
    was_filled: bool = False
    seconds: float | None = None

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.at < _FRESH

    @property
    def ahead(self) -> int:
        """Jobs per slot. LOOK_AHEAD = 0 means that nothing is admitted early, however short jobs are."""
        base = settings.LOOK_AHEAD
        if not base or not self.seconds or not self.is_fresh:
            return base
        return max(base, min(MOST, int(SHORT / self.seconds)))

    @property
    def pause(self) -> float:
        """Seconds until the next admission: half of what is ahead, where that is more than the setting."""
        ahead = self.ahead
        return ahead * self.seconds / 2 if self.seconds and ahead > settings.LOOK_AHEAD else TOGETHER


@dataclass
class _Paces:
    pools: dict[str, _Pace] = field(default_factory=dict)


_paces: ContextVar[_Paces | None] = ContextVar("paces", default=None)


@contextmanager
def watched() -> Iterator[None]:
    """Inside, in this thread, admissions are measured and the look-ahead follows."""
    token = _paces.set(_Paces())
    try:
        yield
    finally:
        _paces.reset(token)


def of(pool: str, tasks: Collection[str]) -> int:
    """How many jobs may be admitted beyond each slot of a pool in which jobs of these tasks wait."""
    paces = _paces.get()
    pace = paces.pools.get(pool) if paces else None
    return pace.ahead if pace is not None and {pace.task} == set(tasks) else settings.LOOK_AHEAD


def most_elsewhere(tasks: Collection[str]) -> int:
    """The most that a feeder in another process may admit beyond each slot where these tasks wait."""
    is_known = _paces.get() is not None or not settings.LOOK_AHEAD or len(set(tasks)) != 1
    return settings.LOOK_AHEAD if is_known else max(settings.LOOK_AHEAD, MOST)


def at_most() -> int:
    """As `of`, the highest of all pools and tasks."""
    paces = _paces.get()
    measured = [pace.ahead for pace in paces.pools.values()] if paces else []
    return max([settings.LOOK_AHEAD, *measured])


def pause() -> float:
    """Seconds to collect finished jobs before the next admission; the jobs admitted ahead keep the slots busy."""
    paces = _paces.get()
    fresh = [pace.pause for pace in paces.pools.values() if pace.is_fresh] if paces else []
    return min(fresh, default=TOGETHER)


def note(pool: str, tasks: Collection[str], moved: int, slots: int, *, filled: bool) -> None:
    """Record that a pass admitted so many jobs; `filled`: only the number of slots kept it from more."""
    paces = _paces.get()
    if paces is None or not moved:
        return
    pace, now = paces.pools.setdefault(pool, _Pace()), time.monotonic()
    (task,) = tasks if len(tasks) == 1 else ("",)
    if not task or task != pace.task or not pace.is_fresh:
        pace.seconds = None
    elif filled and pace.was_filled:
        seconds = slots * (now - pace.at) / moved
        pace.seconds = seconds if pace.seconds is None else pace.seconds + _WEIGHT * (seconds - pace.seconds)
    pace.at, pace.task, pace.was_filled = now, task, filled
