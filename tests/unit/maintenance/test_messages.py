"""The steward and the broker: what was never sent, what was sent and lost, what no worker knows."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from jobs.execution import back_to_queue, rescue
from jobs.maintenance import lost_messages, republisher, unknown_tasks
from jobs.models import Job, Pool, transitions
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="messages.nothing")
def nothing() -> None: ...


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    with override_settings(
        JOBS={"LOST_AFTER": 15, "PUBLISH_AFTER": 2, "STALE_AFTER": 10_000, "UNKNOWN_TASK_AFTER": 600}
    ):
        yield


@pytest.fixture
def row(clock: Clock) -> Job:
    return job_manager.submit(nothing)


def _queued(row: Job, *, published: bool = True) -> None:
    attempt_id = stages.queue(row)
    if published:
        publishing._mark_published([JobMessage(row.pool, row.task, ((row.id, attempt_id),))])


# --- never sent


def test_what_was_not_sent_for_a_while_is_sent(row: Job, clock: Clock, sent: list[JobMessage]) -> None:
    _queued(row, published=False)
    clock.forward(2)
    assert republisher.publish() == 0
    clock.forward(0.001)
    assert republisher.publish() == 1
    now = stages.fresh(row)
    assert [message.pairs for message in sent] == [((row.id, now.attempt_id),)]
    assert now.published_at == clock.moment
    clock.forward(60)
    assert republisher.publish() == 0


def test_with_the_broker_known_to_be_away_nothing_is_tried(
    row: Job, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = publishing.Breaker()
    breaker.failed()
    monkeypatch.setattr(publishing, "breaker", breaker)
    _queued(row, published=False)
    clock.forward(60)
    assert republisher.publish() == 0
    assert stages.fresh(row).published_at is None


# --- sent and lost


def _release_after(clock: Clock, seconds: float) -> int:
    clock.forward(seconds)
    return lost_messages.release()


def test_a_doorbell_that_nobody_answers_is_taken_for_lost(row: Job, clock: Clock) -> None:
    stages.start_worker()
    _queued(row)
    first = stages.fresh(row).attempt_id
    assert _release_after(clock, 15) == 0
    assert _release_after(clock, 0.001) == 1
    now = stages.fresh(row)
    assert (now.state, now.release_count, now.published_at) == ("pending", 1, None)
    assert now.events.get(name="release").data == {"why": "no worker answered the message"}
    _queued(row)
    assert stages.fresh(row).attempt_id != first


def test_patience_doubles_up_to_ten_minutes(row: Job, clock: Clock) -> None:
    stages.start_worker()
    waits = []
    for _ in range(8):
        _queued(row)
        waited = 0.0
        while not _release_after(clock, 15):
            waited += 15
        waits.append(waited)
    assert waits == [15, 30, 60, 120, 240, 480, 600, 600]
    claimed = stages.claim(row)
    back_to_queue.return_to_queue("interrupt", "id = %s", [stages.key(row)])
    assert stages.fresh(row).release_count == 0
    assert claimed.row["state"] == "running"


def test_without_a_live_worker_nothing_is_lost(row: Job, clock: Clock) -> None:
    _queued(row)
    assert _release_after(clock, 10_000) == 0
    with override_settings(JOBS={"LOST_AFTER": 15, "STALE_AFTER": 20}):
        stages.start_worker(pools=["elsewhere"])
        assert _release_after(clock, 0) == 0
        stages.start_worker()
        assert _release_after(clock, 21) == 0  # silent by now
        stages.start_worker()
        assert _release_after(clock, 0) == 1


def test_while_every_child_is_busy_the_message_may_wait_in_the_queue(
    row: Job, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages.start_worker(slots=1)
    stages.claim(job_manager.submit(nothing))
    _queued(row)
    depths = iter([None, 1, 0])
    monkeypatch.setattr(publishing, "queue_depth", lambda pool: next(depths))
    assert _release_after(clock, 60) == 0  # the broker cannot say
    assert _release_after(clock, 60) == 0  # it is there
    assert _release_after(clock, 60) == 1  # it is not


def test_a_paused_pool_gives_its_jobs_back_at_once(row: Job, clock: Clock) -> None:
    _queued(row)
    running = job_manager.submit(nothing)
    stages.claim(running)
    Pool.objects.update(paused_at=clock.moment)
    assert lost_messages.release() == 1
    assert stages.fresh(row).events.get(name="release").data == {"why": "the pool is closed"}
    assert stages.fresh(running).state == "running"


def test_other_pools_are_left_alone(row: Job, clock: Clock) -> None:
    Pool.objects.create(name="gpu")
    other = job_manager.submit(nothing, pool="gpu")
    stages.start_worker(pools=["gpu"])
    _queued(row)
    _queued(other)
    assert _release_after(clock, 60) == 1
    assert (stages.fresh(row).state, stages.fresh(other).state) == ("queued", "pending")


# --- unknown


def test_what_no_worker_knows_fails_in_the_end(row: Job, clock: Clock) -> None:
    stages.queue(row)
    rescue.note_unknown([(row.id, stages.fresh(row).attempt_id or uuid4())])
    clock.forward(600)
    assert unknown_tasks.give_up() == 0
    clock.forward(0.001)
    assert unknown_tasks.give_up() == 1
    now = stages.fresh(row)
    assert (now.state, now.error_category, now.error_type) == ("failed", "unknown_task", "UnknownTask")
    assert "600 s" in now.error_message


def test_what_a_worker_knows_after_all_does_not_fail(row: Job, clock: Clock) -> None:
    stages.queue(row)
    rescue.note_unknown([(row.id, stages.fresh(row).attempt_id or uuid4())])
    clock.forward(700)
    transitions.move("claim", "id = %s", [stages.key(row)])
    assert unknown_tasks.give_up() == 0
    assert stages.fresh(row).state == "running"


def test_nothing_is_unknown_of_what_nobody_complained(row: Job, clock: Clock) -> None:
    stages.queue(row)
    clock.forward(10_000)
    assert unknown_tasks.give_up() == 0
