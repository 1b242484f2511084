"""Time-outs where nobody can stop the code: recorded when they are due, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.exceptions import JobAborted
from jobs.execution import attempt
from jobs.maintenance import timeouts
from jobs.models import Job, Worker
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="overdue.nothing")
def nothing() -> None: ...


def _running(**options: Any) -> Job:
    row = job_manager.submit(nothing, **options)
    stages.claim(row, stages.start_worker())
    return row


def test_it_fails_when_time_out_and_grace_are_over(clock: Clock) -> None:
    row = _running(timeout=10, grace=5)
    clock.forward(14.9)
    assert timeouts.give_up() == 0
    clock.forward(0.2)
    assert timeouts.give_up() == 1
    done = stages.fresh(row)
    assert (done.state, done.error_category) == ("failed", "timeout")
    assert done.error_message == "ran for 15.1 s: over its time-out of 10 s, and over its grace of 5 s"
    assert done.events.get(name="fail").actor == "steward"
    assert timeouts.give_up() == 0


@override_settings(JOBS={"GRACE": 2})
def test_without_a_grace_of_its_own_the_settings_counts(clock: Clock) -> None:
    _running(timeout=10)
    clock.forward(12.1)
    assert timeouts.give_up() == 1


def test_a_late_end_is_refused(clock: Clock) -> None:
    row = job_manager.submit(nothing, timeout=1, grace=0)
    claimed = stages.claim(row, stages.start_worker())
    clock.forward(2)
    timeouts.give_up()
    attempt.run(claimed, lambda: "late")
    done = stages.fresh(row)
    assert (done.state, done.result, stages.edges(row)[-1]) == ("failed", None, "stale")


@pytest.mark.parametrize("ask", [job_manager.cancel_job, lambda job_id: job_manager.handle(job_id).stop("wrong file")])
def test_what_was_asked_to_stop_ends_only_once_its_code_has(ask: Callable[[UUID], object], clock: Clock) -> None:
    row = job_manager.submit(nothing, timeout=1, grace=0)
    claimed = stages.claim(row, stages.start_worker())
    ask(row.id)
    clock.forward(3600)
    assert timeouts.give_up() == 0
    assert stages.fresh(row).state == "running"

    def body() -> None:
        raise JobAborted("asked to")

    attempt.run(claimed, body)
    assert stages.fresh(row).is_final


def test_retries_count_as_after_any_failure(clock: Clock) -> None:
    row = _running(timeout=1, grace=0, max_retries=1)
    clock.forward(2)
    timeouts.give_up()
    assert (stages.fresh(row).state, stages.fresh(row).retry_count) == ("scheduled", 1)


def test_others_are_left_alone(clock: Clock) -> None:
    """Without a time-out; on a worker that stops its processes itself, and that names it; on one that is dead."""
    rows = [_running(), _running(timeout=1, grace=0), _running(timeout=1, grace=0)]
    Worker.objects.filter(attempts__job=rows[1]).update(can_stop=True)
    Worker.objects.filter(attempts__job=rows[2]).update(fenced_at=clock.moment)
    clock.forward(3600)
    assert timeouts.give_up() == 0
    assert {stages.fresh(row).state for row in rows} == {"running"}
