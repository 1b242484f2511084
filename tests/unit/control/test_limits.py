"""Changes while jobs run: what is written, what waits is ranked anew, and pools that are waited for exist."""

from __future__ import annotations

import pytest

from jobs import job, job_manager
from jobs.control import limits, priorities
from jobs.maintenance.steward import Steward
from jobs.models import Job, Limit, Pool, Priority, Rate
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="tuning.nothing")
def nothing() -> None: ...


def test_only_the_columns_that_are_named_are_written() -> None:
    stale = Limit.objects.create(name="two", task=nothing.name, size=2)
    Limit.objects.update(weight=5)
    stale.size, stale.weight = 3, 7
    limits.change_limit(stale, ["size"])
    assert Limit.objects.values_list("size", "weight").get(name="two") == (3, 5)


def test_a_limit_that_is_there_is_not_overwritten() -> None:
    with pytest.raises(Exception, match="UNIQUE"):
        limits.create_limit(Limit(name="system", size=1))


@pytest.mark.parametrize(("size", "ahead"), [(6, 20), (1, 60), (None, 60), (0, 60)])
def test_a_rate_waits_no_longer_than_its_new_figures_say(size: float | None, ahead: float, clock: stages.Clock) -> None:
    limit = Limit.objects.create(name="slow", kind="rate", task=nothing.name, size=1, period=60)
    now = clock.moment.timestamp()
    for partition, tat in (("far", now + 60), ("near", now + 5)):
        Rate.objects.create(limit_name="slow", partition=partition, tat=tat)
    other = Rate.objects.create(limit_name="other", tat=now + 60)
    limit.size, limit.burst = size, 2
    limits.change_limit(limit, ["size", "burst"])
    tats = dict(Rate.objects.values_list("partition", "tat").filter(limit_name="slow"))
    assert tats["far"] - now == pytest.approx(ahead, abs=0.01)
    assert tats["near"] - now == pytest.approx(5, abs=0.01)
    assert Rate.objects.get(pk=other.pk).tat == other.tat


def test_a_deleted_rate_leaves_nothing_behind() -> None:
    limit = Limit.objects.create(name="slow", kind="rate", task=nothing.name, size=1)
    for name in ("slow", "other"):
        Rate.objects.create(limit_name=name, tat=1e12)
    limits.delete_limit(limit)
    assert list(Rate.objects.values_list("limit_name", flat=True)) == ["other"]


def test_all_that_waits_is_ranked_anew_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priorities, "RERANK_BATCH", 2)
    rows = job_manager.submit_many(nothing, [((), {})] * 9, priority="high")
    for row, state in zip(rows[5:], ("scheduled", "paused", "queued", "running"), strict=True):
        stages.put(row, state)
    Priority.objects.filter(name="high").update(head_start=100)
    assert priorities.rerank("high") == 8
    moved = [stages.fresh(row).rank - row.rank for row in rows]
    assert moved == pytest.approx([3500] * 8 + [0])


def test_the_steward_brings_back_a_pool_in_which_jobs_wait(sent: list[object]) -> None:
    Pool.objects.create(name="gpu")
    stages.start_worker(pools=["gpu"])
    row = job_manager.submit(nothing, pool="gpu")
    Pool.objects.filter(name="gpu").delete()
    assert Steward("test").tick()
    assert Job.objects.get(pk=row.pk).state == "queued"
