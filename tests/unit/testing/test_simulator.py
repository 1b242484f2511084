"""The simulation as a project's tests use it: what it lets happen stands in the rows, what it tells in the events."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from jobs import Answer, job, job_manager
from jobs.admission import publishing
from jobs.admission.wakeup import own_feeder
from jobs.exceptions import JobFailed
from jobs.models import Attempt, Job, Limit, Pool, Worker
from jobs.signals import job_completed
from jobs.testing import Simulation, simulation
from jobs.testing import Worker as Virtual
from jobs.testing.workers import Duration
from tests.app import stages

pytestmark = pytest.mark.django_db
HOUR = 3600


@job(name="simulation.render", max_concurrent=3, partition_by="customer")
def render(*, customer: str) -> None: ...


@job(name="simulation.nothing")
def nothing(*_: Any) -> None:
    raise AssertionError("no body runs")


def test_my_limit_of_three_per_customer_holds_and_keeps_nobody_else() -> None:
    with simulation([Virtual(slots=8)], takes=30) as sim:
        sim.submit_many(render, [((), {"customer": "acme"})] * 20)
        sim.submit(render, kwargs={"customer": "globex"})
        sim.run(until=100)
        assert sim.peak(task=render, partition="acme") == 3
        assert sim.waits(partition="globex") == [0]
        assert sim.starts(partition="acme") == [0] * 3 + [30] * 3 + [60] * 3 + [90] * 3


def test_time_that_passes_is_not_waited_for() -> None:
    with simulation([Virtual(slots=1)]) as sim:
        row = sim.submit(nothing, takes=24 * HOUR)
        assert row.created_at == datetime.fromisoformat("2030-01-01T12:00:00Z")
        sim.run_until_idle()
        assert sim.seconds == 24 * HOUR
        row = stages.fresh(row)
        assert row.finished_at is not None
        assert row.started_at is not None
        assert (row.finished_at - row.started_at).days == 1
        assert stages.edges(row) == ["create", "admit", "claim", "complete"]


def test_a_run_ends_at_its_moment_and_can_go_on() -> None:
    with simulation([Virtual(slots=1)], takes=10) as sim:
        rows = sim.submit_many(nothing, [((), {})] * 3)
        sim.run(until=15)
        assert (sim.seconds, [stages.fresh(row).state for row in rows]) == (15, ["completed", "running", "queued"])
        sim.run(until=30)
        assert sim.starts() == [0, 10, 20]
        assert sim.waits() == [0, 10, 20]


def test_who_still_waits_is_among_the_waits() -> None:
    with simulation([Virtual(slots=1)], takes=HOUR) as sim:
        sim.submit_many(nothing, [((), {})] * 2)
        sim.submit(nothing, run_after=2 * HOUR)
        sim.run(until=60)
        assert sim.waits() == [0, 60]


def test_bodies_may_last_as_their_task_or_their_arguments_say() -> None:
    takes: dict[str, Duration] = {render.name: 30.0, nothing.name: lambda job: float(job.args[0])}
    with simulation([Virtual(slots=9)], takes=takes) as sim:
        rows = [sim.submit(render, kwargs={"customer": "a"}), *sim.submit_many(nothing, [((5,), {}), ((7,), {})])]
        rows.append(sim.submit("simulation.of_others"))
        sim.run_until_idle()
        assert [_seconds(row) for row in rows] == [30, 5, 7, 1]


def test_a_body_that_fails_is_tried_again() -> None:
    with simulation([Virtual()], takes=10) as sim, override_settings(JOBS={"RETRY": {"jitter": False}}):
        row = sim.submit(
            nothing, max_retries=2, retry_delay=60, fails=lambda job: ValueError("no") if job.attempt < 3 else None
        )
        sim.run_until_idle()
        assert (stages.fresh(row).state, stages.fresh(row).attempt) == ("completed", 3)
        assert sim.starts() == [0, 70, 200]


def test_a_time_out_ends_a_body_that_lasts_longer() -> None:
    with simulation([Virtual()], takes=100) as sim:
        row = sim.submit(nothing, timeout=60)
        sim.run_until_idle()
        row = stages.fresh(row)
        assert (row.state, row.error_category, _seconds(row)) == ("failed", "timeout", 60)


def test_a_request_to_stop_ends_a_body_at_once() -> None:
    with simulation([Virtual()], takes=100) as sim:
        row = sim.submit(nothing)
        sim.at(20, lambda: job_manager.cancel_job(row.id))
        sim.run_until_idle()
        assert (stages.fresh(row).state, sim.seconds) == ("cancelled", 20)


def test_what_a_crashed_worker_ran_is_run_by_another() -> None:
    first, second = Virtual(slots=1), Virtual(slots=1)
    with simulation([first], takes=100) as sim, override_settings(JOBS={"STALE_AFTER": 20}):
        row = sim.submit(nothing)
        sim.run(until=50)
        sim.crash(first)
        sim.start(second)
        sim.run(until=69)
        assert stages.fresh(row).state == "running"
        sim.run_until_idle()
        row = stages.fresh(row)
        assert (row.state, row.rescue_count, row.attempt) == ("completed", 1, 2)
        assert 70 <= sim.starts()[1] <= 75
        assert set(Attempt.objects.values_list("outcome", flat=True)) == {"lost", "completed"}


def test_a_crashed_worker_comes_back_as_another_life() -> None:
    worker = Virtual(slots=1)
    with simulation([worker], takes=10) as sim:
        sim.run(until=5)
        sim.crash(worker)
        sim.start(worker)
        sim.submit(nothing)
        sim.run_until_idle()
        assert sim.starts() == [5]
        assert Worker.objects.count() == 2


def test_a_stopped_worker_ends_what_it_runs_and_takes_nothing_more() -> None:
    worker = Virtual(slots=1)
    with simulation([worker], takes=10) as sim:
        rows = sim.submit_many(nothing, [((), {})] * 2)
        sim.run(until=1)
        sim.stop(worker)
        sim.run(until=100)
        assert stages.fresh(rows[0]).state == "completed"
        assert len(sim.starts()) == 1
        assert not worker.is_alive


@pytest.mark.parametrize("act", ["crash", "stop"])
def test_a_worker_has_one_end_and_one_beginning(act: str) -> None:
    worker = Virtual(name="w")
    with simulation() as sim:
        with pytest.raises(ValueError, match="is not running; start it first"):
            getattr(sim, act)(worker)
        sim.start(worker)
        with pytest.raises(ValueError, match="is running already"):
            sim.start(worker)


def test_a_lost_doorbell_rings_again_by_the_steward() -> None:
    with simulation([Virtual()]) as sim, override_settings(JOBS={"LOST_AFTER": 15}):
        sim.lose_doorbells()
        row = sim.submit(nothing)
        sim.run_until_idle()
        assert stages.edges(stages.fresh(row)) == ["create", "admit", "release", "admit", "claim", "complete"]
        assert 15 < sim.starts()[0] <= 17


def test_a_lost_doorbell_of_a_busy_pool_too() -> None:
    with simulation([Virtual(slots=1)], takes=HOUR) as sim, override_settings(JOBS={"LOST_AFTER": 15}):
        sim.submit(nothing)
        sim.run(until=1)
        sim.lose_doorbells()
        row = sim.submit(nothing)
        sim.run(until=30)
        assert stages.edges(stages.fresh(row)) == ["create", "admit", "release", "admit"]


def test_a_repeated_doorbell_changes_nothing() -> None:
    with simulation([Virtual(slots=4)], takes=10) as sim:
        sim.repeat_doorbells(2)
        sim.submit_many(nothing, [((), {})] * 2)
        sim.run_until_idle()
        assert sim.starts() == [0, 0]


def test_limits_can_be_edited_meanwhile() -> None:
    with simulation([Virtual(slots=8)], takes=10) as sim:
        sim.submit_many(render, [((), {"customer": "acme"})] * 20)
        sim.at(5, lambda: sim.set_limit(render.name, size=1))
        sim.run(until=40)
        assert sim.starts() == [0, 0, 0, 10, 20, 30, 40]


def test_a_rate_spaces_starts() -> None:
    with simulation([Virtual(slots=20)], takes=5) as sim:
        sim.submit_many(nothing, [((n,), {}) for n in range(6)], rate="10/m burst 2")
        sim.run_until_idle()
        assert sim.starts() == pytest.approx([0, 0, 6, 12, 18, 24], abs=0.05)
        assert sim.busiest(6) == 2
        assert sim.busiest(5) == 2
        assert sim.busiest(13) == 4


def test_a_rate_spaces_starts_in_a_busy_pool_too() -> None:
    """What is admitted ahead of a slot starts when one becomes free, however close together those do."""
    with override_settings(JOBS={"LOOK_AHEAD": 1}), simulation([Virtual(slots=4)]) as sim:
        sim.submit_many("long", [((), {})] * 4, takes=60)
        sim.run(until=1)
        sim.submit_many("paced", [((), {})] * 4, rate="6/m", takes=1)
        sim.submit_many("backlog", [((), {})] * 40, takes=25)
        sim.run_until_idle()
        starts = sim.starts(task="paced")
        assert starts[0] < 90  # those that came later have not taken each slot
        assert all(after - before > 9.9 for before, after in pairwise(starts)), starts


def test_limits_over_pools_and_the_pools_of_workers() -> None:
    Pool.objects.create(name="gpu")
    with simulation([Virtual(slots=4), Virtual(("gpu",), 4)], takes=10) as sim:
        sim.set_limit("licences", task=nothing.name, size=3)
        for pool in ("default", "gpu"):
            sim.submit_many(nothing, [((), {})] * 4, pool=pool)
        sim.run_until_idle()
        assert sim.peak(task=nothing) == 3
        assert (sim.peak(pool="default"), len(sim.starts(pool="gpu"))) == (3, 4)


def test_a_closed_pool_starts_nothing() -> None:
    with simulation([Virtual(slots=1)], takes=10) as sim:
        sim.submit_many(nothing, [((), {})] * 3)
        sim.at(5, sim.pause_pool)
        sim.at(100, sim.resume_pool)
        sim.run_until_idle()
        assert sim.starts() == [0, 100, 110]


def test_how_much_of_a_pool_was_in_use() -> None:
    with simulation([Virtual(slots=2)], takes=10) as sim, override_settings(JOBS={"LOOK_AHEAD": 0}):
        sim.set_pool(max_memory_mb=1000, resources={"gpu": 2})
        sim.submit(nothing, memory_mb=500)
        sim.submit(nothing, memory_mb=250, resources={"gpu": 2}, takes=20)
        sim.run(until=20)
        assert sim.utilisation() == pytest.approx(30 / 40)
        assert sim.utilisation(since=10) == pytest.approx(1 / 2)
        assert sim.utilisation("memory_mb") == pytest.approx((500 * 10 + 250 * 20) / 20_000)
        assert sim.utilisation("gpu") == 1
        with pytest.raises(ValueError, match="'default' has no 'disk_mb'"):
            sim.utilisation("disk_mb")


def test_code_under_test_submits_as_ever() -> None:
    """In its own transaction, and in answer to a signal that follows a commit."""

    def follow(**_: Any) -> None:
        if Job.objects.count() < 3:
            nothing.delay()

    job_completed.connect(follow)
    try:
        with simulation([Virtual(slots=1)], takes=10) as sim:
            with transaction.atomic():
                nothing.delay()
            sim.run_until_idle()
            assert sim.starts() == [0, 10, 20]
    finally:
        job_completed.disconnect(follow)


def test_what_never_ends_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.testing.simulator.ENOUGH", 20)
    with simulation([Virtual()]) as sim:
        sim.submit(nothing, fails=JobFailed("again", retry=True), max_retries=10_000)
        with pytest.raises(RuntimeError, match="has seen 20 events and no end"):
            sim.run_until_idle()


def test_nothing_stays_behind() -> None:
    wake, before = own_feeder.wake, publishing.queue_depth("default")
    with simulation([Virtual()]) as sim:
        sim.submit(nothing)
        assert publishing.queue_depth("default") == 0
        sim.run_until_idle()
    assert own_feeder.wake is wake
    assert publishing.queue_depth("default") == before
    assert not Worker.objects.unfenced().exists()
    assert job_manager.submit(nothing).created_at.year < 2030


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"start: .* has no time zone"), simulation(start=datetime(2030, 1, 1)):  # noqa: DTZ001 - that is the point
        pass


def test_conflict_policies_work_too() -> None:
    with simulation([Virtual(slots=4)], takes=100) as sim:
        old = sim.submit(nothing, conflict="cancel_running")
        sim.run(until=10)
        new = sim.submit(nothing, conflict="cancel_running")
        sim.run(until=11)
        assert [stages.fresh(row).state for row in (old, new)] == ["cancelled", "running"]


def test_a_job_can_be_held_and_let_go() -> None:
    with simulation([Virtual()]) as sim:
        row = sim.submit(nothing, start=False)
        sim.run(until=50)
        assert job_manager.start_job(row.id) == Answer.STARTED
        sim.run_until_idle()
        assert (sim.starts(), sim.waits()) == ([50], [0])


def test_the_rows_of_limits_are_the_production_ones() -> None:
    with simulation([Virtual()]) as sim:
        sim.submit(render, kwargs={"customer": "a"})
        assert Limit.objects.get(name=render.name).size == 3
        assert isinstance(sim, Simulation)


def _seconds(row: Job) -> float:
    row = stages.fresh(row)
    assert row.finished_at is not None
    assert row.started_at is not None
    return float((row.finished_at - row.started_at).total_seconds())
