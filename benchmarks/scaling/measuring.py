"""Takes the time of admissions: one locked pass each, without what is published after it. No broker has a part in it.

Needs Django set up before it is imported.
"""

import time

from benchmarks.place import Place
from benchmarks.scaling.cases import Case, Point, cases
from benchmarks.scaling.filling import fill, give_back, settle
from benchmarks.systems.ours import PLENTY, Ours, seeming_worker
from jobs.admission import passes

WARM_UP = 6  # psycopg prepares a statement at its sixth use
TIMES = 15


def measure(largest: int) -> list[Point]:
    """All cases in which no more than `largest` jobs wait."""
    system = Ours(Place.from_environ())
    system.prepare()
    return [_measure(system, case) for case in cases(largest=largest)]


def _measure(system: Ours, case: Case) -> Point:
    system.clear()
    fill(case, system.pool)
    settle()
    # Its slots never run out, so that limits alone decide.
    seeming_worker(system.pool, PLENTY, listens=False)
    took, expected = [], case.admits(passes.BATCH)
    for _ in range(WARM_UP + TIMES):
        # At its most lanes a look begins anywhere, and may see few. Here each sees all: what costs most.
        passes.last_passes.clear()
        began = time.perf_counter()
        done = passes._admit_batch(system.pool)
        took.append((time.perf_counter() - began) * 1000)
        moved = len(done.moved) if done else 0
        if moved != expected:
            raise AssertionError(f"{moved} jobs of {case} were admitted, not {expected}: the figures mean nothing")
        give_back()
    return Point(case.waiting, case.lanes, case.full, expected, took[WARM_UP:])
