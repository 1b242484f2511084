"""Why a job waits, as sentences and as data. Read-only.

The reasons of a pending job come from `limits`, as in an admission, so the answer cannot differ from the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.exceptions import JobNotFound
from jobs.models import Job
from jobs.monitoring.explain import other_states, pending
from jobs.monitoring.explain.answer import Holder, Reason, Why
from jobs.monitoring.explain.wording import worker_command
from jobs.states import FINAL, JobState

__all__ = ["Holder", "Reason", "Why", "explain", "why", "worker_command"]

# A new thing to wait for (other jobs, say) yields its Reason in the function of the state the job waits in.
_BY_STATE: dict[str, Callable[[Job, datetime], Iterator[Reason]]] = {
    JobState.SCHEDULED: other_states.scheduled,
    JobState.BLOCKED: other_states.blocked,
    JobState.QUEUED: other_states.queued,
    JobState.RUNNING: other_states.running,
    JobState.PAUSED: other_states.paused,
    **dict.fromkeys(FINAL, other_states.final),
}


def why(job_id: UUID) -> Why:
    """Why a job is where it is; JobNotFound."""
    job = Job.objects.using(settings.DATABASE).annotate(read_at=DbNow()).filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    return explain(job, job.read_at)  # type: ignore[attr-defined]  # annotated above


def explain(job: Job, now: datetime) -> Why:
    """The same for a row read at `now` by the database's clock."""
    answer = pending.explain(job, now) if job.state == JobState.PENDING else _not_pending(job, now)
    return replace(answer, reasons=(*answer.reasons, *other_states.expiring(job, now)))


def _not_pending(job: Job, now: datetime) -> Why:
    return Why(job.id, job.state, tuple(_BY_STATE[job.state](job, now)))
