"""How many jobs are admitted beyond each slot: LOOK_AHEAD, and of short jobs as many as are soon done.

What is admitted is out of reach of priority, fairness and pause. For jobs of some milliseconds a tenth of a second of
work is no loss of order, and one admission can serve many of them instead of two. Measured by a feeder, for a pool in
which one task waits: from pass to pass, while each takes every slot. Reads no clock but its own intervals.
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
TOGETHER = 0.002  # seconds; ends of jobs that lie closer are answered by one admission
_FRESH = 1.0  # seconds after which a pool was idle, and what was measured says nothing any more
_WEIGHT = 0.3  # of the newest interval


@dataclass
class _Pace:
    """One pool: when it was filled last, with jobs of which task, and how long a slot has taken for one of them."""

    at: float = 0.0
    task: str = ""
    was_filled: bool = False
    seconds: float | None = None

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.at < _FRESH

    @property
    def ahead(self) -> int:
        """LOOK_AHEAD 0 says that nothing may be admitted early, however short."""
        base = settings.LOOK_AHEAD
        if not base or not self.seconds or not self.is_fresh:
            return base
        return max(base, min(MOST, int(SHORT / self.seconds)))

    @property
    def pause(self) -> float:
        """Of more than the setting lets in, half may be used up before the next admission."""
        ahead = self.ahead
        return ahead * self.seconds / 2 if self.seconds and ahead > settings.LOOK_AHEAD else TOGETHER


@dataclass
class _Paces:
    pools: dict[str, _Pace] = field(default_factory=dict)


_paces: ContextVar[_Paces | None] = ContextVar("paces", default=None)


@contextmanager
def watched() -> Iterator[None]:
    """Inside, in this thread, what admission does is measured and followed."""
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
    """How many a feeder may admit beyond each slot of a pool in which these tasks wait, when asked outside of it."""
    is_known = _paces.get() is not None or not settings.LOOK_AHEAD or len(set(tasks)) != 1
    return settings.LOOK_AHEAD if is_known else max(settings.LOOK_AHEAD, MOST)


def at_most() -> int:
    """As `of`, for whatever pool and task."""
    paces = _paces.get()
    measured = [pace.ahead for pace in paces.pools.values()] if paces else []
    return max([settings.LOOK_AHEAD, *measured])


def pause() -> float:
    """Seconds to wait for more ends of jobs before they are answered by an admission: what is ahead runs meanwhile."""
    paces = _paces.get()
    fresh = [pace.pause for pace in paces.pools.values() if pace.is_fresh] if paces else []
    return min(fresh, default=TOGETHER)


def note(pool: str, tasks: Collection[str], moved: int, slots: int, *, filled: bool) -> None:
    """One pass has admitted so many jobs; `filled` where only the number of slots has kept it from more."""
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
