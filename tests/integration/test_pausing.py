"""Pause and resume on a real worker, and two wishes at the same moment, two hundred times over."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from jobs import Job, job_manager
from jobs.admission import passes, publishing
from jobs.core.db.values import prepare
from jobs.execution import claims, rescue
from jobs.models import Attempt, TaskPause, transitions
from tests.app import stages
from tests.app.jobs import add, hold, probe, walk
from tests.integration.actors import wish
from tests.integration.crowd import crowd
from tests.integration.house import LONG, House, fresh, outcomes, story
from tests.invariants import check_invariants
from tests.services import Stack
from tests.services.processes import wait_until
from tests.services.stacks import NAME

ROUNDS = 60 if os.environ.get(NAME, "").startswith("mariadb") else 200  # each takes three times as long there
Pair = tuple[Any, Any]


def test_a_body_goes_on_from_where_it_was_paused(house: House) -> None:
    gate = house.gate()
    job = house.in_body(walk, gate, 3)
    wait_until(lambda: fresh(job).checkpoint == 3, LONG, "its last step")
    assert job_manager.pause_job(job.id, reason="maintenance", actor="ann") == "REQUESTED"
    paused = house.until(job, "paused")
    assert (paused.checkpoint, paused.progress, paused.message, paused.stage) == (3, 100, "step 3", "walking")
    assert (paused.reason, paused.paused_by, paused.pause_requested_at) == ("maintenance", "ann", None)
    assert house.run(probe).state == "completed"  # its slot is free
    gate.touch()
    assert job_manager.resume_job(job.id) == "RESUMED"
    done = house.done(job)
    assert (done.state, done.result) == ("completed", [])
    assert outcomes(job) == ["paused", "completed"]
    assert [event for event in story(job) if event in ("pause_requested", "pause", "resume")] == [
        "pause_requested",
        "pause",
        "resume",
    ]


def test_a_job_without_checkpoints_runs_on_and_the_request_is_withdrawn(house: House) -> None:
    gate = house.gate()
    job = house.in_body(hold, gate)
    assert job_manager.pause_job(job.id) == "REQUESTED"
    assert job_manager.resume_job(job.id) == "RESUMED"
    gate.touch()
    assert house.done(job).state == "completed"
    assert story(job)[-3:] == ["pause_requested", "pause_withdrawn", "complete"]


def test_a_queued_job_that_is_paused_starts_no_more(house: House) -> None:
    gate = house.gate()
    for _ in range(2):
        house.in_body(hold, gate)
    job = house.until(house.submit(add, 1, 1), "queued")
    assert job_manager.pause_job(job.id, reason="not yet") == "PAUSED"
    house.open_gates()
    assert [house.run(probe).state for _ in range(2)] == ["completed"] * 2  # its doorbell has been answered by now
    assert house.effects(job) == []
    job_manager.resume_job(job.id)
    assert house.done(job).result == 2


def test_nothing_of_a_paused_task_starts(house: House) -> None:
    gate = house.gate()
    running = house.in_body(hold, gate)
    assert job_manager.pause_task("tests.app.jobs.hold", "maintenance", actor="ann") == "PAUSED"
    try:
        job = house.submit(hold, str(gate))
        assert house.run(probe).state == "completed"
        assert fresh(job).state == "pending"
        (reason,) = job_manager.why(job.id).blockers
        assert (reason.kind, reason.person, reason.text) == ("task_paused", "ann", "maintenance")
        assert fresh(running).state == "running"
        assert job_manager.resume_task("tests.app.jobs.hold") == "RESUMED"
    finally:
        TaskPause.objects.all().delete()
    house.until(job, "running")
    gate.touch()
    assert house.done(job).state == "completed"


# --- at the same moment


def _queued(number: int) -> list[Pair]:
    """Jobs that nobody rings for."""
    rows = job_manager.submit_many(probe, [((), {})] * number)
    pairs = []
    for row in rows:
        moved = transitions.move("admit", "id = %s", [prepare("default", Job, "id", row.id)])
        pairs.append((row.id, moved[0].attempt_id))
    return pairs


def _running(number: int) -> list[Pair]:
    pairs = _queued(number)
    for job_id, attempt_id in pairs:
        assert claims.claim(job_id, attempt_id, None)
    return pairs


def _params(pairs: list[Pair]) -> list[Pair]:
    return [(prepare("default", Job, "id", one), prepare("default", Attempt, "id", two)) for one, two in pairs]


def _states(pairs: list[Pair]) -> list[str]:
    found = dict(Job.objects.values_list("pk", "state"))
    return [found[job_id] for job_id, _ in pairs]


def test_pause_and_claim(stack: Stack) -> None:
    pairs = _queued(ROUNDS)
    paused, claimed = crowd(2, wish, pairs, ["pause", "claim"])
    for told in zip(paused, claimed, _states(pairs), strict=True):
        assert told in [("PAUSED", "refused", "paused"), ("REQUESTED", "claimed", "running")]
    assert Attempt.objects.count() == claimed.count("claimed")


def test_pause_and_finish(stack: Stack) -> None:
    pairs = _running(ROUNDS)
    paused, finished = crowd(2, wish, _params(pairs), ["pause", "finish"])
    assert set(finished) == {"finished"}
    assert set(zip(paused, _states(pairs), strict=True)) <= {("REQUESTED", "completed"), ("NOT_POSSIBLE", "completed")}


def test_a_pause_that_is_withdrawn_while_the_attempt_ends(stack: Stack) -> None:
    """Between the moves that an end may take nobody is left running without a process."""
    pairs = _running(ROUNDS)
    for job_id, _ in pairs:
        job_manager.pause_job(job_id, reason="wish")
    resumed, snoozed = crowd(2, wish, _params(pairs), ["resume", "snooze"])
    assert set(resumed) == {"RESUMED"}
    assert set(snoozed) <= {"paused", "scheduled"}
    assert set(_states(pairs)) <= {"pending", "scheduled"}


def test_a_cancel_that_comes_while_a_paused_attempt_ends(stack: Stack) -> None:
    pairs = _running(ROUNDS)
    for job_id, _ in pairs:
        job_manager.pause_job(job_id, reason="wish")
    answers, _ = crowd(2, wish, _params(pairs), ["cancel", "snooze"])
    assert set(answers) <= {"CANCELLED", "REQUESTED", "ALREADY_FINAL"}
    assert set(_states(pairs)) == {"cancelled"}


def test_a_pause_in_place_of_a_rescue_is_counted(stack: Stack) -> None:
    """And a stop with an error in place of one names it on the attempt: on every kind of database."""
    pairs = _running(4)
    for job_id, _ in pairs[:2]:
        job_manager.pause_job(job_id, reason="wish")
    for job_id, _ in pairs[2:]:
        job_manager.handle(job_id).stop("wrong file")
    assert len(rescue.rescue(pairs, "its process died", "steward")) == 4
    assert _states(pairs) == ["paused"] * 2 + ["failed"] * 2
    ended = Attempt.objects.order_by("job__state").values_list("outcome", "error_category", "job__error_count")
    assert list(ended) == [("failed", "stopped", 1)] * 2 + [("lost", "lost", 1)] * 2
    check_invariants()


def test_two_resume_at_once(stack: Stack) -> None:
    pairs = [(row.id, uuid4()) for row in job_manager.submit_many(probe, [((), {})] * ROUNDS)]
    assert job_manager.pause_jobs(task="tests.app.jobs.probe", reason="wish") == {"PAUSED": ROUNDS}
    one, other = crowd(2, wish, pairs, ["resume", "resume"])
    assert all(sorted(both) == ["NOT_PAUSED", "RESUMED"] for both in zip(one, other, strict=True))
    assert {story(Job(pk=job_id)).count("resume") for job_id, _ in pairs} == {1}


def test_a_checkpoint_and_a_rescue(stack: Stack) -> None:
    pairs = _running(ROUNDS)
    kept, rescued = crowd(2, wish, pairs, ["keep", "rescue"])
    assert set(rescued) == {"1"}
    stored = dict(Job.objects.values_list("pk", "checkpoint"))
    for (job_id, _), told in zip(pairs, kept, strict=True):
        assert stored[job_id] == ("kept" if told == "kept" else None)


def test_an_admission_under_way_is_waited_for(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has looked before the task was paused, and moves its jobs afterwards."""
    stages.start_worker(slots=4)
    with monkeypatch.context() as nobody_admits:
        nobody_admits.setattr("jobs.admission.passes.admit", lambda pool: 0)
        rows = job_manager.submit_many(probe, [((), {})] * 4)
    looked, goes_on = threading.Event(), threading.Event()
    take = passes._take

    def take_later(*args: Any) -> Any:
        looked.set()
        assert goes_on.wait(LONG)
        return take(*args)

    monkeypatch.setattr("jobs.admission.passes._take", take_later)
    # Who publishes marks the rows: what the pause finds locked by that is left to the steward.
    monkeypatch.setattr("jobs.admission.passes.publishing.publish", lambda doorbells: None)
    with ThreadPoolExecutor(2) as crew:
        admitting = crew.submit(_and_close, lambda: passes.admit("default"))
        assert looked.wait(LONG)
        pausing = crew.submit(_and_close, lambda: job_manager.pause_task("tests.app.jobs.probe", "maintenance"))
        sleep(0.3)
        goes_on.set()
        assert (admitting.result(LONG), pausing.result(LONG)) == (4, "PAUSED")
    assert _states([(row.id, None) for row in rows]) == ["pending"] * 4


def _and_close(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        publishing.disconnect()
        connections.close_all()
