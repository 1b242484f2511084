"""The way of a job that ends well, and what it left on the way: row, events, attempt, what it said meanwhile."""

import math
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from celery import current_app
from django.db import connections, transaction
from django.db.models.functions import Now

from jobs import job_manager, signals
from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from jobs.exceptions import InvalidArguments, InvalidOption, InvalidPayload, JobNotFinished, JobNotFound, UnknownPool
from jobs.models import Job, JobEvent, JobLog, Pool, transitions
from jobs.models import Worker as WorkerRow
from tests.app.jobs import add, count_to, hold, measure, mirror, snooze_first
from tests.app.stages import key, queue
from tests.integration.house import LONG, House, attempts, fresh, outcomes, story
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker


def test_a_job_runs_to_its_end_and_leaves_its_history(house: House) -> None:
    submitted = house.submit(add, 2, 3, owner="ann", metadata={"colour": "red"}, tags=["one"])
    job = house.done(submitted)
    assert (job.state, job.result, job.progress, job.run, job.attempt) == ("completed", 5, 100, 1, 1)
    assert (job.owner, job.metadata, job.tags) == ("ann", {"colour": "red"}, ["one"])
    assert job_manager.get_job_results(job.id) == 5
    assert story(job) == ["create", "admit", "claim", "complete"]
    assert None not in (job.queued_at, job.started_at, job.finished_at)
    assert job.created_at <= job.queued_at <= job.started_at <= job.finished_at
    assert len(house.effects(job)) == 1


def test_the_attempt_says_who_ran_it(house: House) -> None:
    job = house.run(add, 1, 1)
    (attempt,) = attempts(job)
    assert (attempt.number, attempt.outcome, attempt.hostname) == (1, "completed", socket.gethostname())
    assert attempt.id == job.attempt_id
    assert attempt.pid in house.worker.children()
    assert attempt.pid == house.effects(job)[0]["pid"]
    assert attempt.worker == WorkerRow.objects.get(pid=house.worker.pid)
    assert attempt.worker.pools == ["default"]
    assert job.started_at
    assert job.finished_at
    assert attempt.finished_at
    assert abs(attempt.started_at - job.started_at) < timedelta(seconds=1)  # on SQLite they are two statements
    assert abs(attempt.finished_at - job.finished_at) < timedelta(seconds=1)


def test_events_say_who_moved_the_job(house: House) -> None:
    job = house.run(add, 1, 1, owner="ann")
    actors = dict(JobEvent.objects.filter(job=job).values_list("name", "actor"))
    assert actors == {"create": "ann", "admit": "admission", "claim": socket.gethostname(), "complete": "execution"}


def test_many_jobs_of_one_submission_each_run_once(house: House) -> None:
    jobs = job_manager.submit_many(add, [((number, 0), {}) for number in range(40)])
    assert [house.done(job).result for job in jobs] == list(range(40))
    assert all(len(house.effects(job)) == 1 for job in jobs)


VALUES = [
    datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
    date(2026, 2, 3),
    uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    Decimal("1.10"),
    b"\x00\xff",
    {"__type__": "x"},
    {"__jobs__": "uuid", "value": "not one"},
    {"nested": [None, True, 1e22, -0.5, "\u00e9\U0001f600"]},
]


def test_values_come_back_equal_and_of_their_types(house: House) -> None:
    job = house.submit(mirror, *VALUES)
    result = house.done(job).result
    assert result["args"] == VALUES
    assert result["types"] == [type(value).__name__ for value in VALUES]
    assert result["equal"] is True
    assert fresh(job).args == VALUES
    assert [type(value) for value in result["args"]] == [type(value) for value in VALUES]


def test_five_megabytes_get_through_where_they_are_allowed(house: House, settings: Any) -> None:
    settings.JOBS = {**settings.JOBS, "MAX_PAYLOAD": 8 * 2**20}
    text = "jobcenter " * 500_000
    job = house.run(measure, text)
    assert (job.state, job.result) == ("completed", len(text))


def test_a_body_sees_its_job(house: House) -> None:
    options: dict[str, Any] = {"metadata": {"page": 3}}
    answer = job_manager.run_job("castle", mirror, ["a"], {"size": 2}, **options)
    result = house.done(answer.job).result
    assert (result["args"], result["kwargs"]) == (["a"], {"size": 2})
    assert (result["key"], result["metadata"]) == ("castle", {"page": 3})


def test_nothing_happens_of_what_was_rolled_back(house: House) -> None:
    announced: list[uuid.UUID] = []

    def hear(job: Job, **_: Any) -> None:
        announced.append(job.id)

    signals.job_submitted.connect(hear)
    with transaction.atomic():
        rolled_back = house.submit(add, 1, 1)
        transaction.set_rollback(True)
    with transaction.atomic():
        kept = house.submit(add, 2, 2)
        with transaction.atomic():
            inner = house.submit(add, 3, 3)
            transaction.set_rollback(True)
    assert announced == [kept.id]
    assert house.done(kept).result == 4
    for job in (rolled_back, inner):
        with pytest.raises(JobNotFound):
            job_manager.get_job(job.id)
        assert house.effects(job) == []


def test_nobody_sees_a_job_before_its_commit(house: House) -> None:
    with transaction.atomic():
        job = house.submit(add, 1, 1)
        with ThreadPoolExecutor() as other:
            assert not other.submit(_is_visible, job).result()
    assert house.done(job).result == 2


def _is_visible(job: Job) -> bool:
    try:
        return Job.objects.filter(pk=job.pk).exists()
    finally:
        connections.close_all()


def test_other_hooks_of_the_commit_run_whatever_admission_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def broken() -> None:
        ran.append("admission")
        raise OSError("no way")

    monkeypatch.setattr("jobs.admission.wakeup.own_feeder.wake", broken)
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("before"))
        job = house.submit(add, 1, 1)
        transaction.on_commit(lambda: ran.append("after"))
    assert ran == ["before", "admission", "after"]
    monkeypatch.undo()
    assert house.done(job).result == 2  # the steward admits what nobody else did


DEEP: Any = reduce(lambda inner, _: [inner], range(101), [])  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("task", "args", "options", "error"),
    [
        (add, [1], {}, InvalidArguments),
        ("tests.app.jobs.add", [1], {}, InvalidArguments),
        (add, [1, 2], {"pool": "nowhere"}, UnknownPool),
        (add, [1, 2], {"colour": "red"}, InvalidOption),
        (add, [1, math.nan], {}, InvalidPayload),
        (add, [1, -math.inf], {}, InvalidPayload),
        (add, [1, "NUL \0"], {}, InvalidPayload),
        (add, [1, "surrogate \ud800"], {}, InvalidPayload),
        (add, [1, DEEP], {}, InvalidPayload),
        (add, [1, "x" * 2**20], {}, InvalidPayload),
        (add, [1, 2], {"metadata": {"name": "NUL \0"}}, InvalidPayload),
    ],
)
def test_a_wrong_call_writes_nothing_on_any_database(
    house: House, task: Any, args: list[Any], options: Any, error: type
) -> None:
    before = Job.objects.count()
    with pytest.raises(error):
        house.submit(task, *args, **options)
    assert Job.objects.count() == before


def test_arguments_that_nobody_could_check_at_submit_are_refused_at_the_claim(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_app, "tasks", {})  # this process has not imported the task
    job = house.submit("tests.app.jobs.add", 1)
    monkeypatch.undo()
    done = house.done(job)
    assert (done.state, done.error_type) == ("failed", "jobs.exceptions.InvalidArguments")
    assert "missing a required argument: 'b'" in done.error_message


def test_a_task_that_no_worker_knows_fails_after_a_while(house: House) -> None:
    job = house.run("tests.nowhere.task", 1)
    assert (job.state, job.error_category) == ("failed", "unknown_task")
    assert outcomes(job) == []


def test_a_delayed_job_waits_for_its_time(house: House) -> None:
    job = house.submit(add, 1, 1, run_after=1.5)
    assert job.state == "scheduled"
    assert job.run_after
    done = house.done(job)
    assert story(job) == ["create", "due", "admit", "claim", "complete"]
    assert done.started_at >= job.run_after


def test_a_held_job_waits_for_its_start(house: House) -> None:
    held, other = house.submit(add, 1, 1, start=False), house.submit(add, 2, 2)
    house.done(other)
    assert fresh(held).state == "paused"
    assert job_manager.start_job(held.id) == "STARTED"
    assert job_manager.start_job(held.id) == "ALREADY_STARTED"
    assert house.done(held).result == 2


def test_a_snooze_uses_no_retry(house: House) -> None:
    job = house.run(snooze_first, 2, 0.3)
    assert (job.state, job.result, job.retry_count, job.error_count) == ("completed", 3, 0, 0)
    assert outcomes(job) == ["snoozed", "snoozed", "completed"]
    first, second, _ = attempts(job)
    assert first.finished_at
    assert second.started_at - first.finished_at >= timedelta(seconds=0.3)


def test_progress_is_seen_from_outside_and_written_seldom(house: House) -> None:
    """400 calls of `progress()` in about two seconds; the test looks as often as it can."""
    job = house.submit(count_to, 400, 0.005)
    seen: list[tuple[float, str]] = []

    def look() -> bool:
        row = fresh(job)
        if row.state == "running" and row.message and (row.progress, row.message) not in seen:
            seen.append((row.progress, row.message))
            assert (row.stage, row.sub_progress) == ("counting", 50)
        return row.is_final

    wait_until(look, LONG, "the count")
    (attempt,) = attempts(job)
    assert attempt.finished_at
    assert 2 <= len(seen) <= 2 * (attempt.finished_at - attempt.started_at).total_seconds() + 2
    assert seen == sorted(seen)
    assert all(message == f"step {round(percent * 4)}" for percent, message in seen)


def test_the_last_word_is_kept(house: House) -> None:
    job = house.run(count_to, 300, 0)
    assert (job.progress, job.message, job.stage) == (100, "step 300", "counting")
    assert [entry["step"] for entry in job.diagnostics] == list(range(101, 301))  # the newest 200
    assert list(JobLog.objects.filter(job=job).values_list("text", flat=True)) == ["counted to 300"]


def test_a_handle_waits_for_the_end(house: House) -> None:
    gate = house.gate()
    job = house.in_body(hold, gate)
    handle = job_manager.handle(job.id)
    assert (handle.status, job_manager.get_job_status(job.id)["state"]) == ("running", "running")
    with pytest.raises(JobNotFinished):
        handle.wait(0.1)
    gate.touch()
    assert handle.wait(LONG).result == "opened"
    assert handle.status == "completed"


def test_a_doorbell_of_another_admission_starts_nothing(house: House) -> None:
    """A message may come late, or twenty times: only those of the present admission run the job, and only once."""
    Pool.objects.update(max_concurrent=0)
    job = house.submit(add, 1, 1)
    old = queue(job)
    transitions.move("release", "id = %s", [key(job)])
    present = queue(job)
    Job.objects.filter(pk=job.pk).update(published_at=Now() + timedelta(seconds=60))  # the steward need not help
    Pool.objects.update(max_concurrent=None)
    assert publishing.publish([JobMessage("default", add.name, ((job.id, old),))] * 5) == 5
    assert [house.run(add, 2, 2).result for _ in range(4)] == [4] * 4  # behind the stale ones in both processes
    assert (fresh(job).state, house.effects(job)) == ("queued", [])
    assert publishing.publish([JobMessage("default", add.name, ((job.id, present),))] * 20) == 20
    assert house.done(job).result == 2
    assert [house.run(add, 2, 2).result for _ in range(4)] == [4] * 4
    assert [attempt.id for attempt in attempts(job)] == [present]
    assert len(house.effects(job)) == 1


def test_async_code_awaits_the_same_answers(house: House) -> None:
    gate = house.gate()

    async def go() -> tuple[str, str, str]:
        answer = await job_manager.arun_job("castle", hold, [str(gate)])
        again = await job_manager.arun_job("castle", hold, [str(gate)])
        gate.touch()
        await sync_to_async(house.done)(answer.job)
        return answer.type, again.type, await job_manager.aget_job_results(answer.job.id)

    assert async_to_sync(go)() == ("JOB_CREATED", "JOB_ALREADY_RUNNING", "opened")
