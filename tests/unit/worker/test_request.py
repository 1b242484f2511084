"""What only the main process learns of a request: deaths, on purpose and otherwise, and shutdowns."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from billiard.exceptions import Terminated
from billiard.pool import ApplyResult
from celery.exceptions import WorkerLostError
from celery.worker.request import Request

from jobs.execution.progress import flusher
from jobs.execution.termination import INTERRUPTED, Termination
from jobs.worker.guard import descendants, terminations
from jobs.worker.request import JobRequest, news

PAIR = (uuid4(), uuid4())


@pytest.fixture
def request_() -> Iterator[JobRequest]:
    made = JobRequest.__new__(JobRequest)
    made._request_dict = {"jobs": [[str(PAIR[0]), str(PAIR[1])]]}  # type: ignore[attr-defined]
    terminations._entries.clear()
    yield made
    terminations._entries.clear()
    while not news.empty():
        news.get_nowait()


@pytest.fixture
def celerys(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Celery's own request was asked to do."""
    asked: list[Any] = []
    monkeypatch.setattr(Request, "on_failure", lambda self, *args, **_: asked.append("on_failure"))
    monkeypatch.setattr(Request, "cancel", lambda self, pool, signal, emit_retry: asked.append(emit_retry))
    monkeypatch.setattr("jobs.worker.request.task_ready", lambda request: asked.append("task_ready"))
    return asked


@pytest.mark.parametrize("error", [WorkerLostError("gone"), Terminated(15), SystemExit(1)])
def test_a_death_is_told_before_celery_deals_with_it(
    request_: JobRequest, celerys: list[Any], error: BaseException
) -> None:
    request_.on_failure(SimpleNamespace(exception=error))
    told = news.get_nowait()
    assert (told.pairs, told.are_lost, celerys) == ([PAIR], True, ["on_failure"])


def test_a_death_on_purpose_is_no_failure_to_celery(request_: JobRequest, celerys: list[Any]) -> None:
    terminations.pronounce(PAIR[1], Termination("cancel", "by force"), is_told=True)
    request_.on_failure(SimpleNamespace(exception=WorkerLostError("gone")))
    assert news.get_nowait().are_lost
    assert celerys == ["task_ready"]


def test_a_failure_of_the_task_itself_is_celerys(request_: JobRequest, celerys: list[Any]) -> None:
    request_.on_failure(SimpleNamespace(exception=ValueError("internal")))
    assert news.empty()
    assert celerys == ["on_failure"]


def test_celerys_own_limits_are_taken_off(request_: JobRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Request, "on_accepted", lambda *_: None)
    cancelled: list[Any] = []
    result: Any = ApplyResult({}, None, soft_timeout=1, timeout=2, on_timeout_cancel=cancelled.append)
    monkeypatch.setattr(request_, "_apply_result", weakref.ref(result))
    request_.on_accepted(71, 0.0)
    assert (result._soft_timeout, result._timeout, cancelled) == (0, 0, [result])


def test_a_shutdown_announces_no_retry(request_: JobRequest, celerys: list[Any]) -> None:
    request_.cancel(None)
    assert celerys == [False]
    assert terminations.verdict_on(PAIR[1]) == INTERRUPTED


@pytest.mark.parametrize(("pids", "noted"), [([71], [71]), ([], [])], ids=["a process", "a thread"])
def test_a_shutdown_notes_what_a_process_has_started(
    request_: JobRequest, celerys: list[Any], monkeypatch: pytest.MonkeyPatch, pids: list[int], noted: list[int]
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(descendants, "remember", seen.append)
    request_.worker_pid = 71  # type: ignore[assignment]  # its stub says text
    request_.cancel(SimpleNamespace(_pool=SimpleNamespace(_pool=[SimpleNamespace(pid=pid) for pid in pids])))
    assert seen == noted


def test_where_nothing_can_be_stopped_the_bodies_are_told(
    request_: JobRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Request, "cancel", refuse)
    monkeypatch.setattr(flusher, "is_interrupting", False)
    request_.cancel(None)
    assert flusher.is_interrupting
