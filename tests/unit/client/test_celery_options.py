"""Celery's words for retries, and `update_state`: what each becomes here."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult

from jobs import JobTask, job, job_manager
from jobs.core.options.job_options import JobOptions
from jobs.exceptions import InvalidOption, InvalidPayload
from jobs.execution.progress import flusher
from jobs.results import JobBackend
from tests.app import stages

AWAY = (ConnectionError,)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            {"autoretry_for": AWAY},
            {
                "retry_on": ("ConnectionError",),
                "max_retries": 3,
                "retry_delay": 180,
                "retry_multiplier": 1,
                "retry_jitter": False,
            },
        ),
        (
            {"autoretry_for": AWAY, "retry_backoff": True},
            {"max_retries": 3, "retry_delay": 1, "retry_multiplier": 2, "retry_cap": 600, "retry_jitter": None},
        ),
        (
            {
                "autoretry_for": AWAY,
                "retry_backoff": 5,
                "retry_backoff_max": 60,
                "retry_jitter": False,
                "max_retries": 7,
            },
            {"max_retries": 7, "retry_delay": 5, "retry_multiplier": 2, "retry_cap": 60, "retry_jitter": False},
        ),
        (
            {"autoretry_for": AWAY, "retry_kwargs": {"max_retries": 5, "countdown": 9}},
            {"max_retries": 5, "retry_delay": 9, "retry_multiplier": 1, "retry_jitter": False},
        ),
        (
            {"autoretry_for": AWAY, "dont_autoretry_for": [BrokenPipeError], "default_retry_delay": 30},
            {"never_retry": ("BrokenPipeError",), "retry_delay": 30},
        ),
        ({"autoretry_for": AWAY, "retry_delay": 4}, {"retry_delay": 4, "retry_multiplier": 1}),
    ],
    ids=str,
)
def test_what_a_declaration_becomes(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    @job(name=f"celery_options.{uuid4()}", **theirs)  # Celery keeps the first of a name
    def declared() -> None: ...

    options: JobOptions = declared.options
    assert {name: getattr(options, name) for name in ours} == ours


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"autoretry_for": AWAY, "retry_on": AWAY}, "retry_on"),
        ({"retry_backoff": True, "retry_delay": 5}, "retry_delay"),
        ({"retry_kwargs": {"queue": "x"}}, "retry_kwargs"),
        ({"retry_kwargs": 5}, "retry_kwargs"),
        ({"autoretry_for": ["Conection"]}, "retry_on"),
        ({"retry_backoff": -5}, "retry_delay"),
    ],
    ids=str,
)
def test_what_is_said_twice_or_wrong_is_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        job(name="celery_options.refused", **options)
    assert refused.value.option == name


@job(bind=True, name="celery_options.telling")
def telling(self: JobTask, **said: Any) -> None:
    self.update_state(**said)


@pytest.mark.django_db
def test_update_state_is_the_live_state_and_seen_by_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", True)
    row, seen = job_manager.submit(telling), []

    def body() -> None:
        telling.body(state="PROGRESS", meta={"done": 5})
        result: AsyncResult[Any] = AsyncResult(str(row.id), backend=JobBackend(app=telling.app, url=None))
        seen.append((result.state, result.info, job_manager.handle(row.id).state))

    stages.perform(row, body)
    assert seen == [("PROGRESS", {"done": 5}, {"type": "PROGRESS", "meta": {"done": 5}})]
    assert telling.AsyncResult(str(row.id)).state == "SUCCESS"


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "RETRY", "REVOKED", "STARTED"])
def test_how_it_ends_is_not_said_by_update_state(state: str) -> None:
    with pytest.raises(InvalidOption, match=state):
        telling(state=state)


def test_another_job_is_not_reached_by_update_state() -> None:
    with pytest.raises(InvalidOption, match="task_id"):
        telling(task_id="01a2009f-084d-708c-b68a-cf56eeae8ffd", state="PROGRESS")
    with pytest.raises(InvalidPayload):
        telling(meta=object())
    telling(meta={"a": 1})  # outside of a job it is remembered
