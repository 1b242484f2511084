"""Reconciliation: each contradiction is found, told of, and repaired once; where there is none, nothing is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from jobs import job_manager, signals
from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from jobs.execution import heartbeats
from jobs.maintenance import counters, drift, lost_messages, republisher
from jobs.maintenance.steward import Steward
from jobs.models import Attempt, Job, Worker
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db

TIMES = {"PUBLISH_AFTER": 2, "LOST_AFTER": 15, "STALE_AFTER": 20, "HEARTBEAT": 5}


@pytest.fixture(autouse=True)
def counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The counts of this test alone."""
    monkeypatch.setattr(counters, "REPAIRED", type(counters.REPAIRED)())
    with override_settings(JOBS=TIMES):
        yield lambda: dict(counters.REPAIRED)


@pytest.fixture
def row() -> Job:
    return job_manager.submit("drift.nobody")


def found() -> list[tuple[str, Any]]:
    return [(one.kind, one.job_id) for one in drift.check()]


def drifts(job: Job) -> list[Any]:
    return list(job.events.filter(name="drift").values_list("data__kind", flat=True))


def test_what_agrees_is_left_alone(clock: Clock, counted: Callable[[], Any]) -> None:
    worker = stages.start_worker()
    rows = [job_manager.submit("drift.nobody") for _ in range(5)]
    stages.queue(rows[1])
    stages.claim(rows[2], worker)
    stages.claim(rows[3])  # outside of a worker
    stages.perform(rows[4], lambda: None, worker)
    before = [stages.edges(one) for one in rows]
    assert (drift.check(), drift.reconcile(), drift.cancel_what_was_asked()) == ([], 0, 0)
    assert [stages.edges(one) for one in rows] == before
    assert counted() == {}


def test_running_without_an_attempt(row: Job, counted: Callable[[], Any]) -> None:
    stages.claim(row, stages.start_worker())
    Attempt.objects.all().delete()
    assert found() == [("attempt_missing", row.id)]
    assert drift.reconcile() == 1
    assert stages.fresh(row).state == "pending"
    assert stages.edges(row) == ["create", "admit", "claim", "rescue", "drift"]
    assert drifts(row) == ["attempt_missing"]
    assert counted() == {"attempt_missing": 1}
    assert (drift.check(), drift.reconcile()) == ([], 0)


def test_running_on_a_worker_that_has_no_row_yet(row: Job, clock: Clock, counted: Callable[[], Any]) -> None:
    """Its children may claim before its first beat has come through: it lives, and nothing is taken from it."""
    worker = uuid4()
    stages.claim(row, worker)
    clock.forward(19)
    assert (found(), drift.reconcile()) == ([], 0)
    assert stages.fresh(row).state == "running"
    clock.forward(2)
    assert found() == [("worker_gone", row.id)]


@pytest.mark.parametrize("is_raw", [True, False], ids=["by hand", "by Django"])
def test_running_on_a_worker_whose_row_was_deleted(
    row: Job, clock: Clock, counted: Callable[[], Any], is_raw: bool
) -> None:
    """No heartbeat to stand still, no fence to be seen: nobody else would ever find it."""
    worker = stages.start_worker()
    stages.claim(row, worker)
    gone = Worker.objects.filter(pk=worker)
    gone._raw_delete("default") if is_raw else gone.delete()
    clock.forward(21)
    assert found() == [("worker_gone", row.id)]
    assert drift.reconcile() == 1
    assert stages.fresh(row).state == "pending"
    assert [attempt.outcome for attempt in row.attempts.all()] == ["lost"]
    assert drifts(row) == ["worker_gone"]


@pytest.mark.parametrize("state", ["completed", "pending", "scheduled"])
def test_an_attempt_that_is_open_although_the_job_does_not_run(row: Job, state: str) -> None:
    stages.claim(row, stages.start_worker())
    stages.put(row, state)
    assert found() == [("attempt_left", row.id)]
    assert drift.reconcile() == 1
    attempt = row.attempts.get()
    assert (attempt.outcome, attempt.error_type) == ("lost", "Drift")
    assert attempt.finished_at
    assert (stages.fresh(row).state, drifts(row)) == (state, ["attempt_left"])
    assert drift.reconcile() == 0


def test_the_attempt_before_the_one_that_runs(row: Job) -> None:
    """The older one was never closed; the newer one, with a worker of its own, is none of our business."""
    worker = stages.start_worker()
    stages.claim(row, worker)
    Attempt.objects.create(id=uuid4(), job=row, run=1, number=9, started_at=row.created_at, worker_id=worker)
    assert drift.reconcile() == 1
    assert list(row.attempts.filter(finished_at__isnull=True).values_list("pk", flat=True)) == [
        stages.fresh(row).attempt_id
    ]
    assert stages.fresh(row).state == "running"


def test_an_attempt_of_a_job_that_is_gone_goes_after_it(row: Job) -> None:
    stages.claim(row, stages.start_worker())
    Job.objects.filter(pk=row.pk)._raw_delete("default")
    assert found() == [("attempt_left", row.id)]
    assert drift.reconcile() == 1
    assert not Attempt.objects.exists()


def test_asked_to_be_cancelled_and_waiting(row: Job, clock: Clock) -> None:
    Job.objects.filter(pk=row.pk).update(cancel_requested_at=clock.moment, cancel_requested_by="ada")
    assert found() == [("request_left", row.id)]
    assert drift.reconcile() == 0
    assert drift.cancel_what_was_asked() == 1
    now = stages.fresh(row)
    assert (now.state, now.cancel_requested_by, drifts(row)) == ("cancelled", "ada", ["request_left"])
    assert drift.cancel_what_was_asked() == 0


def test_a_request_to_a_running_job_is_no_drift(row: Job) -> None:
    stages.claim(row, stages.start_worker())
    job_manager.cancel_job(row.id)
    assert (found(), drift.cancel_what_was_asked()) == ([], 0)


def test_what_was_not_sent_is_found_and_counted(row: Job, clock: Clock, counted: Any, sent: list[JobMessage]) -> None:
    stages.queue(row)
    assert found() == []
    clock.forward(2.1)
    assert found() == [("unsent", row.id)]
    assert republisher.publish() == 1
    assert (found(), counted()) == ([], {"unsent": 1})


def test_what_the_broker_has_lost_is_found_and_counted(row: Job, clock: Clock, counted: Any) -> None:
    attempt_id = stages.queue(row)
    publishing._mark_published([JobMessage(row.pool, row.task, ((row.id, attempt_id),))])
    clock.forward(16)
    stages.start_worker()
    assert [(one.kind, one.job_id, one.attempt_id) for one in drift.check()] == [("doorbell_lost", row.id, attempt_id)]
    assert lost_messages.release() == 1
    assert (found(), counted()) == ([], {"doorbell_lost": 1})


@pytest.mark.parametrize("how", ["fenced", "silent"])
def test_what_a_dead_worker_runs_is_found(row: Job, clock: Clock, how: str) -> None:
    worker = stages.start_worker()
    stages.claim(row, worker)
    if how == "fenced":
        heartbeats.retire(worker)
    else:
        clock.forward(20.1)
    assert found() == [("worker_dead", row.id)]
    assert drift.reconcile() == 0  # whether it is dead the steward decides, who watches


def test_whoever_listens_hears_of_it(row: Job, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, int]] = []

    def hear(kind: str, number: int, **_: Any) -> None:
        heard.append((kind, number))

    signals.drift_found.connect(hear)
    stages.claim(row, stages.start_worker())
    Attempt.objects.all().delete()
    drift.reconcile()
    drift.reconcile()
    assert heard == [("attempt_missing", 1)]
    assert "drift: attempt_missing: 1 repaired" in caplog.text


def test_the_steward_reconciles_every_tenth_tick(row: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    now = [0.0]
    monkeypatch.setattr(drift, "reconcile", lambda: done.append(1))
    monkeypatch.setattr("jobs.maintenance.chores.time.monotonic", lambda: now[0])
    leader = Steward("leader")
    for _ in range(40):
        now[0] += 1
        leader.tick()
    assert len(done) == 4


def test_the_command_lists_and_repairs_nothing(row: Job) -> None:
    told = StringIO()
    call_command("jobs_steward", "--check", stdout=told)
    assert told.getvalue().splitlines() == [
        "No drift: database, broker and workers agree.",
        "Nothing was pruned so far.",
        "Nothing was repaired so far.",
    ]
    stages.claim(row, stages.start_worker())
    Attempt.objects.all().delete()
    told = StringIO()
    with pytest.raises(CommandError, match="1 found") as error:
        call_command("jobs_steward", "--check", stdout=told)
    assert error.value.returncode == 1
    assert "attempt_missing" in told.getvalue()
    assert str(row.id) in told.getvalue()
    told = StringIO()
    with pytest.raises(CommandError):
        call_command("jobs_steward", "--check", "--json", stdout=told)
    answer = json.loads(told.getvalue())
    assert [one["kind"] for one in answer.pop("drift")] == ["attempt_missing"]
    assert answer == {"pruned": {}, "repaired": {}}
    assert stages.fresh(row).state == "running"


def test_what_was_repaired_and_pruned_is_read_in_any_process(row: Job, clock: Clock) -> None:
    """Beside the lease: summed up what was repaired, and of the last run what it has deleted."""
    for number in (2, 1):
        counters.repaired("unsent", number)
    counters.repaired("worker_dead", 0)
    counters.pruned({"completed": 7})
    counters.pruned({"completed": 1200, "failed": 1})
    told = StringIO()
    call_command("jobs_steward", "--check", "--json", stdout=told)
    kept = json.loads(told.getvalue())
    assert (kept["drift"], kept["repaired"]) == ([], {"unsent": 3})
    assert kept["pruned"] == {"completed": 1200, "failed": 1, "at": clock.moment.isoformat()}
    told = StringIO()
    call_command("jobs_steward", "--check", stdout=told)
    assert "Last pruned: 1,200 completed, 1 failed, " in told.getvalue()
    assert "Repaired so far: 3 unsent." in told.getvalue()


def test_a_figure_that_cannot_be_kept_stops_nobody(row: Job, caplog: pytest.LogCaptureFixture) -> None:
    with stages.refusing("UPDATE OF figures ON jobs_lease"):
        assert counters.repaired("unsent", 2) == 2
    assert "a figure is not kept: refused by the test" in caplog.text
    assert counters.figures()["repaired"] == {}


def test_every_kind_has_its_words(row: Job) -> None:
    assert set(drift.MEANINGS) == {
        "unsent",
        "doorbell_lost",
        "worker_dead",
        "worker_gone",
        "attempt_missing",
        "attempt_left",
        "request_left",
    }
