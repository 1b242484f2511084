"""Limits on a task, its partitions, its rate and its needs, and what becomes of a newcomer: the same on every stack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings

from jobs import Job, JobTask, job_manager
from jobs.admission import limits, passes, queries
from jobs.admission.limits import declared as declaring
from jobs.admission.limits.blockers import EARLY
from jobs.exceptions import ImpossibleNeed, InvalidOption, JobRefused
from jobs.models import JobEvent, Limit, Pool
from tests.app import stages
from tests.app.jobs import hold, nap
from tests.app.limited import (
    NEEDS,
    by_argument,
    by_callable,
    by_metadata,
    heavy,
    latest,
    mixed,
    paced,
    read_book,
    refusing,
    replacing,
    spanning,
    two,
    write_book,
)
from tests.integration.actors import ask_in, ask_many, submit_mixed, submit_to_pools
from tests.integration.crowd import at_once, crowd
from tests.integration.house import House, StartWorker, fresh, story
from tests.invariants import check_invariants, peak_in_flight
from tests.services import Stack
from tests.services.processes import wait_until

ON_SQLITE = bool((stack := Stack.current()) and stack.is_sqlite)
ROUNDED = EARLY + (0.002 if ON_SQLITE else 1e-6)  # SQLite writes whole milliseconds


def test_a_tasks_maximum(house: House) -> None:
    gate = house.gate()
    jobs = [house.in_body(two, gate), house.in_body(two, gate), *(house.submit(two, str(gate)) for _ in range(3))]
    other = house.until(house.submit(nap), "queued")  # no other task is under it
    assert states(jobs) == ["running"] * 2 + ["pending"] * 3
    gate.touch()
    assert {house.done(job).state for job in [*jobs, other]} == {"completed"}
    assert peak_in_flight(id__in=[job.id for job in jobs]) == 2


@pytest.mark.parametrize("by", ["argument", "default", "metadata", "callable"])
def test_each_partition_has_the_maximum_for_itself(house: House, by: str) -> None:
    gate = house.gate()
    ways: dict[str, Callable[[str], Job]] = {
        "argument": lambda value: job_manager.submit(by_argument, [str(gate)], {"customer": value}),
        "default": lambda value: job_manager.submit(by_argument, [str(gate), *([value] if value == "1" else [])]),
        "metadata": lambda value: job_manager.submit(by_metadata, [str(gate)], metadata={"tenant": value}),
        "callable": lambda value: job_manager.submit(by_callable, [str(gate), int(value)]),
    }
    jobs = [ways[by](value) for value in ("1", "2", "1", "2")]
    running = [house.until(job, "running") for job in jobs[:2]]
    assert len({job.partition for job in running}) == 2
    assert states(jobs[2:]) == ["pending"] * 2
    gate.touch()
    for job in jobs:
        house.done(job)
    for job in running:
        assert peak_in_flight(task=job.task, partition=job.partition) == 1


def test_a_submit_may_only_tighten(house: House) -> None:
    gate = house.gate()
    with pytest.raises(InvalidOption, match="max_concurrent"):
        house.submit(two, str(gate), max_concurrent=3)
    house.in_body(two, gate)
    tight = house.submit(two, str(gate), max_concurrent=1)
    wide = house.in_body(two, gate)  # passes it: the task has room
    assert fresh(tight).state == "pending"
    gate.touch()
    for job in (tight, wide):
        house.done(job)


def test_readers_share_and_a_writer_is_alone(house: House) -> None:
    first, rest = house.gate(), house.gate()
    readers = [house.in_body(read_book, first, "A"), house.in_body(read_book, first, "A")]
    writer = house.submit(write_book, str(rest), "A")
    other = house.submit(write_book, str(rest), "B")
    late = house.submit(read_book, str(rest), "A")
    assert house.until(other, "queued").state == "queued"  # of another book
    assert states([*readers, writer, late]) == ["running"] * 2 + ["pending"] * 2
    first.touch()
    house.until(writer, "running")
    assert fresh(late).state == "pending"  # not with the writer, and not before it: it would starve
    rest.touch()
    assert house.done(late).started_at >= (house.done(writer).finished_at or 0)


def test_one_admission_lets_no_reader_behind_a_writer_pass_it(house: House) -> None:
    gate = house.gate()
    house.in_body(read_book, gate, "A")
    job_manager.pause_pool("default")
    early, writer, *late = (
        house.submit(task, str(gate), "A") for task in (read_book, write_book, read_book, read_book)
    )
    job_manager.resume_pool("default")
    house.until(early, "running")
    assert states([writer, *late]) == ["pending"] * 3
    gate.touch()
    end = house.done(writer).finished_at
    assert all(house.done(reader).started_at >= end for reader in late)


def test_readers_of_a_better_rank_do_not_wait_behind_a_writer(house: House) -> None:
    gate = house.gate()
    house.in_body(read_book, gate, "A")
    writer = house.submit(write_book, str(gate), "A")
    urgent = house.submit(read_book, str(gate), "A", priority="critical")
    assert house.until(urgent, "running").priority == "critical"
    assert fresh(writer).state == "pending"
    gate.touch()
    house.done(writer)


@pytest.mark.parametrize("declared", [True, False])
def test_starts_are_as_far_apart_as_the_rate_says(house: House, declared: bool) -> None:
    """`burst` at once after a rest, then one each 50 ms, by the times in the database."""
    if declared:
        jobs = job_manager.submit_many(paced, [((), {})] * 15)
    else:
        jobs = [house.submit(nap, rate="20/s burst 3") for _ in range(15)]
    for job in jobs:
        assert house.done(job).state == "completed"
    assert_spaced(jobs, 0.05, 3)


def test_a_rate_spaces_real_starts_where_every_slot_was_taken(house: House) -> None:
    gate = house.gate()
    holding = [house.in_body(hold, gate), house.in_body(hold, gate)]
    jobs = [house.submit(nap, rate="5/s") for _ in range(4)]
    time.sleep(0.5)  # two could have been admitted by now, to start together
    assert states([*holding, *jobs]) == ["running"] * 2 + ["pending"] * 4
    assert [one.kind for one in job_manager.why(jobs[0].id).blockers] == ["no_slot"]
    gate.touch()
    starts = sorted(house.done(job).started_at.timestamp() for job in jobs)
    assert all(after - before > 0.1 for before, after in pairwise(starts)), starts


def assert_spaced(jobs: Iterable[Job], interval: float, burst: int) -> None:
    """Whatever window of time one takes, no more starts than burst and rate allow."""
    rows = [fresh(job) for job in jobs]
    at = sorted(row.queued_at.timestamp() for row in rows if row.queued_at)
    assert len(at) == len(rows)
    too_close = [
        (first, last, at[last] - at[first])
        for first in range(len(at))
        for last in range(first + burst, len(at))
        if at[last] - at[first] < (last - first - burst + 1) * interval - ROUNDED
    ]
    assert not too_close


BUDGETS: list[dict[str, Any]] = [
    {"max_memory_mb": 250},
    {"max_cpu_weight": 1.0},
    {"max_disk_mb": 20},
    {"resources": {"gpu": 2}},
]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: next(iter(budget)))
def test_a_job_gets_all_it_needs_or_waits(house: House, budget: dict[str, Any]) -> None:
    Pool.objects.filter(name="default").update(**{"resources": {"gpu": 50}, **budget})
    gate = house.gate()
    jobs = [house.in_body(heavy, gate), house.in_body(heavy, gate), house.submit(heavy, str(gate))]
    small = house.submit(hold, str(gate))
    assert house.until(small, "queued").state == "queued"  # it needs nothing
    assert fresh(jobs[2]).state == "pending"
    gate.touch()
    for job in jobs:
        house.done(job)
    assert peak_in_flight(id__in=[job.id for job in jobs], weighed_by="memory_mb") == 2 * NEEDS["memory_mb"]


def test_a_need_beyond_the_whole_budget_is_refused_and_nothing_is_written(house: House) -> None:
    Pool.objects.filter(name="default").update(max_memory_mb=99, resources={"gpu": 4})
    before = Job.objects.count(), Limit.objects.count(), JobEvent.objects.count()
    too_much: list[tuple[str, dict[str, Any]]] = [
        ("memory_mb", {}),
        ("gpu", {"memory_mb": 10, "resources": {"gpu": 5}}),
        ("tape", {"memory_mb": 10, "resources": {"gpu": 1, "tape": 1}}),
    ]
    for name, options in too_much:
        with pytest.raises(ImpossibleNeed, match=name):
            house.submit(heavy, "gate", **options)
    with pytest.raises(ImpossibleNeed):
        house.submit(mixed, "acme", memory_mb=100)
    assert (Job.objects.count(), Limit.objects.count(), JobEvent.objects.count()) == before


# --- conflict policies


def test_fifty_callers_at_once_get_exactly_the_size(house: House) -> None:
    gate = house.gate()
    told = [word for words in crowd(5, ask_in, refusing.name, str(gate), "red", 10) for word in words]
    assert Counter(told) == {"submitted": 3, "JobRefused": 47}
    gate.touch()
    wait_until(lambda: not of(refusing, "red").unfinished().exists(), 20, "the end of three")
    assert house.submit(refusing, str(gate), "red").state == "pending"


def test_a_refused_submit_of_many_writes_nothing(house: House) -> None:
    gate = house.gate()
    with pytest.raises(JobRefused):
        job_manager.submit_many(refusing, [([str(gate), door], {}) for door in ["a", "b", "a", "a", "a"]])
    assert not Job.objects.filter(task=refusing.name, partition__in=["a", "b"]).exists()


def test_the_latest_of_fifty_waits_and_the_running_one_goes_on(house: House) -> None:
    gate = house.gate()
    first = house.in_body(latest, gate, "red")
    told = [word for words in crowd(5, ask_in, latest.name, str(gate), "red", 10) for word in words]
    assert Counter(told) == {"submitted": 50}
    present = of(latest, "red").unfinished()
    newest = JobEvent.objects.filter(name="create", job__in=of(latest, "red")).order_by("id").last()
    assert newest
    assert set(present.values_list("id", "state")) == {(first.id, "running"), (newest.job_id, "pending")}
    gate.touch()
    assert house.done(first).state == "completed"
    assert house.done(newest.job).state == "completed"
    assert Counter(of(latest, "red").values_list("state", flat=True)) == {"completed": 2, "cancelled": 49}


def test_each_newcomer_stops_one_that_runs(house: House) -> None:
    """The second newcomer does not count on the place that the first one has made."""
    gate = house.gate()
    running = [house.in_body(replacing, gate, "red") for _ in range(2)]
    newcomers = [house.submit(replacing, str(gate), "red") for _ in range(2)]
    assert [house.done(job).state for job in running] == ["cancelled"] * 2
    for job in newcomers:
        assert house.until(job, "running").cancel_requested_at is None
    assert [fresh(job).reason for job in running] == [f"replaced by {job.id}" for job in newcomers]
    gate.touch()
    for job in newcomers:
        assert house.done(job).state == "completed"


def test_a_newcomer_for_later_stops_nobody(house: House) -> None:
    gate, day = house.gate(), timedelta(days=1)
    first, second = (house.in_body(replacing, gate, "green") for _ in range(2))
    later = house.submit(replacing, str(gate), "green", run_after=datetime.now(UTC) + day)
    assert [fresh(job).cancel_requested_at for job in (first, second)] == [None, None]
    house.submit(replacing, str(gate), "green", run_after=datetime.now(UTC) - day)
    assert fresh(first).cancel_requested_at is not None
    assert (fresh(second).cancel_requested_at, fresh(later).state) == (None, "scheduled")


def test_a_submit_says_its_own_policy(house: House) -> None:
    """Beside another one of the same task a moment before, and where the task has a limit and no policy."""
    gate = house.gate()
    alone = {"max_concurrent": 1, "partition_by": "gate", "conflict": "refuse"}
    house.submit(two, str(gate), **alone)
    with pytest.raises(JobRefused):
        house.submit(two, str(gate), **alone)
    waiting = house.submit("nobody.runs.this", conflict="latest")
    house.submit("nobody.runs.this", conflict="latest")
    with pytest.raises(JobRefused):
        house.submit("nobody.runs.this", conflict="refuse")
    assert fresh(waiting).state in {"cancelled", "queued"}
    gate.touch()


def test_an_emptied_size_is_no_limit(house: House) -> None:
    gate = house.gate()
    house.submit(refusing, str(gate), "blue")
    Limit.objects.filter(name=refusing.name).update(size=None)
    try:
        told = [word for words in crowd(1, ask_in, refusing.name, str(gate), "blue", 5) for word in words]
        assert Counter(told) == {"submitted": 5}
    finally:
        Limit.objects.filter(name=refusing.name).update(size=3)
        gate.touch()


def test_the_holder_of_a_key_is_the_answer_before_any_policy(house: House) -> None:
    for task in (refusing, latest):
        gate = house.gate()
        answers = [word for words in crowd(4, ask_in, task.name, str(gate), "key", 5, "castle") for word in words]
        assert Counter(answers) == {"JOB_CREATED": 1, "JOB_ALREADY_RUNNING": 19}
        assert story(of(task, "key").get()).count("cancel") == 0
        gate.touch()
        house.done(of(task, "key").get())


def test_many_partitions_in_opposite_orders_do_not_block_each_other(house: House) -> None:
    gate = house.gate()
    gate.touch()
    doors = [f"door {number}" for number in range(8)]
    told = crowd(4, ask_many, latest.name, str(gate), doors)
    assert told == [6 * len(doors)] * 4


# --- who admits where others want to


def test_what_comes_during_the_last_look_is_seen(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever commits while the lock is held finds it busy and leaves; so the holder's last look is without it."""
    late: list[Job] = []

    plan = limits.plan

    def plan_later(*args: Any) -> Any:
        """As it is; and in the first look under the lock that finds nothing, a job comes from elsewhere."""
        planned = plan(*args)
        if connection.in_atomic_block and not planned.lanes and not late and not ON_SQLITE:
            late.append(elsewhere(lambda: job_manager.submit(nap)))
        return planned

    stages.start_worker()
    Pool.objects.update(max_concurrent=3)
    job_manager.submit("nobody.runs.this", max_concurrent=1)
    blocked = job_manager.submit("nobody.runs.this", max_concurrent=1)
    monkeypatch.setattr(limits, "plan", plan_later)
    passes.admit("default")
    assert fresh(blocked).state == "pending"
    assert states(late) == ["queued"] * (0 if ON_SQLITE else 1)


def test_who_has_changed_lanes_meanwhile_is_left(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reading and the move nothing but the lock of the pool is held; on SQLite nobody can write then."""
    jobs = [job_manager.submit(f"nobody.runs.{name}") for name in ("a", "a", "b", "b")]
    best_of = queries.best_of

    def read_and_edit(*args: Any) -> Any:
        best = best_of(*args)
        if not ON_SQLITE:
            in_thread(lambda: Job.objects.filter(pk=jobs[0].pk).update(lane=uuid4()))
        return best

    monkeypatch.setattr(queries, "best_of", read_and_edit)
    stages.start_worker(slots=2)
    Pool.objects.filter(name="default").update(max_concurrent=2)
    with stages.collected():
        passes._admit_batch("default")
    assert states(jobs[:1]) == ["queued" if ON_SQLITE else "pending"]


def test_room_is_kept_for_a_large_job_that_has_waited(stack: Stack) -> None:
    """What is small passes it only if it is sure to end before the large one can begin."""
    Pool.objects.filter(name="default").update(max_memory_mb=100)
    with override_settings(JOBS={**settings.JOBS, "RESERVE_AFTER": 0}):
        stages.queue(job_manager.submit("nobody.runs.this", memory_mb=50, timeout=60))
        large = job_manager.submit("nobody.runs.this", memory_mb=100, timeout=60)
        time.sleep(0.01)  # of lanes with one rank any is the first, and SQLite's clock has milliseconds
        long, short = (job_manager.submit("nobody.runs.this", memory_mb=50, timeout=much) for much in (600, 5))
        stages.start_worker()
        stages.admit()
        assert states([large, long, short]) == ["pending", "pending", "queued"]


def test_a_workers_code_declares_for_whoever_submits_by_name(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = two.name
    Limit.objects.filter(task=name).delete()
    declaring.forget()
    monkeypatch.delitem(current_app.tasks, name)  # as in a process that has not imported the code
    jobs = [job_manager.submit(name, [str(tmp_path / "gate")]) for _ in range(4)]
    start_worker(concurrency=4)
    wait_until(lambda: states(jobs).count("running") == 2, 30, "two in their bodies")
    assert [one.limit for one in job_manager.why(jobs[3].id).blockers] == [name]
    (tmp_path / "gate").touch()
    wait_until(lambda: set(states(jobs)) == {"completed"}, 30, "the end of all")
    assert peak_in_flight(id__in=[job.id for job in jobs]) == 2


def test_every_limit_holds_in_a_crowd(start_worker: StartWorker) -> None:
    """Six processes submit ever better ranked jobs under a limit, a budget and a rate; each commit admits."""
    for _ in range(2):
        start_worker(concurrency=3)
    Pool.objects.filter(name="default").update(max_memory_mb=350)
    submitted = sum(crowd(6, submit_mixed, 8, mixed.name))
    wait_until(lambda: not Job.objects.unfinished().exists(), 60, "the end of all jobs")
    jobs = Job.objects.filter(task=mixed.name)
    assert jobs.filter(state="completed").count() == submitted == 48
    for partition in set(jobs.values_list("partition", flat=True)):
        assert peak_in_flight(task=mixed.name, partition=partition) <= 2
        assert_spaced(jobs.filter(partition=partition), 1 / 60, 4)
    assert peak_in_flight(task=mixed.name, weighed_by="memory_mb") == 300
    assert {story(job).count("admit") - story(job).count("release") for job in jobs} == {1}


def test_a_limit_of_two_pools_holds_in_a_crowd(start_worker: StartWorker) -> None:
    """The task's limit is of one pool first, and spans both from the first submit to the other on."""
    for _ in range(2):
        start_worker(concurrency=3, queues=["default", "second"])
    submitted = sum(crowd(6, submit_to_pools, 8, spanning.name, ["default", "second"]))
    wait_until(lambda: not Job.objects.unfinished().exists(), 60, "the end of all jobs")
    assert Job.objects.filter(task=spanning.name, state="completed").count() == submitted == 48
    assert Limit.objects.get(name=spanning.name).pool == ""
    assert peak_in_flight(task=spanning.name) == 3
    check_invariants()


def test_a_pool_whose_lock_was_taken_for_its_limit_admits_afterwards(stack: Stack) -> None:
    stages.start_worker(pools=["default", "second"])
    Pool.objects.get_or_create(name="second")
    job_manager.submit(spanning)
    with transaction.atomic():
        job_manager.submit(spanning, pool="second")
        left = [] if ON_SQLITE else [elsewhere(lambda: job_manager.submit(nap))]
        assert states(left) == ["pending"] * len(left)
    assert states(left) == ["queued"] * len(left)


def elsewhere(submit: Callable[[], Job]) -> Job:
    """Submit on another connection, and see it committed and admitted, or left, before this one goes on."""
    made: list[Job] = []
    in_thread(lambda: made.append(submit()))
    return made[0]


def in_thread(act: Callable[[], object]) -> None:
    """Do it on connections of its own, and wait for its end."""
    at_once(act)


def states(jobs: Iterable[Job]) -> list[str]:
    return [fresh(job).state for job in jobs]


def of(task: JobTask, partition: str) -> Any:
    return Job.objects.filter(task=task.name, partition=partition)
