"""Hooks: once for each run that was begun, in the body's process or in another, whatever they raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import override_settings

from jobs import JobTask, job, job_manager
from jobs.admission.publishing import HOOKS_HEADER, JobMessage
from jobs.exceptions import InvalidOption, JobAborted, JobFailed
from jobs.execution import attempt, claims, context, heartbeats, hooks, rescue
from jobs.execution.claims import Claimed
from jobs.execution.context import JobContext, JobInterrupted, JobPaused, JobSnoozed
from jobs.execution.hooks import Hooks
from jobs.execution.progress import flusher
from jobs.maintenance.task_hooks import Round
from jobs.models import Hook, Job
from jobs.testing import drain
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
FIRST = UUID(int=0)
Told = list[tuple[str, str, str]]


@job(bind=True, name="hooks.render")
def render(self: JobTask, scene: str = "castle") -> str:
    return scene


@job(name="hooks.plain")
def plain() -> None: ...


told: Told = []
trouble: list[BaseException] = []


@render.on_cancel
def undo(this: JobContext) -> None:
    told.append(("on_cancel", str(this.reason), _state(this)))
    this.check()
    if trouble:
        raise trouble[0]


@render.cleanup
def tidy(this: JobContext) -> None:
    told.append(("cleanup", this.outcome, _state(this)))
    this.log("tidied up")
    this.progress(3)
    if trouble:
        raise trouble[0]


def _state(this: JobContext) -> str:
    assert context.current() is this
    return Job.objects.values_list("state", flat=True).get(pk=str(this.id))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flusher, "inline", True)
    yield
    told.clear()
    trouble.clear()


@pytest.fixture
def row() -> Job:
    return job_manager.submit(render)


def claim(row: Job, worker: UUID | None = None) -> Claimed:
    claimed = claims.claim(row.id, stages.queue(row), worker, render.hooks)
    assert claimed is not None
    return claimed


def end(claimed: Claimed, by: BaseException | None = None) -> Job:
    def body(*_: Any) -> None:
        if by is not None:
            raise by

    attempt.run(claimed, body)
    return Job.objects.get(pk=claimed.row["id"])


def run_due(clock: Clock, seconds: float = 3) -> int:
    """What a steward would ask a worker for."""
    clock.forward(seconds)
    found, _ = hooks.due(FIRST, 2)
    return sum(hooks.run_remaining(one.job_id, one.id, render.hooks, None) for one in found)


# --- in the process of the body


@pytest.mark.parametrize(("by", "state"), [(None, "completed"), (JobFailed("no"), "failed")])
def test_cleanup_follows_the_end(by: BaseException | None, state: str, row: Job) -> None:
    claimed = claim(row)
    assert Hook.objects.get().job_id == row.id
    now = end(claimed, by)
    assert now.state == state
    assert told == [("cleanup", state, state)]
    assert not Hook.objects.exists()
    assert stages.edges(row)[-1] == "cleanup"
    assert [line.text for line in now.logs.all()] == ["tidied up"]
    stages.check_history(now)


def test_on_cancel_comes_before_the_job_counts_as_cancelled(row: Job) -> None:
    claimed = claim(row)
    job_manager.cancel_job(row.id, reason="wrong file")
    with pytest.raises(JobAborted):
        claimed.context.check()
    assert end(claimed, JobAborted("wrong file")).state == "cancelled"
    assert told == [("on_cancel", "wrong file", "running"), ("cleanup", "cancelled", "cancelled")]
    assert stages.edges(row)[-3:] == ["on_cancel", "cancel", "cleanup"]
    assert not Hook.objects.exists()


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_a_hook_has_a_directory_that_goes_with_it(place: str, row: Job, clock: Clock, tmp_path: Path) -> None:
    """The directory of the body is deleted by then, and only a hook gets a new one."""
    seen: list[Path] = []

    def fill(this: JobContext) -> None:
        seen.append(this.tmpdir)
        (this.tmpdir / "raw").touch()

    acts = Hooks(cleanup=fill)
    with override_settings(JOBS={"TMPDIR": str(tmp_path)}):
        claimed = claims.claim(row.id, stages.queue(row), None, acts)
        assert claimed is not None
        if place == "here":
            attempt.run(claimed, lambda *_: seen.append(claimed.context.tmpdir))
            claimed.context.hook = ""
            with pytest.raises(JobFailed, match="its directory is gone"):
                _ = claimed.context.tmpdir
        else:
            rescue.rescue([(row.id, claimed.row["attempt_id"])], "its process died", "steward")
            job_manager.cancel_job(row.id)
            clock.forward(3)
            assert hooks.run_remaining(row.id, Hook.objects.get().id, acts, None)
    assert len(seen) == (2 if place == "here" else 1)
    assert "error" not in row.events.get(name="cleanup").data
    assert not any(path.exists() for path in seen)


@pytest.mark.parametrize("by", [JobSnoozed(5), JobInterrupted(), JobPaused()])
def test_a_cancellation_in_place_of_another_wait_comes_first(by: BaseException, row: Job) -> None:
    claimed = claim(row)
    job_manager.cancel_job(row.id)
    end(claimed, by)
    assert told == [("on_cancel", "", "running"), ("cleanup", "cancelled", "cancelled")]


def test_a_stop_with_an_error_in_place_of_a_snooze_is_no_cancellation(row: Job) -> None:
    claimed = claim(row)
    job_manager.stop(row.id, "wrong file")
    end(claimed, JobSnoozed(5))
    assert told == [("cleanup", "failed", "failed")]


def test_a_hook_is_never_asked_to_stop(row: Job) -> None:
    seen: list[object] = []

    def undo(this: JobContext) -> None:
        this.on_abort(lambda: seen.append("told to stop"))
        this.outbox.run_callbacks()
        seen.append(this.aborted)

    claimed = claims.claim(row.id, stages.queue(row), None, Hooks(on_cancel=undo))
    assert claimed is not None
    job_manager.cancel_job(row.id)
    attempt.run(claimed, lambda *_: claimed.context.check())
    assert seen == [False]


def test_an_attempt_that_is_not_the_last_has_none(row: Job) -> None:
    Job.objects.update(max_retries=1)
    end(claim(row), ValueError("no"))
    assert told == []
    assert Hook.objects.get().claims == 0
    Job.objects.update(state="pending")
    end(claim(row))
    assert told == [("cleanup", "completed", "completed")]


def test_an_attempt_that_no_longer_counts_runs_none(row: Job) -> None:
    claimed = claim(row)
    rescue.rescue([(row.id, claimed.row["attempt_id"])], "its worker is dead", "steward")
    end(claimed, JobAborted("no longer counts"))
    assert told == []


def test_each_run_has_its_own(row: Job) -> None:
    end(claim(row), JobFailed("no"))
    job_manager.retry_job(row.id)
    end(claim(row))
    assert told == [("cleanup", "failed", "failed"), ("cleanup", "completed", "completed")]


@pytest.mark.parametrize("error", [ValueError("disk full"), JobSnoozed(3), SystemExit(1)])
def test_what_a_hook_raises_changes_nothing(error: BaseException, row: Job, caplog: pytest.LogCaptureFixture) -> None:
    if isinstance(error, SystemExit):
        error = RuntimeError("exit")
    trouble.append(error)
    claimed = claim(row)
    job_manager.cancel_job(row.id)
    with caplog.at_level(logging.ERROR, "jobs.execution.hooks"):
        now = end(claimed, JobAborted(""))
    assert (now.state, now.error_type) == ("cancelled", "")
    assert [name for name, *_ in told] == ["on_cancel", "cleanup"]
    assert type(error).__name__ in now.events.get(name="cleanup").data["error"]
    assert "hook cleanup of job" in caplog.text
    assert not Hook.objects.exists()


def test_a_task_without_hooks_notes_nothing() -> None:
    row = job_manager.submit(plain)
    stages.perform(row, plain.body)
    assert not Hook.objects.exists()
    assert not plain.hooks


def test_a_second_hook_of_a_kind_is_refused() -> None:
    for register in (render.on_cancel, render.cleanup):
        with pytest.raises(InvalidOption, match="already"):
            register(print)


# --- in another process


def _cancelled_while_it_waits(row: Job, _: Clock) -> None:
    end(claim(row), JobSnoozed(60))
    job_manager.cancel_job(row.id, reason="wrong file")


def _killed_when_it_was_to_stop(row: Job, _: Clock | None = None) -> None:
    claimed = claim(row)
    job_manager.cancel_job(row.id, reason="wrong file")
    rescue.rescue([(row.id, claimed.row["attempt_id"])], "its worker is dead", "steward")


def _killed_in_its_hook(row: Job, clock: Clock) -> None:
    claimed = claim(row)
    job_manager.cancel_job(row.id, reason="wrong file")
    trouble.append(SystemExit(-(256 - 9)))
    with pytest.raises(SystemExit):
        end(claimed, JobAborted(""))
    trouble.clear()
    told.clear()
    clock.forward(1)
    rescue.rescue([(row.id, claimed.row["attempt_id"])], "its worker is dead", "steward")


@pytest.mark.parametrize("ended", [_cancelled_while_it_waits, _killed_when_it_was_to_stop, _killed_in_its_hook])
def test_where_the_process_is_dead_another_runs_them(
    ended: Callable[[Job, Clock], None], row: Job, clock: Clock
) -> None:
    clock.forward(1)
    ended(row, clock)
    assert told == []
    assert run_due(clock, 1) == 0  # the process of the body may be about to
    assert run_due(clock) == 1
    assert told == [("on_cancel", "wrong file", "cancelled"), ("cleanup", "cancelled", "cancelled")]
    assert run_due(clock) == 0


def test_given_up_after_rescues_it_is_cleaned_up(row: Job, clock: Clock) -> None:
    Job.objects.update(rescue_count=3)
    claimed = claim(row)
    claimed.context.checkpoint({"tile": 2})
    rescue.rescue([(row.id, claimed.row["attempt_id"])], "its worker is dead", "steward")
    assert run_due(clock) == 1
    assert told == [("cleanup", "failed", "failed")]


def test_what_never_began_has_nothing_to_clean_up(row: Job, clock: Clock) -> None:
    job_manager.cancel_job(row.id)
    assert (run_due(clock), told) == (0, [])


def _die_over_the_cleanup(row: Job, worker: UUID | None = None) -> None:
    trouble.append(SystemExit(-(256 - 9)))
    with pytest.raises(SystemExit):
        end(claim(row, worker))
    trouble.clear()
    told.clear()


def test_who_dies_over_it_is_waited_for(row: Job, clock: Clock) -> None:
    _die_over_the_cleanup(row)
    assert run_due(clock, 59) == 0
    assert run_due(clock, 2) == 1
    assert told == [("cleanup", "completed", "completed")]


def test_who_is_declared_dead_is_not(row: Job, clock: Clock) -> None:
    worker = stages.start_worker()
    _die_over_the_cleanup(row, worker)
    heartbeats.retire(worker)
    assert run_due(clock) == 1


def test_three_deaths_are_enough(row: Job, clock: Clock) -> None:
    _die_over_the_cleanup(row)
    Hook.objects.update(claims=3)
    clock.forward(61)
    assert Round().run() == 0
    assert not Hook.objects.exists()
    assert "given up" in stages.fresh(row).events.get(name="cleanup").data["error"]


def test_two_answers_run_them_once(row: Job, clock: Clock) -> None:
    _killed_when_it_was_to_stop(row)
    clock.forward(3)
    (one,), _ = hooks.due(FIRST, 2)
    stolen: list[bool] = []
    steal = Hooks(on_cancel=lambda _: stolen.append(hooks.run_remaining(row.id, one.id, render.hooks, None)))
    assert hooks.run_remaining(row.id, one.id, steal, None)
    assert (stolen, told) == ([False], [])
    assert not hooks.run_remaining(row.id, one.id, render.hooks, None)
    assert not hooks.run_remaining(row.id, uuid4(), render.hooks, None)


def test_a_new_run_begins_when_the_last_one_is_cleaned_up(row: Job) -> None:
    _killed_when_it_was_to_stop(row)
    job_manager.retry_job(row.id)
    now = end(claim(row))
    assert [name for name, *_ in told] == ["on_cancel", "cleanup", "cleanup"]
    assert told[1][1:] == ("cancelled", "running")
    assert now.state == "completed"
    assert not Hook.objects.exists()


# --- the steward's message


def test_a_message_is_sent_where_a_worker_is(row: Job, clock: Clock, sent: list[JobMessage]) -> None:
    _killed_when_it_was_to_stop(row)
    clock.forward(3)
    chore = Round()
    assert chore.run() == 0
    stages.start_worker()
    assert chore.run() == 1
    (message,) = sent
    assert (message.header, message.task, message.pool) == (HOOKS_HEADER, "hooks.render", "default")
    assert chore.run() == 0  # it is on its way
    clock.forward(16)
    stages.start_worker()
    assert chore.run() == 1
    assert sent[0].pairs == sent[1].pairs


def test_the_task_answers_the_message(row: Job, clock: Clock) -> None:
    _killed_when_it_was_to_stop(row)
    clock.forward(3)
    (one,), _ = hooks.due(FIRST, 2)
    render._run_hooks([[str(row.id), str(one.id)]])
    assert [name for name, *_ in told] == ["on_cancel", "cleanup"]


def test_rows_are_gone_round(row: Job, monkeypatch: pytest.MonkeyPatch, clock: Clock, sent: list[JobMessage]) -> None:
    monkeypatch.setattr(hooks, "SCAN_BATCH", 2)
    rows = [row, *(job_manager.submit(render) for _ in range(4))]
    for one in rows:
        claim(one)
    last = max(Hook.objects.all(), key=lambda one: one.pk)
    rescue.rescue([(last.job_id, last.job.attempt_id)], "", "") if last.job.attempt_id else None
    Job.objects.filter(pk=last.job_id).update(state="failed", finished_at=clock.moment, active_key=None)
    clock.forward(3)
    stages.start_worker()
    chore = Round()
    assert [chore.run() for _ in range(4)] == [0, 0, 1, 0]


def test_drained_jobs_are_cleaned_up(row: Job) -> None:
    end(claim(row), JobSnoozed(60))
    job_manager.cancel_job(row.id)
    drain()
    assert [name for name, *_ in told] == ["on_cancel", "cleanup"]


def test_a_deleted_job_takes_them_along(row: Job) -> None:
    _killed_when_it_was_to_stop(row)
    job_manager.delete_job(row.id)
    assert not Hook.objects.exists()
