"""What has room: counted from the rows, under the pool's maximum, the system-wide one, and the window of live slots."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings

from jobs import job, job_manager
from jobs.admission import limits
from jobs.admission.limits import Snapshot, Tally
from jobs.admission.limits.availability import NEVER
from jobs.execution import heartbeats
from jobs.models import Job, Limit, Pool
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="limits.nothing")
def nothing() -> None: ...


def _read(pool: str = "default") -> Snapshot:
    found = limits.take_snapshot(pool)
    assert found is not None
    return found


def _free(pool: str = "default") -> int:
    return limits.free_slots(Tally(_read(pool)))


@pytest.mark.parametrize(
    ("pool", "slots", "in_flight", "free"),
    [
        ({}, 10, 0, 10),
        ({}, 10, 4, 6),
        ({}, 10, 10, 0),
        ({}, 10, 12, 0),
        ({}, 0, 0, 0),
        ({"max_concurrent": 3}, 10, 0, 3),
        ({"max_concurrent": 3}, 10, 2, 1),
        ({"max_concurrent": 0}, 10, 0, 0),
        ({"max_concurrent": 3}, 10, 5, 0),
        ({"max_concurrent": 30}, 10, 4, 6),
    ],
    ids=str,
)
def test_the_narrowest_limit_rules(pool: dict[str, Any], slots: int, in_flight: int, free: int) -> None:
    Pool.objects.filter(name="default").update(**pool)
    stages.start_worker(slots=slots)
    rows = job_manager.submit_many(nothing, [([], {})] * (in_flight + 1))
    for row in rows[:in_flight]:
        stages.queue(row)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert _free() == free
        assert limits.has_room("default") == (free > 0)
        stages.queue(rows[-1])
        assert not limits.has_room("default")  # no job waits


def test_a_pool_that_is_not_there_has_no_room() -> None:
    assert limits.take_snapshot("nowhere") is None
    assert not limits.has_room("nowhere")


def test_what_is_counted() -> None:
    Pool.objects.create(name="gpu", max_concurrent=7)
    rows = job_manager.submit_many(nothing, [([], {})] * 5)
    elsewhere = job_manager.submit(nothing, pool="gpu")
    stages.queue(rows[0])
    stages.claim(rows[1])
    stages.put(rows[2], "paused")
    stages.queue(elsewhere)
    snapshot = _read()
    assert {flight.pool: flight.number for flight in snapshot.in_flight} == {"default": 2, "gpu": 1}
    assert (Tally(snapshot).usage.in_flight, len(snapshot.heads)) == (2, 1)
    snapshot = _read("gpu")
    assert (Tally(snapshot).usage.in_flight, snapshot.pool.max_concurrent, len(snapshot.heads)) == (1, 7, 0)


def test_without_a_worker_there_is_no_window() -> None:
    assert _read().window == 0


def test_the_window_is_the_slots_of_live_workers_that_serve_the_pool(clock: Clock) -> None:
    Pool.objects.create(name="gpu")
    with override_settings(JOBS={"LOOK_AHEAD": 1}):
        stages.start_worker(slots=3, pools=["default", "gpu"])
        stages.start_worker(slots=2, pools=["default"])
        assert (_read().window, _read("gpu").window) == (10, 6)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert (_read().window, _read("gpu").window) == (5, 3)


def test_a_worker_that_is_silent_gone_or_leaving_does_not_count(clock: Clock) -> None:
    with override_settings(JOBS={"LOOK_AHEAD": 0, "STALE_AFTER": 20}):
        leaving, gone, lively = (stages.start_worker(slots=slots) for slots in (1, 2, 4))
        assert _read().window == 7
        heartbeats.drain(leaving)
        assert _read().window == 6
        heartbeats.retire(gone)
        assert _read().window == 4
        clock.forward(19)
        assert _read().window == 4
        clock.forward(2)
        assert _read().window == 0
        heartbeats.beat(lively, 8)
        assert _read().window == 8


def test_what_runs_on_a_leaving_worker_takes_no_room_of_the_others(clock: Clock) -> None:
    """Else a deploy stalls: the new worker would wait for the last long job of the old one."""
    leaving = stages.start_worker(slots=2)
    rows = job_manager.submit_many(nothing, [([], {})] * 4)
    for row in rows[:2]:
        stages.claim(row, leaving)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert _free() == 0
        heartbeats.drain(leaving)
        stages.start_worker(slots=2)
        assert (Tally(_read()).usage.in_flight, _free()) == (2, 2)
        clock.forward(61)  # as long as a silent one is not fenced, its jobs count for every maximum
        stages.start_worker(slots=3)
        assert (Tally(_read()).usage.in_flight, _free()) == (2, 3)
        Pool.objects.update(max_concurrent=3)
        assert _free() == 1


def test_a_pools_name_is_not_matched_in_part() -> None:
    Pool.objects.create(name="gp")
    stages.start_worker(pools=["gpu", "default"])
    assert _read("gp").window == 0


@pytest.mark.parametrize("fraction", [0.0000047, -0.0000047])
def test_room_kept_for_a_job_is_not_kept_from_it(fraction: float, clock: Clock) -> None:
    """Whatever becomes of the last digits of its rank between the snapshot at the lanes and the choice of jobs."""
    stages.start_worker()
    row = job_manager.submit(nothing, memory_mb=6)
    Pool.objects.update(max_memory_mb=8)
    Job.objects.update(rank=row.rank + fraction)
    with override_settings(JOBS={"RESERVE_AFTER": 60, "STALE_AFTER": 10**9}):
        clock.forward(61)
        assert stages.admit()
    assert stages.fresh(row).state == "queued"


@pytest.mark.parametrize(
    ("timeout", "grace", "after"), [(60, None, 70), (60, 600, 660), (60, 0, 60), (None, 600, None)]
)
def test_what_is_over_its_time_out_holds_its_room_for_its_grace(
    timeout: float | None, grace: float | None, after: float | None, clock: Clock
) -> None:
    worker = stages.start_worker()
    stages.claim(job_manager.submit(nothing, memory_mb=1, timeout=timeout, grace=grace), worker)
    snapshot = _read()
    assert [round(end - snapshot.now) for flight in snapshot.in_flight for end in flight.ends] == (
        [after] if after else []
    )
    assert round(Tally(snapshot).reservations.allocations[0].end - snapshot.now, 3) == (after or NEVER)


@pytest.mark.parametrize("closed", ["paused_at", "draining_at"])
def test_a_pool_that_is_paused_or_drained_is_closed(closed: str) -> None:
    stages.start_worker()
    assert _free() > 0
    row = job_manager.submit(nothing)
    assert limits.has_room("default")
    Pool.objects.update(**{closed: row.created_at})
    assert _free() == 0
    assert not limits.has_room("default")


def test_the_row_of_the_system_wide_limit_wins_over_the_setting() -> None:
    with override_settings(JOBS={"MAX_CONCURRENT": 5}):
        assert _system() == 5
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=2)
        assert _system() == 2
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=0)
        assert _system() == 0
    with override_settings(JOBS={}):
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=None)
        assert _system() is None


def _system() -> float | None:
    return next(rule.size for rule in _read().rules.all if rule.name == limits.SYSTEM_LIMIT)


def test_counting_is_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        _read()
    with django_assert_num_queries(1):
        limits.has_room("default")


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Pool, {"max_concurrent": -1}),
        (Pool, {"max_memory_mb": -1}),
        (Pool, {"max_cpu_weight": -0.5}),
        (Pool, {"max_disk_mb": -1}),
        (Limit, {"size": -1}),
    ],
)
def test_negative_limits_are_refused(model: Any, values: dict[str, float]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.create(name="negative", **values)


def test_what_a_pool_does_not_name_it_has_none_of() -> None:
    """As at submit: else to delete a resource in the admin would start all that wait for it at once."""
    Pool.objects.update(resources={"gpu": 1})
    stages.start_worker()
    row = job_manager.submit(nothing, resources={"gpu": 1})
    Pool.objects.update(resources={})
    assert stages.admit() == []
    Pool.objects.update(resources={"gpu": 1})
    assert [message.pairs[0][0] for message in stages.admit()] == [row.id]
