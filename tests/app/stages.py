"""A job's stages taken one by one, for tests that look at a single one: real rows, written by the real functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from jobs.admission import passes, publishing
from jobs.admission.publishing import JobMessage
from jobs.core.db.clock import bound_now
from jobs.core.db.values import prepare
from jobs.execution import attempt, claims, heartbeats
from jobs.execution.claims import Claimed
from jobs.execution.heartbeats import Identity
from jobs.models import Job, transitions
from jobs.states import FINAL, IN_FLIGHT

USING = "default"


class Clock:
    """The database's clock, held still and moved by hand."""

    def __init__(self, moment: datetime, stack: ExitStack) -> None:
        self.moment = moment
        self._stack = stack
        self.forward(0)

    def forward(self, seconds: float) -> datetime:
        """Let so much time pass; returns the new moment."""
        self.moment += timedelta(seconds=seconds)
        self._stack.enter_context(bound_now(self.moment))
        return self.moment


@contextmanager
def collected() -> Iterator[list[JobMessage]]:
    """Doorbells sent inside the block, instead of a broker."""
    sent: list[JobMessage] = []
    with publishing.delivered_by(sent.extend):
        yield sent


def start_worker(slots: int = 100, pools: Sequence[str] = ("default",)) -> UUID:
    """A worker that has just beaten."""
    boot_id = uuid4()
    heartbeats.register(Identity(boot_id, "test", 1, tuple(pools), slots))
    return boot_id


def admit(pool: str = "default") -> list[JobMessage]:
    """Admit once, and give back the doorbells."""
    with collected() as sent:
        passes.admit(pool)
    return sent


def queue(job: Job) -> UUID:
    """Admit this very job, whatever the limits say; returns the attempt's id."""
    (moved,) = transitions.move("admit", "id = %s", [key(job)])
    assert moved.attempt_id is not None
    return moved.attempt_id


def claim(job: Job, worker: UUID | None = None) -> Claimed:
    """Bring a pending job to running."""
    claimed = claims.claim(job.id, queue(job), worker)
    assert claimed is not None
    return claimed


def perform(job: Job, body: Any, worker: UUID | None = None) -> Job:
    """Run a body as a pending job's attempt; returns the row afterwards."""
    assert attempt.perform(job.id, queue(job), body, worker)
    return fresh(job)


def fresh(job: Job) -> Job:
    """The row as it is now."""
    return Job.objects.get(pk=job.id)


def put(job: Job, state: str, **columns: Any) -> Job:
    """Write a state past the state machine, with what the constraints demand of it."""
    columns |= {"finished_at": job.created_at if state in FINAL else None}
    if state in FINAL:
        columns["active_key"] = None
    if state in IN_FLIGHT:
        columns["attempt_id"] = uuid4()
    Job.objects.filter(pk=job.pk).update(state=state, **columns)
    return fresh(job)


def edges(job: Job) -> list[str]:
    """The names of a job's events, in order."""
    return list(job.events.order_by("seq").values_list("name", flat=True))


def check_history(job: Job) -> None:
    """The events count without a gap, follow one another, and end where the row is."""
    events = list(job.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
    state = ""
    for event in events:
        assert event.from_state == state
        state = event.to_state
    assert state == job.state


def key(job: Job) -> Any:
    """A job's id as a parameter of SQL."""
    return prepare(USING, Job, "id", job.id)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """A database (SQLite) that refuses some writes: `refusing("INSERT ON jobs_job")`."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TRIGGER refuse BEFORE {what} BEGIN SELECT RAISE(ABORT, 'refused by the test'); END")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse")
