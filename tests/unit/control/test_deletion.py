"""Finished jobs go with all that belongs to them, and nothing else does."""

from __future__ import annotations

import math
from uuid import uuid4

import pytest
from django.db import transaction

from jobs import job_manager
from jobs.control.deletion import delete, delete_rows
from jobs.exceptions import InvalidOption, JobNotFinished, JobNotFound
from jobs.execution import context
from jobs.maintenance import pruner
from jobs.models import Attempt, Job, JobEvent, JobLog
from jobs.states import UNFINISHED
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def row() -> Job:
    return job_manager.submit("deleting.nobody")


def test_a_job_that_is_run_again_meanwhile_keeps_its_history() -> None:
    """Pruning has picked two finished jobs; before it deletes them somebody retries one."""
    gone, kept = (job_manager.submit("deleting.nobody") for _ in range(2))
    for row in (gone, kept):
        stages.perform(row, lambda: 1 / 0)
    assert job_manager.retry_job(kept.id) == "REQUEUED"
    with transaction.atomic():
        assert delete_rows([gone.id, kept.id]) == 1
    assert list(Job.objects.values_list("id", flat=True)) == [kept.id]
    with transaction.atomic():
        assert delete_rows([gone.id, kept.id]) == 0
    stages.check_history(stages.fresh(kept))
    assert [one.job_id for one in Attempt.objects.all()] == [kept.id]
    assert not JobEvent.objects.filter(job=gone).exists()


def test_pruning_takes_what_is_old_enough(clock: Clock) -> None:
    old = job_manager.submit("deleting.nobody")
    job_manager.cancel_job(old.id)
    clock.forward(100)
    young = job_manager.submit("deleting.nobody")
    job_manager.cancel_job(young.id)
    assert pruner.prune({"cancelled": 50}).total() == 1
    assert list(Job.objects.values_list("id", flat=True)) == [young.id]


@pytest.mark.parametrize("days", [-1, math.nan, math.inf, 1e12])
def test_impossible_days_delete_nothing(days: float) -> None:
    """A negative number would take the jobs that ended until tomorrow: all of them."""
    row = job_manager.submit("deleting.nobody")
    job_manager.cancel_job(row.id)
    with pytest.raises(InvalidOption, match="days"):
        job_manager.cleanup_old_jobs(days)
    assert Job.objects.filter(pk=row.pk).exists()


def test_a_deleted_job_leaves_nothing(row: Job) -> None:
    def body() -> None:
        this = context.current()
        assert this is not None
        this.outbox.add_line((str(this.started_at), "info", "a line"))

    other = job_manager.submit("deleting.nobody")
    stages.perform(row, body)
    assert JobLog.objects.count() == 1
    delete(row.id)
    assert list(Job.objects.all()) == [other]
    assert not Attempt.objects.exists()
    assert not JobLog.objects.exists()
    assert set(JobEvent.objects.values_list("job_id", flat=True)) == {other.id}


@pytest.mark.parametrize("state", UNFINISHED)
def test_an_unfinished_job_is_not_deleted(row: Job, state: str) -> None:
    stages.put(row, state)
    with pytest.raises(JobNotFinished, match=state):
        delete(row.id)
    assert stages.fresh(row).events.exists()


def test_deleting_in_bulk_leaves_alone_what_has_not_ended(row: Job) -> None:
    ended = stages.put(job_manager.submit("deleting.nobody"), "failed")
    assert delete_rows([ended.id, uuid4()]) == 1
    assert list(Job.objects.all()) == [row]


def test_a_job_that_is_not_there() -> None:
    with pytest.raises(JobNotFound):
        delete(uuid4())
