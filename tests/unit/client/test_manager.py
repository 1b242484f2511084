"""The Python API: each public method by name, its coroutine twin, and what a named manager is about."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from jobs import Answer, JobHandle, JobManager, job, job_manager
from jobs.exceptions import (
    InvalidOption,
    JobCancelled,
    JobFailed,
    JobNotFinished,
    JobNotFound,
    ResultUnavailable,
    UnknownFilter,
    UnknownPool,
    UnknownTask,
)
from jobs.models import Job, Pool, TaskPause
from jobs.models.transitions import ALL_COLUMNS
from jobs.monitoring.filters import PRIVATE
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
METHODS = {
    name for name in dir(JobManager) if not name.startswith("_") and inspect.isfunction(getattr(JobManager, name))
}
TWINS = {name for name in METHODS if name[0] == "a" and name[1:] in METHODS}
NO_ID = ["", "nonsense", "01890000", None, 5, b"x", object()]


@job(name="manager.double")
def double(number: int = 1) -> int:
    return number * 2


@pytest.fixture
def row() -> Job:
    return job_manager.submit(double, [21])


# --- the API as a whole


def test_every_public_method_has_its_test() -> None:
    tests = [name for name in dir(sys.modules[__name__]) if name.startswith("test_")]
    untested = {name for name in METHODS - TWINS if not any(test.startswith(f"test_{name}_") for test in tests)}
    assert untested == set()


def test_every_public_method_has_its_twin() -> None:
    assert {f"a{name}" for name in METHODS - TWINS} == TWINS
    for name in TWINS:
        twin = getattr(JobManager, name)
        assert inspect.iscoroutinefunction(twin)
        assert twin.__name__ == name
        assert f"`{name[1:]}`" in (twin.__doc__ or "")


CALLS: dict[str, Callable[[Any], tuple[list[Any], dict[str, Any]]]] = {
    "submit": lambda _: ([double, [1]], {"priority": "high"}),
    "submit_many": lambda _: ([double, [([1], {})]], {}),
    "run_job": lambda _: (["k", double], {}),
    "start_job": lambda row: ([row.id], {}),
    "get_job": lambda row: ([row.id], {}),
    "handle": lambda row: ([row.id], {}),
    "get_running_job": lambda _: (["k"], {}),
    "error_groups": lambda _: ([], {}),
    "list_jobs": lambda _: ([], {"task": "manager.double"}),
    "delete_job": lambda row: ([stages.put(row, "failed").id], {}),
    "get_job_status": lambda row: ([row.id], {}),
    "get_job_results": lambda row: ([stages.perform(row, double.body).id], {}),
    "why": lambda row: ([row.id], {}),
    "cancel_job": lambda row: ([row.id], {"reason": "enough"}),
    "stop": lambda row: ([row.id, ValueError("wrong")], {}),
    "retry_job": lambda row: ([stages.put(row, "failed").id], {}),
    "pause_job": lambda row: ([row.id], {"reason": "maintenance"}),
    "resume_job": lambda row: ([stages.put(row, "paused").id], {}),
    "cancel_jobs": lambda _: ([], {"task": "manager.double", "reason": "enough"}),
    "pause_jobs": lambda _: ([], {"status": "pending"}),
    "resume_jobs": lambda row: ([], {"task": stages.put(row, "paused").task}),
    "retry_jobs": lambda row: ([], {"task": stages.put(row, "failed").task}),
    "pause_task": lambda _: (["manager.double", "maintenance"], {}),
    "resume_task": lambda _: (["manager.double"], {}),
    "set_priority": lambda row: ([row.id, "high"], {}),
    "pause_pool": lambda _: (["default", "maintenance"], {}),
    "drain_pool": lambda _: (["default"], {"reason": "to be removed"}),
    "resume_pool": lambda _: (["default"], {}),
    "cleanup_old_jobs": lambda _: ([], {"days": 1}),
}


def test_every_twin_is_called() -> None:
    assert set(CALLS) == METHODS - TWINS


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_twin_answers_as_its_method_does(name: str) -> None:
    answers = []
    for spelled in (getattr(job_manager, name), async_to_sync(getattr(job_manager, f"a{name}"))):
        row = job_manager.submit(double, [21])
        args, kwargs = CALLS[name](row)
        answers.append(_comparable(spelled(*args, **kwargs)))
        Job.objects.all().delete()
    assert answers[0] == answers[1]


def _comparable(answer: Any) -> Any:
    if isinstance(answer, Job):
        return (answer.task, answer.args, answer.priority, answer.state)
    if isinstance(answer, list):
        return [_comparable(one) for one in answer]
    if isinstance(answer, dict):
        return {name: value for name, value in answer.items() if name in {"status", "task", "progress"}}
    return (answer.type, _comparable(answer.job)) if hasattr(answer, "type") else type(answer) if answer else answer


# --- the way in: what is written is in test_submission


def test_submit_gives_back_the_row(row: Job) -> None:
    assert (row.state, row.manager, row.args) == ("pending", "", [21])
    assert job_manager.submit(double, kwargs={"number": 5}).kwargs == {"number": 5}


def test_submit_many_gives_back_the_rows_in_order() -> None:
    rows = job_manager.submit_many(double, [([n], {}) for n in range(3)], priority="low")
    assert [(row.args, row.priority) for row in rows] == [([n], "low") for n in range(3)]


def test_run_job_answers_whether_it_created_the_job() -> None:
    first = job_manager.run_job("k", double, [1])
    again = job_manager.run_job("k", double, [1])
    assert (first.type, first.created, first.job.key) == ("JOB_CREATED", True, "k")
    assert (again.type, again.created, again.job.id) == ("JOB_ALREADY_RUNNING", False, first.job.id)


def test_managers_of_one_name_share_their_keys() -> None:
    one, same, other = (JobManager[str, Any, Any](name) for name in ("completions", "completions", "images"))
    created = one.run_job("k", double).job
    assert created.manager == "completions"
    assert same.run_job("k", double).job.id == created.id
    assert other.run_job("k", double).created
    assert job_manager.run_job("k", double).created
    assert repr(one) == "JobManager('completions')"


@pytest.mark.parametrize("name", ["x" * 101, "a\0b", "\ud800"], ids=repr)
def test_what_is_no_name_of_a_manager(name: Any) -> None:
    with pytest.raises(InvalidOption, match="name"):
        JobManager(name)


def test_start_job_answers() -> None:
    held = job_manager.submit(double, start=False)
    assert job_manager.start_job(held.id, actor="ann") == Answer.STARTED == "STARTED"
    assert job_manager.start_job(str(held.id)) == Answer.ALREADY_STARTED


# --- looking


def test_get_job_takes_any_spelling_of_the_id(row: Job) -> None:
    for spelling in (row.id, str(row.id), row.id.hex, str(row.id).upper()):
        assert job_manager.get_job(spelling) == row


@pytest.mark.parametrize(
    "method", sorted(name for name in CALLS if "job_id" in str(inspect.signature(getattr(JobManager, name))))
)
def test_an_id_of_no_job_is_named(method: str) -> None:
    for job_id in (uuid4(), *NO_ID):
        with pytest.raises(JobNotFound) as caught:
            getattr(job_manager, method)(job_id, *(["high"] if method == "set_priority" else []))
        if isinstance(job_id, (UUID, str)):
            assert str(job_id) in str(caught.value)
        assert isinstance(caught.value, LookupError)


def test_handle_of_a_job(row: Job) -> None:
    handle = job_manager.handle(row.id)
    assert isinstance(handle, JobHandle)
    assert handle.id == row.id


def test_get_running_job_finds_the_unfinished_one() -> None:
    assert job_manager.get_running_job("k") is None
    row = job_manager.run_job("k", double).job
    for state in ("pending", "running", "paused", "scheduled"):
        stages.put(row, state)
        handle = job_manager.get_running_job("k")
        assert handle is not None
        assert handle.id == row.id
    assert JobManager[str, Any, Any]("other").get_running_job("k") is None
    stages.put(row, "completed")
    assert job_manager.get_running_job("k") is None


def test_get_job_status_reads_the_row(row: Job) -> None:
    assert job_manager.get_job_status(row.id)["status"] == "pending"
    stages.claim(row)
    assert job_manager.get_job_status(str(row.id))["state"] == "running"


def test_get_job_results_of_each_end(row: Job) -> None:
    with pytest.raises(JobNotFinished, match="pending") as unfinished:
        job_manager.get_job_results(row.id)
    assert unfinished.value.state == "pending"
    stages.perform(row, double.body)
    assert job_manager.get_job_results(row.id) == 42
    stages.put(row, "completed", result=None, result_error="too large")
    with pytest.raises(ResultUnavailable, match="too large"):
        job_manager.get_job_results(row.id)
    stages.put(row, "cancelled", reason="wrong file")
    with pytest.raises(JobCancelled, match="wrong file"):
        job_manager.get_job_results(row.id)
    stages.put(row, "failed", error_message="no", error_category="user", result={"is_error": True})
    with pytest.raises(JobFailed, match="no") as failed:
        job_manager.get_job_results(row.id)
    assert (failed.value.result, failed.value.category, failed.value.errors) == ({"is_error": True}, "user", ())


# --- lists


def test_list_jobs_newest_first_and_not_all() -> None:
    rows = job_manager.submit_many(double, [([n], {}) for n in range(105)])
    listed = job_manager.list_jobs()
    assert listed == rows[:4:-1]
    assert job_manager.list_jobs(limit=2, order="id") == rows[:2]
    assert job_manager.list_jobs(limit=0) == []


def test_list_jobs_by_what_was_said() -> None:
    said: dict[str, Any] = {
        "priority": "high",
        "owner": "ann",
        "external_id": "TSK-1",
        "project_id": "P",
        "session_id": "S",
        "batch_id": "B",
        "operation_type": "analysis",
    }
    row = job_manager.run_job("k", double, **said, metadata={"customer": "acme", "deep": {"er": 1}}).job
    job_manager.submit(double)
    named: dict[str, Any] = {**said, "key": "k", "metadata__customer": "acme", "metadata__deep__er": 1}
    for name, value in named.items():
        assert job_manager.list_jobs(**{name: value}) == [row], name
    assert job_manager.list_jobs(priority="HIGH", owner="ann", state="pending") == [row]
    assert job_manager.list_jobs(owner="ann", state="failed") == []


def test_list_jobs_by_state_and_coarse_word() -> None:
    rows = {state: stages.put(job_manager.submit(double), state) for state in ("scheduled", "queued", "failed")}
    assert job_manager.list_jobs(state="queued") == [rows["queued"]]
    assert job_manager.list_jobs(status="pending") == [rows["queued"], rows["scheduled"]]
    assert job_manager.list_jobs(state__in=["failed", "queued"]) == [rows["failed"], rows["queued"]]


def test_list_jobs_by_range(clock: Clock) -> None:
    first = job_manager.submit(double)
    middle = clock.forward(60)
    second = job_manager.submit(double)
    assert job_manager.list_jobs(created_at__gte=middle) == [second]
    assert job_manager.list_jobs(created_at__lt=middle) == [first]
    assert job_manager.list_jobs(created_at__gt=middle - timedelta(hours=1), created_at__lte=middle, limit=1) == [
        second
    ]
    assert job_manager.list_jobs(created_at=middle) == [second]


def test_list_jobs_of_a_named_manager_are_its_own(row: Job) -> None:
    named: JobManager[str, Any, Any] = JobManager("completions")
    own = named.submit(double)
    assert named.list_jobs() == [own]
    assert set(job_manager.list_jobs()) == {row, own}
    assert job_manager.list_jobs(manager="completions") == [own]
    assert named.get_job(row.id) == row


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ({"stat": "failed"}, "'state'"),
        ({"created_at__after": 1}, "created_at"),
        ({"workflow": "w"}, "workflow"),
        ({"status": "queued"}, "status="),
        ({"state": "runing"}, "state=running"),
        ({"id": "nonsense"}, "id="),
        ({"created_at__gte": "yesterday"}, "created_at__gte"),
        ({"max_retries": "many"}, "max_retries"),
        ({"owner": "a\0b"}, "NUL"),
        ({"metadata__when": b"x"}, "metadata__when"),
        ({"order": "--id"}, "order="),
        ({"order": "size"}, "order="),
        ({"parent__task": "x"}, "parent"),
        ({"task__regex": "("}, "task"),
        *(({name: "x"}, name) for name in sorted(PRIVATE)),
        ({"order": "args"}, "order="),
    ],
    ids=str,
)
def test_list_jobs_refuses_what_does_not_exist(row: Job, filters: dict[str, Any], hint: str) -> None:
    with pytest.raises((UnknownFilter, ValueError), match=hint):
        job_manager.list_jobs(**filters)


def test_list_jobs_takes_every_public_column(row: Job) -> None:
    for column in set(ALL_COLUMNS) - PRIVATE:
        job_manager.list_jobs(**{column: getattr(row, column)}, order=column)


def test_list_jobs_refuses_a_negative_limit() -> None:
    with pytest.raises(InvalidOption, match="limit"):
        job_manager.list_jobs(limit=-1)


# --- steering: what it does is in test_control


def test_why_says_what_a_job_waits_for(row: Job) -> None:
    said = job_manager.why(str(row.id))
    assert (said.job_id, said.state) == (row.id, "pending")
    assert said.sentence == "No worker serves pool “default” just now."


@pytest.mark.parametrize("job_id", [*NO_ID, uuid4()])
def test_why_of_no_job(job_id: Any) -> None:
    with pytest.raises(JobNotFound):
        job_manager.why(job_id)


def test_cancel_job_answers(row: Job) -> None:
    assert job_manager.cancel_job(row.id, reason="wrong file", actor="ann") == Answer.CANCELLED == "CANCELLED"
    assert job_manager.cancel_job(row.id) == Answer.ALREADY_FINAL
    assert (stages.fresh(row).reason, stages.fresh(row).cancel_requested_by) == ("wrong file", "ann")


def test_pause_job_and_resume_job_answer(row: Job) -> None:
    assert job_manager.pause_job(str(row.id), reason="maintenance", actor="ann") == Answer.PAUSED == "PAUSED"
    assert (stages.fresh(row).reason, stages.fresh(row).paused_by) == ("maintenance", "ann")
    assert job_manager.resume_job(str(row.id), actor="ann") == Answer.RESUMED
    assert job_manager.resume_job(row.id) == Answer.NOT_PAUSED


def test_resume_job_withdraws_a_request(row: Job) -> None:
    stages.claim(row)
    assert job_manager.pause_job(row.id) == Answer.REQUESTED
    assert job_manager.resume_job(row.id) == Answer.RESUMED


def test_cancel_jobs_counts_every_answer(row: Job) -> None:
    others = job_manager.submit_many(double, [([n], {}) for n in range(3)], priority="high")
    stages.claim(others[0])
    stages.put(others[1], "completed")
    answers = job_manager.cancel_jobs(priority="high", reason="wrong file", actor="ann")
    assert answers == {Answer.CANCELLED: 1, Answer.REQUESTED: 1}
    assert answers["ALREADY_FINAL"] == 0
    assert stages.fresh(others[2]).reason == "wrong file"
    assert stages.fresh(row).state == "pending"
    assert not stages.fresh(others[0]).cancel_force
    assert job_manager.cancel_jobs(task="manager.double", force=True) == {Answer.CANCELLED: 1, Answer.REQUESTED: 1}
    asked = stages.fresh(others[0])
    assert (asked.cancel_force, asked.reason, asked.cancel_requested_by) == (True, "wrong file", "ann")
    with pytest.raises(InvalidOption, match="at least one filter for the jobs to cancel"):
        job_manager.cancel_jobs(reason="all of them")
    with pytest.raises(UnknownFilter, match="Did you mean 'task'"):
        job_manager.cancel_jobs(tsk="manager.double")


def test_pause_jobs_and_resume_jobs_count(row: Job) -> None:
    assert job_manager.pause_jobs(status="pending", reason="maintenance") == {"PAUSED": 1}
    assert job_manager.resume_jobs(state="paused", actor="ann") == {"RESUMED": 1}


def test_resume_jobs_of_a_named_manager_are_its_own(row: Job) -> None:
    other = JobManager[Any, Any, Any]("other").submit(double, [1])
    assert JobManager("other").pause_jobs(task="manager.double") == {"PAUSED": 1}
    assert [stages.fresh(one).state for one in (row, other)] == ["pending", "paused"]


def test_retry_jobs_counts_every_answer(row: Job) -> None:
    held = [job_manager.run_job("k", double, [1]).job]
    job_manager.cancel_job(held[0].id)
    held.append(job_manager.run_job("k", double, [2]).job)
    stages.put(row, "failed")
    assert job_manager.retry_jobs(task="manager.double") == {"REQUEUED": 1, "KEY_TAKEN": 1}


def test_pause_task_takes_back_what_is_queued_and_admits_no_more() -> None:
    stages.start_worker()
    rows = job_manager.submit_many(double, [([n], {}) for n in range(3)])
    running = stages.claim(rows[0])
    stages.admit()
    other = job_manager.submit("manager.other")
    assert job_manager.pause_task("manager.double", "maintenance", actor="ada") == Answer.PAUSED
    assert [stages.fresh(one).state for one in rows] == ["running", "pending", "pending"]
    assert [message.task for message in stages.admit()] == ["manager.other"]
    assert job_manager.pause_task("manager.double", "again", actor="bob") == Answer.PAUSED
    pause = TaskPause.objects.get()
    assert (pause.task, pause.paused_by, pause.pause_reason) == ("manager.double", "ada", "maintenance")
    assert {stages.fresh(one).release_count for one in rows} == {0}
    assert (running.row["id"], other.state) == (rows[0].id, "pending")
    with pytest.raises(UnknownTask, match=r"manager\.double"):
        job_manager.pause_task("manager.duoble")


def test_resume_task_lets_it_go_on(row: Job, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobs.control.tasks")
    stages.start_worker()
    assert job_manager.resume_task("manager.double") == Answer.NOT_PAUSED
    job_manager.pause_task("manager.double")
    assert stages.admit() == []
    assert job_manager.resume_task("manager.double", reason="done", actor="ada") == Answer.RESUMED
    assert caplog.messages[-1] == "task manager.double: resumed by ada: done"
    assert stages.fresh(row).state == "queued" or stages.admit()


def test_stop_answers_and_names_the_error(row: Job) -> None:
    assert job_manager.stop(str(row.id), ValueError("wrong"), actor="ann") == Answer.STOPPED
    assert job_manager.stop(row.id) == Answer.ALREADY_FINAL
    assert (stages.fresh(row).error_type, stages.fresh(row).error_category) == ("ValueError", "stopped")
    with pytest.raises(JobNotFound):
        job_manager.stop(uuid4())


def test_error_groups_counts_what_failed_alike(row: Job) -> None:
    for name in ("a", "b"):
        stages.put(job_manager.submit(double, [1]), "failed", error_fingerprint=name, error_type=name)
    newest = stages.put(row, "failed", error_fingerprint="b", error_type="b")
    one, other = job_manager.error_groups()
    assert [(one.fingerprint, one.count), (other.fingerprint, other.count)] == [("b", 2), ("a", 1)]
    assert one.newest.pk == max(newest.pk, *Job.objects.filter(error_fingerprint="b").values_list("pk", flat=True))
    assert [group.fingerprint for group in job_manager.error_groups(limit=1)] == ["b"]
    assert job_manager.error_groups(task="nothing") == []
    with pytest.raises(InvalidOption):
        job_manager.error_groups(limit=-1)


def test_retry_job_answers(row: Job) -> None:
    assert job_manager.retry_job(row.id) == Answer.NOT_FINAL
    job_manager.cancel_job(row.id)
    assert job_manager.retry_job(str(row.id), actor="ann") == Answer.REQUEUED


def test_delete_job_and_what_is_not_there(row: Job) -> None:
    with pytest.raises(JobNotFinished):
        job_manager.delete_job(row.id, missing_ok=True)
    stages.put(row, "completed")
    job_manager.delete_job(row.id)
    with pytest.raises(JobNotFound):
        job_manager.delete_job(row.id)
    job_manager.delete_job(row.id, missing_ok=True)
    job_manager.delete_job("nonsense", missing_ok=True)


def test_cleanup_old_jobs_by_age_or_by_the_setting(clock: Clock) -> None:
    for state in ("completed", "failed", "cancelled", "pending"):
        stages.put(job_manager.submit(double), state)
    clock.forward(2 * 86_400)
    assert job_manager.cleanup_old_jobs(days=3) == 0
    with override_settings(JOBS={"RETENTION": {"failed": 86_400}}):
        assert job_manager.cleanup_old_jobs() == 1
    assert job_manager.cleanup_old_jobs(days=0.5) == 2
    assert [row.state for row in Job.objects.all()] == ["pending"]


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 10**9])
def test_cleanup_old_jobs_refuses_impossible_days(days: float) -> None:
    with pytest.raises(InvalidOption, match="days"):
        job_manager.cleanup_old_jobs(days)


def test_set_priority_puts_a_waiting_job_in_its_new_place_at_once(clock: Clock) -> None:
    rows = job_manager.submit_many(double, [([n], {}) for n in range(3)])
    assert job_manager.set_priority(rows[2].id, "High", actor="ada") == Answer.CHANGED
    fresh = stages.fresh(rows[2])
    assert (fresh.priority, fresh.rank) == ("high", rows[2].rank - 3600)
    event = fresh.events.order_by("-seq")[0]
    assert (event.name, event.actor, event.data) == ("priority", "ada", {"priority": "high"})
    stages.start_worker(slots=1)
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        assert [message.pairs[0][0] for message in stages.admit()] == [rows[2].id]


def test_set_priority_is_not_possible_any_more_once_a_job_runs() -> None:
    row = job_manager.submit(double, [1])
    stages.claim(row)
    assert job_manager.set_priority(row.id, "high") == Answer.NOT_POSSIBLE
    assert job_manager.set_priority(stages.put(row, "completed").id, "high") == Answer.NOT_POSSIBLE
    with pytest.raises(JobNotFound):
        job_manager.set_priority(uuid4(), "high")
    with pytest.raises(InvalidOption, match="urgent"):
        job_manager.set_priority(row.id, "urgent")
    assert stages.fresh(row).priority == "medium"


def test_pause_pool_takes_back_what_is_queued_and_admits_no_more() -> None:
    stages.start_worker()
    rows = job_manager.submit_many(double, [([n], {}) for n in range(3)])
    running = stages.claim(rows[0])
    assert len(stages.admit()) == 2
    assert job_manager.pause_pool("default", "maintenance", actor="ada") == Answer.PAUSED
    assert [stages.fresh(row).state for row in rows] == ["running", "pending", "pending"]
    assert stages.admit() == []
    assert job_manager.pause_pool("default", "again", actor="bob") == Answer.PAUSED
    pool = Pool.objects.get(name="default")
    assert (pool.paused_by, pool.pause_reason) == ("ada", "maintenance")
    assert running.row["id"] == rows[0].id
    assert {stages.fresh(row).release_count for row in rows} == {0}
    with pytest.raises(UnknownPool, match="Did you mean 'default'"):
        job_manager.pause_pool("defautl")


def test_drain_pool_lets_it_run_empty() -> None:
    stages.start_worker()
    job_manager.submit(double, [1])
    assert job_manager.drain_pool("default", "moves away") == Answer.DRAINING
    assert stages.admit() == []
    assert Pool.objects.get(name="default").draining_at is not None


def test_resume_pool_lets_it_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobs.control.pools")
    stages.start_worker()
    job_manager.submit(double, [1])
    assert job_manager.resume_pool("default") == Answer.NOT_PAUSED
    job_manager.pause_pool("default", "maintenance", actor="ada")
    job_manager.drain_pool("default")
    assert job_manager.resume_pool("default", "the disk is new", actor="ada") == Answer.RESUMED
    assert caplog.messages[-1] == "pool default: resumed by ada: the disk is new"
    pool = Pool.objects.get(name="default")
    assert (pool.paused_at, pool.draining_at, pool.paused_by, pool.pause_reason) == (None, None, "", "")
    assert len(stages.admit()) == 1
    with pytest.raises(UnknownPool):
        job_manager.resume_pool("nowhere")
