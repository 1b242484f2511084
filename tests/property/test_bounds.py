"""How long jobs wait at most, proved by simulation. It prints (`pytest -rP`) the figures of docs/admission.md."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from statistics import mean
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.test import override_settings

from jobs.models import Job
from jobs.testing import Simulation, Worker, simulation

pytestmark = pytest.mark.django_db
HOUR = 3600
T = TypeVar("T")
FAST = {"LOOK_AHEAD": 0, "RESERVE_AFTER": 30, "GRACE": 5}
OVER = 45 + 5  # time-out and grace of what is in flight
LARGE_AT = (600.0,)
HEAD_START = 7200  # seconds between low and high


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred thousand lines take longer than the jobs."""
    caplog.set_level(logging.ERROR, "jobs.transitions")


def test_a_low_job_is_passed_by_high_ones_for_its_head_start_only() -> None:
    """Four slots, bodies of ten minutes, and 110 % of that in high jobs, without end."""
    with simulation([Worker(slots=4)], takes=600) as sim:
        sim.submit_many("high", [((), {})] * 8, priority="high")
        sim.run(until=1)
        sim.submit("low", priority="low")
        for number in range(80):
            sim.at(number * 136, lambda: sim.submit("high", priority="high"))
        sim.run(until=3 * HOUR)
        (wait,), backlog = sim.waits(task="low"), max(sim.waits(task="high"))
        _say(f"low job waited {wait:,.0f} s; longest wait of a high one {backlog:,.0f} s; {len(sim.starts())} starts")
        assert HEAD_START - 600 < wait <= HEAD_START + backlog + 600
        assert wait < 3 * HOUR


@pytest.mark.parametrize("priority", ["medium", "high"])
def test_a_tenant_with_long_jobs_is_served_once_per_aged_after(priority: str) -> None:
    """It has always something in flight; new tenants with nothing in flight never cease to come, more than fit."""
    with simulation([Worker(slots=6)]) as sim:
        for number in range(12):
            _submit_short(sim, f"first{number}", priority)()
        sim.run(until=1)
        sim.submit_many("long", [((), {"tenant": "long"})] * 9, partition_by="tenant", takes=6 * HOUR)
        for number in range(135):
            sim.at(number * 160, _submit_short(sim, f"t{number}", priority))
        sim.run(until=6 * HOUR)
        starts = sim.starts(task="long")
        gaps = [after - before for before, after in pairwise([0.0, *starts, sim.seconds])]
        _say(f"{priority}: long jobs started at {starts}")
        longest = max(sim.waits(task="short"))
        _say(f"others waited up to {longest:,.0f} s")
        assert len(starts) >= 3
        assert max(gaps) <= max(HOUR, longest) + 3 * 900
        admitted = Job.objects.filter(task="long", queued_at__isnull=False).order_by("queued_at")
        for before, after in pairwise(admitted.values_list("queued_at", flat=True)):
            due = before + timedelta(seconds=HOUR)
            passed = Job.objects.filter(task="short", eligible_at__gt=before, queued_at__gt=due, queued_at__lt=after)
            assert not passed.exists()  # nobody who came after its last turn, once AGED_AFTER is over


def _submit_short(sim: Simulation, tenant: str, priority: str) -> Callable[[], object]:
    return _submit(sim, "short", tenant, takes=900, priority=priority)


def _submit(sim: Simulation, task: str, tenant: str, **how: Any) -> Callable[[], object]:
    return lambda: sim.submit(task, kwargs={"tenant": tenant}, partition_by="tenant", **how)


@pytest.mark.parametrize(("look_ahead", "number"), [(0, 1000), (1, 100_000)])
def test_one_job_beside_a_hundred_thousand_of_another_tenant(look_ahead: int, number: int) -> None:
    with override_settings(JOBS={"LOOK_AHEAD": look_ahead}), simulation([Worker(slots=4)], takes=60) as sim:
        _multiply(sim.submit("work", kwargs={"tenant": "a"}, partition_by="tenant"), number)
        sim.run(until=90)
        sim.submit("work", kwargs={"tenant": "b"}, partition_by="tenant")
        sim.run(until=300)
        (wait,) = sim.waits(partition="b")
        _say(f"look-ahead {look_ahead}, {number:,} waiting: the single job waited {wait:,.0f} s; a slot's turn is 60 s")
        assert wait <= (1 + look_ahead) * 60


def test_a_backlog_of_bodies_longer_than_aged_after_does_not_keep_others_waiting() -> None:
    """Each time it is served its tenant has been long unserved."""
    with override_settings(JOBS={"LOOK_AHEAD": 0, "AGED_AFTER": 60}), simulation([Worker(slots=1)], takes=90) as sim:
        sim.submit_many("work", [((), {"tenant": "a"})] * 30, partition_by="tenant")
        for number, tenant in enumerate("bcd"):
            sim.at(100 + number, _submit(sim, "work", tenant))
        sim.run(until=1000)
        waits = [wait for tenant in "bcd" for wait in sim.waits(partition=tenant)]
        _say(f"beside a backlog of bodies of 90 s, AGED_AFTER 60 s: three tenants' jobs waited {_shown(waits)}")
        assert max(waits) <= 60 + 4 * 90


def _multiply(row: Job, number: int) -> None:
    """So many more jobs like this one, in one statement."""
    columns = ", ".join(str(field.column) for field in Job._meta.concrete_fields if field.column != "id")
    count = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})"
    copies = f"SELECT lower(hex(randomblob(16))), {columns} FROM jobs_job, n WHERE id = %s"
    with connection.cursor() as cursor:
        cursor.execute(f"{count} INSERT INTO jobs_job (id, {columns}) {copies}", [row.id.hex])


def test_a_large_job_starts_in_time_because_room_is_kept_for_it() -> None:
    """16 GB at 90 %: jobs of 1-4 GB for 10-120 s, and after ten minutes one of 80 % of the memory for a minute."""
    kept, bounds, used_kept = _undone(lambda: _large_jobs(reserve_after=60))
    left, _, used_left = _undone(lambda: _large_jobs(reserve_after=10**9))
    _say(f"with reservation: waits {_shown(kept)}; bounds {_shown(bounds)}; memory in use {used_kept:.0%}")
    _say(f"without: waits {_shown(left)}; memory in use {used_left:.0%}")
    assert all(wait <= bound for wait, bound in zip(kept, bounds, strict=True))
    assert max(left) > 2 * max(kept)
    assert used_kept > 0.6


@pytest.mark.parametrize("has_others", [False, True])
def test_a_large_job_starts_in_time_whoever_else_comes(has_others: bool) -> None:
    """Tenants with nothing in flight never cease to come, and its own has always something small in flight."""
    with override_settings(JOBS=FAST), simulation([Worker(slots=20)]) as sim:
        sim.set_pool(max_memory_mb=18)
        for number in range(13):
            sim.at(number * 12, _submit_of(sim, f"new{number}", "small", 5))
            if has_others:
                sim.at(1 + number * 12, _submit_of(sim, "a", "tiny", 1))
        sim.at(5, _submit_of(sim, "a", "large", 14))
        sim.run(until=160)
        waits, used = sim.waits(task="large"), sim.utilisation("memory_mb", since=20)
        _say(f"tenants, with small ones of its own {has_others}: waits {_shown(waits)}; memory in use {used:.0%}")
        assert waits[0] <= FAST["RESERVE_AFTER"] + OVER + 1


def test_nobodys_many_large_jobs_keep_anothers_first_one_away() -> None:
    """They are of the better rank, and theirs has nothing in flight whenever one of them has ended."""
    with override_settings(JOBS=FAST), simulation([Worker(slots=20)]) as sim:
        sim.set_pool(max_memory_mb=16)
        for _ in range(8):
            _submit_of(sim, "many", "large", 12)()
        for number in range(12):
            sim.at(1 + number * 15, _submit_of(sim, "a", "tiny", 1))
        sim.at(10, _submit_of(sim, "a", "large", 12))
        sim.run(until=200)
        (wait,), others = sim.waits(task="large", partition="a"), len(sim.starts(task="large", partition="many"))
        _say(f"beside another tenant's large jobs: waited {wait:,.0f} s; {others} of the other's have started")
        assert wait <= FAST["RESERVE_AFTER"] + 2 * OVER + 1
        assert others >= 3


def _submit_of(sim: Simulation, tenant: str, task: str, memory_mb: int) -> Callable[[], object]:
    kwargs = {"tenant": tenant}
    return lambda: sim.submit(task, kwargs=kwargs, partition_by="tenant", memory_mb=memory_mb, takes=35, timeout=45)


def _undone(work: Callable[[], T]) -> T:
    """Its answer, with nothing left of it in the database."""
    with transaction.atomic():
        answer = work()
        transaction.set_rollback(True)
    return answer


def _large_jobs(reserve_after: float) -> tuple[list[float], list[float], float]:
    chance = random.Random(1)  # noqa: S311 - the same workload each time
    with override_settings(JOBS={"RESERVE_AFTER": reserve_after}), simulation([Worker(slots=20)]) as sim:
        sim.set_pool(max_memory_mb=16_384)
        moment = 0.0
        while moment < 1300:
            moment += chance.expovariate(0.82 * 16 / (2.5 * 65))
            sim.at(moment, _submit_small(sim, 1024 * chance.randint(1, 4), chance.uniform(10, 120)))
        for moment in LARGE_AT:
            sim.at(moment, lambda: sim.submit("large", memory_mb=13_107, takes=60, timeout=90))
        sim.run(until=1300)
        bounds = [_bound(sim, moment) for moment in LARGE_AT]
        return sim.waits(task="large"), bounds, sim.utilisation("memory_mb", since=300)


def _bound(sim: Simulation, moment: float) -> float:
    """RESERVE_AFTER, or the admission of the last one that was there before; then time-out, grace, and a tick."""
    begun = sim.start_at + timedelta(seconds=moment)
    before = [stay.admitted - moment for stay in sim.stays(task="small", eligible_at__lt=begun)]
    return max(60, *before) + 120 + 10 + 1


def _submit_small(sim: Simulation, memory_mb: int, takes: float) -> Callable[[], object]:
    return lambda: sim.submit("small", memory_mb=memory_mb, takes=takes, timeout=120)


def _shown(waits: list[float]) -> str:
    return f"{', '.join(f'{wait:,.0f}' for wait in waits)} s (mean {mean(waits):,.0f})"


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the figures that the docs quote
