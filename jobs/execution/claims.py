"""Claims a queued job for this process: one UPDATE under the message's attempt id, which also opens the attempt."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections, transaction

from jobs.core.conf import settings
from jobs.core.db.values import prepare
from jobs.core.hostname import HOSTNAME
from jobs.execution.context import JobContext
from jobs.execution.fence import FENCE, Pair, fence_params
from jobs.execution.hooks import NO_HOOKS, Hooks, note_pending
from jobs.models import Attempt, transitions
from jobs.models.transitions import Moved

_RETURNED = ("args", "kwargs", "metadata", "owner", "diagnostics", "timeout", "checkpoint")
_NOT_EXPIRED = " AND (expires_at IS NULL OR expires_at > {now})"
_NOT_FENCED = " AND NOT EXISTS (SELECT 1 FROM jobs_worker WHERE boot_id = %s AND fenced_at IS NOT NULL)"


@dataclass(frozen=True)
class Claimed:
    """A claimed attempt: the job's row at the claim, and the `self.job` of its body."""

    row: dict[str, Any]
    context: JobContext
    worker: UUID | None = None
    hooks: Hooks = NO_HOOKS

    @property
    def pair(self) -> Pair:
        return self.row["id"], self.row["attempt_id"]

    @property
    def fence(self) -> list[Any]:
        return fence_params(*self.pair)


def claim(job_id: UUID, attempt_id: UUID, worker: UUID | None, hooks: Hooks = NO_HOOKS) -> Claimed | None:
    """Claim a queued job for this process; None when its message is out of date.

    Reconnects once if the connection is dead.
    """
    connection = connections[settings.DATABASE]
    try:
        moved = _claim(job_id, attempt_id, worker, hooks)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        moved = _claim(job_id, attempt_id, worker, hooks)
    for job in moved:
        return Claimed(job.row, _context_of(job.row), worker, hooks)
    return None


def _claim(job_id: UUID, attempt_id: UUID, worker: UUID | None, hooks: Hooks) -> list[Moved]:
    """The claim, and in its transaction the note that the task has hooks."""
    if not hooks:
        return _move(job_id, attempt_id, worker)
    with transaction.atomic(using=settings.DATABASE):
        moved = _move(job_id, attempt_id, worker)
        for job in moved:
            note_pending(job.id, job.row["run"])
        return moved


def _move(job_id: UUID, attempt_id: UUID, worker: UUID | None) -> list[Moved]:
    params = [*fence_params(job_id, attempt_id), prepare(settings.DATABASE, Attempt, "worker_id", worker)]
    process = {"worker_id": worker, "hostname": HOSTNAME, "pid": os.getpid()}
    where = FENCE + _NOT_EXPIRED + _NOT_FENCED
    return transitions.move("claim", where, params, attempt=process, actor=HOSTNAME, returning=_RETURNED)


def _context_of(row: dict[str, Any]) -> JobContext:
    context = JobContext.of_job(
        row,
        started_at=row["started_at"],
        timeout=row["timeout"],
        in_transaction=connections[settings.DATABASE].in_atomic_block,
    )
    context.diagnostics.extend(row["diagnostics"])
    return context
