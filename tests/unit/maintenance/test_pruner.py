"""Retention: whole trees or nothing, a manager's own jobs, a dry run that is right, and a run that was killed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from jobs import JobManager, job_manager, signals
from jobs.maintenance import chores, counters, job_trees, pruner
from jobs.maintenance.steward import Steward
from jobs.models import Attempt, Job, JobEvent, Rate, Turn, Worker
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db

OLD = 100.0
ALL = dict.fromkeys(("completed", "failed", "cancelled"), 50.0)


def submit(manager: str = "") -> Job:
    return JobManager[Any, Any, Any](manager).submit("pruning.nobody")


def ended(state: str = "completed", *, parent: Job | None = None, manager: str = "") -> Job:
    row = stages.put(submit(manager), state)
    Job.objects.filter(pk=row.pk).update(parent=parent)
    return stages.fresh(row)


def age(*rows: Job) -> None:
    for row in rows:
        Job.objects.filter(pk=row.pk).update(finished_at=row.created_at - timedelta(seconds=OLD))


def tree(states: str = "completed") -> list[Job]:
    """A root, two children, and two below the first of them; all of them old."""
    root = ended()
    one, two = ended(states, parent=root), ended(parent=root)
    rows = [root, one, two, ended(parent=one), ended("failed", parent=one)]
    age(*rows)
    return rows


def left() -> set[Any]:
    return set(Job.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_a_tree_goes_as_a_whole_from_the_leaves_up(clock: Clock, batch: int) -> None:
    rows = tree()
    assert pruner.prune(ALL, dry_run=True, batch=batch) == Counter(completed=4, failed=1)
    assert left() == {row.pk for row in rows}
    gone = list(pruner.steps(ALL, batch=batch))
    assert sum(gone, Counter()) == Counter(completed=4, failed=1)
    assert max(one.total() for one in gone) <= batch
    assert not left()
    assert not JobEvent.objects.exists()


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("how", ["young", "unfinished", "kept for ever"])
@pytest.mark.parametrize("batch", [1, 500])
def test_a_tree_stays_as_a_whole_while_one_member_must(clock: Clock, which: int, how: str, batch: int) -> None:
    rows = tree()
    if how == "young":
        Job.objects.filter(pk=rows[which].pk).update(finished_at=rows[which].created_at)
    elif how == "unfinished":
        stages.put(rows[which], "running")
    else:
        stages.put(rows[which], "cancelled")
        age(rows[which])
    kept = {"completed": 50.0, "failed": 50.0, "cancelled": None}
    other = ended()
    age(other)
    assert pruner.prune(kept, dry_run=True) == pruner.prune(kept, batch=batch) == Counter(completed=1)
    assert left() == {row.pk for row in rows}


def test_the_states_that_are_named_must_be_those_of_the_whole_tree(clock: Clock) -> None:
    tree()
    assert pruner.prune({"completed": 50.0}) == Counter()
    assert pruner.prune({"failed": 50.0}) == Counter()
    assert len(left()) == 5


def test_a_run_that_is_killed_goes_on_where_it_was(clock: Clock) -> None:
    rows = [ended() for _ in range(5)]
    age(*rows)
    tree()
    expected = pruner.prune(ALL, dry_run=True)
    run: Iterator[Counter[str]] = pruner.steps(ALL, batch=2)
    done = next(run) + next(run)
    run.close()  # type: ignore[attr-defined]  # a generator: nothing of it is called any more
    assert 0 < done.total() < expected.total()
    assert pruner.prune(ALL, dry_run=True) + done == expected
    assert pruner.prune(ALL) + done == expected
    assert not left()


def test_a_broken_off_tree_is_still_one_that_may_go(clock: Clock) -> None:
    root, *_ = tree()
    pieces = job_trees.delete_tree(root.pk, ALL, 2)
    next(pieces)
    assert root.pk in left()
    assert pruner.prune(ALL).total() == 3


def test_a_root_that_runs_again_meanwhile_keeps_what_is_left(clock: Clock) -> None:
    root, *_ = tree()
    pieces = job_trees.delete_tree(root.pk, ALL, 1)
    next(pieces)
    stages.put(root, "pending")
    assert not list(pieces)
    assert len(left()) == 4


def test_a_job_put_under_one_that_was_chosen_keeps_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes between the choice and the lock: the first look saw no children."""
    row, other = ended(), ended()
    age(row, other)
    first = job_trees.with_children

    def then_comes_one(ids: Any) -> Any:
        found = first(ids)
        monkeypatch.setattr(job_trees, "with_children", first)
        ended("pending", parent=row)
        return found

    monkeypatch.setattr(job_trees, "with_children", then_comes_one)
    assert pruner.prune(ALL) == Counter(completed=1)
    assert row.pk in left()
    assert other.pk not in left()


def test_a_job_that_has_run_and_ended_anew_meanwhile_stays(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is final again when it is locked, and a second old."""
    row, other = ended("failed"), ended("failed")
    age(row, other)
    first = job_trees.with_children

    def it_ends_anew(ids: Any) -> Any:
        monkeypatch.setattr(job_trees, "with_children", first)
        Job.objects.filter(pk=row.pk).update(finished_at=clock.moment)
        return first(ids)

    monkeypatch.setattr(job_trees, "with_children", it_ends_anew)
    assert pruner.prune(ALL) == Counter(failed=1)
    assert left() == {row.pk}


def test_what_somebody_has_requeued_meanwhile_stays(clock: Clock) -> None:
    rows = [ended("failed") for _ in range(3)]
    age(*rows)
    stages.put(rows[1], "pending")
    with transaction.atomic():
        assert job_trees.lock([row.pk for row in rows], ALL) == {rows[0].pk: "failed", rows[2].pk: "failed"}


def test_a_named_manager_prunes_its_own(clock: Clock) -> None:
    mine, others, nobodys = ended(manager="mine"), ended(manager="others"), ended()
    below = ended(parent=mine, manager="others")
    age(mine, others, nobodys, below)
    assert JobManager[Any, Any, Any]("mine").cleanup_old_jobs(days=OLD / 86_400 / 2) == 2
    assert left() == {others.pk, nobodys.pk}
    assert job_manager.cleanup_old_jobs(days=0) == 2


def test_ends_at_one_moment_are_each_looked_at(clock: Clock) -> None:
    """A bulk cancel gives a whole batch of jobs the same moment, and more than a batch."""
    rows = [ended("cancelled") for _ in range(7)]
    age(*rows)
    stuck = [ended("cancelled") for _ in range(3)]
    age(*stuck)
    for row in stuck:
        ended("pending", parent=row)
    assert pruner.prune(ALL, batch=2) == Counter(cancelled=7)


def test_what_a_run_has_deleted_is_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    told: list[dict[str, int]] = []

    def hear(counts: dict[str, int], **_: Any) -> None:
        told.append(counts)

    signals.jobs_pruned.connect(hear)
    rows = [ended("failed"), ended()]
    age(*rows)
    with caplog.at_level(logging.INFO, "jobs.retention"):
        pruner.prune(ALL, dry_run=True)
        assert not told
        pruner.prune(ALL)
        pruner.prune(ALL)
    assert told == [{"completed": 1, "failed": 1}]
    assert caplog.messages == ["retention: deleted 1 completed, 1 failed"]


def test_the_steward_prunes_for_a_moment_of_each_tick(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million old rows must not keep it from what is due; and it goes on at the next tick."""
    now = [1000.0]
    monkeypatch.setattr(chores, "time", SimpleNamespace(monotonic=lambda: now[0]))
    told: list[Any] = []
    monkeypatch.setattr(counters, "pruned", told.append)

    def endless() -> Iterator[Counter[str]]:
        for _ in range(5):
            now[0] += 2 * chores.CLEANING
            yield Counter(failed=10)

    monkeypatch.setattr(pruner, "steps", endless)
    with override_settings(JOBS={"CLEANUP_INTERVAL": 300}):
        leader = Steward("leader")
        now[0] += 300
        ticks = 0
        while not told:
            leader.tick()
            ticks += 1
            now[0] += 1
        assert (ticks, told) == (6, [Counter(failed=50)])
        for _ in range(5):
            leader.tick()
    assert len(told) == 1


def test_a_steward_that_is_deposed_says_what_it_had_deleted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(chores, "time", SimpleNamespace(monotonic=lambda: now[0]))
    counted: list[Any] = []
    monkeypatch.setattr(counters, "pruned", counted.append)

    def slow() -> Iterator[Counter[str]]:
        now[0] += 2 * chores.CLEANING
        yield Counter(failed=7)
        yield Counter(failed=1)

    monkeypatch.setattr(pruner, "steps", slow)
    with override_settings(JOBS={"CLEANUP_INTERVAL": 300}):
        leader = Steward("leader")
        now[0] += 300
        leader.tick()
        assert counted == []
        leader.resign()
        assert counted == [Counter(failed=7)]
        leader.tick()
    assert len(counted) == 1


def test_workers_of_old_are_forgotten(clock: Clock) -> None:
    old, running, young, alive = (stages.start_worker() for _ in range(4))
    row = submit()
    stages.claim(row, running)
    Worker.objects.exclude(pk=alive).update(fenced_at=clock.moment)
    clock.forward(2 * 86_400)
    Worker.objects.filter(pk=young).update(fenced_at=clock.moment)
    with override_settings(JOBS={"RETENTION": {"completed": 10, "failed": 10, "cancelled": 1.5 * 86_400}}):
        assert pruner.forget_workers() == 1
    assert set(Worker.objects.values_list("pk", flat=True)) == {running, young, alive}
    assert not Worker.objects.filter(pk=old).exists()
    assert Attempt.objects.get(job=row).worker_id == running


def test_rows_of_rates_and_turns_go_in_batches(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "BATCH", 2)
    Rate.objects.bulk_create(Rate(limit_name="r", partition=str(n), tat=0) for n in range(5))
    Turn.objects.bulk_create(Turn(pool="default", partition=str(n), at=0) for n in range(5))
    Turn.objects.create(pool="other", at=1)
    monkeypatch.setattr(pruner, "LATEST", 1)
    assert (pruner.forget_rates(), pruner.forget_turns()) == (5, 4)
