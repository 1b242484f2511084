"""One attempt from claim to end: which edge each end of a body takes, and what is recorded of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import greenlet
import pytest
from django.test import override_settings

from jobs import JobTask, job, job_manager
from jobs.admission.publishing import JobMessage
from jobs.exceptions import JobAborted, JobFailed
from jobs.execution import attempt, back_to_queue, claims, context, heartbeats
from jobs.execution.failures.failure import RetryJob
from jobs.execution.progress import flusher
from jobs.models import Attempt, Job, transitions
from tests.app import stages
from tests.app.stages import Clock, perform, refusing

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]
HOUR = 3600


@job(name="execution.nothing")
def nothing(*args: Any, **kwargs: Any) -> None: ...


@job(bind=True, name="execution.retry", max_retries=1)
def retry(self: JobTask, **how: Any) -> None:
    self.retry(**how)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bodies say is written by their own connection: a database in memory has but one."""
    monkeypatch.setattr(flusher, "inline", True)


@pytest.fixture
def row() -> Job:
    return job_manager.submit(nothing, [1], {"two": 2})


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def body(*_: Any, **__: Any) -> NoReturn:
        raise error

    return body


# --- the claim


def test_a_claim_gives_the_arguments_and_opens_the_attempt(clock: Clock) -> None:
    row = job_manager.run_job("k", nothing, [1], {"two": 2}, metadata={"m": 1}, owner="ann").job
    worker = stages.start_worker()
    claimed = stages.claim(row, worker)
    this = claimed.context
    assert (this.id, this.key, this.attempt, this.args, this.kwargs) == (row.id, "k", 1, [1], {"two": 2})
    assert (this.metadata, this.owner, this.started_at) == ({"m": 1}, "ann", clock.moment)
    attempt = row.attempts.get()
    assert (attempt.id, attempt.worker_id, attempt.number) == (this.attempt_id, worker, 1)
    assert attempt.pid
    assert attempt.hostname
    assert stages.fresh(row).state == "running"


def test_a_message_can_be_claimed_once(row: Job) -> None:
    attempt_id = stages.queue(row)
    assert claims.claim(row.id, attempt_id, None) is not None
    assert claims.claim(row.id, attempt_id, None) is None


def test_an_old_message_runs_nothing(row: Job) -> None:
    old = stages.queue(row)
    transitions.move("release", "id = %s", [stages.key(row)])
    assert not attempt.perform(row.id, old, _raise(AssertionError("it must not run")), None)
    stages.queue(row)
    assert not attempt.perform(row.id, old, _raise(AssertionError("it must not run")), None)
    assert not attempt.perform(uuid4(), uuid4(), _raise(AssertionError("it must not run")), None)


def test_a_cancelled_job_is_not_claimed(row: Job) -> None:
    attempt_id = stages.queue(row)
    job_manager.cancel_job(row.id)
    assert claims.claim(row.id, attempt_id, None) is None


def test_a_fenced_worker_claims_nothing(row: Job) -> None:
    worker = stages.start_worker()
    attempt_id = stages.queue(row)
    heartbeats.retire(worker)
    assert claims.claim(row.id, attempt_id, worker) is None
    assert claims.claim(row.id, attempt_id, stages.start_worker()) is not None


def test_the_claim_is_one_statement_and_its_records(row: Job, django_assert_num_queries: Any) -> None:
    attempt_id = stages.queue(row)
    with django_assert_num_queries(5):  # on SQLite: begin and end, update, event, attempt
        claims.claim(row.id, attempt_id, None)


# --- the ends of a body


def test_a_result_completes(row: Job) -> None:
    done = perform(row, lambda one, two: {"sum": one + two})
    assert (done.state, done.result, done.progress) == ("completed", {"sum": 3}, 100)
    assert done.finished_at is not None
    assert stages.edges(done) == ["create", "admit", "claim", "complete"]
    assert done.attempts.get().outcome == "completed"


def test_the_job_is_current_only_while_its_body_runs(row: Job) -> None:
    seen = []
    perform(row, lambda *_, **__: seen.append(context.current()))
    assert [this.id for this in seen if this] == [row.id]
    assert context.current() is None


@pytest.mark.parametrize("result", [None, 0, "", [], False, {"__type__": "x"}])
def test_any_plain_result_comes_back(row: Job, result: Any) -> None:
    perform(row, lambda *_, **__: result)
    assert job_manager.get_job_results(row.id) == result


def test_a_result_that_cannot_be_stored_completes_and_says_so(row: Job) -> None:
    done = perform(row, lambda *_, **__: object())
    assert (done.state, done.result) == ("completed", None)
    assert done.result_error.startswith("result: ")


def test_a_result_that_is_too_large_completes_and_says_so(row: Job) -> None:
    with override_settings(JOBS={"MAX_PAYLOAD": 100}):
        done = perform(row, lambda *_, **__: "x" * 101)
    assert (done.state, done.result) == ("completed", None)
    assert "MAX_PAYLOAD" in done.result_error


def test_an_exception_fails(row: Job) -> None:
    done = perform(row, _raise(ValueError("wrong")))
    assert (done.state, done.error_category, done.error_type, done.error_message) == (
        "failed",
        "user",
        "ValueError",
        "wrong",
    )
    assert done.error_count == 1
    (error,) = done.errors
    assert (error["attempt"], error["type"], error["message"]) == (1, "ValueError", "wrong")
    assert "raise error" in error["traceback"]


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_UnspeakableError(), "_UnspeakableError"),
        (ValueError("\0\ud800"), "ValueError"),
        (ValueError("x" * 100_000), "ValueError"),
        (SystemExit(), "SystemExit"),
        (SystemExit(3), "SystemExit"),
        (SystemExit("words"), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (MemoryError(), "MemoryError"),
        (BaseException("base"), "BaseException"),
        (type("E" * 300, (Exception,), {})(), "EEE"),
        (ExceptionGroup("group", [ValueError()]), "ExceptionGroup"),
    ],
    ids=lambda value: type(value).__name__[:20],
)
def test_whatever_a_body_raises_is_a_recorded_failure(row: Job, error: BaseException, kind: str) -> None:
    done = perform(row, _raise(error))
    assert done.state == "failed"
    assert kind in done.error_type
    assert len(done.error_type) <= 200
    assert "\0" not in done.error_message
    stages.check_history(done)


def test_sys_exit_in_a_body_is_a_failure(row: Job) -> None:
    assert perform(row, lambda *_, **__: sys.exit(1)).error_type == "SystemExit"


@pytest.mark.parametrize("signal", [9, 15, 2])
def test_the_exit_that_kills_a_child_is_not_recorded(row: Job, signal: int) -> None:
    attempt_id = stages.queue(row)
    with pytest.raises(SystemExit):
        attempt.perform(row.id, attempt_id, _raise(SystemExit(-(256 - signal))), None)
    assert stages.fresh(row).state == "running"


def test_what_its_clean_up_raises_does_not_keep_the_child_alive(row: Job) -> None:
    """TERM came as SystemExit; the roll-back in `finally` went wrong as well. Celery would take that for a failure."""
    attempt_id = stages.queue(row)
    kill = SystemExit(-(256 - 15))

    def body(*_: Any, **__: Any) -> None:
        try:
            raise kill
        finally:
            raise ValueError("no connection")

    with pytest.raises(SystemExit) as raised:
        attempt.perform(row.id, attempt_id, body, None)
    assert raised.value is kill
    assert stages.fresh(row).state == "running"


@pytest.mark.parametrize("cleanup_fails", [False, True])
def test_a_greenlet_that_is_told_to_die_was_interrupted(row: Job, cleanup_fails: bool) -> None:
    attempt_id = stages.queue(row)

    def body(*_: Any, **__: Any) -> None:
        try:
            raise greenlet.GreenletExit
        finally:
            if cleanup_fails:
                raise ValueError("no connection")

    with pytest.raises(ValueError if cleanup_fails else greenlet.GreenletExit):
        attempt.perform(row.id, attempt_id, body, None)
    done = stages.fresh(row)
    assert (done.state, done.error_count, stages.edges(done)[-1]) == ("pending", 0, "interrupt")


# --- a structured failure


def test_a_structured_failure(row: Job) -> None:
    done = perform(row, _raise(JobFailed("no credit", result={"is_error": True}, category="billing")))
    assert (done.state, done.error_category, done.error_message) == ("failed", "billing", "no credit")
    (error,) = done.errors
    assert error["traceback"] == ""
    with pytest.raises(JobFailed, match="no credit") as caught:
        job_manager.get_job_results(row.id)
    assert (caught.value.result, caught.value.category) == ({"is_error": True}, "billing")
    assert caught.value.errors == (error,)


def test_its_result_may_be_impossible_to_store(row: Job) -> None:
    done = perform(row, _raise(JobFailed("no", result=object())))
    assert done.state == "failed"
    assert "object" in done.result["unstorable"]


@pytest.mark.parametrize("category", ["a category that is longer than its column", "a\0b", 5, None])
def test_its_category_is_made_storable(row: Job, category: Any) -> None:
    done = perform(row, _raise(JobFailed("no", category=category)))
    assert done.state == "failed"
    assert len(done.error_category) <= 20
    assert "\0" not in done.error_category


def test_it_retries_only_when_it_says_so() -> None:
    for retry, state in ((False, "failed"), (True, "scheduled")):
        row = job_manager.submit(nothing, max_retries=1)
        assert perform(row, _raise(JobFailed("no", retry=retry))).state == state


# --- retries


def test_a_failure_with_retries_left_waits_for_the_next(clock: Clock) -> None:
    row = job_manager.submit(nothing, max_retries=1, retry_delay=100, priority="high")
    waiting = perform(row, _raise(ValueError("first")))
    assert (waiting.state, waiting.retry_count, waiting.attempt) == ("scheduled", 1, 1)
    assert timedelta(seconds=50) <= waiting.run_after - clock.moment <= timedelta(seconds=100)
    assert waiting.rank == row.rank  # a retry keeps its place
    assert (waiting.error_type, waiting.errors[0]["message"]) == ("", "first")
    transitions.move("due", "id = %s", [stages.key(row)])
    done = perform(row, _raise(ValueError("second")))
    assert (done.state, done.attempt, done.error_message) == ("failed", 2, "second")
    assert [error["message"] for error in done.errors] == ["first", "second"]
    assert [attempt.outcome for attempt in done.attempts.order_by("number")] == ["retried", "failed"]
    stages.check_history(done)


@pytest.mark.parametrize(("countdown", "seconds"), [(0, 0), (7.5, 7.5), (None, 100)])
def test_self_retry(clock: Clock, countdown: float | None, seconds: float) -> None:
    with override_settings(JOBS={"RETRY": {"jitter": False, "initial_delay": 100}}):
        cause = LookupError("the cause")
        waiting = perform(job_manager.submit(retry), lambda: retry.body(exc=cause, countdown=countdown))
    assert (waiting.state, waiting.run_after) == ("scheduled", clock.moment + timedelta(seconds=seconds))
    (error,) = waiting.errors
    assert (error["category"], error["type"], error["message"]) == ("transient", "LookupError", "the cause")


@pytest.mark.parametrize(
    "change",
    [
        {"countdown": float("inf")},
        {"countdown": float("nan")},
        {"countdown": 10**9},
        {"args": [1]},
        {"kwargs": {}},
        {"eta": "soon"},
        {"max_retries": 9},
    ],
    ids=str,
)
def test_what_self_retry_refuses(change: dict[str, Any]) -> None:
    done = perform(job_manager.submit(retry, max_retries=0), lambda: retry.body(**change))
    assert done.state == "failed"
    assert next(iter(change)) in done.error_message


def test_wrong_arguments_are_not_retried() -> None:
    @job(name="execution.takes_one")
    def takes_one(number: int) -> None: ...

    row = job_manager.submit("execution.elsewhere", [1, 2], max_retries=3)  # a task whose signature is unknown here
    done = perform(row, takes_one.body)
    assert (done.state, done.retry_count) == ("failed", 0)
    assert "takes_one" in done.error_message


# --- snooze


def test_a_snooze_uses_no_retry(clock: Clock) -> None:
    row = job_manager.submit(nothing, max_retries=0)

    def body(*_: Any) -> None:
        this = context.current()
        assert this is not None
        this.snooze(HOUR)

    waiting = perform(row, body)
    assert (waiting.state, waiting.retry_count, waiting.attempt) == ("scheduled", 0, 1)
    assert waiting.run_after == clock.moment + timedelta(hours=1)
    assert (waiting.attempts.get().outcome, waiting.errors) == ("snoozed", [])


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 10**9, 10**400])
def test_a_snooze_beyond_the_calendar_is_the_bodys_error(row: Job, seconds: float) -> None:
    def body(*_: Any, **__: Any) -> None:
        this = context.current()
        assert this is not None
        this.snooze(seconds)

    assert perform(row, body).error_type == "ValueError"


# --- cancellation


def _cancelling(row: Job, then: Callable[[], Any]) -> Callable[..., Any]:
    def body(*_: Any, **__: Any) -> Any:
        assert job_manager.cancel_job(row.id, reason="enough") == "REQUESTED"
        return then()

    return body


def _check() -> None:
    this = context.current()
    assert this is not None
    this.check()


def _snooze() -> None:
    this = context.current()
    assert this is not None
    this.snooze(1)


@pytest.mark.parametrize(
    "then",
    [_check, _snooze, _raise(ValueError("late")), _raise(RetryJob()), sys.exit],
    ids=["check", "snooze", "exception", "retry", "exit"],
)
def test_a_cancel_request_wins_over_retry_snooze_and_failure(then: Callable[[], Any]) -> None:
    row = job_manager.submit(nothing, max_retries=5)
    done = perform(row, _cancelling(row, then))
    assert (done.state, done.reason, done.retry_count) == ("cancelled", "enough", 0)
    assert done.attempts.get().outcome == "cancelled"
    stages.check_history(done)


def test_the_exception_after_a_cancel_request_is_kept(row: Job) -> None:
    done = perform(row, _cancelling(row, _raise(ValueError("late"))))
    assert done.errors[0]["message"] == "late"


def test_completing_wins_over_a_late_cancel(row: Job) -> None:
    done = perform(row, _cancelling(row, lambda: "done"))
    assert (done.state, done.result) == ("completed", "done")


def test_a_body_may_abort_itself(row: Job) -> None:
    assert perform(row, _raise(JobAborted("of its own accord"))).state == "cancelled"


# --- what was said last


def _saying(*, end: BaseException | None = None, **said: Any) -> Callable[..., Any]:
    def body(*_: Any, **__: Any) -> None:
        this = context.current()
        assert this is not None
        flusher.inline = False  # nothing is flushed: the finishing write carries it
        this.outbox.update(**said)
        this.outbox.add_line((str(this.started_at), "info", "the last line"))
        if end is not None:
            raise end

    return body


@pytest.mark.parametrize(
    ("end", "progress"), [(None, 100), (ValueError("no"), 40), (JobFailed("no"), 40), (JobAborted(), 40)], ids=repr
)
def test_the_finishing_write_carries_the_last_words(row: Job, end: BaseException | None, progress: float) -> None:
    done = perform(row, _saying(end=end, progress=40.0, message="last", metadata={"m": 1}))
    assert (done.progress, done.message, done.metadata) == (progress, "last", {"m": 1})
    assert [line.text for line in done.logs.all()] == ["the last line"]


def test_an_exception_after_a_cancel_request_loses_no_line(row: Job) -> None:
    say = _saying(end=ValueError("no"))
    done = perform(row, _cancelling(row, say))
    assert (done.state, done.logs.count()) == ("cancelled", 1)


def test_a_job_that_waits_again_shows_nothing_of_the_attempt_but_its_lines() -> None:
    row = job_manager.submit(nothing, max_retries=1)
    waiting = perform(row, _saying(end=ValueError("no"), progress=40.0, message="last", stage="s", metadata={"m": 1}))
    assert (waiting.state, waiting.progress, waiting.message, waiting.stage) == ("scheduled", 0, "", "")
    assert (waiting.metadata, waiting.logs.count()) == ({"m": 1}, 1)


# --- who comes too late, and a database that refuses


@pytest.mark.parametrize(
    ("body", "edge"), [(lambda *_, **__: 1, "complete"), (_raise(ValueError()), "fail")], ids=["complete", "fail"]
)
def test_a_late_finisher_changes_nothing_and_leaves_an_event(row: Job, body: Any, edge: str) -> None:
    def late(*args: Any, **kwargs: Any) -> Any:
        back_to_queue.return_to_queue("rescue", "id = %s", [stages.key(row)])
        stages.claim(row)
        return body(*args, **kwargs)

    now = perform(row, late)
    assert (now.state, now.attempt, now.result) == ("running", 2, None)
    stale = now.events.get(name="stale")
    first = now.attempts.get(number=1)
    assert stale.data == {"attempt": str(first.id), "edge": edge}
    assert first.outcome == "lost"
    stages.check_history(now)


def test_a_finisher_of_a_deleted_job_harms_nothing(row: Job) -> None:
    def deleted(*_: Any, **__: Any) -> None:
        Job.objects.filter(pk=row.pk).delete()

    assert attempt.perform(row.id, stages.queue(row), deleted, None)


def test_a_database_that_refuses_the_result_fails_the_job(row: Job, caplog: pytest.LogCaptureFixture) -> None:
    with refusing("UPDATE OF state ON jobs_job WHEN NEW.state = 'completed'"):
        done = perform(row, lambda *_, **__: "result")
    assert (done.state, done.result, done.error_category) == ("failed", None, "unknown")
    assert "refused by the test" in done.error_message
    assert done.attempts.get().outcome == "failed"
    assert "refused by the test" in caplog.text
    stages.check_history(done)


def test_a_database_that_refuses_progress_does_not_stop_the_body(row: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", False)

    def body(*_: Any, **__: Any) -> str:
        this = context.current()
        assert this is not None
        this.outbox.update(message="refused")
        flusher._watched[uuid4()] = (row.id, this.outbox, 0.0)
        flusher._flush_due()
        flusher._watched.clear()
        this.outbox.update(message="fine")
        return "done"

    with refusing("UPDATE OF message ON jobs_job WHEN NEW.message = 'refused'"):
        done = perform(row, body)
    assert (done.state, done.result, done.message) == ("completed", "done", "fine")


def test_a_finish_tells_who_admits(row: Job, sent: list[JobMessage]) -> None:
    stages.start_worker()
    other = job_manager.submit(nothing)
    perform(row, lambda *_, **__: None)
    assert [message.pairs[0][0] for message in sent] == [other.id]


@pytest.mark.parametrize("how", ["complete", "fail", "retry", "snooze"])
def test_the_end_of_an_attempt_says_what_it_used_and_takes_its_directory_away(how: str) -> None:
    row = job_manager.submit(nothing, max_retries=1 if how == "retry" else 0)
    places: list[Path] = []

    def body(*_: Any) -> None:
        job = context.current()
        assert job is not None
        (job.tmpdir / "file").write_bytes(b"x" * 2**20)
        places.append(job.tmpdir)
        if how == "snooze":
            job.snooze(5)
        if how != "complete":
            raise ValueError("as told")

    stages.perform(row, body)
    attempt = Attempt.objects.get(job=row)
    assert not places[0].exists()
    assert places[0].name == str(attempt.id)
    assert attempt.peak_disk_mb == pytest.approx(1, abs=0.1)
    assert attempt.cpu_seconds is not None
    assert attempt.average_cpu is not None
    assert attempt.peak_memory_mb is None  # this process is not the attempt's alone
