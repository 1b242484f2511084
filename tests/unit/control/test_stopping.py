"""Stopping with an error: failed with that error, never tried again, whatever the job does at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync

from jobs import Answer, JobHandle, job, job_manager
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.execution import back_to_queue, context
from jobs.execution.progress import flusher
from jobs.execution.rescue import rescue
from jobs.models import Job
from tests.app import stages
from tests.app.stages import perform

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
WRONG = ValueError("wrong file")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", True)


@job(name="stopping.other")
def other() -> None: ...


@job(name="stopping.nothing", max_retries=5, fallback=other)
def nothing() -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.run_job("k", nothing).job


def _is_stopped(row: Job) -> None:
    now = stages.fresh(row)
    assert (now.state, now.error_category, now.error_type, now.error_message) == (
        "failed",
        "stopped",
        "ValueError",
        "wrong file",
    )
    assert (now.retry_count, now.fallback_due) == (0, False)
    assert not Job.objects.filter(task="stopping.other").exists()
    assert now.errors[-1]["message"] == "wrong file"
    assert job_manager.get_running_job("k") is None
    stages.check_history(now)


def _stop_inside(row: Job, then: Callable[[], Any]) -> Callable[..., Any]:
    def body() -> Any:
        assert job_manager.stop(row.id, WRONG, actor="ann") == Answer.REQUESTED
        return then()

    return body


def _check() -> None:
    this = context.current()
    assert this is not None
    this.check()


def _snooze() -> None:
    this = context.current()
    assert this is not None
    this.snooze(1)


def _fail() -> None:
    raise LookupError("late")


def test_what_waits_has_failed_at_once(row: Job) -> None:
    assert job_manager.stop(row.id, WRONG, actor="ann") == Answer.STOPPED
    _is_stopped(row)
    (error,) = stages.fresh(row).errors
    assert (error["attempt"], error["category"]) == (None, "stopped")
    assert row.events.get(name="fail").actor == "ann"
    assert job_manager.stop(row.id, WRONG) == Answer.ALREADY_FINAL


@pytest.mark.parametrize("state", ["scheduled", "blocked", "queued", "paused"])
def test_wherever_it_waits(row: Job, state: str) -> None:
    stages.put(row, state)
    assert job_manager.stop(row.id, WRONG) == Answer.STOPPED
    assert stages.fresh(row).error_category == "stopped"


@pytest.mark.parametrize("then", [_check, _snooze, _fail], ids=["check", "snooze", "exception"])
def test_what_runs_ends_with_the_error_once_its_code_has_stopped(row: Job, then: Callable[[], Any]) -> None:
    done = perform(row, _stop_inside(row, then))
    _is_stopped(row)
    assert done.attempts.get().outcome == "failed"
    assert done.cancel_requested_by == "ann"


def test_completing_wins_over_a_late_stop(row: Job) -> None:
    done = perform(row, _stop_inside(row, lambda: "done"))
    assert (done.state, done.result, done.error_type) == ("completed", "done", "")


def test_it_outlives_the_process(row: Job) -> None:
    claimed = stages.claim(row)
    job_manager.stop(row.id, WRONG)
    rescue([(claimed.row["id"], claimed.row["attempt_id"])], "its process died", "steward")
    _is_stopped(row)


def test_who_asked_first_is_obeyed(row: Job) -> None:
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id, reason="enough")
    assert job_manager.stop(row.id, WRONG) == Answer.REQUESTED
    (moved,) = back_to_queue.end_as_requested("id = %s", [stages.key(row)])
    assert (moved.edge, claimed.row["id"]) == ("cancel", row.id)


def test_text_is_an_error_too_whatever_it_holds(row: Job) -> None:
    job_manager.stop(row.id, "a\0b\ud800")
    assert (stages.fresh(row).error_type, stages.fresh(row).error_message) == ("Stopped", "a\ufffdb\ufffd")


def test_without_an_error_it_is_cancelled(row: Job) -> None:
    handle: JobHandle[Any, Any] = JobHandle(row.id)
    assert handle.stop() == Answer.CANCELLED
    assert stages.fresh(row).state == "cancelled"
    assert handle.stop() == handle.stop(WRONG) == Answer.ALREADY_FINAL


def test_a_person_may_run_it_again(row: Job) -> None:
    job_manager.stop(row.id, WRONG)
    job_manager.retry_job(row.id)
    done = perform(row, lambda: 5)
    assert (done.state, done.stop_error_type, done.error_type) == ("completed", "", "")


def test_waiting_for_its_end(row: Job) -> None:
    handle: JobHandle[Any, Any] = JobHandle(row.id)
    stages.claim(row)
    with pytest.raises(JobNotFinished):
        handle.stop(WRONG, wait=True, timeout=0)
    back_to_queue.end_as_requested("id = %s", [stages.key(row)])
    assert handle.stop(WRONG, wait=True) == Answer.ALREADY_FINAL
    _is_stopped(row)


def test_awaiting_its_end(row: Job) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(0.05):
            await JobHandle[Any, Any](row.id).astop(WRONG)

    stages.claim(row)
    with pytest.raises(TimeoutError):
        async_to_sync(bounded)()
    back_to_queue.end_as_requested("id = %s", [stages.key(row)])
    assert async_to_sync(JobHandle[Any, Any](row.id).astop)(WRONG) == Answer.ALREADY_FINAL


def test_a_job_that_is_not_there() -> None:
    with pytest.raises(JobNotFound):
        JobHandle[Any, Any](uuid4()).stop(WRONG)
