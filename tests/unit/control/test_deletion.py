"""Finished jobs go with all that belongs to them, and nothing else does."""

from __future__ import annotations

import math

import pytest
from django.db import transaction

from jobs import job_manager
from jobs.control import cancellation as control
from jobs.exceptions import InvalidOption
from jobs.maintenance import pruner
from jobs.models import Attempt, Job, JobEvent
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


def test_a_job_that_is_run_again_meanwhile_keeps_its_history() -> None:
    """Pruning has picked two finished jobs; before it deletes them somebody retries one."""
    gone, kept = (job_manager.submit("deleting.nobody") for _ in range(2))
    for row in (gone, kept):
        stages.perform(row, lambda: 1 / 0)
    assert control.retry(kept.id) == "REQUEUED"
    with transaction.atomic():
        assert control.delete_rows([gone.id, kept.id]) == 1
    assert list(Job.objects.values_list("id", flat=True)) == [kept.id]
    with transaction.atomic():
        assert control.delete_rows([gone.id, kept.id]) == 0
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
