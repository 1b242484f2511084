"""Takes the time of admissions, each by a call of the platform's own. No broker has a part in it.

Needs Django set up before it is imported.
"""

import math
import time
from datetime import timedelta
from uuid import uuid4

from django.db.models.functions import Now

from benchmarks.place import Place
from benchmarks.scaling.cases import Case, Point, cases
from benchmarks.scaling.filling import fill, give_back, settle
from benchmarks.systems.ours import Ours
from jobs import admission, publishing
from jobs.conf import settings
from jobs.models import Worker

WARM_UP = 6  # psycopg prepares a statement at its sixth use
TIMES = 15


def measure(largest: int) -> list[Point]:
    """All cases in which no more than `largest` jobs wait."""
    system = Ours(Place.from_environ())
    system.prepare()
    return [_measure(system, case) for case in cases(largest=largest)]


def _measure(system: Ours, case: Case) -> Point:
    system.clear()
    running = fill(case, system.pool)
    settle()
    _make_room(system.pool, running + admission.BATCH)
    took = []
    with publishing.delivered_by(lambda doorbells: None):
        for _ in range(WARM_UP + TIMES):
            began = time.perf_counter()
            admitted = admission.admit(system.pool)
            took.append((time.perf_counter() - began) * 1000)
            if admitted != admission.BATCH:
                raise AssertionError(f"{admitted} jobs were admitted of {case}: the figures would mean nothing")
            give_back()
    return Point(case.waiting, case.lanes, case.full, admission.BATCH, took[WARM_UP:])


def _make_room(pool: str, jobs: int) -> None:
    """A worker that only seems to live, and seems to for an hour, whose window is exactly so many jobs."""
    slots = math.ceil(jobs / (1 + settings.LOOK_AHEAD))
    worker = Worker(boot_id=uuid4(), hostname="bench", pid=0, pools=[pool], slots=slots, started_at=Now())
    worker.beat_at = Now() + timedelta(hours=1)
    worker.save()
