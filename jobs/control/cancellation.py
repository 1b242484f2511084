"""Cancelling jobs: at once what waits, by a durable request what runs.

The request outlives the attempt: a retry or a rescue that follows becomes the cancellation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from jobs import signals
from jobs.admission import passes
from jobs.control.answers import Answer, Answers
from jobs.control.requests import RequestState, answer_all, clean_actor, reason_data
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit
from jobs.models import Job, transitions
from jobs.models.transitions import Sql
from jobs.states import FINAL, JobState


def cancel(ids: Sequence[UUID], *, reason: str = "", actor: str = "", force: bool = False) -> Answers:
    """CANCELLED what waits, REQUESTED what runs, ALREADY_FINAL what has ended.

    A running job stops at its next check; its worker kills the process after the job's grace, with `force` at once.
    """
    reason, actor = encoding.clean_text(reason, 10_000), clean_actor(actor)

    def act(left: Sequence[UUID]) -> Answers:
        cancelled = _cancel(left, "state <> 'running'", reason, actor)
        others = [job_id for job_id in left if job_id not in cancelled]
        asked = _ask_to_stop(others, reason, actor, force)
        return {**dict.fromkeys(cancelled, Answer.CANCELLED), **dict.fromkeys(asked, Answer.REQUESTED)}

    return answer_all(ids, act, when_cancelling)


def cancel_waiting(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> set[UUID]:
    """Cancel those of these jobs that are not admitted; returns their ids. A job in flight goes on."""
    return _cancel(ids, "state NOT IN ('queued', 'running')", reason, actor)


def when_cancelling(job: RequestState) -> Answer | None:
    """The answer for a job in this state, if nothing is to be done."""
    if job.state in FINAL:
        return Answer.ALREADY_FINAL
    return Answer.REQUESTED if job.state == JobState.RUNNING and job.is_to_be_cancelled else None


def announce_request(job_id: UUID, actor: str) -> None:
    """Send the signal that a running job was asked to stop."""
    if signals.job_cancel_requested.has_listeners(Job):
        job = Job.objects.using(settings.DATABASE).get(pk=job_id)
        signals.job_cancel_requested.send_robust(
            Job,
            job=job,
            attempt=job.attempt_id,
            from_state=job.state,
            to_state=job.state,
            actor=actor,
            at=job.cancel_requested_at,
        )


def _cancel(ids: Sequence[UUID], condition: str, reason: str, actor: str) -> set[UUID]:
    db = dialect(settings.DATABASE)
    sets = {"reason": reason, "cancel_requested_at": Sql("{now}"), "cancel_requested_by": actor}
    where, params = f"{db.id_in('id')} AND {condition}", [db.id_list(ids)]
    moved = transitions.move("cancel", where, params, sets=sets, actor=actor, data=reason_data(reason))
    for pool in {move.row["pool"] for move in moved}:
        after_commit(passes.after_finish, pool)
    return {move.id for move in moved}


def _ask_to_stop(ids: Sequence[UUID], reason: str, actor: str, force: bool) -> Iterable[UUID]:
    """Ask running jobs to stop. A second request changes nothing, but `force` turns the first into a forced one."""
    if not ids:
        return []
    db, first = dialect(settings.DATABASE), "cancel_requested_at IS NULL"
    change = (
        f"cancel_force = %s, cancel_requested_by = CASE WHEN {first} THEN %s ELSE cancel_requested_by END,"
        f" reason = CASE WHEN {first} THEN %s ELSE reason END,"
        " cancel_requested_at = COALESCE(cancel_requested_at, {now}),"  # last: MariaDB reads columns as just set
    )
    where = f"{db.id_in('id')} AND state = 'running' AND ({first} OR (%s AND NOT cancel_force))"
    data = {name: value for name, value in (("reason", reason), ("force", force)) if value}
    values, params = [force, actor, reason], [db.id_list(ids), force]
    asked = transitions.ask(change, values, where, params, "cancel_requested", actor=actor, data=data)
    for job_id in asked:
        after_commit(announce_request, job_id, actor)
    return asked
