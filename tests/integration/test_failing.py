"""The ways of a job that do not end well: what is recorded, what comes again, and that the worker goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from jobs import job_manager
from jobs.exceptions import JobFailed, ResultUnavailable
from jobs.models import Attempt
from tests.app.jobs import add, ask_again, crash_first, fail_first, leave, raise_odd, return_odd, whoami
from tests.integration.house import RESCUES, House, StartWorker, attempts, fresh, outcomes, story
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker

REFUSED = "refused_by_the_test"


def test_a_failure_is_recorded_with_its_cause(house: House) -> None:
    job = house.run(fail_first, 9, "no such file")
    assert (job.state, job.error_type, job.error_message) == ("failed", "ValueError", "no such file")
    assert (job.error_category, job.error_count, job.result) == ("user", 1, None)
    assert story(job) == ["create", "admit", "claim", "fail"]
    (error,) = job.errors
    assert (error["attempt"], error["type"], error["message"]) == (1, "ValueError", "no such file")
    assert "raise ValueError(message)\nValueError: no such file" in error["traceback"]
    with pytest.raises(JobFailed, match="no such file"):
        job_manager.get_job_results(job.id)


def test_a_person_may_run_it_again(house: House) -> None:
    job = house.run(fail_first, 1)
    assert job.state == "failed"
    assert job_manager.retry_job(job.id) == "REQUEUED"
    again = house.done(job)
    assert (again.state, again.run, again.attempt) == ("failed", 2, 1)  # attempts begin anew: the first one fails
    assert outcomes(job) == ["failed", "failed"]
    assert story(job).count("requeue") == 1


def test_retries_wait_longer_each_time(house: House) -> None:
    job = house.run(fail_first, 2, max_retries=3)
    assert (job.state, job.result, job.retry_count) == ("completed", 3, 2)
    assert outcomes(job) == ["retried", "retried", "completed"]
    one, two, three = attempts(job)
    assert _pause(one, two) >= 0.2  # 0.4 s, of which jitter may take half
    assert _pause(two, three) >= 0.4  # twice that
    assert [error["attempt"] for error in job.errors] == [1, 2]


def _pause(one: Attempt, other: Attempt) -> float:
    assert one.finished_at
    return (other.started_at - one.finished_at).total_seconds()


def test_retries_come_to_an_end(house: House) -> None:
    job = house.run(fail_first, 9, max_retries=1, retry_delay=0.1)
    assert (job.state, job.retry_count) == ("failed", 1)
    assert outcomes(job) == ["retried", "failed"]
    assert len(house.effects(job)) == 2


def test_celerys_own_retry(house: House) -> None:
    job = house.run(ask_again, 0.3, max_retries=1)
    assert (job.state, job.result) == ("completed", 2)
    one, two = attempts(job)
    assert (one.outcome, one.error_type, one.error_message) == ("retried", "ConnectionError", "away")
    assert 0.3 <= _pause(one, two) < 3


@pytest.mark.parametrize("code", [0, 3, "done", None])
def test_sys_exit_in_a_body_fails_the_job_and_not_the_process(house: House, code: object) -> None:
    children = set(house.worker.children())
    job = house.run(leave, code)
    assert (job.state, job.error_type) == ("failed", "SystemExit")
    assert outcomes(job) == ["failed"]
    assert {house.run(whoami).result for _ in range(4)} <= children


def test_os_exit_in_a_body_costs_an_attempt_and_not_the_worker(house: House) -> None:
    children = set(house.worker.children())
    job = house.submit(crash_first, 1)
    others = [house.submit(whoami) for _ in range(4)]
    done = house.done(job)
    assert (done.state, done.result, done.rescue_count, done.retry_count) == ("completed", 2, 1, 0)
    assert outcomes(job) == ["lost", "completed"]
    assert [house.done(other).state for other in others] == ["completed"] * 4
    (dead,) = children - set(house.worker.children())
    assert house.effects(job)[0]["pid"] == dead
    wait_until(lambda: len(house.worker.children()) == 2, 10, "a new process in place of the dead one")


def test_a_job_that_kills_its_process_each_time_is_given_up(house: House) -> None:
    job = house.run(crash_first, 9)
    assert (job.state, job.error_category, job.rescue_count) == ("failed", "lost", RESCUES)
    assert outcomes(job) == ["lost"] * RESCUES + ["failed"]
    assert house.run(whoami).state == "completed"


@pytest.mark.parametrize(
    ("kind", "error_type", "message"),
    [
        ("unspeakable", "tests.app.jobs.Unspeakable", "__str__ raised RuntimeError"),
        ("unstorable text", "ValueError", "NUL \ufffd and surrogate \ufffd"),
        ("huge", "ValueError", " characters more]"),
        ("base", "GeneratorExit", "not an Exception"),
    ],
)
def test_what_resists_being_recorded_is_recorded(house: House, kind: str, error_type: str, message: str) -> None:
    job = house.run(raise_odd, kind)
    assert (job.state, job.error_type) == ("failed", error_type)
    assert message in job.error_message
    assert attempts(job)[0].error_traceback
    assert house.run(whoami).state == "completed"


def test_a_database_that_refuses_the_outcome_fails_the_job(house: House) -> None:
    with _refused_completions():
        job = house.run(add, 1, 1, owner=REFUSED)
        assert house.run(add, 2, 2).result == 4
    assert (job.state, job.result, job.error_category) == ("failed", None, "unknown")
    assert REFUSED in job.error_message
    assert outcomes(job) == ["failed"]
    assert len(house.effects(job)) == 1


@contextmanager
def _refused_completions() -> Iterator[None]:
    """No job of one owner may complete, says the database itself."""
    refused = f"state = 'completed' AND owner = '{REFUSED}'"
    begin = f"ALTER TABLE jobs_job ADD CONSTRAINT {REFUSED} CHECK (NOT ({refused}))"
    end = "ALTER TABLE jobs_job DROP CONSTRAINT"
    if connection.vendor == "sqlite":
        new = refused.replace("state", "NEW.state").replace("owner", "NEW.owner")
        act = f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
        begin, end = f"CREATE TRIGGER {REFUSED} BEFORE UPDATE ON jobs_job WHEN {new} {act}", "DROP TRIGGER"
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"{end} {REFUSED}")


def test_a_body_may_fail_with_a_structured_result(house: House) -> None:
    job = house.run(raise_odd, "structured", max_retries=3)
    assert (job.state, job.error_category, job.result) == ("failed", "printer", {"tray": 2})
    with pytest.raises(JobFailed) as failed:
        job_manager.get_job_results(job.id)
    assert (str(failed.value), failed.value.result, failed.value.category) == ("no paper", {"tray": 2}, "printer")


def test_a_result_that_cannot_be_stored_completes_the_job(house: House) -> None:
    job = house.run(return_odd)
    assert (job.state, job.result) == ("completed", None)
    assert "object" in job.result_error
    with pytest.raises(ResultUnavailable, match="object"):
        job_manager.get_job_results(job.id)


def test_threads_survive_sys_exit_as_well(start_worker: StartWorker) -> None:
    worker = start_worker(pool="threads", concurrency=2)
    jobs = [job_manager.submit(leave, [3]), job_manager.submit(raise_odd, ["base"])]
    ends = [job_manager.handle(job.id).wait(20) for job in jobs]
    assert [(job.state, job.error_type) for job in ends] == [("failed", "SystemExit"), ("failed", "GeneratorExit")]
    for _ in range(4):  # both threads still take jobs
        job = job_manager.submit(whoami)
        assert job_manager.handle(job.id).wait(20).result == worker.pid
    assert fresh(jobs[0]).attempt == 1
