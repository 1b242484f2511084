"""Not there, not finished, failed at once: a test of a project that uses jobs. `jobs_inline` comes with the package."""

from uuid import uuid4

import pytest

from jobs import job, job_manager
from jobs.exceptions import JobFailed, JobNotFinished, JobNotFound
from jobs.testing.plugin import InlineJobs


@job(name="examples.broken")
def broken() -> None:
    raise RuntimeError("at once")


def test_edges(jobs_inline: InlineJobs) -> None:
    with pytest.raises(JobNotFound):
        job_manager.get_job(uuid4())
    row = job_manager.submit(broken)
    with pytest.raises(JobNotFinished):
        job_manager.get_job_results(row.id)
    jobs_inline.drain()
    assert job_manager.get_job_status(row.id)["status"] == "failed"
    with pytest.raises(JobFailed, match="at once"):
        job_manager.get_job_results(row.id)
