"""Taking jobs back from the dead: counted, capped, and out of reach of a wrong guess."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.execution import back_to_queue, heartbeats
from jobs.execution.claims import Claimed
from jobs.execution.fence import Pair
from jobs.execution.rescue import attempts_of_the_fenced, note_unknown, open_attempts, rescue
from jobs.models import Job, transitions
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="rescue.nothing")
def nothing() -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing)


def _pair(claimed: Claimed) -> Pair:
    return claimed.row["id"], claimed.row["attempt_id"]


def test_a_rescued_job_waits_again(row: Job) -> None:
    (moved,) = rescue([_pair(stages.claim(row))], "its process died", "steward")
    now = stages.fresh(row)
    assert (moved.edge, now.state, now.rescue_count, now.retry_count) == ("rescue", "pending", 1, 0)
    assert now.rank == row.rank
    assert now.events.get(name="rescue").data == {"why": "its process died"}
    attempt = now.attempts.get()
    assert (attempt.outcome, attempt.error_category, attempt.error_message) == ("lost", "lost", "its process died")
    assert now.errors[0]["type"] == "WorkerLost"
    stages.check_history(now)


def test_over_the_cap_it_is_given_up(row: Job) -> None:
    with override_settings(JOBS={"MAX_RESCUES": 2}):
        states = []
        for _ in range(3):
            rescue([_pair(stages.claim(row))], "its process died", "steward")
            states.append(stages.fresh(row).state)
    now = stages.fresh(row)
    assert states == ["pending", "pending", "failed"]
    assert (now.error_category, now.error_message) == ("lost", "given up after 2 rescues: its process died")
    assert [attempt.outcome for attempt in now.attempts.order_by("number")] == ["lost", "lost", "failed"]
    stages.check_history(now)


def test_a_cap_of_none_gives_up_at_once(row: Job) -> None:
    with override_settings(JOBS={"MAX_RESCUES": 0}):
        rescue([_pair(stages.claim(row))], "its process died", "steward")
    assert stages.fresh(row).state == "failed"


def test_what_may_run_once_is_given_up_at_its_first_death() -> None:
    row, other = job_manager.submit(nothing, at_most_once=True), job_manager.submit(nothing)
    pairs = [_pair(stages.claim(one)) for one in (row, other)]
    assert sorted(one.edge for one in rescue(pairs, "its process died", "steward")) == ["fail", "rescue"]
    done = stages.fresh(row)
    assert (done.state, done.error_category, done.rescue_count) == ("failed", "lost", 0)
    assert "at most once" in done.error_message
    assert [error["attempt"] for error in done.errors] == [1]
    stages.check_history(done)


@pytest.mark.parametrize("edge", ["interrupt", "snooze", "rescue"])
def test_no_edge_lets_it_run_again(edge: str) -> None:
    for begin in ({}, {"pause_requested_at": "2030-01-01T00:00Z"}):
        row = job_manager.submit(nothing, at_most_once=True)
        stages.claim(row)
        Job.objects.filter(pk=row.pk).update(**begin)
        (moved,) = back_to_queue.return_to_queue(edge, "id = %s", [stages.key(row)])
        done = stages.fresh(row)
        assert (moved.edge, done.state, done.error_category, done.error_type) == ("fail", "failed", "lost", "RunsOnce")
        stages.check_history(done)


def test_a_release_before_it_began_does_not_count() -> None:
    row = job_manager.submit(nothing, at_most_once=True)
    stages.queue(row)
    transitions.move("release", "id = %s", [stages.key(row)])
    assert stages.perform(row, nothing.body).state == "completed"


def test_what_may_run_once_can_be_cancelled_and_is_run_again_by_a_person_only() -> None:
    row = job_manager.submit(nothing, at_most_once=True)
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id)
    (moved,) = rescue([_pair(claimed)], "died", "test")
    assert moved.edge == "cancel"
    job_manager.retry_job(row.id)
    assert stages.perform(row, nothing.body).state == "completed"


def test_many_are_rescued_at_once_each_by_its_attempt(row: Job) -> None:
    others = job_manager.submit_many(nothing, [([], {})] * 3)
    pairs = [_pair(stages.claim(one)) for one in (row, *others[:2])]
    waiting = stages.queue(others[2])
    wrong = [(row.id, uuid4()), (uuid4(), uuid4()), (others[2].id, waiting)]
    assert {one.id for one in rescue([*pairs, *wrong], "died", "test")} == {row.id, others[0].id, others[1].id}
    assert stages.fresh(others[2]).state == "queued"


def test_an_attempt_that_has_ended_is_left_alone(row: Job) -> None:
    claimed = stages.claim(row)
    transitions.move("complete", "id = %s", [stages.key(row)])
    assert rescue([_pair(claimed)], "died", "test") == []
    assert stages.fresh(row).state == "completed"
    assert rescue([], "died", "test") == []


def test_a_cancel_request_outlives_the_process(row: Job) -> None:
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id, reason="enough")
    (moved,) = rescue([_pair(claimed)], "died", "test")
    now = stages.fresh(row)
    assert (moved.edge, now.state, now.reason, now.rescue_count) == ("cancel", "cancelled", "enough", 0)


def test_whose_attempts_are_open(row: Job) -> None:
    here, there = stages.start_worker(), stages.start_worker()
    mine, theirs, ended = (stages.claim(job_manager.submit(nothing), worker) for worker in (here, there, here))
    transitions.move("complete", "id = %s", [stages.key(Job(pk=ended.row["id"]))])
    assert open_attempts(here) == {_pair(mine)}
    assert attempts_of_the_fenced(10) == []
    heartbeats.retire(there)
    assert attempts_of_the_fenced(10) == [_pair(theirs)]
    heartbeats.retire(here)
    assert len(attempts_of_the_fenced(1)) == 1


def test_since_when_a_task_is_unknown(row: Job, clock: Clock) -> None:
    attempt_id = stages.queue(row)
    note_unknown([(row.id, attempt_id)])
    first = clock.moment
    clock.forward(10)
    note_unknown([(row.id, attempt_id), (row.id, uuid4())])
    assert stages.fresh(row).unknown_since == first
    transitions.move("claim", "id = %s", [stages.key(row)])
    assert stages.fresh(row).unknown_since is None
