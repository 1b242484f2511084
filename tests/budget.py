"""What a group of tests may cost: its CPU beside a recorded figure, so that a suite which grows slow says so at once.

Seconds are of one machine. So they are divided by what this machine needs at the same time for a fixed piece of work, a
*yard*: slow cores and other work on them make both longer. A group fails at twice its record, no earlier. A change that
is meant to cost more writes the new figure into `budget.json`, where it is reviewed like any other change.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

RECORDED = Path(__file__).with_name("budget.json")
TOO_MUCH = 2.0
_WORDS = [{"number": number, "words": [str(number)] * 8} for number in range(400)]


def yard() -> float:
    """CPU seconds of a fixed piece of work: the best of five, because what disturbs it only adds."""
    return min(_one_yard() for _ in range(5))


def _one_yard() -> float:
    begin = time.thread_time()
    for _ in range(20):
        json.loads(json.dumps(_WORDS))
        sorted({word: index for index, word in enumerate(str(number) for number in range(4000))})
    return time.thread_time() - begin


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Meter:
    """The CPU of the processes that this one has started and waited for, from now on."""

    _yard: float = field(default_factory=yard)
    _begin: float = field(default_factory=_children)

    def told(self, group: str, *, is_whole: bool) -> tuple[bool, str]:
        """Whether the group costs no more than it may, and what it costs in words. A part of one may cost anything."""
        seconds = _children() - self._begin
        yards = seconds / ((self._yard + yard()) / 2)
        recorded = json.loads(RECORDED.read_text()).get(group, yards)
        text = f"{seconds:.0f} s of CPU, {yards:.0f} yards"
        if is_whole and yards > TOO_MUCH * recorded:
            return False, f"{text}: TOO MUCH, {recorded} are recorded in tests/budget.json"
        return True, text
