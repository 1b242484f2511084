"""Celery's view of a job: the row answers, in any process, and nothing of Celery's may overwrite it."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult
from django_celery_results.models import TaskResult

from jobcenter import celery_app
from jobs import job, job_manager
from jobs.exceptions import JobCancelled, JobFailed, JobNotFinished
from jobs.models import Job
from jobs.results import JobBackend, JobResult
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="results.double")
def double(number: int) -> int:
    return number * 2


@pytest.fixture
def result() -> JobResult:
    return double.delay(21)


def _row(result: AsyncResult[Any]) -> Job:
    return Job.objects.get(pk=result.id)


def test_the_id_is_the_jobs_and_any_process_may_ask(result: JobResult) -> None:
    assert _row(result).task == "results.double"
    for asked in (JobResult(result.id), celery_app.AsyncResult(result.id), AsyncResult(result.id, app=celery_app)):
        assert isinstance(asked.backend, JobBackend)
        assert (asked.state, asked.ready()) == ("PENDING", False)


@pytest.mark.parametrize(
    ("state", "columns", "celery"),
    [
        ("scheduled", {}, "PENDING"),
        ("scheduled", {"retry_count": 1}, "RETRY"),
        ("blocked", {}, "PENDING"),
        ("pending", {}, "PENDING"),
        ("queued", {}, "PENDING"),
        ("running", {}, "STARTED"),
        ("paused", {}, "PENDING"),
        ("completed", {"result": 1}, "SUCCESS"),
        ("failed", {}, "FAILURE"),
        ("cancelled", {}, "REVOKED"),
    ],
)
def test_each_state_in_celerys_words(result: JobResult, state: str, columns: dict[str, Any], celery: str) -> None:
    stages.put(_row(result), state, **columns)
    assert result.state == result.status == celery
    assert result.ready() == (celery in {"SUCCESS", "FAILURE", "REVOKED"})
    assert (result.successful(), result.failed()) == (celery == "SUCCESS", celery == "FAILURE")


def test_what_celery_knows_of_a_finished_job(result: JobResult) -> None:
    stages.perform(_row(result), double.body)
    assert (result.get(), result.result) == (42, 42)
    told: list[Any] = [result.name, result.args, result.kwargs, result.retries]
    assert told == ["results.double", [21], {}, 0]
    assert result.date_done == _row(result).finished_at
    assert result.children == []


def test_get_of_a_failed_job_raises_what_happened(result: JobResult) -> None:
    stages.put(_row(result), "failed", error_message="no", error_category="user", result={"is_error": True})
    with pytest.raises(JobFailed, match="no") as caught:
        result.get()
    assert (caught.value.result, caught.value.category) == ({"is_error": True}, "user")
    assert isinstance(result.get(propagate=False), JobFailed)


def test_get_of_a_cancelled_job(result: JobResult) -> None:
    stages.put(_row(result), "cancelled", reason="wrong file")
    with pytest.raises(JobCancelled, match="wrong file"):
        result.get()


def test_get_waits_no_longer_than_told(result: JobResult) -> None:
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.002, interval=0.001)


def test_revoke_cancels(result: JobResult) -> None:
    result.revoke(terminate=True)
    assert (_row(result).state, _row(result).reason) == ("cancelled", "revoked")
    running = double.delay(1)
    stages.claim(_row(running))
    running.revoke()
    assert _row(running).cancel_requested_at is not None


def test_forget_deletes_what_has_ended(result: JobResult) -> None:
    with pytest.raises(JobNotFinished):
        result.forget()
    stages.perform(_row(result), double.body)
    result.forget()
    assert not Job.objects.exists()
    result.forget()
    assert result.state == "PENDING"


def test_celerys_own_forget_spares_what_has_not_ended(result: JobResult) -> None:
    asked: AsyncResult[Any] = celery_app.AsyncResult(result.id)
    asked.forget()
    assert Job.objects.exists()
    stages.put(_row(result), "completed")
    asked.forget()
    assert not Job.objects.exists()


def test_nothing_overwrites_the_outcome_of_a_job(result: JobResult) -> None:
    stages.perform(_row(result), double.body)
    celery_app.backend.store_result(result.id, "something else", "FAILURE")
    assert (JobResult(result.id).state, JobResult(result.id).get()) == ("SUCCESS", 42)


@pytest.mark.parametrize("task_id", ["0b6c5a0e-6a7a-4f5f-9d5c-1c7d1a7d9b11", "no uuid at all"])
def test_other_ids_are_django_celery_results_own(task_id: str) -> None:
    celery_app.backend.store_result(task_id, {"plain": 1}, "SUCCESS")
    assert TaskResult.objects.get().task_id == task_id
    asked: AsyncResult[Any] = celery_app.AsyncResult(task_id)
    assert asked.get() == {"plain": 1}
    asked.forget()
    assert not TaskResult.objects.exists()


def test_the_result_of_a_job_that_could_not_be_stored(result: JobResult) -> None:
    stages.put(_row(result), "completed", result_error="too large")
    assert result.state == "SUCCESS"
    assert job_manager.get_job_status(result.id)["status"] == "completed"
    assert result.get() is None
