"""Heartbeats as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from jobs.core.db.clock import bound_now
from jobs.execution import heartbeats
from jobs.execution.heartbeats import Identity
from jobs.models import Pool, Worker
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("microsecond", [0, 1000, 123_000])
def test_a_worker_is_fenced_whenever_it_beat_last(microsecond: int) -> None:
    """SQLite compares texts, and Django writes 12:00:00.000 as 12:00:00."""
    with bound_now(datetime(2030, 1, 1, 12, 0, 0, microsecond, tzinfo=UTC)):
        boot_id = stages.start_worker()
    ((_, seen),) = heartbeats.heartbeats()
    assert heartbeats.fence(boot_id, seen)
    assert not Worker.objects.unfenced().exists()


def test_a_worker_that_has_beaten_since_is_not_fenced(clock: Clock) -> None:
    boot_id = stages.start_worker()
    ((_, seen),) = heartbeats.heartbeats()
    clock.forward(0.001)
    assert heartbeats.beat(boot_id, 1)
    assert not heartbeats.fence(boot_id, seen)


def test_a_registration_whose_answer_was_lost_may_be_repeated() -> None:
    identity = Identity(uuid4(), "test", 1, ("default",), 2)
    heartbeats.register(identity)
    heartbeats.register(identity)
    assert heartbeats.beat(identity.boot_id, 2)
    assert Worker.objects.count() == 1


def test_a_registration_brings_worker_and_pools_into_being(clock: Clock) -> None:
    identity = Identity(uuid4(), "celery@host", 7, ("gpu", "default"), 3)
    heartbeats.register(identity)
    worker = Worker.objects.get()
    assert (worker.boot_id, worker.hostname, worker.pid) == (identity.boot_id, "celery@host", 7)
    assert (worker.pools, worker.slots) == (["gpu", "default"], 3)
    assert worker.started_at == worker.beat_at == clock.moment
    assert Pool.objects.filter(name="gpu").exists()


def test_a_beat_renews_the_time_and_the_slots(clock: Clock) -> None:
    boot_id = stages.start_worker(slots=1)
    clock.forward(5)
    assert heartbeats.beat(boot_id, 4)
    worker = Worker.objects.get()
    assert (worker.beat_at, worker.slots, worker.started_at) == (clock.moment, 4, clock.moment - timedelta(seconds=5))
    assert not heartbeats.beat(uuid4(), 1)


def test_a_worker_that_has_ended_beats_no_more(clock: Clock) -> None:
    boot_id = stages.start_worker()
    heartbeats.retire(boot_id)
    clock.forward(5)
    heartbeats.retire(boot_id)
    assert Worker.objects.get().fenced_at == clock.moment - timedelta(seconds=5)
    assert not heartbeats.beat(boot_id, 1)
    assert heartbeats.heartbeats() == []


def test_who_is_live(clock: Clock) -> None:
    leaving, gone, silent = (stages.start_worker() for _ in range(3))
    clock.forward(21)
    lively = stages.start_worker()
    for boot_id in (leaving, gone):
        heartbeats.beat(boot_id, 1)
    heartbeats.drain(leaving)
    heartbeats.retire(gone)
    assert set(Worker.objects.live(20)) == {Worker(boot_id=lively)}
    assert set(Worker.objects.live(22)) == {Worker(boot_id=lively), Worker(boot_id=silent)}
    assert {boot_id for boot_id, _ in heartbeats.heartbeats()} == {leaving, silent, lively}
