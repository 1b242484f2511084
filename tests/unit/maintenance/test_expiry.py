"""Jobs that nobody wants any more after a moment: never started after it, failed by the steward, explained before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobs import job, job_manager
from jobs.execution import claims
from jobs.maintenance import expiry
from jobs.models import Job
from jobs.states import NOT_RUNNING
from tests.app import stages
from tests.app.stages import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@job(name="expired.nothing", expires=60)
def nothing() -> None: ...


@job(name="expired.plain")
def plain() -> None: ...


def _later(clock: Clock, seconds: float) -> Any:
    return clock.moment + timedelta(seconds=seconds)


def test_seconds_a_timedelta_or_a_moment(clock: Clock) -> None:
    assert job_manager.submit(nothing).expires_at == _later(clock, 60)
    for expires in (5, timedelta(seconds=5), _later(clock, 5)):
        row = job_manager.submit(nothing, expires=expires)
        assert row.expires_at == stages.fresh(row).expires_at == _later(clock, 5)
    assert job_manager.submit(nothing, expires=None).expires_at is None
    many = job_manager.submit_many(plain, [([], {})] * 2, expires=5)
    assert {row.expires_at for row in many} == {_later(clock, 5)}
    assert plain.apply_async(expires=7).id == str(Job.objects.get(expires_at=_later(clock, 7)).pk)


@pytest.mark.parametrize("state", NOT_RUNNING)
def test_it_fails_wherever_it_waits(clock: Clock, state: str) -> None:
    row = stages.put(job_manager.submit(nothing), state)
    clock.forward(59.9)
    assert expiry.give_up() == 0
    clock.forward(0.1)
    assert expiry.give_up() == 1
    done = stages.fresh(row)
    assert (done.state, done.error_category, done.error_type) == ("failed", "expired", "JobExpired")
    assert done.errors[0]["attempt"] is None


def test_what_runs_is_left_alone_and_what_is_over(clock: Clock) -> None:
    running, done = job_manager.submit(nothing), job_manager.submit(nothing)
    stages.claim(running)
    stages.perform(done, nothing.body)
    clock.forward(100)
    assert expiry.give_up() == 0


def test_more_than_a_batch(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    job_manager.submit_many(nothing, [([], {})] * 5)
    clock.forward(100)
    assert expiry.give_up() == 5


def test_it_is_never_claimed_too_late_however_late_the_steward_is(clock: Clock) -> None:
    row = job_manager.submit(nothing)
    attempt_id = stages.queue(row)
    clock.forward(60)
    assert claims.claim(row.id, attempt_id, None) is None
    assert stages.fresh(row).state == "queued"
    assert expiry.give_up() == 1


def test_a_person_may_run_it_again_without_an_end(clock: Clock) -> None:
    row = job_manager.submit(nothing)
    clock.forward(100)
    expiry.give_up()
    job_manager.retry_job(row.id)
    assert stages.fresh(row).expires_at is None
    assert stages.perform(row, nothing.body).state == "completed"


@pytest.mark.parametrize("state", NOT_RUNNING)
def test_why_says_until_when(clock: Clock, state: str) -> None:
    row = stages.put(job_manager.submit(nothing), state)
    reason = next(one for one in job_manager.why(row.id).reasons if one.kind == "expires")
    assert (reason.until, reason.blocks) == (_later(clock, 60), False)
    clock.forward(61)
    assert "expired" in {one.kind for one in job_manager.why(row.id).blockers}


def test_why_says_nothing_of_it_otherwise(clock: Clock) -> None:
    row, running = job_manager.submit(plain), job_manager.submit(nothing)
    stages.claim(running)
    for one in (row, running):
        assert not {"expires", "expired"} & {reason.kind for reason in job_manager.why(one.id).reasons}
