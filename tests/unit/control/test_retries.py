"""Retries that a person asks for: every answer, and what is kept of the run before."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from jobs import job, job_manager
from jobs.control import retries
from jobs.control.answers import Answer
from jobs.control.requests import ask_one
from jobs.exceptions import JobNotFound
from jobs.models import Job
from jobs.states import UNFINISHED
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="retries.nothing")
def nothing(*_: Any) -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing)


def retry(job_id: UUID, **options: Any) -> Answer:
    return ask_one(retries.retry, job_id, **options)


def test_a_new_run_forgets_the_force(row: Job) -> None:
    stages.put(row, "cancelled", cancel_force=True)
    assert retry(row.id) == Answer.REQUEUED
    assert not stages.fresh(row).cancel_force


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
    assert retry(row.id, actor="ann") == Answer.REQUEUED
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
    job_manager.cancel_job(first.id)
    second = job_manager.run_job("k", nothing).job
    with transaction.atomic():
        assert retry(first.id) == Answer.KEY_TAKEN
        assert job_manager.submit(nothing).state == "pending"  # the caller's transaction goes on
    assert (stages.fresh(first).state, stages.fresh(second).state) == ("cancelled", "pending")


def test_of_several_jobs_with_one_key_the_first_takes_it() -> None:
    rows = []
    for _ in range(3):
        rows.append(job_manager.run_job("k", nothing).job.id)
        job_manager.cancel_job(rows[-1])
    gone = uuid4()
    assert retries.retry([rows[1], gone, rows[0], rows[2]]) == {
        rows[1]: "REQUEUED",
        gone: "MISSING",
        rows[0]: "KEY_TAKEN",
        rows[2]: "KEY_TAKEN",
    }


def test_a_job_that_is_not_there() -> None:
    with pytest.raises(JobNotFound):
        retry(uuid4())
