"""What is deleted, and above all what is not: clean-up by age, deletion by hand, the history that goes with a job."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from jobs import Job, job_manager
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Attempt, JobEvent, JobLog
from tests.app.jobs import add, count_to, fail_first, hold
from tests.integration.house import House

OLD = timedelta(days=40)


def _age(jobs: list[Job]) -> None:
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(created_at=Now() - OLD)
    Job.objects.filter(pk__in=[job.pk for job in jobs], finished_at__isnull=False).update(finished_at=Now() - OLD)


def _finished(house: House) -> list[Job]:
    """One of each end, each with attempts, events or a line of log."""
    cancelled = house.submit(add, 1, 1, run_after=60)
    job_manager.cancel_job(cancelled.id)
    return [house.run(count_to, 2, 0), house.run(fail_first, 9), house.done(cancelled)]


def _left_of(jobs: list[Job]) -> int:
    """Rows of any kind that belong to these jobs."""
    ids = [job.pk for job in jobs]
    count = Job.objects.filter(pk__in=ids).count() + Attempt.objects.filter(job__in=ids).count()
    return count + JobEvent.objects.filter(job__in=ids).count() + JobLog.objects.filter(job__in=ids).count()


def _by_manager() -> int:
    return job_manager.cleanup_old_jobs(days=30)


def _by_retention() -> int:
    return job_manager.cleanup_old_jobs()


def _by_command() -> int:
    before = Job.objects.count()
    call_command("jobs_cleanup", "--older-than", "30d", stdout=StringIO())
    return before - Job.objects.count()


@pytest.mark.parametrize("clean_up", [_by_manager, _by_retention, _by_command])
def test_only_what_ended_long_ago_goes_and_all_of_it(house: House, clean_up: Any) -> None:
    clean_up()  # what other tests may have left
    old, young = _finished(house), _finished(house)
    unfinished = [
        house.submit(add, 1, 1, run_after=600),
        house.submit(add, 1, 1, start=False),
        house.in_body(hold, house.gate()),
    ]
    _age(old)
    _age(unfinished)
    kept = _left_of(young), _left_of(unfinished)
    assert _left_of(old) > 3 + 8
    assert clean_up() == 3
    assert _left_of(old) == 0
    assert (_left_of(young), _left_of(unfinished)) == kept
    assert clean_up() == 0


def test_deleting_by_hand_spares_what_has_not_ended(house: House) -> None:
    (job, *_) = _finished(house)
    running = house.in_body(hold, house.gate())
    job_manager.delete_job(job.id)
    assert _left_of([job]) == 0
    with pytest.raises(JobNotFound):
        job_manager.delete_job(job.id)
    job_manager.delete_job(job.id, missing_ok=True)
    with pytest.raises(JobNotFinished):
        job_manager.delete_job(running.id)
    house.open_gates()
    assert house.done(running).result == "opened"


def test_what_is_deleted_under_a_running_body_ends_quietly(house: House) -> None:
    """Only the database's owner can do that; the worker must not suffer from it."""
    gate = house.gate()
    job = house.in_body(hold, gate)
    for model in (JobLog, JobEvent, Attempt):
        model.objects.filter(job=job).delete()
    Job.objects.filter(pk=job.pk).delete()
    gate.touch()
    assert [house.run(add, 1, 1).result for _ in range(4)] == [2] * 4
    assert _left_of([job]) == 0
