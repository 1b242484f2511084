"""What fault tests ask while something is broken: of the rows, with deadlines, and through outages of the database.

Nothing here waits without a bound, and nothing here steers the platform beyond submitting a probe.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection, connections

from jobs import job_manager
from jobs.models import Attempt, Job, JobEvent, Worker
from tests.app import ledger
from tests.app.faulty import touch
from tests.services import Stack
from tests.services.processes import wait_until

PROBE_WITHIN = 15  # seconds: what comes after a fault needs no hand to be healed (I7)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Poll until `condition()` is true, a database that is away counting as no; returns the seconds it took."""

    def holds() -> bool:
        try:
            return bool(condition())
        except (DatabaseError, InterfaceError):
            connections.close_all()
            return False

    begin = time.monotonic()
    wait_until(holds, seconds, what)
    return time.monotonic() - begin


def let_callers_admit(workers: int = 1) -> None:
    """Once so many workers have said that they listen: have it seem that nobody does, so that a submitter admits."""
    if connection.vendor == "postgresql":
        wait_for(lambda: Worker.objects.filter(listens=True).count() == workers, 10, "workers that listen")
    Worker.objects.update(listens=False)


def wait_for_end(jobs: Sequence[Job], seconds: float) -> float:
    """Until all of them are final; on failure says where they stand."""
    ids = [job.id for job in jobs]
    try:
        return wait_for(lambda: not Job.objects.filter(pk__in=ids).unfinished().exists(), seconds, "the end of all")
    except TimeoutError as error:
        error.add_note("\n".join(f"{job.id} {state_of(job)}: {', '.join(events(job))}" for job in jobs))
        raise


def wait_for_lines(file: Path, what: str, count: int, seconds: float) -> list[dict[str, Any]]:
    """The ledger's lines of one name, once there are so many."""
    wait_until(lambda: len(ledger.read(file, what)) >= count, seconds, f"{count} × {what!r} in the ledger")
    return ledger.read(file, what)


def state_of(job: Job | UUID) -> str:
    """Its state as the row says it now."""
    return Job.objects.values_list("state", flat=True).get(pk=getattr(job, "id", job))


def outcomes(job: Job) -> list[str]:
    """How its attempts ended, in their order; "" for one that is open."""
    attempts = Attempt.objects.filter(job=job).order_by("run", "number")
    return list(attempts.values_list("outcome", flat=True))


def events(job: Job) -> list[str]:
    """The names of its events, in their order."""
    return list(JobEvent.objects.filter(job=job).order_by("seq").values_list("name", flat=True))


def probe() -> float:
    """Submit a job and wait for its end; returns the seconds it took."""
    begin = time.monotonic()
    job = job_manager.submit(touch)
    wait_for_end([job], PROBE_WITHIN - (time.monotonic() - begin))
    assert state_of(job) == "completed"
    return time.monotonic() - begin


@contextmanager
def no_database(stack: Stack) -> Iterator[None]:
    """The server crashes and stays away; in SQLite somebody keeps the lock."""
    connections.close_all()
    if stack.server:
        stack.server.stop()
        yield
        stack.server.start()
        return
    with closing(sqlite3.connect(stack.database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
