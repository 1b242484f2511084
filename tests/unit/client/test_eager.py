"""The inline worker as Celery's eager mode uses it: `delay()` comes back when the job has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from jobcenter import celery_app
from jobs import JobTask, job, job_manager
from jobs.admission import publishing
from jobs.client import eager as inline
from jobs.exceptions import JobFailed
from jobs.models import Job, Pool, Worker
from jobs.results import JobResult
from tests.app import stages

pytestmark = pytest.mark.django_db


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(celery_app.conf, "task_always_eager", True)


@job(bind=True, name="inline.sum", max_retries=1, retry_delay=100)
def add(self: JobTask, *numbers: int, fail_first: int = 0) -> int:
    if self.job.attempt <= fail_first:
        raise ValueError("not yet")
    return sum(numbers)


@job(bind=True, name="inline.nested")
def nested(self: JobTask, depth: int) -> Any:
    return depth and [nested.delay(depth - 1).get(), self.job.id is not None]


@job(bind=True, name="inline.request")
def what_celery_says(self: JobTask) -> list[Any]:
    return [str(self.request.id), bool(self.request.is_eager), cast(Any, self.request.delivery_info)["routing_key"]]


def test_an_eager_delay_gives_back_a_finished_result(eager: None) -> None:
    result = add.delay(1, 2)
    assert isinstance(result, JobResult)
    assert (result.state, result.get()) == ("SUCCESS", 3)
    assert stages.edges(Job.objects.get(pk=result.id)) == ["create", "admit", "claim", "complete"]


@pytest.mark.django_db(transaction=True)
def test_with_real_commits_too(eager: None) -> None:
    assert add.delay(1, 2, fail_first=1).get() == 3


def test_retries_run_at_once(eager: None) -> None:
    result = add.delay(4, fail_first=1)
    row = Job.objects.get(pk=result.id)
    assert (row.state, row.attempt, row.result) == ("completed", 2, 4)


def test_a_countdown_is_not_waited_for(eager: None) -> None:
    result = add.apply_async((5,), countdown=86_400)
    row = Job.objects.get(pk=result.id)
    assert (row.state, row.result) == ("completed", 5)
    assert (row.started_at - row.created_at).total_seconds() >= 86_399.9


def test_a_failure_stays_in_the_result(eager: None) -> None:
    result = add.delay(1, fail_first=2)
    assert result.state == "FAILURE"
    with pytest.raises(JobFailed, match="not yet"):
        result.get()


def test_it_propagates_when_celery_is_told_to(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(celery_app.conf, "task_eager_propagates", True)
    with pytest.raises(JobFailed, match="not yet"):
        add.delay(1, fail_first=2)


def test_apply_runs_here_and_now_without_eager_mode() -> None:
    assert add.apply((1, 2)).get() == 3
    with pytest.raises(JobFailed):
        add.apply((1,), {"fail_first": 2}, throw=True)


def test_an_eager_delay_inside_a_body_runs_within_it(eager: None) -> None:
    assert nested.delay(2).get() == [[0, True], True]


def test_the_body_sees_celerys_request(eager: None) -> None:
    result = what_celery_says.delay()
    attempt = Job.objects.get(pk=result.id).attempts.get()
    assert result.get() == [str(attempt.id), True, "default"]


def test_a_job_without_room_stays_waiting(eager: None) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=0)
    assert add.delay(1).state == "PENDING"


def test_what_waited_beside_it_runs_as_well(eager: None) -> None:
    row = job_manager.submit(add, [1])
    add.delay(2)
    assert stages.fresh(row).state == "completed"
    assert Job.objects.get(pk=row.pk).release_count == 0


def test_the_broker_known_to_be_away_does_not_matter(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = publishing.Breaker()
    breaker.failed()
    monkeypatch.setattr(publishing, "breaker", breaker)
    assert breaker.is_open
    assert add.delay(1).get() == 1


def test_doorbells_go_to_the_broker_again_afterwards(eager: None, broken_broker: list[Any]) -> None:
    add.delay(1)
    assert broken_broker == []
    row = job_manager.submit(add, [1])
    stages.start_worker()
    publishing.publish([publishing.JobMessage("default", row.task, ((row.id, stages.queue(row)),))])
    assert len(broken_broker) == 1


@pytest.fixture
def broken_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A broker that refuses every connection; the list counts the tries."""
    tries: list[Any] = []

    def refuse(*args: Any, **_: Any) -> None:
        tries.append(args)
        raise ConnectionRefusedError

    monkeypatch.setattr(publishing, "breaker", publishing.Breaker())
    monkeypatch.setattr(celery_app, "connection_for_write", refuse)
    publishing.disconnect()
    yield tries
    publishing.disconnect()


def test_the_worker_of_a_context_is_one(sent: list[Any]) -> None:
    with inline.worker() as outer, inline.worker() as inner:
        assert inner is outer
    with inline.worker() as other:
        assert other is not outer


def test_it_leaves_nothing_behind_when_the_block_fails(db: None) -> None:
    @job(name="inline.interrupted")
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.apply()
    assert not Worker.objects.unfenced().exists()
