"""Who is dead: only what this very steward saw stand still, for long enough, without a gap in its own sight."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.execution import heartbeats
from jobs.maintenance.dead_workers import Watch
from jobs.models import Job, Worker
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="orphans.nothing")
def nothing() -> None: ...


class Sight:
    """A watch, and the monotonic clock it looks at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.watch = Watch(lambda: self.now)

    def look(self, seconds: float, *, every: float = 1) -> int:
        """Look once, and again every so often for so many seconds; returns how many jobs were taken back."""
        moved = self.watch.run()
        for _ in range(round(seconds / every)):
            self.now += every
            moved += self.watch.run()
        return moved


@pytest.fixture
def sight() -> Iterator[Sight]:
    made = Sight()
    with override_settings(JOBS={"STALE_AFTER": 20, "HEARTBEAT": 5, "TICK": 1}):
        yield made


@pytest.fixture
def worker(clock: Clock) -> UUID:
    return stages.start_worker()


@pytest.fixture
def row(worker: UUID) -> Job:
    row = job_manager.submit(nothing)
    stages.claim(row, worker)
    return row


def _is_fenced(worker: UUID) -> bool:
    return Worker.objects.get(pk=worker).fenced_at is not None


def test_a_heart_that_stands_still_is_dead(sight: Sight, worker: UUID, row: Job) -> None:
    assert sight.look(20) == 0
    assert not _is_fenced(worker)
    assert sight.look(1) == 1
    assert _is_fenced(worker)
    assert stages.fresh(row).state == "pending"


def test_a_beating_heart_is_alive_however_old_its_clock_looks(
    sight: Sight, worker: UUID, row: Job, clock: Clock
) -> None:
    clock.forward(10_000)  # the database's clock has jumped: no matter
    for _ in range(20):
        sight.look(5)
        clock.forward(0.001)
        assert heartbeats.beat(worker, 1)
    assert not _is_fenced(worker)


def test_whoever_could_not_see_must_not_judge(sight: Sight, worker: UUID, row: Job) -> None:
    sight.look(19)
    sight.now += 6  # stopped, or stuck: longer than five ticks
    sight.look(19)
    assert not _is_fenced(worker)
    sight.look(2)
    assert _is_fenced(worker)


def test_a_slow_look_is_no_gap(sight: Sight, worker: UUID, row: Job) -> None:
    sight.look(25, every=5)
    assert _is_fenced(worker)


def test_an_election_starts_the_observation_anew(sight: Sight, worker: UUID, row: Job) -> None:
    sight.look(20)
    sight.watch.forget()
    sight.look(20)
    assert not _is_fenced(worker)


def test_a_beat_between_look_and_fence_saves_the_worker(
    sight: Sight, worker: UUID, row: Job, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = heartbeats.fence

    def late(*args: object) -> bool:
        clock.forward(1)
        heartbeats.beat(worker, 1)
        return fence(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(heartbeats, "fence", late)
    assert sight.look(21) == 0
    assert not _is_fenced(worker)
    assert stages.fresh(row).state == "running"


def test_what_the_fenced_and_the_retired_held_is_taken_back(sight: Sight, worker: UUID, row: Job) -> None:
    heartbeats.retire(worker)
    assert sight.look(0) == 1
    now = stages.fresh(row)
    assert (now.state, now.rescue_count) == ("pending", 1)
    assert sight.look(0) == 0


def test_each_worker_is_judged_by_its_own_heart(sight: Sight, worker: UUID, row: Job, clock: Clock) -> None:
    sight.look(10)
    young = stages.start_worker()
    sight.look(11)
    assert (_is_fenced(worker), _is_fenced(young)) == (True, False)


def test_a_fenced_worker_learns_of_it(sight: Sight, worker: UUID, row: Job) -> None:
    sight.look(21)
    assert not heartbeats.beat(worker, 1)


def test_an_attempt_without_a_worker_is_nobodys(sight: Sight, worker: UUID) -> None:
    loose = job_manager.submit(nothing)
    stages.claim(loose)
    sight.look(30)
    assert stages.fresh(loose).state == "running"
