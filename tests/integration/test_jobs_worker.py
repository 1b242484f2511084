"""The fixture `jobs_worker`, as a project's tests use it: a real worker in the test process."""

from __future__ import annotations

import os
from typing import Any

import pytest

from jobs import JobTask, job, job_manager
from jobs.admission.wakeup import own_feeder
from jobs.models import Worker

pytestmark = pytest.mark.broker

TIMEOUT = 20


@job(bind=True, name="integration.in_this_process", pool="beside", max_retries=1, retry_delay=0.1)
def in_this_process(self: JobTask, fail_first: int = 0) -> list[Any]:
    self.job.progress(10, "begun")
    if self.job.attempt <= fail_first:
        raise ValueError("not yet")
    return [os.getpid(), self.job.attempt]


@pytest.mark.parametrize("fail_first", [0, 1])
def test_it_runs_jobs_of_every_pool_with_their_retries(stack: Any, jobs_worker: Any, fail_first: int) -> None:
    row = job_manager.submit(in_this_process, [fail_first])
    done = job_manager.handle(row.id).wait(TIMEOUT)
    assert (done.state, done.result) == ("completed", [os.getpid(), fail_first + 1])
    assert in_this_process.delay().get(timeout=TIMEOUT) == [os.getpid(), 1]
    assert Worker.objects.unfenced().count() == 1


def test_nothing_of_it_stays(stack: Any, transactional_db: None) -> None:
    assert own_feeder.wake is None
    assert not Worker.objects.unfenced().exists()
