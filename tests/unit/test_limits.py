"""What has room: counted from the rows, under the pool's maximum, the system-wide one, and the window of live slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings

from jobs import job, job_manager, limits, liveness
from jobs.limits import Room
from jobs.models import Limit, Pool
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
EMPTY = Room(
    in_flight=0, pool_maximum=None, in_flight_everywhere=0, system_maximum=None, window=10, is_open=True,
    has_pending=True,
)  # fmt: skip


@job(name="limits.nothing")
def nothing() -> None: ...


def _room(pool: str = "default") -> Room:
    found = limits.room(pool)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("what", "free"),
    [
        ({}, 10), ({"in_flight": 4}, 6), ({"in_flight": 10}, 0), ({"in_flight": 12}, 0),
        ({"pool_maximum": 3}, 3), ({"pool_maximum": 3, "in_flight": 2}, 1), ({"pool_maximum": 0}, 0),
        ({"pool_maximum": 3, "in_flight": 5}, 0), ({"system_maximum": 5}, 5),
        ({"system_maximum": 5, "in_flight_everywhere": 4}, 1), ({"system_maximum": 5, "in_flight_everywhere": 9}, 0),
        ({"system_maximum": 0}, 0), ({"window": 0}, 0), ({"is_open": False}, 0),
        ({"pool_maximum": 7, "system_maximum": 5, "in_flight": 1, "in_flight_everywhere": 2}, 3),
    ],
    ids=str,
)  # fmt: skip
def test_the_narrowest_limit_rules(what: dict[str, Any], free: int) -> None:
    room = replace(EMPTY, **what)
    assert room.free == free
    assert room.is_worth_a_try == (free > 0)
    assert not replace(room, has_pending=False).is_worth_a_try


def test_a_pool_that_is_not_there_has_no_room() -> None:
    assert limits.room("nowhere") is None


def test_what_is_counted() -> None:
    Pool.objects.create(name="gpu", max_concurrent=7)
    rows = job_manager.submit_many(nothing, [([], {})] * 5)
    elsewhere = job_manager.submit(nothing, pool="gpu")
    stages.queue(rows[0])
    stages.claim(rows[1])
    stages.put(rows[2], "paused")
    stages.queue(elsewhere)
    room = _room()
    assert (room.in_flight, room.in_flight_everywhere, room.has_pending) == (2, 3, True)
    room = _room("gpu")
    assert (room.in_flight, room.pool_maximum, room.has_pending) == (1, 7, False)


def test_without_a_worker_there_is_no_window() -> None:
    assert _room().window == 0


def test_the_window_is_the_slots_of_live_workers_that_serve_the_pool(clock: Clock) -> None:
    Pool.objects.create(name="gpu")
    with override_settings(JOBS={"LOOK_AHEAD": 1}):
        stages.start_worker(slots=3, pools=["default", "gpu"])
        stages.start_worker(slots=2, pools=["default"])
        assert (_room().window, _room("gpu").window) == (10, 6)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert (_room().window, _room("gpu").window) == (5, 3)


def test_a_worker_that_is_silent_gone_or_leaving_does_not_count(clock: Clock) -> None:
    with override_settings(JOBS={"LOOK_AHEAD": 0, "STALE_AFTER": 20}):
        leaving, gone, lively = (stages.start_worker(slots=slots) for slots in (1, 2, 4))
        assert _room().window == 7
        liveness.drain(leaving)
        assert _room().window == 6
        liveness.retire(gone)
        assert _room().window == 4
        clock.forward(19)
        assert _room().window == 4
        clock.forward(2)
        assert _room().window == 0
        liveness.beat(lively, 8)
        assert _room().window == 8


def test_what_runs_on_a_leaving_worker_takes_no_room_of_the_others(clock: Clock) -> None:
    """Else a deploy stalls: the new worker would wait for the last long job of the old one."""
    leaving = stages.start_worker(slots=2)
    rows = job_manager.submit_many(nothing, [([], {})] * 4)
    for row in rows[:2]:
        stages.claim(row, leaving)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert _room().free == 0
        liveness.drain(leaving)
        stages.start_worker(slots=2)
        assert (_room().in_flight, _room().free) == (2, 2)
        clock.forward(61)  # as long as a silent one is not fenced, its jobs count for every maximum
        stages.start_worker(slots=3)
        assert (_room().in_flight, _room().free) == (2, 3)
        Pool.objects.update(max_concurrent=3)
        assert _room().free == 1


def test_a_pools_name_is_not_matched_in_part() -> None:
    Pool.objects.create(name="gp")
    stages.start_worker(pools=["gpu", "default"])
    assert _room("gp").window == 0


@pytest.mark.parametrize("closed", ["paused_at", "draining_at"])
def test_a_pool_that_is_paused_or_drained_is_closed(closed: str) -> None:
    stages.start_worker()
    assert _room().is_open
    row = job_manager.submit(nothing)
    Pool.objects.update(**{closed: row.created_at})
    assert not _room().is_open
    assert _room().free == 0


def test_the_row_of_the_system_wide_limit_wins_over_the_setting() -> None:
    with override_settings(JOBS={"MAX_CONCURRENT": 5}):
        assert _room().system_maximum == 5
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=2)
        assert _room().system_maximum == 2
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=0)
        assert _room().system_maximum == 0
    with override_settings(JOBS={}):
        Limit.objects.filter(name=limits.SYSTEM_LIMIT).update(size=None)
        assert _room().system_maximum is None


def test_counting_is_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        _room()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Pool, {"max_concurrent": -1}), (Pool, {"max_memory_mb": -1}), (Pool, {"max_cpu_weight": -0.5}),
        (Pool, {"max_disk_mb": -1}), (Limit, {"size": -1}),
    ],
)  # fmt: skip
def test_negative_limits_are_refused(model: Any, values: dict[str, float]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.create(name="negative", **values)
