"""Workers come and go: who joins late gets jobs, who leaves says so and ends what it has begun."""

import os
import signal
from pathlib import Path

import pytest

from jobs import Job, job_manager
from jobs.models import Attempt
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.jobs import hold, probe, whoami
from tests.integration.house import LONG, StartWorker, fresh, outcomes, story
from tests.services import Worker
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker

EXACT = {"JOBCENTER_TEST_JOBS": '{"LOOK_AHEAD": 0}'}  # no job is admitted that no process is free for


def row(worker: Worker) -> WorkerRow:
    return WorkerRow.objects.get(pid=worker.pid)


def runs_on(job: Job) -> WorkerRow | None:
    return Attempt.objects.select_related("worker").get(job=job, finished_at=None).worker


def test_a_worker_that_joins_late_gets_what_waits(start_worker: StartWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = [job_manager.submit(hold, [str(gate)]) for _ in range(3)]
    assert {fresh(job).state for job in jobs} == {"pending"}  # nobody lives who could run them
    first = start_worker(concurrency=2, env=EXACT)
    wait_until(lambda: {fresh(job).state for job in jobs[:2]} == {"running"}, LONG, "two jobs running")
    assert fresh(jobs[2]).state == "pending"
    second = start_worker(concurrency=1, env=EXACT)
    wait_until(lambda: fresh(jobs[2]).state == "running", LONG, "the third job on the second worker")
    assert [runs_on(job) for job in jobs] == [row(first), row(first), row(second)]
    gate.touch()
    assert {job_manager.handle(job.id).wait(LONG).result for job in jobs} == {"opened"}


def test_a_worker_that_leaves_ends_what_it_runs_and_gives_back_the_rest(
    start_worker: StartWorker, tmp_path: Path, ledger_file: Path
) -> None:
    """SIGTERM: the row says so, running jobs end there, what was only fetched runs elsewhere, once.

    Meanwhile the new worker has its room, though as many jobs are running as it could hold.
    """
    gate = tmp_path / "gate"
    leaving = start_worker(concurrency=2)
    running = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    wait_until(lambda: {fresh(job).state for job in running} == {"running"}, LONG, "two jobs running")
    fetched = job_manager.submit(whoami)
    wait_until(lambda: fresh(fetched).published_at is not None, LONG, "a third doorbell")
    os.kill(leaving.pid, signal.SIGTERM)
    wait_until(lambda: row(leaving).draining_at is not None, LONG, "the word that it leaves")
    staying = start_worker(concurrency=1)
    fresh_job = job_manager.submit(probe)
    assert job_manager.handle(fresh_job.id).wait(LONG).state == "completed"  # while the other is still leaving
    assert not leaving.ended()
    gate.touch()
    wait_until(leaving.ended, LONG, "the end of the worker")
    assert [fresh(job).result for job in running] == ["opened"] * 2
    assert [outcomes(job) for job in running] == [["completed"]] * 2
    assert row(leaving).fenced_at is not None
    assert job_manager.handle(fetched.id).wait(LONG).result in staying.children()
    assert len(ledger.read(ledger_file, "effect")) == 3
    assert "rescue" not in story(fetched)


def test_an_idle_worker_leaves_at_once_and_leaves_no_trace(start_worker: StartWorker) -> None:
    worker = start_worker(concurrency=1)
    job = job_manager.submit(whoami)
    assert job_manager.handle(job.id).wait(LONG).result in worker.children()
    everything = worker.processes()
    assert worker.stop(within=LONG) == 0
    assert row(worker).fenced_at is not None
    assert worker.processes() == []
    assert len(everything) == 3  # the worker, its feeder, its one process
    waiting = job_manager.submit(whoami)
    assert fresh(waiting).state == "pending"  # admitted by nobody, for nobody
    other = start_worker(pool="threads", concurrency=1)
    assert job_manager.handle(waiting.id).wait(LONG).result == other.pid
