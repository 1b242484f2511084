"""An attempt that was taken away changes nothing any more, whatever it still says and however it ends."""

from __future__ import annotations

import pytest

from jobs import JobTask, job, job_manager
from jobs.exceptions import JobAborted, JobFailed
from jobs.execution import attempt, finishing, rescue
from jobs.execution.claims import Claimed
from jobs.execution.failures.failure import RetryJob
from jobs.models import Job
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(bind=True, name="fencing.idle", max_retries=1)
def idle(self: JobTask) -> None: ...


def rescue_from(claimed: Claimed) -> None:
    rescue.rescue([(claimed.row["id"], claimed.row["attempt_id"])], "its worker was declared dead", "test")


@pytest.mark.parametrize("end", [JobAborted("no longer counts"), JobFailed("no"), RetryJob(), ValueError("no"), None])
def test_a_rescued_job_that_waits_is_out_of_reach_of_its_last_attempt(end: Exception | None) -> None:
    """Until it is admitted again the row still has the old attempt's id, and `fail` and `cancel` may leave pending."""
    row = job_manager.submit(idle, max_retries=0)
    claimed = stages.claim(row)
    rescue_from(claimed)

    def body() -> None:
        if end is not None:
            raise end

    attempt.run_body(claimed, body)
    assert stages.fresh(row).state == "pending"
    assert stages.edges(row) == ["create", "admit", "claim", "rescue", "stale"]
    stages.check_history(stages.fresh(row))


def test_a_requeued_job_is_out_of_reach_of_the_last_run() -> None:
    row = job_manager.submit(idle, max_retries=0)
    claimed = stages.claim(row)
    Job.objects.filter(pk=row.pk).update(rescue_count=3)
    rescue_from(claimed)
    assert stages.fresh(row).state == "failed"
    assert job_manager.retry_job(row.id) == "REQUEUED"
    finishing.fail(claimed, ValueError("too late"))
    assert stages.fresh(row).state == "pending"


def test_over_the_cap_of_rescues_a_cancelled_job_is_cancelled_not_failed() -> None:
    row = job_manager.submit(idle)
    Job.objects.filter(pk=row.pk).update(rescue_count=3)
    claimed = stages.claim(row)
    assert job_manager.cancel_job(row.id) == "REQUESTED"
    rescue_from(claimed)
    assert stages.fresh(row).state == "cancelled"
