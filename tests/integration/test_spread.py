"""Work spreads evenly over equal workers. Beside one stack only: it is about admission and takes real time."""

from __future__ import annotations

from collections import Counter
from random import Random

from jobs import job_manager
from jobs.models import Attempt, Job
from tests.app.jobs import nap
from tests.integration.house import StartWorker
from tests.services.processes import wait_until

JOBS, CHILDREN = 300, 8
LONG_TASKS = {"JOBCENTER_TEST_JOBS": '{"LOOK_AHEAD": 0}'}  # nothing is admitted but for a child that idles


def test_three_equal_workers_and_one_that_joins_get_their_shares(start_worker: StartWorker) -> None:
    """What each finished is within 15 % of the mean, and nothing admitted waits while a child idles."""
    for _ in range(3):
        start_worker(concurrency=CHILDREN, pool="threads", env=LONG_TASKS)
    chance = Random(1)  # noqa: S311 - chance, no secret
    calls = [([chance.uniform(0.05, 0.5)], {}) for _ in range(JOBS)]
    job_manager.submit_many(nap, calls)
    _wait_for_the_end()
    counts = Counter(Attempt.objects.values_list("worker_id", flat=True))
    waits = sorted(_seconds_queued())
    print("finished", sorted(counts.values()), "queued s: median", *(round(waits[len(waits) * n // 100], 3) for n in (50, 90, 95, 98, 99)), "max", waits[-1], flush=True)  # noqa: T201
    mean = JOBS / 3
    assert all(abs(count - mean) <= 0.15 * mean for count in counts.values())
    assert waits[-1] <= 0.2

    job_manager.submit_many(nap, calls)
    late = start_worker(concurrency=CHILDREN, pool="threads", env=LONG_TASKS)
    joined_at = Attempt.objects.filter(worker__hostname=late.name).order_by("started_at").values_list("started_at")
    wait_until(lambda: joined_at.exists(), 10, "the first job of the late worker")
    (first,) = joined_at[0]
    _wait_for_the_end()
    since = Counter(Attempt.objects.filter(started_at__gte=first).values_list("worker__hostname", flat=True))
    assert since[late.name] >= 0.7 * since.total() / 4


def _wait_for_the_end() -> None:
    wait_until(lambda: not Job.objects.unfinished().exists(), 60, "the end of all jobs")


def _seconds_queued() -> list[float]:
    rows = Job.objects.filter(task=nap.name).values_list("queued_at", "started_at")
    return [(started - queued).total_seconds() for queued, started in rows if started and queued]
