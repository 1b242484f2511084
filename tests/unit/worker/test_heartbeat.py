"""The worker's heart, one step at a time; with real children and real deaths it beats in the fault tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from celery.exceptions import WorkerLostError
from celery.worker import state
from django.db import OperationalError
from django.test import override_settings

from jobs import JobTask, job, job_manager
from jobs.execution import heartbeats
from jobs.execution.claims import Claimed
from jobs.execution.fence import Pair
from jobs.execution.rescue import open_attempts
from jobs.execution.termination import INTERRUPTED, timed_out
from jobs.models import Job, Worker
from jobs.worker import heartbeat, request
from jobs.worker.feeder import Feeder
from jobs.worker.guard import descendants, terminations
from jobs.worker.heartbeat import Pulse
from jobs.worker.request import News, news, pairs_in, pairs_of
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="pulse.nothing")
def nothing() -> None: ...


class StillFeeder:
    """Counts what the pulse does to its feeder."""

    def __init__(self) -> None:
        self.rings = self.starts = self.stops = 0
        self.alive = True

    def ring(self) -> None:
        self.rings += 1

    def start(self) -> None:
        self.starts += 1

    def stop(self) -> None:
        self.stops += 1

    def is_alive(self) -> bool:
        return self.alive


class Taken:
    """A request that Celery holds."""

    def __init__(self, row: Job, claimed: Claimed) -> None:
        self._request_dict = {"jobs": [[str(row.id), str(claimed.row["attempt_id"])]]}


@pytest.fixture
def feeder() -> StillFeeder:
    return StillFeeder()


@pytest.fixture
def boot_id(monkeypatch: pytest.MonkeyPatch) -> UUID:
    made = uuid4()
    monkeypatch.setattr(JobTask, "worker_id", made)
    return made


@pytest.fixture
def heart(feeder: StillFeeder, boot_id: UUID, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    controller = SimpleNamespace(
        hostname="celery@host",
        concurrency=3,
        pool=SimpleNamespace(num_processes=3),
        app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={"default": 1, "gpu": 2}))),
    )
    monkeypatch.setattr(state, "active_requests", set())
    monkeypatch.setattr(state, "reserved_requests", set())
    with override_settings(JOBS={"HEARTBEAT": 0.001, "STALE_AFTER": 20}):
        yield Pulse(controller, cast(Feeder, feeder))
    while not news.empty():
        news.get_nowait()


def _worker(boot_id: UUID) -> Worker:
    return Worker.objects.get(pk=boot_id)


def test_the_first_beat_registers(heart: Pulse, feeder: StillFeeder, boot_id: UUID) -> None:
    heart._beat()
    worker = _worker(boot_id)
    assert (worker.hostname, worker.pools, worker.slots) == ("celery@host", ["default", "gpu"], 3)
    assert feeder.rings == 1  # there are slots now


def test_the_next_ones_renew(heart: Pulse, boot_id: UUID) -> None:
    heart._beat()
    first = _worker(boot_id).beat_at
    Worker.objects.update(beat_at=first.replace(year=2000))
    heart._beat()
    assert _worker(boot_id).beat_at >= first


def test_who_leaves_says_so(heart: Pulse, boot_id: UUID) -> None:
    heart._beat()
    heart.drain()
    heart._beat()
    assert _worker(boot_id).draining_at is not None


def test_a_fenced_worker_stops_what_it_runs_and_begins_anew(
    heart: Pulse, feeder: StillFeeder, boot_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def kill(pid: int, _: int) -> None:
        killed.append(pid)
        if pid == 7:
            raise ProcessLookupError  # Celery was quicker to bury it

    noted: list[int] = []
    monkeypatch.setattr(descendants, "remember", lambda pid: noted.append(pid) if pid not in killed else None)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(heart._controller.pool, "_pool", SimpleNamespace(_pool=_children(7, 8)), raising=False)
    heart._beat()
    heartbeats.retire(boot_id)
    heart._beat()
    assert noted == killed == [7, 8]  # what they have started dies with them
    assert (feeder.stops, feeder.starts) == (1, 1)  # the next one listens in the name of the new life
    assert JobTask.worker_id is not None
    assert JobTask.worker_id != boot_id
    assert list(Worker.objects.unfenced()) == [_worker(JobTask.worker_id)]


def _children(*pids: int) -> list[Any]:
    return [SimpleNamespace(pid=pid) for pid in pids]


def test_a_job_that_memory_does_not_know_twice_in_a_row_is_lost(
    heart: Pulse, feeder: StillFeeder, boot_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart._beat()
    forgotten, known = job_manager.submit(nothing), job_manager.submit(nothing)
    stages.claim(forgotten, boot_id)
    claimed = stages.claim(known, boot_id)
    monkeypatch.setattr(state, "active_requests", {Taken(known, claimed)})
    heart._beat()
    assert stages.fresh(forgotten).state == "running"  # once may be a matter of moments
    heart._beat()
    assert stages.fresh(forgotten).state == "pending"
    assert stages.fresh(known).state == "running"
    assert feeder.rings == 2


def test_a_job_that_came_back_to_memory_is_not_lost(
    heart: Pulse, boot_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart._beat()
    row = job_manager.submit(nothing)
    claimed = stages.claim(row, boot_id)
    for known in (set(), {Taken(row, claimed)}, set()):
        monkeypatch.setattr(state, "reserved_requests", known)
        heart._beat()
    assert stages.fresh(row).state == "running"


def test_what_begins_while_the_rows_are_read_is_no_suspect(
    heart: Pulse, boot_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is read after the rows: whoever stands in them was there before."""
    heart._beat()
    row = job_manager.submit(nothing)
    read = open_attempts

    def begin_and_read(worker: UUID) -> set[Pair]:
        monkeypatch.setattr(state, "active_requests", {Taken(row, stages.claim(row, boot_id))})
        return read(worker)

    monkeypatch.setattr(heartbeat, "open_attempts", begin_and_read)
    heart._beat()
    assert heart._suspects == set()


def test_news_of_the_dead_and_the_unknown_is_written_down(heart: Pulse, feeder: StillFeeder) -> None:
    lost, unknown = job_manager.submit(nothing), job_manager.submit(nothing)
    claimed = stages.claim(lost)
    news.put(News([(lost.id, claimed.row["attempt_id"])], are_lost=True))
    news.put(News([(unknown.id, stages.queue(unknown))]))
    heart._report_news()
    assert stages.fresh(lost).state == "pending"
    assert stages.fresh(lost).events.get(name="rescue").actor == "celery@host"
    assert stages.fresh(unknown).unknown_since is not None
    assert feeder.rings == 1


def test_who_was_stopped_on_purpose_is_named_so(heart: Pulse) -> None:
    """The pulse hears of the death before the guard has written it down."""
    row = job_manager.submit(nothing)
    attempt_id = stages.claim(row).row["attempt_id"]
    terminations.pronounce(attempt_id, timed_out(20, 10, 10), is_told=True)
    news.put(News([(row.id, attempt_id)], are_lost=True))
    heart._report_news()
    assert (stages.fresh(row).state, stages.fresh(row).error_category) == ("failed", "timeout")
    terminations.withdraw(attempt_id)


def test_what_is_being_stopped_is_not_lost_meanwhile(heart: Pulse, boot_id: UUID) -> None:
    """A cold shutdown: Celery has forgotten the request, and the body still cleans up."""
    heart._beat()
    row = job_manager.submit(nothing)
    attempt_id = stages.claim(row, boot_id).row["attempt_id"]
    terminations.pronounce(attempt_id, INTERRUPTED, is_told=True)
    for _ in range(3):
        heart._beat()
    assert stages.fresh(row).state == "running"
    terminations.withdraw(attempt_id)
    for _ in range(3):
        heart._beat()
    assert stages.fresh(row).state == "pending"


def test_what_was_not_begun_is_given_back_when_the_worker_leaves(
    heart: Pulse, feeder: StillFeeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, running = job_manager.submit(nothing), job_manager.submit(nothing)
    begun = Taken(running, stages.claim(running))
    waiting = Taken(fetched, cast(Claimed, SimpleNamespace(row={"attempt_id": stages.queue(fetched)})))
    monkeypatch.setattr(state, "active_requests", {begun})
    monkeypatch.setattr(state, "reserved_requests", [begun, waiting])
    heart._beat()
    rings = feeder.rings
    heart.drain()
    monkeypatch.setattr(state, "reserved_requests", [])  # Celery forgets them at once
    heart._beat()
    assert (stages.fresh(fetched).state, stages.fresh(running).state) == ("pending", "running")
    assert stages.fresh(fetched).release_count == 0
    assert feeder.rings == rings + 1


def test_a_feeder_that_died_is_started_again(heart: Pulse, feeder: StillFeeder) -> None:
    heart._beat()
    assert feeder.starts == 0
    feeder.alive = False
    heart._beat()
    assert feeder.starts == 1


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a bug")])
def test_whatever_goes_wrong_the_heart_goes_on(
    heart: Pulse, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    heart._attempt(fail)
    assert "heartbeat:" in caplog.text


# --- what Celery's request tells


def test_the_pairs_of_a_doorbell() -> None:
    pair = (uuid4(), uuid4())
    headers = {"jobs": [[str(pair[0]), str(pair[1])]]}
    assert pairs_in(headers) == pairs_of(SimpleNamespace(_request_dict=headers)) == [pair]
    assert pairs_in({}) == pairs_of(object()) == []


@pytest.mark.parametrize(
    ("error", "dead"),
    [
        (WorkerLostError("signal 9"), True),
        (SystemExit(-247), True),
        (SimpleNamespace(exc=WorkerLostError()), True),
        (ValueError(), False),
        (SimpleNamespace(exc=ValueError()), False),
    ],
    ids=["lost", "exit", "wrapped", "error", "wrapped error"],
)
def test_what_means_that_a_child_is_dead(error: Any, dead: bool) -> None:
    assert request._is_dead(error) == dead
