"""The output of a body is stored as it was when the body gave it, even if its objects change later."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import job_manager
from jobs.execution import context, progress
from jobs.execution.context import JobContext
from jobs.execution.progress import Flusher, Outbox
from jobs.models import Job
from tests.app import stages

pytestmark = pytest.mark.django_db


def perform(body: Any) -> Job:
    return stages.perform(job_manager.submit("saying.nobody"), lambda: body(context.current()))


def test_each_diagnostic_keeps_the_values_of_its_moment() -> None:
    def body(job: JobContext) -> None:
        counts = {"done": 0}
        for _ in range(3):
            counts["done"] += 1
            job.progress(10, counts=counts)

    assert [entry["counts"] for entry in perform(body).diagnostics] == [{"done": 1}, {"done": 2}, {"done": 3}]


def test_metadata_that_was_spoilt_directly_is_refused_in_the_body() -> None:
    """Later it would be the finishing write that fails: the job would run for ever, and then again."""

    def body(job: JobContext) -> None:
        job.metadata["handle"] = object()
        job.update_metadata(step=1)

    row = perform(body)
    assert (row.state, row.error_type) == ("failed", "jobs.exceptions.InvalidPayload")


def test_a_level_is_cut_to_what_the_log_holds() -> None:
    def body(job: JobContext) -> None:
        job.log("a line", level="a level that is too long")

    (line,) = perform(body).logs.all()
    assert line.text == "a line"
    assert len(line.level) <= 10


def test_the_flusher_outlives_what_it_cannot_write(caplog: pytest.LogCaptureFixture) -> None:
    claimed = stages.claim(job_manager.submit("saying.nobody"))
    outbox = Outbox()
    outbox.update(metadata=object())
    job_id, attempt_id = claimed.row["id"], claimed.row["attempt_id"]
    Flusher()._guarded({attempt_id: (job_id, outbox)}, progress._exchange, job_id, attempt_id, outbox)
    assert "not JSON serializable" in caplog.text
