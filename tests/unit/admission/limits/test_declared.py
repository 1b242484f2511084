"""What the code declares becomes rows once; afterwards the rows rule, for those as well who do not have the code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app

from jobs import JobTask, job, job_manager
from jobs.admission import limits
from jobs.admission.limits import SYSTEM_LIMIT, declared
from jobs.control import limits as tuning
from jobs.exceptions import JobRefused
from jobs.models import Limit, Pool
from tests.app import stages

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture(autouse=True)
def ask_anew() -> Iterator[None]:
    declared.forget()
    yield
    declared.forget()


@job(name="declaring.render", max_concurrent=4, partition_by="customer", rate="10/m burst 2", conflict="refuse")
def render(scene: str, *, customer: str) -> None: ...


@job(name=SYSTEM_LIMIT, max_concurrent=1)
def named_as_the_system_limit() -> None: ...


def _row(name: str) -> dict[str, Any]:
    names = ("size", "kind", "pool", "task", "partition_by", "period", "burst", "policy")
    row = Limit.objects.get(name=name)
    return {column: getattr(row, column) for column in names}


def test_the_first_submit_writes_what_is_declared() -> None:
    job_manager.submit(render, ["castle"], {"customer": "acme"})
    common = {"pool": "default", "task": "declaring.render", "partition_by": "customer"}
    assert _row("declaring.render") == {
        **common,
        "size": 4,
        "kind": "concurrency",
        "period": 1,
        "burst": 1,
        "policy": "refuse",
    }
    assert _row("declaring.render rate") == {
        **common,
        "size": 10,
        "kind": "rate",
        "period": 60,
        "burst": 2,
        "policy": "wait",
    }


def test_what_somebody_edited_stays_until_the_code_says_something_else() -> None:
    declared.declare("t", "default", render.options)
    Limit.objects.filter(name="t").update(size=9)
    declared.forget()
    declared.declare("t", "default", render.options)
    assert _row("t")["size"] == 9
    declared.declare("t", "default", render.options.but({"max_concurrent": 5}))
    assert _row("t")["size"] == 5


def test_what_is_not_declared_any_more_goes() -> None:
    declared.declare("t", "default", render.options)
    declared.declare("t", "default", render.options.but({"rate": None}))
    assert set(Limit.objects.filter(task="t").values_list("name", flat=True)) == {"t"}


def test_with_a_second_pool_a_limit_spans_all() -> None:
    Pool.objects.create(name="gpu")
    declared.declare("t", "default", render.options)
    assert declared.declare("t", "gpu", render.options) == {"default"}
    assert (_row("t")["pool"], _row("t rate")["pool"]) == ("", "")


def test_a_task_named_as_the_system_wide_limit_leaves_it_alone() -> None:
    job_manager.submit(named_as_the_system_limit)
    assert (_row(SYSTEM_LIMIT)["size"], _row(SYSTEM_LIMIT)["task"]) == (None, "")
    assert (_row("task system")["size"], _row("task system")["task"]) == (1, SYSTEM_LIMIT)


def test_who_submits_by_name_is_under_the_rows_too() -> None:
    """The code is not imported there: the row says what the partitions are by, and what becomes of a newcomer."""
    Limit.objects.create(
        name="elsewhere.render", task="elsewhere.render", partition_by="customer", size=1, policy="refuse"
    )
    first = job_manager.submit("elsewhere.render", ["castle"], {"customer": "acme"})
    assert (first.partition_by, first.partition) == ("customer", "acme")
    with pytest.raises(JobRefused) as caught:
        job_manager.submit("elsewhere.render", ["tower"], {"customer": "acme"})
    assert caught.value.holder == first.id
    assert job_manager.submit("elsewhere.render", [], {"customer": "bob"}).partition == "bob"
    assert job_manager.submit("elsewhere.render", ["by position"]).partition == ""


def test_what_a_job_brings_itself_counts_in_its_pool() -> None:
    Pool.objects.create(name="gpu")
    stages.start_worker(pools=["default", "gpu"])
    Limit.objects.create(name="spans", task="own.task", size=9)
    here = [job_manager.submit("own.task", max_concurrent=1) for _ in range(2)]
    there = job_manager.submit("own.task", max_concurrent=1, pool="gpu")
    assert [message.pairs[0][0] for message in stages.admit()] == [here[0].id]
    assert [message.pairs[0][0] for message in stages.admit("gpu")] == [there.id]


def test_what_stands_for_one_partition_goes_on_to_when_the_limit_spans_pools() -> None:
    Pool.objects.create(name="gpu")
    options = render.options.but({"rate": None})
    declared.declare("t", "default", options)
    for partition in ("acme", "bob"):
        Limit.objects.create(
            name=f"vip {partition}", task="t", pool="default", partition_by="customer", partition=partition, size=10
        )
    Limit.objects.create(name="bob anywhere", task="t", partition_by="customer", partition="bob", size=1)
    declared.declare("t", "gpu", options)
    assert _row("t")["pool"] == _row("vip acme")["pool"] == ""
    assert _row("vip bob")["pool"] == "default"  # there is one for all pools: two would both hold
    look = limits.take_snapshot("default")
    assert look is not None
    facts = limits.Facts("t", partition_by="customer", partition="acme")
    assert [rule.name for rule in look.rules.of(facts, "default").sizes] == ["system", "vip acme"]


def test_a_rate_that_the_code_makes_wider_does_not_wait_for_the_old_one(sent: list[object]) -> None:
    stages.start_worker()
    declared.declare("t", "default", render.options.but({"rate": "1/d", "partition_by": None}))
    first, second = job_manager.submit("t"), job_manager.submit("t")
    assert len(stages.admit()) == 1
    declared.forget()
    assert declared.declare("t", "default", render.options.but({"rate": "1/s", "partition_by": None})) == {"default"}
    (blocker,) = job_manager.why(second.id).blockers
    assert blocker.until is not None
    assert (blocker.until - first.created_at).total_seconds() < 60


@job(name="declaring.plain")
def plain() -> None: ...


def test_a_policy_that_somebody_sets_counts_for_a_task_that_declares_none() -> None:
    Limit.objects.create(name=plain.name, task=plain.name, size=1, policy="refuse")
    job_manager.submit(plain)
    with pytest.raises(JobRefused):
        job_manager.submit(plain)
    Limit.objects.filter(name=plain.name).update(policy="wait")
    declared.forget()
    job_manager.submit(plain)


def test_a_worker_writes_what_all_its_jobs_declare(django_assert_max_num_queries: Any) -> None:
    Limit.objects.create(name=render.name, task=render.name, pool="gpu", declared={}, partition_by="customer", size=1)
    tuning.declare_registered()
    assert (_row(render.name)["pool"], _row(render.name)["size"]) == ("gpu", 4)  # no reason to span pools
    assert _row(f"{render.name} rate")["pool"] == "gpu"
    known = [task for task in current_app.tasks.values() if isinstance(task, JobTask)]
    with django_assert_max_num_queries(1 + len(known)):  # and nothing is written, nor locked
        tuning.declare_registered()


LATER: list[dict[str, Any]] = [
    {"start": False},
    {"run_after": HOUR},
    {"run_after": timedelta(hours=1)},
    {"run_after": datetime(2100, 1, 1, tzinfo=UTC)},
]


@pytest.mark.parametrize("later", LATER, ids=str)
@pytest.mark.parametrize("policy", ["cancel_running", "latest", "refuse"])
def test_a_job_that_is_not_to_run_yet_is_in_nobodys_way(later: dict[str, Any], policy: str) -> None:
    running = job_manager.submit(plain, conflict=policy)
    if policy == "cancel_running":
        stages.claim(running)
    held = job_manager.submit(plain, conflict=policy, **later)
    assert stages.fresh(running).cancel_requested_at is None
    assert not stages.fresh(running).is_final
    job_manager.cancel_job(running.id)
    job_manager.submit(plain, conflict=policy)
    assert stages.fresh(held).state == held.state  # nor does it go for a newcomer


@pytest.mark.parametrize("past", [-1, datetime(2020, 1, 1, tzinfo=UTC)])
def test_a_moment_that_has_passed_is_at_once(past: Any) -> None:
    job_manager.submit(plain, conflict="refuse")
    with pytest.raises(JobRefused):
        job_manager.submit(plain, conflict="refuse", run_after=past)


def test_one_that_waits_for_its_retry_is_in_the_way() -> None:
    row = stages.put(job_manager.submit(plain, conflict="refuse"), "scheduled", attempt=1)
    with pytest.raises(JobRefused):
        job_manager.submit(plain, conflict="refuse")
    newest = job_manager.submit(plain, conflict="latest")
    assert [stages.fresh(job).state for job in (row, newest)] == ["cancelled", "pending"]
