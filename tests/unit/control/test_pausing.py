"""Pause, resume and checkpoint: every answer from every state, what is kept, and who wins over whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, transaction

from jobs import Answer, JobState, JobTask, job, job_manager
from jobs.exceptions import InvalidPayload, JobAborted, JobFailed, JobNotFound, JobTimedOut
from jobs.execution import claims, progress, rescue
from jobs.execution.attempt import run
from jobs.execution.claims import Claimed
from jobs.execution.context import JobContext, JobInterrupted, JobPaused, JobSnoozed
from jobs.models import Job, transitions
from jobs.states import UNFINISHED
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
WAITING = [state for state in UNFINISHED if state not in (JobState.RUNNING, JobState.PAUSED)]
FINISHED = ["completed", "failed", "cancelled"]


@job(bind=True, name="pausing.walk")
def walk(self: JobTask, to: int = 3) -> int:
    """Keeps each step, and goes on from the last one."""
    for step in range((self.job.resume_data or 0) + 1, to + 1):
        self.job.checkpoint(step)
    return int(self.job.resume_data)


@pytest.fixture
def row() -> Job:
    return job_manager.submit(walk)


@pytest.fixture
def running(row: Job, monkeypatch: pytest.MonkeyPatch) -> Claimed:
    """In its body; what it says is written at once."""
    monkeypatch.setattr(progress.flusher, "inline", True)
    return stages.claim(row)


def end(claimed: Claimed, by: BaseException | None = None) -> Job:
    """Let the body end."""

    def body(*_: Any) -> None:
        if by is not None:
            raise by

    run(claimed, body)
    return Job.objects.get(pk=claimed.row["id"])


# --- pause


@pytest.mark.parametrize("state", WAITING)
def test_what_waits_is_paused_at_once(state: str, row: Job) -> None:
    stages.put(row, state)
    assert job_manager.pause_job(row.id, reason="maintenance", actor="ann") == Answer.PAUSED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.paused_by, now.queued_at) == ("paused", "maintenance", "ann", None)
    event = now.events.get(name="pause")
    assert (event.from_state, event.actor, event.data) == (state, "ann", {"reason": "maintenance"})
    assert job_manager.pause_job(row.id, reason="again", actor="bob") == Answer.PAUSED
    assert (stages.fresh(row).reason, stages.fresh(row).event_seq) == ("maintenance", now.event_seq)


def test_the_doorbell_of_a_paused_job_is_stale(row: Job) -> None:
    attempt_id = stages.queue(row)
    job_manager.pause_job(row.id)
    assert claims.claim(row.id, attempt_id, None) is None
    job_manager.resume_job(row.id)
    assert claims.claim(row.id, attempt_id, None) is None
    assert stages.queue(row) != attempt_id


def test_a_paused_job_leaves_its_slot_to_the_next(sent: list[Any]) -> None:
    stages.start_worker(slots=1)
    rows = [job_manager.submit(walk) for _ in range(3)]
    stages.admit()
    queued = [one for one in rows if stages.fresh(one).state == "queued"]
    waits = next(one for one in rows if stages.fresh(one).state == "pending")
    job_manager.pause_job(queued[0].id)
    stages.admit()
    assert stages.fresh(waits).state == "queued"


def test_a_running_job_is_asked_once(row: Job, running: Claimed) -> None:
    assert job_manager.pause_job(row.id, reason="maintenance", actor="ann") == Answer.REQUESTED
    assert job_manager.pause_job(row.id, reason="again", actor="bob") == Answer.REQUESTED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.paused_by) == ("running", "maintenance", "ann")
    assert stages.edges(row) == ["create", "admit", "claim", "pause_requested"]
    assert now.pause_requested_at is not None


@pytest.mark.parametrize("state", FINISHED)
def test_what_has_ended_cannot_be_paused(state: str, row: Job) -> None:
    stages.put(row, state)
    assert job_manager.pause_job(row.id) == Answer.NOT_POSSIBLE
    assert stages.fresh(row).event_seq == row.event_seq


def test_what_is_about_to_be_cancelled_cannot_be_paused(row: Job, running: Claimed) -> None:
    job_manager.cancel_job(row.id, reason="wrong file")
    assert job_manager.pause_job(row.id, reason="maintenance") == Answer.NOT_POSSIBLE
    assert (stages.fresh(row).pause_requested_at, stages.fresh(row).reason) == (None, "wrong file")


def test_what_runs_once_cannot_be_paused_once_it_runs() -> None:
    row = job_manager.submit(walk, at_most_once=True)
    assert job_manager.pause_job(row.id) == Answer.PAUSED
    job_manager.resume_job(row.id)
    stages.claim(row)
    assert job_manager.pause_job(row.id) == Answer.NOT_POSSIBLE


@pytest.mark.parametrize("act", [job_manager.pause_job, job_manager.resume_job, job_manager.start_job])
def test_a_job_that_is_not_there(act: Callable[[UUID], Any]) -> None:
    with pytest.raises(JobNotFound):
        act(uuid4())


# --- the attempt of a job that is asked to pause


def test_it_ends_at_a_checkpoint(row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id, reason="maintenance", actor="ann")
    running.context.progress(40, "half way", stage="tiles")
    with pytest.raises(JobPaused):
        running.context.checkpoint({"tile": 7})
    now = end(running, JobPaused())
    assert (now.state, now.progress, now.message, now.stage) == ("paused", 40, "half way", "tiles")
    assert (now.pause_requested_at, now.paused_by, now.reason) == (None, "ann", "maintenance")
    assert (now.started_at, now.queued_at, now.checkpoint) == (None, None, {"tile": 7})
    assert [attempt.outcome for attempt in now.attempts.all()] == ["paused"]
    assert now.events.get(name="pause").from_state == "running"
    stages.check_history(now)


@pytest.mark.parametrize(("by", "outcome", "errors"), [(ValueError("no"), "retried", 1), (JobSnoozed(60), "paused", 0)])
def test_it_is_paused_in_place_of_another_wait(by: BaseException, outcome: str, errors: int, row: Job) -> None:
    Job.objects.update(max_retries=3)
    running = stages.claim(row)
    job_manager.pause_job(row.id)
    now = end(running, by)
    assert (now.state, now.retry_count, now.error_count, now.pause_requested_at) == ("paused", errors, errors, None)
    assert (now.attempts.get().outcome, len(now.errors)) == (outcome, errors)
    assert job_manager.resume_job(row.id) == Answer.RESUMED
    assert stages.fresh(row).state == "scheduled"  # its time has not come


def test_it_is_paused_in_place_of_a_rescue(row: Job, running: Claimed) -> None:
    running.context.checkpoint([1])
    job_manager.pause_job(row.id)
    rescue.rescue([(row.id, running.row["attempt_id"])], "its worker is dead", "steward")
    now = stages.fresh(row)
    assert (now.state, now.rescue_count, now.error_count) == ("paused", 1, 1)
    assert (now.attempts.get().outcome, now.attempts.get().error_category) == ("lost", "lost")
    told = {"why": "its worker is dead", "instead_of": "rescue"}
    assert now.events.get(name="pause").data == told


def test_a_job_that_is_paused_each_time_comes_to_an_end_all_the_same(row: Job) -> None:
    Job.objects.update(max_retries=1, retry_delay=0)
    for state in ("paused", "failed"):
        running = stages.claim(stages.fresh(row))
        job_manager.pause_job(row.id)
        assert end(running, ValueError("no")).state == state
        if job_manager.resume_job(row.id) == Answer.RESUMED and stages.fresh(row).state == "scheduled":
            transitions.move("due", "id = %s", [stages.key(row)])
    now = stages.fresh(row)
    assert list(now.attempts.order_by("number").values_list("outcome", flat=True)) == ["retried", "failed"]
    assert (now.retry_count, now.error_count, len(now.errors)) == (1, 2, 2)


@pytest.mark.parametrize(("by", "state"), [(None, "completed"), (JobFailed("no"), "failed")])
def test_an_end_wins_over_a_pause(by: BaseException | None, state: str, row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id)
    assert end(running, by).state == state


def test_a_cancel_wins_over_a_pause(row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id, reason="maintenance")
    assert job_manager.cancel_job(row.id, reason="wrong file") == Answer.REQUESTED
    with pytest.raises(JobAborted, match="wrong file"):
        running.context.checkpoint(1)
    now = end(running, JobPaused())
    assert (now.state, now.reason) == ("cancelled", "wrong file")


def test_what_is_paused_can_be_cancelled(row: Job) -> None:
    job_manager.pause_job(row.id)
    assert job_manager.cancel_job(row.id) == Answer.CANCELLED


# --- resume


def test_a_paused_job_waits_anew_from_now_on(row: Job, clock: Clock) -> None:
    job_manager.pause_job(row.id, reason="maintenance", actor="ann")
    later = clock.forward(60)
    assert job_manager.resume_job(row.id, actor="bob") == Answer.RESUMED
    now = stages.fresh(row)
    assert (now.state, now.reason, now.paused_by, now.eligible_at) == ("pending", "", "", later)
    assert now.rank == pytest.approx(later.timestamp(), abs=0.001)
    assert now.events.get(name="resume").actor == "bob"
    assert job_manager.resume_job(row.id) == Answer.NOT_PAUSED


def test_the_reason_to_go_on_is_in_the_history(row: Job, running: Claimed) -> None:
    waits = job_manager.submit(walk)
    for one, event in ((waits, "resume"), (row, "pause_withdrawn")):
        job_manager.pause_job(one.id, reason="maintenance")
        assert job_manager.resume_job(one.id, reason="the disk is new", actor="bob") == Answer.RESUMED
        assert one.events.get(name=event).data == {"reason": "the disk is new"}
        assert stages.fresh(one).reason == ""


def test_one_of_the_future_is_scheduled_again(clock: Clock) -> None:
    row = job_manager.submit(walk, run_after=3600)
    job_manager.pause_job(row.id)
    job_manager.resume_job(row.id)
    due = clock.moment + timedelta(hours=1)
    assert (stages.fresh(row).state, stages.fresh(row).eligible_at) == ("scheduled", due)


def test_a_held_job_may_be_resumed_as_well() -> None:
    row = job_manager.submit(walk, start=False)
    assert job_manager.pause_job(row.id, reason="maintenance") == Answer.PAUSED
    assert stages.fresh(row).reason == "not started"
    assert job_manager.resume_job(row.id) == Answer.RESUMED
    assert job_manager.start_job(row.id) == Answer.ALREADY_STARTED


def test_a_request_that_no_checkpoint_has_met_is_withdrawn(row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id, reason="maintenance", actor="ann")
    assert job_manager.resume_job(row.id, actor="bob") == Answer.RESUMED
    now = stages.fresh(row)
    assert (now.state, now.pause_requested_at, now.paused_by, now.reason) == ("running", None, "", "")
    assert now.events.get(name="pause_withdrawn").actor == "bob"
    running.context.checkpoint(1)
    assert end(running).state == "completed"


def test_withdrawn_while_the_body_ends_it_waits_again(row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id)
    with pytest.raises(JobPaused):
        running.context.checkpoint(5)
    job_manager.resume_job(row.id)
    now = end(running, JobPaused())
    assert (now.state, now.checkpoint) == ("pending", 5)
    assert [attempt.outcome for attempt in now.attempts.all()] == ["interrupted"]


def test_withdrawing_leaves_the_reason_of_a_cancellation(row: Job, running: Claimed) -> None:
    job_manager.pause_job(row.id, reason="maintenance")
    job_manager.cancel_job(row.id, reason="wrong file")
    assert job_manager.resume_job(row.id) == Answer.RESUMED
    assert stages.fresh(row).reason == "wrong file"


@pytest.mark.parametrize("state", [*WAITING, "running", *FINISHED])
def test_what_is_not_paused_is_not_resumed(state: str, row: Job) -> None:
    stages.put(row, state)
    assert job_manager.resume_job(row.id) == Answer.NOT_PAUSED
    assert stages.fresh(row).state == state


# --- many at once


def test_each_of_many_has_its_answer() -> None:
    rows = [job_manager.submit(walk) for _ in range(4)]
    stages.claim(rows[1])
    stages.put(rows[2], "completed")
    answers = job_manager.pause_jobs(task="pausing.walk", reason="maintenance")
    assert answers == {"PAUSED": 2, "REQUESTED": 1}
    assert [stages.fresh(one).state for one in rows] == ["paused", "running", "completed", "paused"]
    assert job_manager.resume_jobs(task="pausing.walk") == {"RESUMED": 3}
    assert [stages.fresh(one).state for one in rows] == ["pending", "running", "completed", "pending"]
    for one in rows[:2]:
        stages.check_history(stages.fresh(one))


# --- checkpoint


def test_it_is_stored_when_it_returns_with_what_was_said_before(row: Job, running: Claimed) -> None:
    running.context.outbox.update(progress=30.0, stage="tiles")
    running.context.checkpoint({"tile": (1, 2)})
    now = stages.fresh(row)
    assert (now.checkpoint, now.progress, now.stage) == ({"tile": [1, 2]}, 30, "tiles")
    assert running.context.resume_data == {"tile": [1, 2]}
    assert not running.context.outbox.is_dirty


@pytest.mark.parametrize("by", [JobSnoozed(0), ValueError("no")])
def test_the_next_attempt_finds_it(by: BaseException, row: Job) -> None:
    Job.objects.update(max_retries=3)
    running = stages.claim(row)
    assert running.context.resume_data is None
    running.context.checkpoint({"tile": 3})
    end(running, by)
    transitions.move("due", "id = %s", [stages.key(row)])
    assert stages.claim(row).context.resume_data == {"tile": 3}


def test_the_attempt_after_a_rescue_finds_it(row: Job, running: Claimed) -> None:
    running.context.checkpoint(3)
    rescue.rescue([(row.id, running.row["attempt_id"])], "its worker is dead", "steward")
    assert stages.claim(row).context.resume_data == 3


def test_a_new_run_begins_from_the_beginning(row: Job, running: Claimed) -> None:
    running.context.checkpoint(3)
    end(running, JobFailed("no"))
    job_manager.retry_job(row.id)
    assert stages.claim(row).context.resume_data is None


def test_an_attempt_that_no_longer_counts_keeps_nothing(row: Job, running: Claimed) -> None:
    running.context.checkpoint(1)
    rescue.rescue([(row.id, running.row["attempt_id"])], "its worker is dead", "steward")
    with pytest.raises(JobAborted, match="no longer counts"):
        running.context.checkpoint(2)
    assert stages.fresh(row).checkpoint == 1


@pytest.mark.parametrize("by", [JobTimedOut, JobInterrupted])
def test_a_body_that_only_checkpoints_is_told_to_stop(
    by: type[BaseException], row: Job, running: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its time-out and of a shutdown as well; what it kept before that stays."""
    if by is JobTimedOut:
        running.context.outbox.deadline = 0.0
    else:
        monkeypatch.setattr(progress.flusher, "is_interrupting", True)
    with pytest.raises(by):
        running.context.checkpoint(7)
    assert (stages.fresh(row).checkpoint, running.context.resume_data) == (7, 7)


def test_what_cannot_be_stored_is_refused(row: Job, running: Claimed) -> None:
    running.context.checkpoint(1)
    with pytest.raises(InvalidPayload, match=r"checkpoint\.at"):
        running.context.checkpoint({"at": object()})
    with pytest.raises(InvalidPayload, match="checkpoint"):
        running.context.checkpoint("x" * 2**21)
    assert (stages.fresh(row).checkpoint, running.context.resume_data) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_it_promises_nothing(row: Job, running: Claimed) -> None:
    with transaction.atomic(), pytest.raises(JobFailed, match="leave the atomic block"):
        running.context.checkpoint(1)
    running.context.checkpoint(2)
    assert stages.fresh(row).checkpoint == 2


def test_a_lost_connection_is_replaced_once(row: Job, running: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    write = progress._exchange

    def fail_first(*args: Any) -> None:
        tries.append("")
        if len(tries) == 1:
            raise OperationalError("gone")
        write(*args)

    monkeypatch.setattr(progress, "_exchange", fail_first)
    lost = SimpleNamespace(in_atomic_block=False, close=lambda: tries.append("closed"))
    monkeypatch.setattr(progress, "connections", {"default": lost})
    running.context.checkpoint(1)
    assert tries == ["", "closed", ""]


def test_outside_of_a_job_it_remembers() -> None:
    this = JobContext()
    this.checkpoint({"tile": 1})
    assert this.resume_data == {"tile": 1}


def test_a_body_goes_on_from_where_it_was_paused(row: Job) -> None:
    steps: list[int] = []

    def body(to: int = 4) -> None:
        this = claimed.context
        for step in range((this.resume_data or 0) + 1, to + 1):
            steps.append(step)
            if step == 2 and claimed is first:
                job_manager.pause_job(row.id)
            this.checkpoint(step)

    first = claimed = stages.claim(row)
    run(claimed, body)
    assert stages.fresh(row).state == "paused"
    job_manager.resume_job(row.id)
    claimed = stages.claim(row)
    run(claimed, body)
    assert (steps, stages.fresh(row).state) == ([1, 2, 3, 4], "completed")
