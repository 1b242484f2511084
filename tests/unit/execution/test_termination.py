"""Terminations: which of two counts, and the edge that follows from each."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from jobs import job, job_manager
from jobs.execution.failures.failure import Failure
from jobs.execution.fence import Pair
from jobs.execution.termination import INTERRUPTED, Termination, end_attempt, stronger, timed_out
from jobs.models import Attempt, Job
from tests.app import stages

pytestmark = pytest.mark.django_db

CANCELLED = Termination("cancel", "stopped by force")
MEMORY = Termination("fail", "too large", Failure("memory", "MemoryExceeded", "900 MB of 512 MB"))
DISK = Termination("fail", "too full", Failure("disk", "DiskExceeded", "900 MB of 512 MB"))
LATE = timed_out(20.25, 10, 10)
BY_SEVERITY = [INTERRUPTED, LATE, DISK, MEMORY, CANCELLED]


@job(name="endings.nothing")
def nothing() -> None: ...


def _running(**options: Any) -> tuple[Job, Pair]:
    row = job_manager.submit(nothing, **options)
    claimed = stages.claim(row)
    return row, (row.id, claimed.row["attempt_id"])


@pytest.mark.parametrize(("milder", "severer"), list(itertools.combinations(BY_SEVERITY, 2)))
def test_the_more_severe_termination_counts(milder: Termination, severer: Termination) -> None:
    assert stronger(milder, severer) is severer
    assert stronger(severer, milder) is severer
    assert stronger(None, milder) is stronger(milder, None) is milder


@pytest.mark.parametrize(
    ("termination", "state", "outcome", "category"),
    [
        (INTERRUPTED, "pending", "interrupted", ""),
        (LATE, "failed", "failed", "timeout"),
        (MEMORY, "failed", "failed", "memory"),
    ],
    ids=["interrupt", "timeout", "memory"],
)
def test_each_termination_has_its_edge(termination: Termination, state: str, outcome: str, category: str) -> None:
    row, pair = _running()
    (moved,) = end_attempt(pair, termination, "celery@host")
    done, attempt = stages.fresh(row), Attempt.objects.get(job=row)
    assert (done.state, done.error_category) == (state, category)
    assert (attempt.outcome, attempt.error_category) == (outcome, category)
    assert (moved.actor, row.events.get(name=moved.edge).data) == ("celery@host", {"why": termination.why})
    assert (done.retry_count, done.rescue_count) == (0, 0)
    assert not end_attempt(pair, termination, "celery@host")
    stages.check_history(stages.fresh(row))


@pytest.mark.parametrize("termination", BY_SEVERITY, ids=lambda termination: termination.edge)
def test_a_request_to_cancel_wins_over_every_termination(termination: Termination) -> None:
    row, pair = _running(max_retries=3)
    job_manager.cancel_job(row.id, reason="enough", actor="ann")
    (moved,) = end_attempt(pair, termination, "celery@host")
    assert (moved.edge, Attempt.objects.get(job=row).outcome) == ("cancel", "cancelled")
    assert (stages.fresh(row).reason, stages.fresh(row).cancel_requested_by) == ("enough", "ann")


def test_a_failure_uses_one_retry_while_there_are_any() -> None:
    row, pair = _running(max_retries=1)
    (moved,) = end_attempt(pair, LATE, "celery@host")
    assert (moved.edge, stages.fresh(row).state, stages.fresh(row).retry_count) == ("retry", "scheduled", 1)
    stages.put(row, "pending")
    claimed = stages.claim(row)
    (moved,) = end_attempt((row.id, claimed.row["attempt_id"]), LATE, "celery@host")
    done = stages.fresh(row)
    assert (moved.edge, done.state, done.error_count) == ("fail", "failed", 2)
    assert done.error_message == "ran for 20.2 s: over its time-out of 10 s, and over its grace of 10 s"


@pytest.mark.parametrize(
    "termination", [INTERRUPTED, Termination("cancel", "asked to", is_gentle=True)], ids=["lost", "stopped"]
)
def test_job_and_attempt_have_the_same_error(termination: Termination) -> None:
    row, pair = _running(at_most_once=termination is INTERRUPTED)
    if termination is not INTERRUPTED:
        job_manager.stop(row.id, ValueError("no scene 7"))
    end_attempt(pair, replace(termination, attempt={"peak_memory_mb": 900.5}), "celery@host")
    done, attempt = stages.fresh(row), Attempt.objects.get(job=row)
    assert (done.state, done.error_category) == ("failed", "lost" if termination is INTERRUPTED else "stopped")
    for name in ("error_category", "error_type", "error_message", "error_fingerprint"):
        assert getattr(done, name) == getattr(attempt, name) != ""
    assert (done.error_count, attempt.peak_memory_mb, [error["attempt"] for error in done.errors]) == (1, 900.5, [1])
    (group,) = job_manager.error_groups()
    assert group.fingerprint == done.error_fingerprint


def test_what_was_measured_lands_on_the_attempt() -> None:
    row, pair = _running()
    end_attempt(
        pair, Termination("fail", "too large", MEMORY.failure, attempt={"peak_memory_mb": 900.5}), "celery@host"
    )
    assert Attempt.objects.get(job=row).peak_memory_mb == 900.5


def test_an_attempt_that_has_ended_is_left_alone() -> None:
    row, pair = _running()
    stages.put(row, "pending")
    stages.claim(row)
    for termination in BY_SEVERITY:
        assert not end_attempt(pair, termination, "celery@host")
    assert stages.fresh(row).state == "running"
