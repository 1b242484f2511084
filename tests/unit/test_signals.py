"""Signals: which one for which move, with what, and when; and a receiver that raises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from jobs import JobTask, job, job_manager, signals
from jobs.execution import rescue
from jobs.models import Job
from jobs.signals import BY_EDGE
from jobs.states import EDGES
from jobs.testing.plugin import InlineJobs
from tests.app import stages

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = {signal: name for name, signal in vars(signals).items() if name.startswith("job_")}
Told = list[tuple[str, dict[str, Any]]]


@job(bind=True, name="signals.work", max_retries=1, retry_delay=1)
def work(self: JobTask, fail: int = 0) -> str:
    if self.job.attempt <= fail:
        raise ValueError("no")
    return "done"


@pytest.fixture
def told() -> Iterator[Told]:
    """Every signal of the test but the general one, in order."""
    heard: Told = []
    receivers = []
    for signal, name in NAMES.items():
        if signal is signals.job_transitioned:
            continue

        def listen(sender: Any, name: str = name, **said: Any) -> None:
            assert sender is Job
            heard.append((name, said))

        signal.connect(listen)
        receivers.append((signal, listen))
    yield heard
    for signal, listen in receivers:
        signal.disconnect(listen)


def _names(told: Told) -> list[str]:
    return [name for name, _ in told]


def test_every_signal_belongs_to_an_edge_or_a_request() -> None:
    assert set(BY_EDGE) <= set(EDGES)
    assert set(NAMES) == {*BY_EDGE.values(), signals.job_transitioned, signals.job_cancel_requested}


def test_the_life_of_a_job(jobs_inline: InlineJobs, told: Told) -> None:
    row = job_manager.submit(work, [1], owner="ann")
    jobs_inline.drain()
    assert _names(told) == ["job_submitted", "job_started", "job_retrying", "job_started", "job_completed"]
    said = told[-1][1]
    assert set(said) == {"signal", "job", "attempt", "from_state", "to_state", "actor", "at"}
    done = said["job"]
    assert isinstance(done, Job)
    assert (done.id, done.state, done.result, done.owner) == (row.id, "completed", "done", "ann")
    assert isinstance(said["attempt"], UUID)
    assert (said["from_state"], said["to_state"], said["actor"]) == ("running", "completed", "execution")
    assert isinstance(said["at"], datetime)


def test_a_failure_and_a_person_who_tries_again(jobs_inline: InlineJobs, told: Told) -> None:
    row = job_manager.submit(work, [9], max_retries=0)
    jobs_inline.drain()
    job_manager.retry_job(row.id)
    job_manager.cancel_job(row.id, actor="ann")
    assert _names(told) == ["job_submitted", "job_started", "job_failed", "job_cancelled"]
    failed, cancelled = told[2][1], told[3][1]
    assert (failed["job"].error_message, failed["to_state"]) == ("no", "failed")
    assert (cancelled["from_state"], cancelled["actor"], cancelled["job"].run) == ("pending", "ann", 2)


def test_held_resumed_asked_and_rescued(told: Told) -> None:
    row = job_manager.submit(work, start=False)
    job_manager.start_job(row.id)
    claimed = stages.claim(row)
    job_manager.cancel_job(row.id)
    assert _names(told) == ["job_submitted", "job_resumed", "job_started", "job_cancel_requested"]
    other = stages.claim(job_manager.submit(work))
    rescue.rescue([(other.row["id"], other.row["attempt_id"])], "its process died", "steward")
    assert _names(told)[-1] == "job_rescued"
    assert told[-1][1]["job"].rescue_count == 1
    assert claimed.row["id"] == row.id


def test_the_general_signal_tells_of_every_move(jobs_inline: InlineJobs) -> None:
    moves: list[tuple[str, str]] = []

    def listen(from_state: str, to_state: str, **_: Any) -> None:
        moves.append((from_state, to_state))

    signals.job_transitioned.connect(listen)
    try:
        job_manager.submit(work)
        jobs_inline.drain()
    finally:
        signals.job_transitioned.disconnect(listen)
    assert moves == [("", "pending"), ("pending", "queued"), ("queued", "running"), ("running", "completed")]


def test_what_is_rolled_back_is_not_told(told: Told) -> None:
    with pytest.raises(LookupError), transaction.atomic():
        _submit_and_fail(told)
    assert told == []


def _submit_and_fail(told: Told) -> None:
    job_manager.submit(work)
    assert told == []  # not before the commit
    raise LookupError


def test_a_receiver_that_raises_changes_nothing(
    jobs_inline: InlineJobs, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: Any) -> None:
        raise LookupError("a broken receiver")

    for signal in (signals.job_submitted, signals.job_transitioned, signals.job_completed):
        signal.connect(broken)
    try:
        row = job_manager.submit(work)
        jobs_inline.drain()
    finally:
        for signal in (signals.job_submitted, signals.job_transitioned, signals.job_completed):
            signal.disconnect(broken)
    assert stages.fresh(row).state == "completed"
    assert _names(told) == ["job_submitted", "job_started", "job_completed"]
    assert "a broken receiver" in caplog.text
