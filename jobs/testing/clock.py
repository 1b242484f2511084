"""A virtual clock, and what is to happen when. The clock stands still until it is moved; nothing here waits.

Moments are seconds since the start, in whole milliseconds, because no finer one survives SQLite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import count

from jobs.core.db.clock import bound_now

Act = Callable[[], object]
Event = tuple[float, int, Act]


class Clock:
    """The clock of one simulation and its events, first come first served among those of one moment."""

    def __init__(self, start: datetime, until_the_end: ExitStack) -> None:
        self.start = start.replace(microsecond=start.microsecond // 1000 * 1000)
        self.seconds = 0.0
        self._events: list[Event] = []
        self._numbers = count()
        self._bound = ExitStack()
        until_the_end.callback(self._bound.close)
        self.go_to(0.0)

    @property
    def now(self) -> datetime:
        """The virtual moment."""
        return self.start + timedelta(seconds=self.seconds)

    def at(self, seconds: float, act: Act) -> Event:
        """Have something happen at a moment, or now where that is over."""
        event = (max(self.seconds, whole(seconds)), next(self._numbers), act)
        heappush(self._events, event)
        return event

    def drop(self, event: Event) -> None:
        """It shall not happen after all."""
        if event in self._events:
            self._events.remove(event)
            heapify(self._events)

    def since_start(self, epoch: float) -> float:
        """A moment in epoch seconds as seconds since the start."""
        return epoch - self.start.timestamp()

    def next(self) -> float | None:
        """When the next event comes; None without one."""
        return self._events[0][0] if self._events else None

    def go_to(self, seconds: float) -> None:
        """Move the clock, never back."""
        self.seconds = max(self.seconds, whole(seconds))
        self._bound.close()
        self._bound.enter_context(bound_now(self.now))

    def do_what_is_due(self) -> None:
        """Everything that was to happen by now. What is added for this moment while they run comes next time."""
        newest = next(self._numbers)
        while self._events and self._events[0] < (self.seconds, newest):
            heappop(self._events)[2]()


def whole(seconds: float) -> float:
    """The millisecond that has come by then; a clock that reads a little less would find nothing due."""
    return math.ceil(seconds * 1000 - 1e-3) / 1000
