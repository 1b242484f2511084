"""The steward's round: every chore has its turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from jobs import job_manager
from jobs.admission.publishing import JobMessage
from jobs.maintenance import expiry, promoter
from jobs.maintenance.chores import Chore
from jobs.maintenance.steward import Steward
from jobs.models import Job
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def nothing_becomes_due() -> Iterator[None]:
    """A row that the database will not have changed: each promotion fails."""
    refuse = "SELECT RAISE(ABORT, 'refused by the test')"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER stuck BEFORE UPDATE ON jobs_job WHEN OLD.state = 'scheduled' BEGIN {refuse}; END"
        )
        yield
        cursor.execute("DROP TRIGGER stuck")


def test_a_chore_that_fails_keeps_no_other_from_being_done(
    clock: Clock, sent: list[JobMessage], nothing_becomes_due: None, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = job_manager.submit("steward.nobody", run_after=1)
    waiting = job_manager.submit("steward.nobody")
    clock.forward(2)
    stages.start_worker()
    steward = Steward("test")
    assert steward.tick()
    assert stages.fresh(stuck).state == "scheduled"
    assert stages.fresh(waiting).state == "queued"
    assert "refused by the test" in caplog.text
    assert steward.is_leader


def test_however_much_is_due_or_has_expired_the_other_chores_have_their_turn(
    clock: Clock, sent: list[JobMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them would take longer than the lease, and nobody dead would be seen meanwhile."""
    monkeypatch.setattr("jobs.maintenance.chores.LONGEST", 0)
    monkeypatch.setattr(promoter, "BATCH", 2)
    monkeypatch.setattr(expiry, "BATCH", 2)
    job_manager.submit_many("steward.nobody", [([], {})] * 3, run_after=1)
    job_manager.submit_many("steward.nobody", [([], {})] * 3, expires=1)
    clock.forward(2)
    steward = Steward("test")
    left = []
    for _ in range(2):
        steward.tick()
        left.append(
            [
                Job.objects.filter(state=state, run_after__isnull=state == "pending").count()
                for state in ("scheduled", "pending")
            ]
        )
    assert left == [[1, 1], [0, 0]]


def test_steps_that_have_ended_do_not_cost_the_next_tick() -> None:
    """The last batch came at the end of the time box: what has become due since is not left for a tick more."""
    starts: list[int] = []

    def one_step() -> Iterator[None]:
        starts.append(1)
        yield

    chore = Chore("a chore", one_step, time_box=0)
    chore.run()
    chore.run()
    assert len(starts) == 2
