"""The way in: what a submit writes, what it refuses, and that a refusal or a rollback leaves nothing behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, transaction
from django.test import override_settings

from jobs import JobManager, JobTask, job, job_manager
from jobs.exceptions import InvalidArguments, InvalidOption, InvalidPayload, JobsError, UnknownPool, UnknownTask
from jobs.models import Job, JobEvent, Pool, Priority
from jobs.submission import insertion
from jobs.testing.plugin import InlineJobs
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
HOUR = 3600


@job(name="submission.echo")
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@job(
    name="submission.declared",
    priority="high",
    max_retries=3,
    retry_delay=2.5,
    tags=["a"],
    owner="ann",
    metadata={"customer": "acme"},
    operation_type="analysis",
)
def declared(first: int, *, second: int = 0) -> None: ...


@job(name="submission.bounded", timeout=20)
def bounded() -> None: ...


@job(name="submission.pooled", pool="declared-by-a-task")
def pooled() -> None: ...


def _columns(row: Job) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in Job._meta.concrete_fields}


def _nothing_was_written() -> bool:
    return not Job.objects.exists() and not JobEvent.objects.exists()


# --- what is written


def test_the_row_that_comes_back_is_the_row_as_written() -> None:
    row = job_manager.submit(declared, [1], {"second": 2}, external_id="TSK-1", batch_id="b", session_id="s")
    assert _columns(row) == _columns(stages.fresh(row))


def test_a_bare_submit() -> None:
    row = job_manager.submit(echo)
    assert (row.state, row.task, row.pool, row.priority) == ("pending", "submission.echo", "default", "medium")
    assert (row.args, row.kwargs, row.key, row.max_retries, row.owner) == ([], {}, None, 0, "")
    assert row.eligible_at == row.created_at == row.updated_at


def test_the_event_names_the_owner() -> None:
    row = job_manager.submit(echo, owner="ann")
    event = row.events.get()
    assert (event.seq, event.name, event.from_state, event.to_state) == (1, "create", "", "pending")
    assert (event.actor, event.at) == ("ann", row.created_at)


def test_declared_options_and_those_of_the_call_that_override_them() -> None:
    row = job_manager.submit(declared, [1])
    assert (row.priority, row.max_retries, row.retry_delay, row.tags) == ("high", 3, 2.5, ["a"])
    assert (row.owner, row.metadata, row.operation_type) == ("ann", {"customer": "acme"}, "analysis")
    row = job_manager.submit(declared, [1], priority="LOW", max_retries=0, tags=[], owner="", metadata={})
    assert (row.priority, row.max_retries, row.tags, row.owner, row.metadata) == ("low", 0, [], "", {})


def test_no_delay_and_an_empty_key_are_kept() -> None:
    row = job_manager.run_job("", echo, retry_delay=0, estimated_duration=0).job
    assert (row.key, row.retry_delay, row.estimated_duration) == ("", 0, 0)
    assert _columns(row) == _columns(stages.fresh(row))
    assert not job_manager.run_job("", echo).created


def test_retries_come_from_the_settings_where_nobody_says() -> None:
    with override_settings(JOBS={"RETRY": {"max_retries": 4}}):
        assert job_manager.submit(echo).max_retries == 4
        assert job_manager.submit(declared, [1]).max_retries == 3


def test_the_rank_is_the_time_less_the_head_start(clock: Clock) -> None:
    for word, head_start in Priority.objects.values_list("name", "head_start"):
        row = job_manager.submit(echo, priority=word)
        assert row.rank == pytest.approx(clock.moment.timestamp() - head_start, abs=0.001)


@pytest.mark.parametrize(
    "later",
    [lambda now: now + timedelta(hours=1), lambda _: timedelta(hours=1), lambda _: HOUR, lambda _: float(HOUR)],
    ids=["datetime", "timedelta", "int", "float"],
)
def test_what_shall_run_later_is_scheduled(clock: Clock, later: Callable[[datetime], Any]) -> None:
    row = job_manager.submit(echo, run_after=later(clock.moment))
    due = clock.moment + timedelta(hours=1)
    assert (row.state, row.run_after, row.eligible_at) == ("scheduled", due, due)
    assert row.rank == pytest.approx(due.timestamp(), abs=0.001)
    assert row.created_at == clock.moment


@pytest.mark.parametrize("earlier", [-5, 0, timedelta(days=-1), datetime(2020, 1, 1, tzinfo=UTC)])
def test_what_is_due_already_is_pending(clock: Clock, earlier: Any) -> None:
    row = job_manager.submit(echo, run_after=earlier)
    assert (row.state, row.eligible_at) == ("pending", clock.moment)


def test_a_held_job(clock: Clock) -> None:
    row = job_manager.submit(echo, start=False)
    assert (row.state, row.reason) == ("paused", "not started")
    assert stages.edges(row) == ["create"]


def test_many_at_once_in_the_order_of_the_calls() -> None:
    rows = job_manager.submit_many(echo, (([n], {"n": n}) for n in range(2500)), owner="ann")
    assert [row.args for row in rows] == [[n] for n in range(2500)]
    assert [row.kwargs for row in rows] == [{"n": n} for n in range(2500)]
    assert JobEvent.objects.filter(name="create", seq=1, actor="ann").count() == 2500
    assert list(Job.objects.order_by("id").values_list("id", flat=True)) == [row.id for row in rows]


def test_many_of_none() -> None:
    assert job_manager.submit_many(echo, []) == []


@pytest.mark.django_db(transaction=True)
def test_more_than_a_chunk_is_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insertion, "CHUNK", 2)
    insert, calls = insertion._insert, []

    def fail_at_the_second(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise LookupError
        return insert(*args)

    monkeypatch.setattr(insertion, "_insert", fail_at_the_second)
    with pytest.raises(LookupError):
        job_manager.submit_many(echo, [([n], {}) for n in range(4)])
    assert _nothing_was_written()


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_submit_never_happened() -> None:
    with pytest.raises(LookupError), transaction.atomic():
        _submit_and_fail()
    assert _nothing_was_written()


def _submit_and_fail() -> None:
    job_manager.submit(echo)
    job_manager.submit_many(echo, [([1], {}), ([2], {})])
    job_manager.run_job("key", echo)
    raise LookupError


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["jobs_job", "jobs_jobevent"])
def test_a_database_that_refuses_the_insert_leaves_nothing_half_written(table: str) -> None:
    with stages.refusing(f"INSERT ON {table}"):
        for submit in (
            lambda: job_manager.submit(echo),
            lambda: job_manager.submit_many(echo, [([1], {}), ([2], {})]),
            lambda: job_manager.run_job("key", echo),
        ):
            with pytest.raises(DatabaseError, match="refused by the test"):
                submit()
    assert _nothing_was_written()
    assert job_manager.run_job("key", echo).created


# --- values


def test_values_come_back_equal_in_the_body(jobs_inline: InlineJobs) -> None:
    values = {
        "datetime": datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
        "date": date(2026, 2, 3),
        "uuid": uuid4(),
        "decimal": Decimal("1.10"),
        "bytes": b"\x00\xff",
        "plain": {"__type__": "x"},
        "text": "ä€😀",
        "none": None,
    }
    seen: list[Any] = []

    @job(name="submission.see")
    def see(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return kwargs

    row = job_manager.submit(see, [values], values)
    assert (row.args, row.kwargs) == ([values], values)
    jobs_inline.drain()
    assert seen == [((values,), values)]
    assert job_manager.get_job_results(row.id) == values
    assert type(stages.fresh(row).result["uuid"]) is UUID


def test_five_megabytes_run_where_eight_are_allowed(jobs_inline: InlineJobs) -> None:
    text = "x" * (5 * 2**20)
    with override_settings(JOBS={"MAX_PAYLOAD": 8 * 2**20}):
        row = job_manager.submit(echo, [text])
        jobs_inline.drain()
        assert job_manager.get_job_results(row.id) == [[text], {}]
    with pytest.raises(InvalidPayload, match="MAX_PAYLOAD"):
        job_manager.submit(echo, [text])


def _nested(levels: int) -> list[Any]:
    return [_nested(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        (_nested(101), "levels deep"),
        ("x" * 2**20, "MAX_PAYLOAD"),
        ({1: 2}, "key of type int"),
        ({"\0": 1}, "NUL"),
        (object(), "of type object"),
        ({1, 2}, "list"),
    ],
    ids=["nan", "inf", "-inf", "nul", "surrogate", "deep", "large", "key", "nul-key", "object", "set"],
)
def test_what_cannot_be_stored_is_refused(value: Any, message: str) -> None:
    for args, kwargs in (([value], {}), ([], {"name": value})):
        with pytest.raises(InvalidPayload, match=message):
            job_manager.submit(echo, args, kwargs)
        with pytest.raises(InvalidPayload, match=message):
            job_manager.run_job("key", echo, args, kwargs)
    with pytest.raises(InvalidPayload):
        job_manager.submit_many(echo, [([1], {}), ([value], {})])
    assert _nothing_was_written()


@pytest.mark.parametrize(
    "value", [math.nan, "\0", "\ud800", object(), datetime(2026, 1, 1, tzinfo=UTC), uuid4(), b"x", Decimal(1)]
)
def test_metadata_is_plain_json(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="metadata"):
        job_manager.submit(echo, metadata={"value": value})
    assert _nothing_was_written()


def test_metadata_may_hold_whatever_json_does() -> None:
    plain = {"__jobs__": "mine", "list": [1, 2.5, None, True, {"x": "ä"}]}
    row = job_manager.submit(echo, metadata=plain)
    assert stages.fresh(row).metadata == json.loads(json.dumps(plain))


# --- wrong calls


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([], {}, "first"),
        ([1, 2], {}, "positional"),
        ([1], {"third": 3}, "third"),
        ([1], {"first": 2}, "first"),
    ],
)
def test_a_call_that_the_function_does_not_take(args: list[Any], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArguments, match=rf"submission\.declared.*{message}"):
        job_manager.submit(declared, args, kwargs)
    assert _nothing_was_written()


@pytest.mark.parametrize("args", ["castle", b"x", 5, None, {"a": 1}, {1}], ids=repr)
def test_arguments_that_are_no_list(args: Any) -> None:
    with pytest.raises(InvalidArguments, match="args"):
        job_manager.submit(echo, args)
    with pytest.raises(InvalidArguments, match="args"):
        job_manager.submit_many(echo, [([1], {}), (args, {})])
    assert _nothing_was_written()


@pytest.mark.parametrize("kwargs", ["castle", [("a", 1)], 5], ids=repr)
def test_keywords_that_are_no_dict(kwargs: Any) -> None:
    with pytest.raises(InvalidArguments, match="kwargs"):
        job_manager.submit(echo, [], kwargs)


@pytest.mark.parametrize("call", [5, [1], ([1], {}, "more"), "ab"], ids=repr)
def test_a_call_that_is_no_pair(call: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"args|pair"):
        job_manager.submit_many(echo, [([1], {}), call])
    assert _nothing_was_written()


def test_by_name_a_known_task_is_checked_and_configured_alike() -> None:
    assert job_manager.submit("submission.declared", [1]).priority == "high"
    with pytest.raises(InvalidArguments):
        job_manager.submit("submission.declared")


def test_self_is_not_an_argument() -> None:
    @job(bind=True, name="submission.bound")
    def bound(self: JobTask, number: int) -> None: ...

    assert job_manager.submit(bound, [1]).args == [1]
    with pytest.raises(InvalidArguments):
        job_manager.submit(bound, [1, 2])


def test_a_name_that_this_process_does_not_know() -> None:
    assert job_manager.submit("elsewhere.task", [1]).task == "elsewhere.task"
    with override_settings(JOBS={"STRICT_TASKS": True}), pytest.raises(UnknownTask, match=r"'submission\.echo'"):
        job_manager.submit("submission.ecko")


@pytest.mark.parametrize("task", [None, 5, print, "", "x" * 201, "a\0b", "\ud800"], ids=repr)
def test_what_is_no_task(task: Any) -> None:
    with pytest.raises(JobsError):
        job_manager.submit(task)
    assert _nothing_was_written()


def test_a_plain_celery_task_is_no_job() -> None:
    with pytest.raises(InvalidOption, match=r"celery\.backend_cleanup.*is no job"):
        job_manager.submit("celery.backend_cleanup")


def test_an_option_that_does_not_exist() -> None:
    with pytest.raises(InvalidOption, match="'priority'"):
        job_manager.submit(echo, priorty="high")
    with pytest.raises(InvalidOption, match="depends_on"):  # comes with a later release
        job_manager.submit(echo, depends_on=[])
    assert _nothing_was_written()


# --- pools


def test_a_pool_that_does_not_exist() -> None:
    Pool.objects.create(name="gpu")
    with pytest.raises(UnknownPool, match="Did you mean 'gpu'"):
        job_manager.submit(echo, pool="gpo")
    assert job_manager.submit(echo, pool="gpu").pool == "gpu"


def test_a_pool_that_a_task_declares_comes_into_being() -> None:
    assert job_manager.submit(pooled).pool == "declared-by-a-task"
    assert Pool.objects.filter(name="declared-by-a-task").exists()


@pytest.mark.django_db(transaction=True)
def test_a_pool_that_was_rolled_back_is_unknown_again() -> None:
    with pytest.raises(LookupError), transaction.atomic():
        _use_a_new_pool_and_fail()
    with pytest.raises(UnknownPool):
        job_manager.submit(echo, pool="fleeting")
    job_manager.submit(pooled)
    assert Pool.objects.filter(name="declared-by-a-task").exists()


def _use_a_new_pool_and_fail() -> None:
    Pool.objects.create(name="fleeting")
    for _ in range(2):
        job_manager.submit(echo, pool="fleeting")
        job_manager.submit(pooled)
    raise LookupError


# --- run keys


def test_one_unfinished_job_per_key() -> None:
    first, again = job_manager.run_job("page-1", echo, [1]), job_manager.run_job("page-1", echo, [2])
    assert (first.type, first.created, again.type, again.created) == ("JOB_CREATED", True, "JOB_ALREADY_RUNNING", False)
    assert again.job.id == first.job.id
    assert again.job.args == [1]


def test_a_finished_job_frees_its_key() -> None:
    first = job_manager.run_job("page-1", echo).job
    job_manager.cancel_job(first.id)
    assert job_manager.run_job("page-1", echo).created
    assert job_manager.retry_job(first.id) == "KEY_TAKEN"


def test_the_key_belongs_to_the_manager_not_to_the_task() -> None:
    first = job_manager.run_job("k", echo)
    assert job_manager.run_job("k", pooled).job.id == first.job.id
    other: JobManager[str, Any, Any] = JobManager("completions")
    assert other.run_job("k", echo).created
    again: JobManager[str, Any, Any] = JobManager("completions")
    assert not again.run_job("k", echo).created


def test_submitted_jobs_have_no_key() -> None:
    assert {job_manager.submit(echo).active_key for _ in range(2)} == {None}


def test_a_factory_is_called_only_when_no_job_holds_the_key() -> None:
    calls: list[int] = []

    def factory() -> Any:
        calls.append(1)
        return echo.s(5, x=6)

    first = job_manager.run_job("lazy", factory)
    assert (first.job.task, first.job.args, first.job.kwargs) == ("submission.echo", [5], {"x": 6})
    assert not job_manager.run_job("lazy", factory).created
    assert len(calls) == 1


def test_a_factory_that_raises_writes_nothing() -> None:
    def factory() -> Any:
        raise LookupError("nothing to do")

    with pytest.raises(LookupError, match="nothing to do"):
        job_manager.run_job("lazy", factory)
    assert _nothing_was_written()


@pytest.mark.parametrize("made", [None, 5, "text", {"task": 5}], ids=repr)
def test_a_factory_that_makes_no_signature(made: Any) -> None:
    with pytest.raises(JobsError, match="signature"):
        job_manager.run_job("lazy", lambda: made)
    assert _nothing_was_written()


@pytest.mark.parametrize("key", ["x" * 1001, "a\0b", "\ud800", None, 1.5, True, [], {}, ("a", None)], ids=repr)
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(InvalidOption, match="key"):
        job_manager.run_job(key, echo)
    with pytest.raises(InvalidOption, match="key"):
        job_manager.get_running_job(key)
    assert _nothing_was_written()


# --- whose time-out counts


@pytest.mark.parametrize(
    ("submitted", "task_says", "expected"),
    [
        ({}, None, 7),
        ({"operation_type": "analysis"}, None, 9),
        ({"operation_type": "codemap"}, None, 7),
        ({}, 20, 20),
        ({"operation_type": "analysis"}, 20, 20),
        ({"operation_type": "analysis", "timeout": 3}, 20, 3),
    ],
    ids=["default", "operation", "another operation", "task", "task over operation", "submit over all"],
)
def test_the_nearest_word_on_its_time_out_counts(
    submitted: dict[str, Any], task_says: float | None, expected: float
) -> None:
    task = bounded if task_says else echo
    with override_settings(JOBS={"TIMEOUT": {"default": 7, "operations": {"analysis": 9}}}):
        assert job_manager.submit(task, **submitted).timeout == expected


def test_without_a_word_it_has_no_time_out() -> None:
    assert job_manager.submit(echo, operation_type="analysis").timeout is None
