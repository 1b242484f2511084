"""What pools and limits are said to hold is what admission counts."""

from __future__ import annotations

import pytest

from jobs import job, job_manager
from jobs.models import Limit, Pool
from jobs.monitoring import counting, usage
from jobs.monitoring.usage import Gauge, LimitUse, PoolUse
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="usage.nothing")
def nothing() -> None: ...


def _pool(name: str = "default") -> PoolUse:
    (use,) = usage.of_pools(Pool.objects.filter(name=name))
    return use


def _limit(name: str) -> LimitUse:
    (use,) = usage.of_limits(Limit.objects.filter(name=name))
    return use


@pytest.mark.parametrize(
    ("used", "size", "percent"), [(1, 4, 25), (0, 4, 0), (9, 4, 100), (0, 0, 100), (3, None, 0), (1, 3, 33)]
)
def test_how_full_a_gauge_is(used: float, size: float | None, percent: int) -> None:
    assert Gauge("x", "x", used, size).percent == percent


def test_a_pool_without_a_maximum_stands_beside_its_slots() -> None:
    assert _pool().in_flight.size is None
    stages.start_worker(slots=3)
    assert (_pool().slots, _pool().in_flight.size) == (3, 6)
    Pool.objects.update(max_concurrent=0)
    assert _pool().in_flight.size == 0


def test_the_oldest_wait_is_over_all_lanes_and_priorities(clock: stages.Clock) -> None:
    job_manager.submit(nothing)
    clock.forward(30)
    job_manager.submit(nothing, priority="critical")
    job_manager.submit(nothing, timeout=7)
    clock.forward(10)
    assert _pool().oldest_wait == pytest.approx(40, abs=0.01)
    assert str(_pool().waiting.number) == "3"


def test_what_waits_is_counted_to_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CEILING", 3)
    job_manager.submit_many(nothing, [((), {})] * 5)
    assert str(_pool().waiting.number) == "3+"


def test_a_need_without_a_budget_is_told_as_well() -> None:
    Pool.objects.update(resources={"gpu": 2})
    stages.queue(job_manager.submit(nothing, disk_mb=7))
    assert {gauge.key: (gauge.used, gauge.size) for gauge in _pool().budgets} == {"disk_mb": (7, None), "gpu": (0, 2)}


def test_a_limit_over_pools_counts_them_all() -> None:
    Pool.objects.create(name="gpu")
    Limit.objects.create(name="here", pool="gpu", size=5)
    for pool in ("default", "gpu", "gpu"):
        stages.queue(job_manager.submit(nothing, pool=pool))
    assert (_limit("system").used, _limit("here").used) == (3, 2)


def test_of_many_partitions_the_fullest_are_told() -> None:
    Limit.objects.create(name="each", partition_by="who", size=5)
    for who in "abcdefgg":
        stages.queue(job_manager.submit(nothing, partition_by="who", metadata={"who": who}))
    use = _limit("each")
    assert [(share.partition, share.used) for share in use.fullest] == [("g", 2), *((one, 1) for one in "abcd")]
    assert (use.used, use.more) == (8, 2)


def test_a_limit_of_a_pool_that_is_gone_holds_nothing() -> None:
    Limit.objects.create(name="lost", pool="gone", size=5)
    assert (_limit("lost").used, _limit("lost").size) == (0, 5)
