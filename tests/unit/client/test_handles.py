"""A job as an object to hold."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from jobs import JobHandle, job, job_manager
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Job
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="handles.nothing")
def nothing() -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing)


def test_it_reads_the_row_afresh(row: Job) -> None:
    handle: JobHandle[Any, Any] = JobHandle(row.id)
    assert (handle.id, handle.job, handle.status) == (row.id, row, "pending")
    stages.claim(row)
    assert (handle.job.state, handle.status) == ("running", "running")
    assert str(row.id) in repr(handle)


def test_the_live_state_is_idle_until_the_body_says_another(row: Job) -> None:
    handle: JobHandle[Any, Any] = JobHandle(row.id)
    assert handle.state == {"type": "idle"}
    Job.objects.filter(pk=row.pk).update(live_state={"type": "streaming"})
    assert handle.state == {"type": "streaming"}


def test_waiting_for_a_job_that_has_ended(row: Job) -> None:
    stages.put(row, "failed")
    assert JobHandle[Any, Any](row.id).wait(timeout=0).state == "failed"


def test_waiting_no_longer_than_told(row: Job) -> None:
    with pytest.raises(JobNotFinished, match="pending"):
        JobHandle[Any, Any](row.id).wait(timeout=0)


def test_waiting_until_it_ends(row: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            stages.put(row, "completed")

    monkeypatch.setattr("time.sleep", meanwhile)
    assert JobHandle[Any, Any](row.id).wait().state == "completed"
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.02, 0.5)


def test_a_deleted_job() -> None:
    handle: JobHandle[Any, Any] = JobHandle(uuid4())
    for read in (lambda: handle.job, lambda: handle.status, lambda: handle.state, handle.wait):
        with pytest.raises(JobNotFound):
            read()
