"""`@job` and Celery's spellings: what becomes an option, what is ignored, what is refused; and who calls a job how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord, group, shared_task
from celery.exceptions import Ignore
from kombu import Queue

from jobcenter import celery_app
from jobs import JobTask, job, job_manager
from jobs.admission.publishing import JobMessage
from jobs.client.task import _IGNORED, _REFUSED
from jobs.exceptions import InvalidArguments, InvalidOption
from jobs.models import Job, Pool
from jobs.results import JobResult
from tests.app import stages
from tests.app.stages import Clock

NOW = datetime(2031, 5, 6, tzinfo=UTC)


@job(name="task.plain")
def plain(number: int, *, more: int = 0) -> int:
    """The docstring of the function."""
    return number + more


@job(bind=True, name="task.bound", priority="high", max_retries=2)
def bound(self: JobTask, number: int = 0) -> list[Any]:
    return [self.name, number, self.job.id and str(self.job.id)]


@job
def bare() -> str:
    return "bare"


def _submitted() -> Job:
    return Job.objects.get()


# --- the decorator


def test_a_job_is_a_celery_task() -> None:
    assert isinstance(plain, JobTask)
    assert celery_app.tasks["task.plain"] == plain
    assert plain.__doc__ == "The docstring of the function."
    assert bare.name == f"{bare.__module__}.bare"
    assert (bound.options.priority, bound.options.max_retries) == ("high", 2)


def test_celery_sees_no_arguments_and_stores_no_result() -> None:
    assert (plain.typing, plain.ignore_result, plain.Request) == (False, True, "jobs.worker:JobRequest")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priorty": "high"}, "priority"),
        ({"priority": "urgent"}, "urgent"),
        ({"max_retries": -1}, "max_retries"),
        ({"expires": "soon"}, "expires"),
        ({"rate_limit": "1/s"}, "rate_limit"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        job(**options)


def test_what_would_only_make_an_object_is_refused() -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    for body in (coroutine, generator):
        with pytest.raises(InvalidOption, match=body.__name__):
            job(body)


# --- a direct call


def test_a_direct_call_is_the_plain_function() -> None:
    assert plain(2, more=3) == 5
    assert bound(7) == ["task.bound", 7, None]
    with pytest.raises(TypeError):
        plain()


@pytest.mark.django_db
def test_a_direct_call_in_a_body_is_not_the_running_job() -> None:
    row = job_manager.submit(plain, [1])
    assert stages.perform(row, lambda _: bound(7)).result == ["task.bound", 7, None]


# --- Celery's spellings


@pytest.mark.django_db
def test_delay_and_apply_async_submit_a_job() -> None:
    result = plain.delay(1, more=2)
    row = _submitted()
    assert isinstance(result, JobResult)
    assert (result.id, row.args, row.kwargs, row.state) == (str(row.id), [1], {"more": 2}, "pending")
    assert Job.objects.get(pk=plain.apply_async((1,), {"more": 2}).id).args == [1]
    assert Job.objects.get(pk=plain.s(1).delay(more=5).id).kwargs == {"more": 5}
    assert Job.objects.get(pk=plain.s(1).apply_async().id).args == [1]


@pytest.mark.django_db
def test_a_wrong_call_is_refused_where_it_is_made() -> None:
    with pytest.raises(InvalidArguments, match=r"task\.plain"):
        plain.delay()
    with pytest.raises(InvalidArguments):
        plain.apply_async((1, 2))
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"countdown": 60}, {"state": "scheduled", "run_after": timedelta(seconds=60)}),
        ({"countdown": 0}, {"state": "pending"}),
        ({"countdown": None}, {"state": "pending", "run_after": None}),
        ({"eta": NOW}, {"state": "scheduled", "run_after": NOW}),
        ({"eta": None}, {"state": "pending"}),
        ({"queue": "gpu"}, {"pool": "gpu"}),
        ({"queue": Queue("gpu")}, {"pool": "gpu"}),
        ({"queue": None}, {"pool": "default"}),
        ({"priority": 0}, {"priority": "low"}),
        ({"priority": 4}, {"priority": "medium"}),
        ({"priority": 6}, {"priority": "high"}),
        ({"priority": 9}, {"priority": "critical"}),
        ({"priority": 255}, {"priority": "critical"}),
        ({"priority": -1}, {"priority": "low"}),
        ({"priority": "High"}, {"priority": "high"}),
        ({"max_retries": 5, "owner": "ann"}, {"max_retries": 5, "owner": "ann"}),
        ({"metadata": {"a": 1}, "tags": ["t"]}, {"metadata": {"a": 1}, "tags": ["t"]}),
    ],
    ids=str,
)
def test_what_is_mapped(clock: Clock, options: dict[str, Any], expected: dict[str, Any]) -> None:
    Pool.objects.create(name="gpu")
    plain.apply_async((1,), **options)
    row = _submitted()
    for name, value in expected.items():
        wanted = clock.moment + value if isinstance(value, timedelta) else value
        assert getattr(row, name) == wanted, name


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(_IGNORED - {"countdown", "eta", "queue"}))
def test_what_only_a_message_has_is_ignored(name: str) -> None:
    options: dict[str, Any] = {name: "whatever"}
    plain.apply_async((1,), **options)
    assert _submitted().state == "pending"


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(_REFUSED))
def test_what_a_job_cannot_do_is_refused_with_advice(name: str) -> None:
    options: dict[str, Any] = {name: "something"}
    with pytest.raises(InvalidOption, match=rf"{name}: \w+.* \w+") as caught:
        plain.apply_async((1,), **options)
    assert caught.value.option == name
    assert not Job.objects.exists()
    plain.apply_async((1,), **dict.fromkeys(options))
    assert Job.objects.exists()


@pytest.mark.django_db
def test_an_option_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidOption, match="countdwn"):
        plain.apply_async((1,), countdwn=5)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "canvas",
    [
        lambda: chain(plain.s(1), plain.s()).apply_async(),
        lambda: group(plain.s(1), plain.s(2)).apply_async(),
        lambda: chord([plain.s(1)])(plain.s()),
        lambda: plain.apply_async((1,), link=plain.s()),
    ],
    ids=["chain", "group", "chord", "link"],
)
def test_canvas_is_refused(canvas: Any) -> None:
    with pytest.raises(InvalidOption):
        canvas()
    assert not Job.objects.exists()


# --- what a worker's message does


@contextmanager
def _message(task: Any, **request: Any) -> Iterator[None]:
    """Celery's request of a message that a worker has taken."""
    task.push_request(id=str(uuid4()), called_directly=False, **request)
    try:
        yield
    finally:
        task.pop_request()


@pytest.mark.django_db
def test_a_doorbell_runs_its_job(sent: list[JobMessage]) -> None:
    row = job_manager.submit(bound, [3])
    pair = [str(row.id), str(stages.queue(row))]
    with _message(bound, jobs=[pair]):
        assert bound() is None  # the outcome is in the row; Celery has nothing to keep
    assert stages.fresh(row).result == ["task.bound", 3, str(row.id)]


@pytest.mark.django_db
def test_a_stale_doorbell_is_ignored(sent: list[JobMessage]) -> None:
    row = job_manager.submit(bound)
    with _message(bound, jobs=[[str(row.id), str(uuid4())]]), pytest.raises(Ignore):
        bound()
    assert stages.fresh(row).state == "pending"


@pytest.mark.django_db
def test_a_doorbell_with_several_jobs_runs_each(sent: list[JobMessage]) -> None:
    rows = job_manager.submit_many(plain, [([n], {}) for n in range(3)])
    pairs = [[str(row.id), str(stages.queue(row))] for row in rows]
    with _message(plain, jobs=[*pairs, [str(uuid4()), str(uuid4())]]):
        plain()
    assert [stages.fresh(row).result for row in rows] == [0, 1, 2]


@pytest.mark.django_db
def test_a_message_without_our_header_is_adopted_as_a_job() -> None:
    with _message(plain):
        job_id = plain(1, more=2)
    row = _submitted()
    assert (str(row.id), row.args, row.kwargs, row.state) == (job_id, [1], {"more": 2}, "pending")


@pytest.mark.django_db
def test_a_job_that_calls_itself_in_its_body_does_not_run_the_doorbell_again(sent: list[JobMessage]) -> None:
    row = job_manager.submit(recursive, [3])
    with _message(recursive, jobs=[[str(row.id), str(stages.queue(row))]]):
        recursive()
    assert stages.fresh(row).result == 6
    assert stages.edges(row).count("claim") == 1


@job(name="task.recursive")
def recursive(number: int) -> int:
    return number + int(recursive(number - 1)) if number else 0


@pytest.mark.django_db
def test_a_plain_celery_task_stays_what_it_is() -> None:
    @shared_task(name="task.celery")
    def celery_task(number: int) -> int:
        return number

    assert celery_task(5) == 5
    assert celery_task.apply((6,)).get() == 6
    assert not Job.objects.exists()
