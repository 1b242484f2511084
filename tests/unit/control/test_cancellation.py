"""What people do to a job: every answer, what stays of the request, and that repeating it is harmless."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from jobs import JobState, job, job_manager, signals
from jobs.admission.publishing import JobMessage
from jobs.control.cancellation import Answer, cancel, delete, delete_rows, retry
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.execution import context
from jobs.models import Attempt, Job, JobEvent, JobLog, Pool, transitions
from jobs.states import UNFINISHED
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
WAITING = [state for state in UNFINISHED if state != JobState.RUNNING]
FINISHED = ["completed", "failed", "cancelled"]


@job(name="control.nothing")
def nothing(*_: Any) -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing)


# --- start


def test_a_held_job_is_started_once(clock: Clock) -> None:
    held = job_manager.submit(nothing, start=False)
    later = clock.forward(60)
    assert job_manager.start_job(held.id, actor="ann") == Answer.STARTED
    now = stages.fresh(held)
    assert (now.state, now.reason, now.eligible_at) == ("pending", "", later)
    assert now.rank == pytest.approx(later.timestamp(), abs=0.001)
    assert now.events.get(name="resume").actor == "ann"
    assert job_manager.start_job(held.id) == Answer.ALREADY_STARTED
    assert stages.edges(held) == ["create", "resume"]


def test_a_held_job_of_the_future_is_scheduled(clock: Clock) -> None:
    held = job_manager.submit(nothing, start=False, run_after=3600)
    assert job_manager.start_job(held.id) == Answer.STARTED
    now = stages.fresh(held)
    due = clock.moment + timedelta(hours=1)
    assert (now.state, now.eligible_at) == ("scheduled", due)
    assert now.rank == pytest.approx(due.timestamp(), abs=0.001)


def test_what_a_person_has_paused_is_not_started(row: Job) -> None:
    transitions.move("pause", "id = %s", [stages.key(row)], sets={"reason": "wait for ann"})
    assert job_manager.start_job(row.id) == Answer.ALREADY_STARTED
    assert stages.fresh(row).state == "paused"


# --- cancel


@pytest.mark.parametrize("state", WAITING)
def test_what_waits_is_cancelled_at_once(row: Job, state: str) -> None:
    stages.put(row, state)
    assert cancel(row.id, "wrong file", "ann") == Answer.CANCELLED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_by) == ("cancelled", "wrong file", "ann")
    event = now.events.get(name="cancel")
    assert (event.from_state, event.actor, event.data) == (state, "ann", {"reason": "wrong file"})


def test_what_runs_is_asked_to_stop(row: Job) -> None:
    stages.claim(row)
    assert cancel(row.id, "wrong file", "ann") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_by) == ("running", "wrong file", "ann")
    assert now.cancel_requested_at is not None
    event = now.events.get(name="cancel_requested")
    assert (event.from_state, event.to_state, event.actor) == ("running", "running", "ann")
    stages.check_history(now)


def test_the_first_request_stands(row: Job) -> None:
    stages.claim(row)
    cancel(row.id, "wrong file", "ann")
    first = stages.fresh(row)
    assert cancel(row.id, "", "bob") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.reason, now.cancel_requested_by, now.cancel_requested_at) == (
        "wrong file",
        "ann",
        first.cancel_requested_at,
    )
    assert now.events.filter(name="cancel_requested").count() == 1


@pytest.mark.parametrize("state", FINISHED)
def test_what_has_ended_stays_as_it_is(row: Job, state: str) -> None:
    stages.put(row, state)
    assert cancel(row.id, "late") == Answer.ALREADY_FINAL
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_at) == (state, "", None)


def test_force_is_kept_and_may_come_later(row: Job) -> None:
    stages.put(row, "running")
    assert cancel(row.id, "wrong file", "ann", force=False) == Answer.REQUESTED
    assert not stages.fresh(row).cancel_force
    first = stages.fresh(row).cancel_requested_at
    for _ in range(2):
        assert cancel(row.id, "at once", "bob", force=True) == Answer.REQUESTED
    assert cancel(row.id, "again", "cid") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.cancel_force, now.reason, now.cancel_requested_by) == (True, "wrong file", "ann")
    assert now.cancel_requested_at == first
    told = now.events.filter(name="cancel_requested").order_by("seq").values_list("actor", "data")
    assert list(told) == [("ann", {"reason": "wrong file"}), ("bob", {"reason": "at once", "force": True})]


def test_a_new_run_forgets_the_force(row: Job) -> None:
    stages.put(row, "cancelled", cancel_force=True)
    assert retry(row.id) == Answer.REQUEUED
    assert not stages.fresh(row).cancel_force


def test_a_cancelled_job_frees_its_slot(
    row: Job, sent: list[JobMessage], django_capture_on_commit_callbacks: Any
) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=1)
    stages.start_worker()
    other = job_manager.submit(nothing)
    stages.queue(row)
    with django_capture_on_commit_callbacks(execute=True):
        cancel(row.id)
    assert [message.pairs[0][0] for message in sent] == [other.id]


@pytest.mark.parametrize("running", [False, True])
def test_what_people_say_is_made_storable(row: Job, running: bool) -> None:
    if running:
        stages.claim(row)
    cancel(row.id, "a\0b\ud800" + "x" * 20_000, "n\0" * 300)
    now = stages.fresh(row)
    assert now.reason.startswith("a\ufffdb\ufffd")
    assert len(now.reason) <= 10_000
    assert len(now.cancel_requested_by) <= 200
    assert "\0" not in now.cancel_requested_by


def test_the_request_is_announced_with_the_job(row: Job, django_capture_on_commit_callbacks: Any) -> None:
    told: list[Any] = []

    def listen(job: Job, from_state: str, to_state: str, **more: Any) -> None:
        told.append((job.id, from_state, to_state, more["actor"], more["attempt"], more["at"]))

    claimed = stages.claim(row)
    signals.job_cancel_requested.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            cancel(row.id, actor="ann")
    finally:
        signals.job_cancel_requested.disconnect(listen)
    at = stages.fresh(row).cancel_requested_at
    assert told == [(row.id, "running", "running", "ann", claimed.row["attempt_id"], at)]


# --- retry


def test_the_reason_to_run_it_again_is_in_the_history() -> None:
    keyed = job_manager.run_job("castle", nothing).job
    rows = [keyed, job_manager.submit(nothing)]
    for row in rows:
        stages.put(row, "failed")
        assert job_manager.retry_job(row.id, reason="the file is there", actor="ada") == Answer.REQUEUED
        stages.put(row, "failed")
    assert job_manager.retry_jobs(state="failed", reason="now it is") == {"REQUEUED": 2}
    for row in rows:
        told = row.events.filter(name="requeue").order_by("seq").values_list("actor", "data")
        assert list(told) == [("ada", {"reason": "the file is there"}), ("", {"reason": "now it is"})]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_person_runs_an_ended_job_again(clock: Clock, state: str) -> None:
    row = job_manager.run_job("k", nothing, run_after=3600, priority="high").job
    stages.put(row, state, error_type="ValueError", reason="why", retry_count=3)
    later = clock.forward(60)
    assert retry(row.id, "ann") == Answer.REQUEUED
    now = stages.fresh(row)
    assert (now.state, now.run, now.retry_count, now.run_after, now.eligible_at) == ("pending", 2, 0, None, later)
    assert now.rank == pytest.approx(later.timestamp() - 3600, abs=0.001)
    assert now.events.get(name="requeue").actor == "ann"
    assert not job_manager.run_job("k", nothing).created
    assert retry(row.id) == Answer.NOT_FINAL


@pytest.mark.parametrize("state", ["completed", *UNFINISHED])
def test_only_what_failed_or_was_cancelled_is_retried(row: Job, state: str) -> None:
    stages.put(row, state)
    assert retry(row.id) == Answer.NOT_FINAL
    assert stages.fresh(row).state == state


def test_a_key_that_another_job_holds_now() -> None:
    first = job_manager.run_job("k", nothing).job
    cancel(first.id)
    second = job_manager.run_job("k", nothing).job
    with transaction.atomic():
        assert retry(first.id) == Answer.KEY_TAKEN
        assert job_manager.submit(nothing).state == "pending"  # the caller's transaction goes on
    assert (stages.fresh(first).state, stages.fresh(second).state) == ("cancelled", "pending")


# --- delete


def test_a_deleted_job_leaves_nothing(row: Job) -> None:
    def body() -> None:
        this = context.current()
        assert this is not None
        this.outbox.add_line((str(this.started_at), "info", "a line"))

    other = job_manager.submit(nothing)
    stages.perform(row, body)
    assert JobLog.objects.count() == 1
    delete(row.id)
    assert list(Job.objects.all()) == [other]
    assert not Attempt.objects.exists()
    assert not JobLog.objects.exists()
    assert set(JobEvent.objects.values_list("job_id", flat=True)) == {other.id}


@pytest.mark.parametrize("state", UNFINISHED)
def test_an_unfinished_job_is_not_deleted(row: Job, state: str) -> None:
    stages.put(row, state)
    with pytest.raises(JobNotFinished, match=state):
        delete(row.id)
    assert stages.fresh(row).events.exists()


def test_deleting_in_bulk_leaves_alone_what_has_not_ended(row: Job) -> None:
    ended = stages.put(job_manager.submit(nothing), "failed")
    assert delete_rows([ended.id, uuid4()]) == 1
    assert list(Job.objects.all()) == [row]


@pytest.mark.parametrize("act", [cancel, retry, delete], ids=lambda act: act.__name__)
def test_a_job_that_is_not_there(act: Callable[..., Any]) -> None:
    with pytest.raises(JobNotFound):
        act(uuid4())
