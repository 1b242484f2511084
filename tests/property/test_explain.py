"""Whatever limits, budgets and rates there are: "why" names a blocker where admission passes over, and only there.

Each example is a moment: some jobs in flight, others waiting, in two pools. What is said of each waiting job is held
against the plan of the same moment, and then against what an admission really does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import job_manager
from jobs.admission import limits, passes
from jobs.admission.limits import Tally, ordering
from jobs.models import Job, Limit, Pool, Rate
from jobs.monitoring.explain import Why
from tests.app import stages
from tests.app.stages import Clock

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
POOLS = ("default", "other")


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    """Mostly nothing, sometimes one of these."""
    return st.sampled_from([None] * len(values) + list(values))


JOB = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["why.a", "why.b"]),
        "pool": st.sampled_from(["default", "default", "other"]),
        "partition": maybe("x", "y"),
        "access": st.sampled_from(["", "", "shared", "exclusive"]),
        "memory_mb": st.sampled_from([None, None, 1, 3, 6]),
        "gpu": maybe(1, 2),
        "timeout": maybe(30, 300),
        "max_concurrent": maybe(1, 2),
        "rate": maybe("1/s", "2/m", "6/m burst 2"),
        "priority": st.sampled_from(["low", "medium", "high", "critical"]),
        "state": st.sampled_from(["pending", "pending", "pending", "queued", "running"]),
        "then": st.sampled_from([0, 0, 1, 70, 4000]),
    }
)
LIMIT = st.fixed_dictionaries(
    {
        "pool": st.sampled_from(["", *POOLS]),
        "task": st.sampled_from(["", "why.a"]),
        "partition_by": st.sampled_from(["", "by"]),
        "partition": st.sampled_from(["", "", "x"]),
        "kind": st.sampled_from(["concurrency", "concurrency", "rate"]),
        "size": st.sampled_from([None, 0, 1, 1, 2, 3]),
        "period": st.sampled_from([1, 60]),
        "burst": st.integers(1, 2),
        "weight": st.sampled_from([1, 2]),
        "tat": st.sampled_from([-10, 5, 90]),
    }
)
POOL = st.fixed_dictionaries(
    {
        "max_concurrent": maybe(0, 3, 9),
        "max_memory_mb": st.sampled_from([None, 4, 7, 7, 9]),
        "gpu": maybe(1, 2, 2),
        "closed": st.sampled_from([None] * 8 + ["paused_at", "draining_at"]),
        "slots": st.sampled_from([0, 2, 50, 50, 50, 50]),
    }
)


@pytest.mark.django_db
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    jobs=st.lists(JOB, min_size=1, max_size=14),
    rules=st.lists(LIMIT, max_size=4),
    pools=st.tuples(POOL, POOL),
    look_ahead=st.integers(0, 1),
)
def test_why_says_what_admission_does(
    jobs: list[dict[str, Any]], rules: list[dict[str, Any]], pools: tuple[dict[str, Any], ...], look_ahead: int
) -> None:
    with _moment(look_ahead) as clock:
        _submit(jobs, clock)
        _limit(rules, clock)
        for name, facts in zip(POOLS, pools, strict=True):
            _open(name, facts, clock)
        for name in POOLS:
            said = {row.id: job_manager.why(row.id) for row in Job.objects.filter(pool=name, state="pending")}
            _agrees_with_the_plan(name, said)
            _agrees_with_admission(name, said)


def _agrees_with_the_plan(pool: str, said: dict[Any, Why]) -> None:
    seen = limits.preview(pool)
    assert seen is not None
    tally = Tally(seen)
    is_open = next(limits.pool_blockers(tally), None) is None
    lanes = ordering.in_order(tally, tally.snapshot.heads) if is_open else []
    with_room = {head.lane for head in lanes if ordering.first_blocker(tally, head) is None}
    for row in Job.objects.filter(pk__in=said):
        has_room = bool(with_room & {str(row.lane), row.lane.hex})
        assert (not said[row.id].blockers) == has_room, said[row.id]
        assert said[row.id].sentence
        assert said[row.id].as_dict()["state"] == "pending"


def _agrees_with_admission(pool: str, said: dict[Any, Why]) -> None:
    """One pass: the next one finds another moment, in which a reservation may be gone."""
    with stages.collected():
        passes._admit_batch(pool)
    admitted = set(Job.objects.filter(pk__in=said, state="queued").values_list("pk", flat=True))
    assert not [said[pk] for pk in admitted if said[pk].blockers]
    assert {pk for pk, why in said.items() if why.is_next} <= admitted
    assert bool(admitted) == any(not why.blockers for why in said.values())
    assert bool(admitted) == any(why.is_next for why in said.values())


@contextmanager
def _moment(look_ahead: int) -> Iterator[Clock]:
    """A clock that stands, and a database that forgets."""
    how = {"LOOK_AHEAD": look_ahead, "STALE_AFTER": 10**9, "RESERVE_AFTER": 60, "AGED_AFTER": 3600}
    with ExitStack() as stack:
        stack.enter_context(override_settings(JOBS=how))
        with transaction.atomic():
            yield Clock(NOON, stack)
            transaction.set_rollback(True)


def _submit(jobs: list[dict[str, Any]], clock: Clock) -> None:
    Pool.objects.get_or_create(name="other")
    Pool.objects.update(resources={"gpu": 9})
    for facts in jobs:
        options = {name: facts[name] for name in ("memory_mb", "timeout", "max_concurrent", "rate", "priority", "pool")}
        if facts["gpu"]:
            options["resources"] = {"gpu": facts["gpu"]}
        if facts["partition"]:
            options |= {"partition_by": "by", "metadata": {"by": facts["partition"]}, "access": facts["access"]}
        row = job_manager.submit(facts["task"], **options)
        if facts["state"] != "pending":
            (stages.queue if facts["state"] == "queued" else stages.claim)(row)
        clock.forward(facts["then"])


def _limit(rules: list[dict[str, Any]], clock: Clock) -> None:
    for number, rule in enumerate(rules):
        tat = rule.pop("tat")
        Limit.objects.create(name=f"limit {number}", **rule)
        partition = "x" if rule["partition_by"] else ""
        Rate.objects.create(limit_name=f"limit {number}", partition=partition, tat=clock.moment.timestamp() + tat)


def _open(name: str, facts: dict[str, Any], clock: Clock) -> None:
    """Budgets may be below what was submitted: somebody has lowered them."""
    named = {} if facts["gpu"] is None else {"gpu": facts["gpu"]}
    closed = {facts["closed"]: clock.moment} if facts["closed"] else {}
    sizes = {column: facts[column] for column in ("max_concurrent", "max_memory_mb")}
    Pool.objects.filter(name=name).update(resources=named, **sizes, **closed)
    if facts["slots"]:
        stages.start_worker(facts["slots"], [name])
