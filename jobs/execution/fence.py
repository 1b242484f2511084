"""The fence of an attempt: it may write only while its job's row carries the attempt's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.values import prepare
from jobs.models import Job
from jobs.models.transitions.sql import BY_ID

Pair = tuple[UUID, UUID]  # job id, attempt id
SAME_ATTEMPT = " AND attempt_id = %s"
FENCE = BY_ID + SAME_ATTEMPT  # a waiting job keeps its last attempt's id: writes also demand the state
RUNNING = "COALESCE(state, '') = 'running'"


def fence_params(job_id: UUID, attempt_id: UUID) -> list[Any]:
    """The parameters of FENCE."""
    using = settings.DATABASE
    return [prepare(using, Job, "id", job_id), prepare(using, Job, "attempt_id", attempt_id)]


def fence_of_many(pairs: Sequence[Pair]) -> tuple[str, list[Any]]:
    """SQL and parameters that match the jobs that still carry one of these attempts' ids."""
    db = dialect(settings.DATABASE)
    ids = [db.id_list(job_id for job_id, _ in pairs), db.id_list(attempt_id for _, attempt_id in pairs)]
    return f"{db.id_in('id')} AND {db.id_in('attempt_id')}", ids
