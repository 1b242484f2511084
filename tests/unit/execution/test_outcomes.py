"""What follows a failed attempt, as the row, its pool and its task say; and requests that come in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.exceptions import JobAborted
from jobs.execution import finishing, outcomes
from jobs.execution.claims import Claimed
from jobs.execution.failures.failure import Failure
from jobs.execution.progress import flusher
from jobs.execution.termination import end_failed
from jobs.models import Job, Pool, transitions
from tests.app import stages
from tests.app.stages import Clock, perform

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
AWAY = ConnectionError("away")
SLOW = Failure("timeout", "TimeLimitExceeded", "ran for 61 s")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", True)


@job(name="sequels.nothing")
def nothing(*_: Any) -> None: ...


@job(
    name="sequels.careful",
    max_retries=2,
    retry_delay=10,
    retry_multiplier=3,
    retry_jitter=False,
    retry_on=(ConnectionError, "timeout"),
    never_retry=["BrokenPipeError"],
)
def careful() -> None: ...


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def body(*_: Any, **__: Any) -> NoReturn:
        raise error

    return body


def _again(row: Job, error: BaseException = AWAY) -> Job:
    """The next attempt of a job that is to be retried."""
    transitions.move("due", "id = %s", [stages.key(row)])
    return perform(row, _raise(error))


def _pair(claimed: Claimed) -> tuple[Any, Any]:
    return claimed.row["id"], claimed.row["attempt_id"]


def _waits(row: Job, clock: Clock) -> float:
    assert row.state == "scheduled"
    return float((row.run_after - clock.moment).total_seconds())


# --- the policy of a task, of a submit, of a pool, of the setting


def test_a_task_says_which_how_often_and_when(clock: Clock) -> None:
    row = job_manager.submit(careful)
    assert _waits(perform(row, _raise(AWAY)), clock) == 10
    assert _waits(_again(row), clock) == 30
    done = _again(row)
    assert (done.state, done.retry_count, done.error_category, done.error_type) == (
        "failed",
        2,
        "transient",
        "ConnectionError",
    )
    assert {error["fingerprint"] for error in done.errors} == {done.error_fingerprint} != {""}
    stages.check_history(done)


@pytest.mark.parametrize("error", [ValueError(), BrokenPipeError(), MemoryError()], ids=repr)
def test_what_a_task_does_not_name_ends_it(error: Exception) -> None:
    done = perform(job_manager.submit(careful), _raise(error))
    assert (done.state, done.retry_count) == ("failed", 0)


def test_a_submit_goes_before_its_task(clock: Clock) -> None:
    row = job_manager.submit(careful, retry_delay=100, retry_cap=150, retry_on=["ValueError"], max_retries=9)
    assert _waits(perform(row, _raise(ValueError())), clock) == 100
    assert _waits(_again(row, ValueError()), clock) == 150
    assert _again(row).state == "failed"  # a ConnectionError, which this submit does not name


def test_a_pool_goes_before_the_setting_and_after_the_job(clock: Clock) -> None:
    Pool.objects.update(max_retries=3, retry_delay=7, retry_multiplier=2, retry_jitter=False, retry_cap=10)
    with override_settings(JOBS={"RETRY": {"max_retries": 1, "initial_delay": 50}}):
        row, own = job_manager.submit(nothing), job_manager.submit(nothing, max_retries=1, retry_delay=1)
        assert (row.max_retries, own.max_retries) == (3, 1)
        assert stages.fresh(row).max_retries == 3
        assert _waits(perform(row, _raise(AWAY)), clock) == 7
        assert _waits(_again(row), clock) == 10
        assert _waits(perform(own, _raise(AWAY)), clock) == 1
        Pool.objects.update(retry_delay=None, retry_cap=None)
        assert _waits(_again(row), clock) == 200
    assert {one.max_retries for one in job_manager.submit_many(nothing, [([], {})] * 2)} == {3}


def test_a_pool_that_says_none_takes_retries_away() -> None:
    Pool.objects.update(max_retries=0)
    with override_settings(JOBS={"RETRY": {"max_retries": 5}}):
        assert job_manager.submit(nothing).max_retries == 0


def test_none_begins_after_the_deadline_which_counts_from_the_first_start(clock: Clock) -> None:
    row = job_manager.submit(
        nothing, max_retries=9, retry_delay=10, retry_multiplier=1, retry_jitter=False, retry_deadline=25
    )
    clock.forward(1000)  # waiting does not count
    assert perform(row, _raise(AWAY)).state == "scheduled"
    clock.forward(10)
    assert _again(row).state == "scheduled"
    clock.forward(10)
    done = _again(row)
    assert (done.state, done.retry_count) == ("failed", 2)
    job_manager.retry_job(row.id)
    assert perform(row, _raise(AWAY)).state == "scheduled"  # another run, which begins now


def test_no_retry_is_planned_for_when_it_has_expired(clock: Clock) -> None:
    row = job_manager.submit(nothing, max_retries=9, retry_delay=60, retry_jitter=False, expires=90)
    assert perform(row, _raise(AWAY)).state == "scheduled"
    clock.forward(60)
    done = _again(row)
    assert (done.state, done.error_category) == ("failed", "transient")  # its own error, not a later `expired`


def test_what_may_run_once_is_not_tried_again() -> None:
    with override_settings(JOBS={"RETRY": {"max_retries": 5}}):
        Pool.objects.update(max_retries=5)
        row = job_manager.submit(nothing, at_most_once=True)
    Job.objects.filter(pk=row.pk).update(max_retries=5)
    assert perform(row, _raise(AWAY)).state == "failed"


# --- the same from outside the process


def test_a_time_out_is_a_failure_as_any_other(clock: Clock) -> None:
    row = job_manager.submit(careful)
    claimed = stages.claim(row)
    (moved,) = end_failed(_pair(claimed), SLOW, "guard", attempt={"peak_memory_mb": 12.5}, data={"why": "slow"})
    waiting = stages.fresh(row)
    assert (moved.edge, waiting.state, waiting.run_after - clock.moment) == (
        "retry",
        "scheduled",
        timedelta(seconds=10),
    )
    attempt = row.attempts.get()
    assert (attempt.outcome, attempt.error_category, attempt.peak_memory_mb) == ("retried", "timeout", 12.5)
    assert row.events.get(name="retry").data == {"why": "slow"}
    assert end_failed(_pair(claimed), SLOW, "guard") == []
    stages.check_history(waiting)


def test_a_request_to_stop_wins_over_it() -> None:
    row = job_manager.submit(careful)
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id)
    (moved,) = end_failed(_pair(claimed), SLOW, "guard")
    assert (moved.edge, stages.fresh(row).state) == ("cancel", "cancelled")


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_request_between_the_choice_and_the_move_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, max_retries: int
) -> None:
    row = job_manager.submit(nothing, max_retries=max_retries)
    decide = outcomes.decide

    def late(*args: Any, **options: Any) -> Any:
        chosen = decide(*args, **options)
        job_manager.cancel_job(row.id, reason="enough")
        return chosen

    monkeypatch.setattr(outcomes, "decide", late)
    done = perform(row, _raise(AWAY))
    assert (done.state, done.reason, done.attempts.get().outcome) == ("cancelled", "enough", "cancelled")
    stages.check_history(done)


def test_an_error_to_stop_with_between_the_choice_and_the_move(monkeypatch: pytest.MonkeyPatch) -> None:
    row = job_manager.submit(nothing, max_retries=1)
    decide = outcomes.decide

    def late(*args: Any, **options: Any) -> Any:
        chosen = decide(*args, **options)
        job_manager.stop(row.id, ValueError("enough"))
        return chosen

    monkeypatch.setattr(outcomes, "decide", late)
    done = perform(row, _raise(AWAY))
    assert (done.state, done.error_category, done.error_message) == ("failed", "stopped", "enough")
    stages.check_history(done)


def test_a_failure_reads_once_and_writes_once(django_assert_num_queries: Any) -> None:
    claimed = stages.claim(job_manager.submit(nothing))
    with django_assert_num_queries(6):  # the choice; on SQLite: begin and end, row, event, attempt
        finishing.fail(claimed, ValueError())


def test_of_an_attempt_that_has_ended_nothing_is_chosen() -> None:
    row = job_manager.submit(nothing)
    claimed = stages.claim(row)
    transitions.move("complete", "id = %s", [stages.key(row)])
    assert outcomes.decide(claimed.pair, SLOW) is None
    assert outcomes.decide(claimed.pair, SLOW, is_abort=True) is None


def test_a_body_that_aborts_by_itself_is_cancelled() -> None:
    done = perform(job_manager.submit(careful), _raise(JobAborted("of its own accord")))
    assert (done.state, done.errors[0]["category"]) == ("cancelled", "cancelled")
