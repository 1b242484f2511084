"""Starting and cancelling: every answer, what stays of the request, and that repeating it is harmless."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobs import JobState, job, job_manager, signals
from jobs.admission.publishing import JobMessage
from jobs.control import cancellation
from jobs.control.answers import Answer
from jobs.control.requests import ask_one
from jobs.exceptions import JobNotFound
from jobs.models import Job, Pool, transitions
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


def cancel(job_id: UUID, **options: Any) -> Answer:
    return ask_one(cancellation.cancel, job_id, **options)


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
    assert cancel(row.id, reason="wrong file", actor="ann") == Answer.CANCELLED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_by) == ("cancelled", "wrong file", "ann")
    event = now.events.get(name="cancel")
    assert (event.from_state, event.actor, event.data) == (state, "ann", {"reason": "wrong file"})


def test_what_runs_is_asked_to_stop(row: Job) -> None:
    stages.claim(row)
    assert cancel(row.id, reason="wrong file", actor="ann") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_by) == ("running", "wrong file", "ann")
    assert now.cancel_requested_at is not None
    event = now.events.get(name="cancel_requested")
    assert (event.from_state, event.to_state, event.actor) == ("running", "running", "ann")
    stages.check_history(now)


def test_the_first_request_stands(row: Job) -> None:
    stages.claim(row)
    cancel(row.id, reason="wrong file", actor="ann")
    first = stages.fresh(row)
    assert cancel(row.id, reason="", actor="bob") == Answer.REQUESTED
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
    assert cancel(row.id, reason="late") == Answer.ALREADY_FINAL
    now = stages.fresh(row)
    assert (now.state, now.reason, now.cancel_requested_at) == (state, "", None)


def test_force_is_kept_and_may_come_later(row: Job) -> None:
    stages.put(row, "running")
    assert cancel(row.id, reason="wrong file", actor="ann", force=False) == Answer.REQUESTED
    assert not stages.fresh(row).cancel_force
    first = stages.fresh(row).cancel_requested_at
    for _ in range(2):
        assert cancel(row.id, reason="at once", actor="bob", force=True) == Answer.REQUESTED
    assert cancel(row.id, reason="again", actor="cid") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.cancel_force, now.reason, now.cancel_requested_by) == (True, "wrong file", "ann")
    assert now.cancel_requested_at == first
    told = now.events.filter(name="cancel_requested").order_by("seq").values_list("actor", "data")
    assert list(told) == [("ann", {"reason": "wrong file"}), ("bob", {"reason": "at once", "force": True})]


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
    cancel(row.id, reason="a\0b\ud800" + "x" * 20_000, actor="n\0" * 300)
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


def test_a_job_that_is_not_there() -> None:
    with pytest.raises(JobNotFound):
        cancel(uuid4())
