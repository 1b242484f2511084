"""The only writer of the state: compare-and-set, its fence, its event, and what hooks and signals learn of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from jobs import job, job_manager, signals
from jobs.core.db.values import prepare
from jobs.execution.back_to_queue import return_to_queue
from jobs.models import Job, transitions
from jobs.models.transitions import HOOKS, Hook, Moved, Sql, move, note
from jobs.states import EDGES
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="transitions.nothing")
def nothing(*_: Any) -> None: ...


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing)


@pytest.fixture
def hook(django_capture_on_commit_callbacks: Any) -> Iterator[list[Moved]]:
    """What the hooks are told of in this test, each at its commit."""
    told: list[Moved] = []

    def listen(moved: Sequence[Moved]) -> None:
        told.extend(moved)

    HOOKS.append(listen)
    yield told
    HOOKS.remove(listen)


FENCE = "id = %s AND attempt_id = %s"


def test_a_move_is_fenced_by_the_attempt(row: Job) -> None:
    claimed = stages.claim(row)
    stranger = [stages.key(row), prepare("default", Job, "attempt_id", uuid4())]
    assert move("complete", FENCE, stranger) == []
    assert len(move("complete", FENCE, claimed.fence)) == 1
    assert move("complete", FENCE, claimed.fence) == []


def test_an_attempt_id_of_an_earlier_admission_changes_nothing(row: Job) -> None:
    first = stages.claim(row)
    assert return_to_queue("interrupt", FENCE, first.fence)
    second = stages.claim(row)
    assert first.row["attempt_id"] != second.row["attempt_id"]
    assert move("complete", FENCE, first.fence) == []
    assert stages.fresh(row).state == "running"


def test_many_jobs_move_at_once_each_with_its_event(row: Job) -> None:
    rows = [row, *job_manager.submit_many(nothing, [([n], {}) for n in range(4)])]
    rows[1] = stages.put(rows[1], "paused")
    moved = move("cancel", "task = %s", [nothing.name], sets={"reason": "all of them"})
    assert {one.id: one.from_state for one in moved} == {one.id: one.state for one in rows}
    for one in rows[:1] + rows[2:]:
        stages.check_history(stages.fresh(one))


def test_no_match_writes_nothing(row: Job) -> None:
    assert move("cancel", "id = %s", [prepare("default", Job, "id", uuid4())]) == []
    assert stages.edges(row) == ["create"]


def test_events_count_without_a_gap_over_a_long_life(row: Job) -> None:
    claimed = stages.claim(row)
    return_to_queue("retry", FENCE, claimed.fence, sets={"run_after": Sql("{now}")})
    note(row.id, "drift")
    move("due", "id = %s", [stages.key(row)])
    claimed = stages.claim(row)
    move("fail", FENCE, claimed.fence)
    move("requeue", "id = %s", [stages.key(row)], to="'pending'")
    fresh = stages.fresh(row)
    assert stages.edges(row) == [
        "create",
        "admit",
        "claim",
        "retry",
        "drift",
        "due",
        "admit",
        "claim",
        "fail",
        "requeue",
    ]
    stages.check_history(fresh)


def test_a_claim_opens_an_attempt_and_its_end_closes_it(row: Job) -> None:
    claimed = stages.claim(row)
    attempt = row.attempts.get()
    assert (attempt.id, attempt.run, attempt.number, attempt.outcome) == (claimed.row["attempt_id"], 1, 1, "")
    assert attempt.finished_at is None
    error = {"error_category": "user", "error_type": "ValueError", "error_message": "no", "error_traceback": "…"}
    move("fail", FENCE, claimed.fence, attempt=error)
    closed = row.attempts.get()
    assert (closed.outcome, closed.as_error()["message"]) == ("failed", "no")
    assert closed.finished_at is not None


def test_attempts_count_from_one_in_each_run(row: Job) -> None:
    move("fail", FENCE, stages.claim(row).fence)
    move("requeue", "id = %s", [stages.key(row)], to="'pending'")
    move("fail", FENCE, stages.claim(row).fence)
    assert list(row.attempts.order_by("run").values_list("run", "number")) == [(1, 1), (2, 1)]


def test_a_requeue_begins_anew(row: Job) -> None:
    stages.put(
        row,
        "failed",
        retry_count=2,
        rescue_count=1,
        error_count=4,
        release_count=3,
        progress=40,
        message="m",
        result="text",
        error_type="ValueError",
        error_category="user",
        error_message="no",
        cancel_requested_at=timezone.now(),
        reason="why",
    )
    move("requeue", "id = %s", [stages.key(row)], to="'pending'")
    fresh = stages.fresh(row)
    assert (fresh.run, fresh.attempt, fresh.retry_count, fresh.rescue_count, fresh.release_count) == (2, 0, 0, 0, 0)
    assert (fresh.progress, fresh.message, fresh.result, fresh.reason, fresh.error_type) == (0, "", None, "", "")
    assert (fresh.finished_at, fresh.cancel_requested_at, fresh.error_count) == (None, None, 0)


# --- a person's request outlives an attempt


@pytest.mark.parametrize("edge", sorted(transitions.BACK_TO_WAITING))
def test_nobody_asked_and_the_job_goes_back_to_waiting(row: Job, edge: str) -> None:
    claimed = stages.claim(row)
    (moved,) = return_to_queue(edge, FENCE, claimed.fence)
    assert moved.edge == edge
    assert stages.fresh(row).state in {"scheduled", "pending"}


@pytest.mark.parametrize("edge", sorted(transitions.BACK_TO_WAITING))
@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ({"cancel_requested_at"}, "cancelled"),
        ({"pause_requested_at"}, "paused"),
        ({"cancel_requested_at", "pause_requested_at"}, "cancelled"),
    ],
)
def test_a_request_takes_the_place_of_going_back(row: Job, edge: str, asked: set[str], instead: str) -> None:
    claimed = stages.claim(row)
    Job.objects.filter(pk=row.pk).update(**dict.fromkeys(asked, timezone.now()))
    (moved,) = return_to_queue(
        edge, FENCE, claimed.fence, attempt={"error_message": "kept"}, sets={"run_after": Sql("{now}")}
    )
    assert moved.to_state == stages.fresh(row).state == instead
    attempt = row.attempts.get()
    failed = instead == "paused" and edge in transitions.COUNTED
    assert (attempt.outcome, attempt.error_message) == (EDGES[edge].outcome if failed else instead, "kept")


def test_a_pause_answers_its_request(row: Job) -> None:
    claimed = stages.claim(row)
    Job.objects.filter(pk=row.pk).update(pause_requested_at=timezone.now())
    return_to_queue("retry", FENCE, claimed.fence)
    assert stages.fresh(row).pause_requested_at is None


# --- events that move nothing


def test_a_note_is_an_event_without_a_move(row: Job) -> None:
    assert note(row.id, "stale", actor="me", data={"edge": "complete"})
    event = row.events.get(name="stale")
    assert (event.seq, event.from_state, event.to_state, event.actor) == (2, "pending", "pending", "me")
    assert event.data == {"edge": "complete"}
    stages.check_history(stages.fresh(row))


def test_a_note_on_a_deleted_job_says_so() -> None:
    assert not note(uuid4(), "stale")


# --- who is told


def test_hooks_are_told_after_the_commit(row: Job, hook: list[Moved], django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        move("cancel", "id = %s", [stages.key(row)])
        assert hook == []
    assert [(one.edge, one.id) for one in hook] == [("cancel", row.id)]


def test_a_rolled_back_move_never_happened(
    row: Job, hook: list[Moved], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(LookupError), transaction.atomic():
        _move_and_fail(row)
    assert hook == []
    assert stages.edges(row) == ["create"]


def _move_and_fail(row: Job) -> None:
    assert move("cancel", "id = %s", [stages.key(row)])
    raise LookupError


def test_a_hook_that_raises_stops_no_other(
    row: Job,
    hook: list[Moved],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Any,
) -> None:
    def broken(moved: Sequence[Moved]) -> None:
        raise LookupError("a broken hook")

    hooks: list[Hook] = [broken, *HOOKS]
    monkeypatch.setattr(transitions, "HOOKS", hooks)
    with django_capture_on_commit_callbacks(execute=True):
        move("cancel", "id = %s", [stages.key(row)])
    assert [one.edge for one in hook] == ["cancel"]
    assert "a broken hook" in caplog.text


def test_the_job_of_a_move_is_the_row_as_written(row: Job, django_assert_num_queries: Any) -> None:
    (moved,) = move("cancel", "id = %s", [stages.key(row)], sets={"reason": "enough"}, returning=("reason",))
    with django_assert_num_queries(0):
        assert (moved.job.id, moved.job.state, moved.job.reason) == (row.id, "cancelled", "enough")
    with django_assert_num_queries(1):  # what did not come back is read when it is touched
        assert moved.job.priority == "medium"


def test_where_a_signal_is_listened_to_the_whole_row_comes_back(row: Job, django_assert_num_queries: Any) -> None:
    def listen(**_: Any) -> None: ...

    signals.job_cancelled.connect(listen)
    try:
        (moved,) = move("cancel", "id = %s", [stages.key(row)])
    finally:
        signals.job_cancelled.disconnect(listen)
    with django_assert_num_queries(0):
        assert moved.job.priority == "medium"
