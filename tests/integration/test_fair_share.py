"""Whose turn it is, beside a worker at work: between tenants, and where priorities compete for a budget."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from jobs import Job, job_manager
from jobs.models import Limit, Pool
from tests.app.jobs import hold, nap
from tests.integration.house import House, StartWorker, fresh
from tests.invariants import peak_in_flight
from tests.services.processes import wait_until

NOTHING_EARLY = {"JOBCENTER_TEST_JOBS": '{"LOOK_AHEAD": 0}'}
BACKLOG = 300
ROUNDING = 0.003  # a start may come a millisecond before its time, and SQLite writes whole milliseconds


@pytest.mark.parametrize("slots", [1, 3])
def test_one_job_of_a_tenant_does_not_wait_for_anothers_backlog(start_worker: StartWorker, slots: int) -> None:
    """Within two ends of the other's jobs; with several slots, some of them end at once and are answered together."""
    start_worker(concurrency=slots, pool="threads", env=NOTHING_EARLY)
    job_manager.submit_many(nap, [([0.05], {})] * BACKLOG, partition_by="tenant", metadata={"tenant": "a"})
    wait_until(lambda: _ended("a") >= 10, 30, "the backlog at work")
    before = _ended("a")
    single = job_manager.submit(nap, [0.05], partition_by="tenant", metadata={"tenant": "b"})
    assert before < BACKLOG / 2
    wait_until(lambda: fresh(single).is_final, 30, "the end of the single job")
    row = fresh(single)
    between = Job.objects.filter(partition="a", finished_at__range=(row.created_at, row.queued_at)).count()
    print(f"{slots} slots: {between} ended between submit and admission")  # noqa: T201  # shown with a failure
    assert between <= slots + 1
    job_manager.cancel_jobs(task=nap.name)
    wait_until(lambda: not Job.objects.unfinished().exists(), 30, "the end of all jobs")


def test_the_more_important_gets_the_budget_first(house: House) -> None:
    """Both lack the same memory; the less important came first."""
    Pool.objects.update(max_memory_mb=100)
    gate, first = house.gate(), house.gate()
    holder = house.in_body(hold, gate, memory_mb=60)
    low = house.submit(hold, str(first), memory_mb=60, priority="low")
    high = house.submit(hold, str(first), memory_mb=60, priority="high")
    small = house.submit(nap, memory_mb=40, priority="low")  # takes nobody's room, and ends at once
    house.done(small)
    assert (fresh(low).state, fresh(high).state) == ("pending", "pending")
    gate.touch()
    house.until(high, "running")
    assert fresh(low).state == "pending"
    first.touch()
    assert [house.done(one).state for one in (holder, high, low)] == ["completed"] * 3


def test_a_rate_of_the_whole_pool_spaces_all_its_tasks(house: House) -> None:
    Limit.objects.create(name="calm", pool="default", kind="rate", size=5, period=1)
    try:
        jobs = [house.submit(nap if number % 2 else "tests.app.jobs.whoami") for number in range(6)]
        starts = sorted(_queued_at(house.done(job)) for job in jobs)
    finally:
        Limit.objects.filter(name="calm").delete()
    gaps = [(after - before).total_seconds() for before, after in pairwise(starts)]
    assert min(gaps) >= 0.2 - ROUNDING


def test_a_partition_limit_counts_the_jobs_of_all_tasks(house: House) -> None:
    Limit.objects.create(name="each customer", partition_by="customer", size=1)
    try:
        calls: list[Any] = [{"metadata": {"customer": name}, "partition_by": "customer"} for name in "aab"]
        gate = house.gate()
        first = house.in_body(hold, gate, **calls[0])
        same, other = house.submit(nap, **calls[1]), house.submit(nap, **calls[2])
        assert house.done(other).state == "completed"
        assert fresh(same).state == "pending"
        gate.touch()
        assert [house.done(one).state for one in (first, same)] == ["completed"] * 2
        assert peak_in_flight(id__in=[first.id, same.id]) == 1
    finally:
        Limit.objects.filter(name="each customer").delete()


def _queued_at(job: Job) -> datetime:
    moment: datetime | None = job.queued_at
    assert moment is not None
    return moment


def _ended(tenant: str) -> int:
    return Job.objects.filter(partition=tenant, state="completed").count()
