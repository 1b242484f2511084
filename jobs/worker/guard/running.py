"""Which process of this worker holds which attempt, as the rows say it. Reads only; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.models import Attempt
from jobs.states import JobState


@dataclass(frozen=True)
class Holder:
    """An attempt that a process of this worker runs. Spans are seconds by the database's clock."""

    job_id: UUID
    attempt_id: UUID
    pid: int
    elapsed: float
    timeout: float | None
    grace: float
    asked: float | None  # since it was asked to stop
    is_forced: bool
    memory_mb: int | None
    disk_mb: int | None

    @property
    def pair(self) -> tuple[UUID, UUID]:
        return self.job_id, self.attempt_id


_COLUMNS = (
    "job_id",
    "id",
    "pid",
    "started_at",
    "now",
    "job__timeout",
    "job__grace",
    "job__cancel_requested_at",
    "job__cancel_force",
    "job__memory_mb",
    "job__disk_mb",
)


def holders(boot_id: UUID) -> list[Holder]:
    """What the processes of a worker run, one attempt for each.

    A process begins one attempt after the other: of several open ones with its number it runs the youngest. The others
    were run by one that died, and whose number came again.
    """
    rows = Attempt.objects.using(settings.DATABASE).filter(
        worker_id=boot_id, finished_at__isnull=True, pid__isnull=False, job__state=JobState.RUNNING
    )
    youngest = {
        row[2]: _holder(row) for row in rows.annotate(now=DbNow()).order_by("started_at").values_list(*_COLUMNS)
    }
    return list(youngest.values())


def _holder(row: Sequence[Any]) -> Holder:
    job_id, attempt_id, pid, started_at, now, timeout, grace, asked_at, is_forced, memory_mb, disk_mb = row
    asked = None if asked_at is None else (now - asked_at).total_seconds()
    elapsed = (now - started_at).total_seconds()
    grace = settings.GRACE if grace is None else grace
    return Holder(job_id, attempt_id, pid, elapsed, timeout, grace, asked, is_forced, memory_mb, disk_mb)
