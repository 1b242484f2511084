"""Fallbacks: one for each final failure, whoever takes the edge; never none, never two, and the chain ends."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from django.db import OperationalError

from jobs import JobTask, job, job_manager
from jobs.execution import back_to_queue
from jobs.execution.progress import flusher
from jobs.execution.rescue import rescue
from jobs.maintenance import expiry
from jobs.models import Job, Pool, transitions
from jobs.testing import drain
from jobs.workflows import fallbacks
from tests.app import stages
from tests.app.stages import Clock, perform

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", True)


@job(bind=True, name="fallbacks.cheap")
def cheap(self: JobTask, scene: str, *, size: int = 1) -> dict[str, Any]:
    return {"scene": scene, "size": size, "error": self.job.error, "of": self.job.metadata.get("fallback_of")}


@job(name="fallbacks.render", fallback=cheap, max_retries=1, retry_delay=0)
def render(scene: str, *, size: int = 1) -> NoReturn:
    raise ConnectionError("no machine 17")


@job(name="fallbacks.first", fallback="fallbacks.second")
def first() -> NoReturn:
    raise ValueError("first")


@job(name="fallbacks.second", fallback="fallbacks.first")
def second() -> NoReturn:
    raise ValueError("second")


def _fail(*_: Any, **__: Any) -> NoReturn:
    raise ValueError("no")


def _of(row: Job) -> list[Job]:
    """What has come in its place: the tests' transaction is never committed, so it is the steward who sees to it."""
    fallbacks.submit_due()
    return list(Job.objects.filter(metadata__fallback_of=str(row.id)))


def test_it_gets_the_arguments_and_the_error_once_all_attempts_have_failed() -> None:
    said: dict[str, Any] = {"owner": "ann", "priority": "high", "tags": ["night"], "project_id": "P1"}
    row = job_manager.submit(render, ["castle"], {"size": 3}, metadata={"customer": "acme"}, **said)
    drain()
    failed, (made,) = stages.fresh(row), _of(row)
    assert (failed.state, failed.retry_count, failed.fallback_due) == ("failed", 1, False)
    assert (made.task, made.state, made.owner, made.priority, made.tags, made.project_id, made.key) == (
        "fallbacks.cheap",
        "completed",
        "ann",
        "high",
        ["night"],
        "P1",
        None,
    )
    assert made.metadata["customer"] == "acme"
    error = {
        "category": "transient",
        "type": "ConnectionError",
        "message": "no machine 17",
        "attempts": 2,
        "fingerprint": failed.error_fingerprint,
    }
    assert made.result == {"scene": "castle", "size": 3, "error": error, "of": str(row.id)}
    assert failed.events.get(name="fallback").data == {"job": str(made.id), "task": "fallbacks.cheap"}
    stages.check_history(failed)


def test_without_a_failure_there_is_none() -> None:
    row = job_manager.submit(render, ["castle"], max_retries=0)
    assert perform(row, lambda *_, **__: None).state == "completed"
    assert fallbacks.submit_due() == 0
    assert not _of(row)


def test_a_submit_may_say_another_or_none() -> None:
    row, none = (
        job_manager.submit(render, ["a"], fallback="fallbacks.elsewhere"),
        job_manager.submit(render, ["b"], fallback=""),
    )
    for one in (row, none):
        stages.put(one, "pending", max_retries=0)
        perform(one, _fail)
    assert [made.task for made in _of(row)] == ["fallbacks.elsewhere"]
    assert not _of(none)


def test_whoever_fails_the_job(clock: Clock) -> None:
    lost, late = (
        job_manager.submit(cheap, ["a"], fallback=cheap, at_most_once=True),
        job_manager.submit(cheap, ["b"], fallback=cheap, expires=5),
    )
    claimed = stages.claim(lost)
    rescue([(claimed.row["id"], claimed.row["attempt_id"])], "its process died", "steward")
    clock.forward(10)
    expiry.give_up()
    assert [made.metadata["fallback_error"]["category"] for made in _of(lost)] == ["lost"]
    assert [made.metadata["fallback_error"]["category"] for made in _of(late)] == ["expired"]


def test_what_was_cancelled_or_stopped_has_none() -> None:
    for stop in (job_manager.cancel_job, lambda job_id: job_manager.stop(job_id, "no")):
        for is_running in (False, True):
            row = job_manager.submit(render, ["castle"])
            if is_running:
                stages.claim(row)
            stop(row.id)
            back_to_queue.end_as_requested("id = %s", [stages.key(row)])
            assert stages.fresh(row).state in {"cancelled", "failed"}
            assert not stages.fresh(row).fallback_due
            assert not _of(row)


def test_what_the_failing_process_could_not_do_the_steward_does_once() -> None:
    row = job_manager.submit(render, ["castle"], max_retries=0)
    perform(row, _fail)
    assert stages.fresh(row).fallback_due
    assert fallbacks.submit_due() == 1
    assert fallbacks.submit_due() == 0
    assert not fallbacks._settle(stages.key(row))
    assert len(_of(row)) == 1


def test_the_mark_and_the_new_job_are_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    row = job_manager.submit(render, ["castle"], max_retries=0)
    perform(row, _fail)
    monkeypatch.setattr(transitions, "note", _away)  # after the insert
    with pytest.raises(OperationalError):
        fallbacks.submit_due()
    monkeypatch.undo()
    assert stages.fresh(row).fallback_due
    assert not Job.objects.exclude(pk=row.pk).exists()
    assert fallbacks.submit_due() == 1


def _away(*_: Any, **__: Any) -> NoReturn:
    raise OperationalError("away")


def test_one_that_is_refused_is_told_and_keeps_nobody_from_theirs() -> None:
    bad = job_manager.submit(first, fallback=cheap)  # which wants a scene
    good = job_manager.submit(render, ["castle"], max_retries=0)
    for row in (bad, good):
        perform(row, _fail)
    assert fallbacks.submit_due() == 2
    assert "scene" in bad.events.get(name="fallback").data["refused"]
    assert (_of(bad), len(_of(good))) == ([], 1)


def test_a_chain_ends_where_it_began() -> None:
    row = job_manager.submit(first)
    drain()
    (other,) = _of(row)
    assert (other.task, other.state, other.fallback) == ("fallbacks.second", "failed", "")
    assert other.metadata["fallback_chain"] == ["fallbacks.first", "fallbacks.second"]
    assert Job.objects.count() == 2


def test_it_goes_to_its_own_pool_or_else_to_the_same() -> None:
    Pool.objects.create(name="fast")
    row = job_manager.submit(render, ["castle"], pool="fast", max_retries=0, fallback="fallbacks.elsewhere")
    perform(row, _fail)
    assert [made.pool for made in _of(row)] == ["fast"]


def test_a_person_who_runs_it_again_first_has_none() -> None:
    row = job_manager.submit(render, ["castle"], max_retries=0)
    perform(row, _fail)
    job_manager.retry_job(row.id)
    assert fallbacks.submit_due() == 0
    perform(row, _fail)
    assert fallbacks.submit_due() == 1
