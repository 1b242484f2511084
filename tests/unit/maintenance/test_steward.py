"""The steward: who leads, and that time's work is done in one round."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from jobs import job, job_manager
from jobs.admission.publishing import JobMessage
from jobs.maintenance import leader as election
from jobs.maintenance import promoter, pruner, steward
from jobs.maintenance.steward import Steward
from jobs.models import Job, Lease, Rate
from tests.app import stages
from tests.app.stages import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@job(name="steward.nothing")
def nothing() -> None: ...


def test_one_of_two_leads(clock: Clock) -> None:
    first, second = Steward("first"), Steward("second")
    assert [first.tick(), second.tick(), first.tick(), second.tick()] == [True, False, True, False]
    assert (first.is_leader, second.is_leader) == (True, False)
    assert Lease.objects.get().label == "first"


def test_a_lease_that_is_not_renewed_goes_to_the_next(clock: Clock) -> None:
    with override_settings(JOBS={"LEASE": 10}):
        first, second = Steward("first"), Steward("second")
        first.tick()
        clock.forward(10)
        assert not second.tick()
        clock.forward(0.001)
        assert second.tick()
        assert not first.tick()
        assert not first.is_leader


def test_a_renewed_lease_goes_on(clock: Clock) -> None:
    first, second = Steward("first"), Steward("second")
    for _ in range(3):
        assert first.tick()
        clock.forward(8)
        assert not second.tick()
    assert Lease.objects.get().expires_at == clock.moment - timedelta(seconds=8) + timedelta(seconds=10)


def test_who_resigns_leaves_the_office_to_the_next(clock: Clock) -> None:
    first, second = Steward("first"), Steward("second")
    first.tick()
    second.resign()  # it has nothing to give back
    assert not second.tick()
    first.resign()
    assert not first.is_leader
    assert second.tick()
    first.resign()  # nor has this one any more
    assert election.elect(second.id, "second")


def test_an_office_of_long_ago_is_vacant(clock: Clock) -> None:
    Lease.objects.all().delete()
    assert not Steward("nobody").tick()


def test_one_round_does_what_is_due(clock: Clock, sent: list[JobMessage]) -> None:
    row = job_manager.submit(nothing, run_after=60)
    leader, other = Steward("leader"), Steward("other")
    leader.tick()
    assert stages.fresh(row).state == "scheduled"
    clock.forward(61)
    stages.start_worker()
    assert leader.tick()
    assert not other.tick()
    assert stages.fresh(row).state == "queued"
    assert [message.pairs[0][0] for message in sent] == [row.id]


def test_a_database_that_is_away_is_survived(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leader = Steward("leader")
    leader.tick()

    def away(*_: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(election, "elect", away)
        patch.setattr(steward, "connections", {"default": SimpleNamespace(close=lambda: None)})
        assert not leader.tick()
        assert not leader.tick()
    assert not leader.is_leader
    assert caplog.text.count("does not answer") == 1  # said once, not at every tick
    assert leader.tick()


def test_pruning_has_its_own_pace(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(steward, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with override_settings(JOBS={"CLEANUP_INTERVAL": 300, "RETENTION": {"failed": 0}}):
        leader = Steward("leader")
        row = stages.put(job_manager.submit(nothing), "failed")
        clock.forward(1)
        now[0] += 299
        leader.tick()
        assert Job.objects.filter(pk=row.pk).exists()
        now[0] += 1
        leader.tick()
        assert not Job.objects.filter(pk=row.pk).exists()


# --- due


def test_what_is_due_may_run(clock: Clock) -> None:
    rows = [job_manager.submit(nothing, run_after=seconds) for seconds in (10, 20, 30)]
    assert promoter.promote() == 0
    clock.forward(20)
    assert promoter.promote() == 2
    assert [stages.fresh(row).state for row in rows] == ["pending", "pending", "scheduled"]
    assert stages.fresh(rows[0]).events.get(name="due").actor == "steward"
    assert stages.fresh(rows[0]).rank == rows[0].rank


def test_more_than_a_batch_is_due(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promoter, "BATCH", 2)
    job_manager.submit_many(nothing, [([], {})] * 5, run_after=10)
    clock.forward(10)
    assert promoter.promote() == 5
    assert Job.objects.filter(state="pending").count() == 5


# --- pruning


def test_each_state_is_kept_for_its_own_time(clock: Clock) -> None:
    rows = {state: job_manager.submit(nothing) for state in ("completed", "failed", "cancelled", "pending")}
    for state, row in rows.items():
        stages.put(row, state)
    clock.forward(100)
    retention: dict[str, float | None] = {"completed": 99, "failed": 101, "cancelled": None}
    assert pruner.prune(retention, dry_run=True).total() == 1
    assert Job.objects.count() == 4
    assert pruner.prune(retention).total() == 1
    assert set(Job.objects.values_list("state", flat=True)) == {"failed", "cancelled", "pending"}
    assert pruner.prune({"failed": 0, "cancelled": 99.5}).total() == 2


def test_pruning_goes_by_the_setting_and_in_batches(clock: Clock) -> None:
    for row in job_manager.submit_many(nothing, [([], {})] * 5):
        stages.put(row, "completed")
    clock.forward(61)
    with override_settings(JOBS={"RETENTION": {"completed": 60}}):
        assert pruner.configured()["completed"] == 60
        assert pruner.prune(batch=2).total() == 5
    assert pruner.prune().total() == 0


def test_rates_at_rest_are_forgotten(clock: Clock) -> None:
    now = clock.moment.timestamp()
    tats = {"resting": 0.0, "just over": now - 59, "in force": now + 100}
    Rate.objects.bulk_create(Rate(limit_name=name, tat=tat) for name, tat in tats.items())
    assert pruner.forget_rates() == 1
    assert set(Rate.objects.values_list("limit_name", flat=True)) == {"just over", "in force"}
    clock.forward(200)
    assert pruner.forget_rates() == 2
