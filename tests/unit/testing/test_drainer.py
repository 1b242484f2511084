"""The users' kit: `drain()` and the fixtures of the plugin, used as a project would use them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import receiver

import jobs.testing
from jobs import JobTask, job, job_manager
from jobs.admission.wakeup import own_feeder
from jobs.exceptions import UnknownTask
from jobs.execution.progress import flusher
from jobs.models import Job, Pool, Worker
from jobs.signals import job_completed
from jobs.testing import drain
from jobs.testing.drainer import ENOUGH
from jobs.testing.plugin import InlineJobs
from jobs.testing.threads import threads_worker
from tests.app import stages

TEN_MINUTES = 600


@job(name="testing.double")
def double(number: int) -> int:
    return number * 2


@job(bind=True, name="testing.third_time_lucky", max_retries=2, retry_delay=TEN_MINUTES)
def third_time_lucky(self: JobTask) -> int:
    if self.job.attempt < 3:
        raise ValueError("not yet")
    return self.job.attempt


@job(bind=True, name="testing.for_ever")
def for_ever(self: JobTask) -> None:
    self.job.snooze(1)


@job(bind=True, name="testing.parent")
def parent(self: JobTask, pool: str = "default") -> None:
    self.job.progress(50, "half")
    self.job.log("a line")
    double.delay(1)
    job_manager.submit(double, [2], priority="high", pool=pool)


@job(name="testing.committing")
def committing() -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: double.delay(3))


def test_a_drained_job_went_the_whole_way(jobs_inline: InlineJobs) -> None:
    row = job_manager.submit(double, [21])
    (ran,) = jobs_inline.drain()
    assert (ran.id, ran.state, ran.result) == (row.id, "completed", 42)
    assert stages.edges(ran) == ["create", "admit", "claim", "complete"]
    stages.check_history(ran)
    attempt = ran.attempts.get()
    assert attempt.outcome == "completed"
    assert attempt.worker is not None
    assert attempt.worker.pools == ["default"]


def test_an_empty_database_drains_to_nothing(jobs_inline: InlineJobs) -> None:
    assert jobs_inline.drain() == []


def test_jobs_run_in_the_order_of_rank(jobs_inline: InlineJobs) -> None:
    words = ["low", "critical", "medium", "high"]
    rows = {word: job_manager.submit(double, [0], priority=word) for word in words}
    assert [ran.id for ran in jobs_inline.drain()] == [rows[word].id for word in ("critical", "high", "medium", "low")]


def test_retries_and_schedules_run_at_once_on_a_virtual_clock(jobs_inline: InlineJobs) -> None:
    late = job_manager.submit(double, [1], run_after=timedelta(days=3))
    retried = job_manager.submit(third_time_lucky)
    assert [ran.id for ran in jobs_inline.drain()] == [retried.id, late.id]
    row = stages.fresh(retried)
    assert (row.state, row.result, row.retry_count) == ("completed", 3, 2)
    starts = [attempt.started_at for attempt in row.attempts.order_by("number")]
    assert starts[1] - starts[0] >= timedelta(minutes=5)
    assert stages.fresh(late).started_at >= late.run_after


def test_the_clock_is_real_again_after_a_drain(jobs_inline: InlineJobs) -> None:
    job_manager.submit(double, [1], run_after=timedelta(days=3))
    (ran,) = jobs_inline.drain()
    assert job_manager.submit(double, [1]).created_at < ran.started_at


def test_a_job_appears_once_however_often_it_ran(jobs_inline: InlineJobs) -> None:
    job_manager.submit(third_time_lucky)
    (ran,) = jobs_inline.drain()
    assert ran.attempts.count() == 3


def test_max_jobs_stops_early_and_leaves_the_rest_waiting(jobs_inline: InlineJobs) -> None:
    rows = job_manager.submit_many(double, [([n], {}) for n in range(3)])
    assert [ran.id for ran in jobs_inline.drain(max_jobs=1)] == [rows[0].id]
    assert [stages.fresh(row).state for row in rows] == ["completed", "pending", "pending"]
    assert [ran.id for ran in jobs_inline.drain()] == [rows[1].id, rows[2].id]


def test_endless_work_is_reported(jobs_inline: InlineJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENOUGH == 1000
    monkeypatch.setattr("jobs.testing.drainer.ENOUGH", 5)
    row = job_manager.submit(for_ever)
    with pytest.raises(RuntimeError, match=rf"5 attempts.*{row.id}"):
        jobs_inline.drain()
    assert stages.fresh(row).attempt == 6


def test_exactly_enough_is_not_endless(jobs_inline: InlineJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.testing.drainer.ENOUGH", 3)
    job_manager.submit_many(double, [([n], {}) for n in range(3)])
    assert len(jobs_inline.drain()) == 3


def test_what_bodies_submit_runs_as_well(jobs_inline: InlineJobs) -> None:
    job_manager.submit(parent)
    assert [ran.args for ran in jobs_inline.drain()] == [[], [2], [1]]


def test_a_pool_that_comes_into_being_is_served(jobs_inline: InlineJobs) -> None:
    Pool.objects.create(name="sprouting")
    job_manager.submit(parent, ["sprouting"])
    assert {ran.pool for ran in jobs_inline.drain()} == {"default", "sprouting"}


def test_a_paused_pool_and_a_held_job_stay(jobs_inline: InlineJobs) -> None:
    pool = Pool.objects.create(name="resting")
    held = job_manager.submit(double, [1], start=False)
    waiting = job_manager.submit(double, [1], pool="resting")
    Pool.objects.filter(pk=pool.pk).update(paused_at=waiting.created_at)
    assert jobs_inline.drain() == []
    assert [stages.fresh(row).state for row in (held, waiting)] == ["paused", "pending"]


def test_limits_hold(jobs_inline: InlineJobs) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=0)
    job_manager.submit(double, [1])
    assert jobs_inline.drain() == []


def test_what_somebody_admitted_before_runs(jobs_inline: InlineJobs) -> None:
    row = job_manager.submit(double, [1])
    stages.queue(row)
    assert [ran.id for ran in jobs_inline.drain()] == [row.id]


def test_inside_the_test_transaction_callbacks_and_signals_run(jobs_inline: InlineJobs) -> None:
    told: list[Any] = []

    @receiver(job_completed)
    def note(sender: Any, job: Job, **_: Any) -> None:
        told.append(job.id)

    row = job_manager.submit(committing)
    ran = jobs_inline.drain()
    assert [one.task for one in ran] == ["testing.committing", "testing.double"]
    assert told == [row.id, ran[1].id]


def test_callbacks_from_before_the_drain_are_left_alone(
    jobs_inline: InlineJobs, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        transaction.on_commit(lambda: pytest.fail("this test does not commit"))
        job_manager.submit(committing)
        jobs_inline.drain()
    assert len(callbacks) >= 1


def test_a_callback_that_fails_is_heard_of(jobs_inline: InlineJobs, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("in a callback")

    @receiver(job_completed)
    def commit(sender: Any, **_: Any) -> None:
        transaction.on_commit(fail, robust=True)

    job_manager.submit(double, [1])
    jobs_inline.drain()
    assert "in a callback" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_with_real_commits_too() -> None:
    row = job_manager.submit(committing)
    later = job_manager.submit(third_time_lucky)
    assert [ran.task for ran in drain()] == ["testing.committing", "testing.third_time_lucky", "testing.double"]
    assert {stages.fresh(one).state for one in (row, later)} == {"completed"}


def test_a_name_that_nothing_answers_to_is_an_error_of_the_test(jobs_inline: InlineJobs) -> None:
    row = job_manager.submit("testing.duoble", [1])
    with pytest.raises(UnknownTask, match=r"testing\.double"):
        jobs_inline.drain()
    assert stages.fresh(row).state == "pending"


def test_everything_is_as_it_was_afterwards(jobs_inline: InlineJobs) -> None:
    job_manager.submit(double, [1])
    jobs_inline.drain()
    assert (flusher.inline, own_feeder.wake) == (False, None)
    assert not Worker.objects.unfenced().exists()


def test_progress_and_lines_are_written(jobs_inline: InlineJobs) -> None:
    row = job_manager.submit(parent)
    jobs_inline.drain()
    assert stages.fresh(row).message == "half"
    assert [line.text for line in row.logs.all()] == ["a line"]


def test_ctrl_c_in_a_body_ends_the_job_and_the_drain(jobs_inline: InlineJobs) -> None:
    @job(name="testing.interrupted")
    def interrupted() -> None:
        raise KeyboardInterrupt

    row = job_manager.submit(interrupted)
    rest = job_manager.submit(double, [1])
    with pytest.raises(KeyboardInterrupt):
        jobs_inline.drain()
    assert stages.fresh(row).state == "failed"
    assert stages.fresh(rest).state == "pending"


def test_a_threads_worker_refuses_a_database_in_memory(db: None) -> None:
    with pytest.raises(RuntimeError, match=r"SQLite in memory.*jobs_inline"), threads_worker():
        pytest.fail("it must not start")


def test_the_public_name_is_found_lazily() -> None:
    assert jobs.testing.drain is drain
    with pytest.raises(AttributeError, match="dry"):
        jobs.testing.dry  # noqa: B018
