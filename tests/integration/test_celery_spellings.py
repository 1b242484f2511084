"""Celery's own words for jobs, with a real worker behind them and from processes that know nothing but an id."""

import pytest
from celery import current_app
from celery.result import AsyncResult

from jobs import job_manager
from jobs.exceptions import InvalidOption, JobCancelled, JobFailed, JobNotFound
from jobs.models import Job
from jobs.results import JobResult
from tests.app.jobs import add, fail_first, hold, mirror
from tests.app.tasks import echo
from tests.integration.actors import read_result, revoke
from tests.integration.crowd import elsewhere
from tests.integration.house import LONG, House, StartWorker, fresh, outcomes, story
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker


def test_delay_submits_a_job_and_its_handle_waits_for_it(house: House) -> None:
    result = add.delay(2, 3)
    assert isinstance(result, JobResult)
    job = job_manager.get_job(result.id)
    assert result.get(timeout=LONG) == 5
    assert (result.state, result.ready(), result.successful()) == ("SUCCESS", True, True)
    assert story(job) == ["create", "admit", "claim", "complete"]


def test_another_process_reads_the_outcome_by_the_id(house: House) -> None:
    result = add.delay(2, 3)
    assert elsewhere(read_result, result.id) == ("SUCCESS", 5)
    failed = fail_first.delay(9, "broken")
    assert elsewhere(read_result, failed.id) == ("FAILURE", "JobFailed: broken")


def test_a_failure_is_raised_where_the_result_is_asked_for(house: House) -> None:
    result = fail_first.delay(9, "broken")
    with pytest.raises(JobFailed, match="broken"):
        result.get(timeout=LONG)
    assert (result.state, result.failed()) == ("FAILURE", True)


def test_countdown_and_priority_become_the_jobs_own(house: House) -> None:
    result = add.apply_async((1, 2), countdown=1.2, priority=9, queue="default", headers={"ignored": 1})
    job = job_manager.get_job(result.id)
    assert (job.state, job.priority, job.pool, result.state) == ("scheduled", "critical", "default", "PENDING")
    assert result.get(timeout=LONG) == 3
    assert job.run_after
    assert fresh(job).started_at >= job.run_after


def test_what_only_canvas_knows_is_refused_with_advice(house: House) -> None:
    before = Job.objects.count()
    with pytest.raises(InvalidOption, match="submit the next job from this one's body"):
        add.apply_async((1, 2), link=echo.s("x"))
    with pytest.raises(InvalidOption, match="run key"):
        add.apply_async((1, 2), task_id="mine")
    assert Job.objects.count() == before


def test_revoke_cancels(house: House) -> None:
    waiting = add.apply_async((1, 2), countdown=60)
    waiting.revoke()
    assert str(waiting.state) == "REVOKED"
    with pytest.raises(JobCancelled):
        waiting.get(timeout=1)
    running = house.in_body(hold, house.gate())
    elsewhere(revoke, str(running.id))
    assert house.done(running).state == "cancelled"


def test_forget_deletes_what_has_ended_and_nothing_else(house: House) -> None:
    result = add.delay(1, 1)
    result.get(timeout=LONG)
    result.forget()
    with pytest.raises(JobNotFound):
        job_manager.get_job(result.id)
    assert result.state == "PENDING"  # what Celery says of an id that it does not know
    scheduled = add.apply_async((1, 1), countdown=60)
    AsyncResult[int](scheduled.id, app=current_app).forget()
    assert job_manager.get_job(scheduled.id).state == "scheduled"


def test_a_worker_gives_what_it_submits_the_time_out_of_its_settings(start_worker: StartWorker) -> None:
    """And holds it against the job: its body is told at its next checkpoint."""
    start_worker(env={"JOBCENTER_TEST_JOBS": '{"TIMEOUT": {"default": 1, "operations": {"analysis": 60}}}'})
    current_app.send_task("tests.app.stubborn.keep")
    wait_until(lambda: Job.objects.filter(state="failed").exists(), LONG, "the time-out")
    job = Job.objects.get()
    assert (job.timeout, job.error_category, job.error_type) == (1, "timeout", "jobs.exceptions.JobTimedOut")
    assert (outcomes(job), job.checkpoint > 0) == (["failed"], True)


def test_a_message_that_is_no_doorbell_is_adopted(house: House) -> None:
    """`send_task`, beat and canvas know no jobs: what they send becomes one."""
    known = set(Job.objects.values_list("id", flat=True))
    current_app.send_task("tests.app.jobs.mirror", ["adopted"], {"size": 2})
    wait_until(lambda: Job.objects.exclude(id__in=known).exists(), LONG, "the adoption")
    job = house.done(Job.objects.exclude(id__in=known).get())
    assert (job.task, job.state) == (mirror.name, "completed")
    assert (job.result["args"], job.result["kwargs"]) == (["adopted"], {"size": 2})


def test_a_task_that_is_no_job_stays_celerys(house: House) -> None:
    before = Job.objects.count()
    echo.delay("plain")
    house.run(add, 1, 1)
    assert Job.objects.count() == before + 1
