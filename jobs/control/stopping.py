"""Stopping jobs with an error: they end `failed` with that error, category `stopped`, and are not retried.

A running job is asked as by a cancellation and stops in the same way; the error waits in its row until its code has
stopped. The first request is the one that counts. Without an error this is a cancellation.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from jobs.admission import passes
from jobs.control import cancellation
from jobs.control.answers import Answer, Answers
from jobs.control.requests import answer_all, clean_actor
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit
from jobs.execution.failures.failure import Failure
from jobs.models import transitions
from jobs.models.transitions import Sql
from jobs.states import ErrorCategory


def stop(ids: Sequence[UUID], error: BaseException | str | None = None, *, actor: str = "") -> Answers:
    """STOPPED (with an error) or CANCELLED what waits, REQUESTED what runs, ALREADY_FINAL what has ended."""
    if error is None:
        return cancellation.cancel(ids, reason="stopped", actor=actor)
    error_type, message = _error_texts(error)
    actor = clean_actor(actor)

    def act(left: Sequence[UUID]) -> Answers:
        stopped = _stop_waiting(left, error_type, message, actor)
        others = [job_id for job_id in left if job_id not in stopped]
        asked = _ask_to_stop(others, error_type, message, actor)
        return {**dict.fromkeys(stopped, Answer.STOPPED), **dict.fromkeys(asked, Answer.REQUESTED)}

    return answer_all(ids, act, cancellation.when_cancelling)


def _error_texts(error: BaseException | str) -> tuple[str, str]:
    if isinstance(error, BaseException):
        return encoding.kind_and_message(error)
    return "Stopped", encoding.clean_text(str(error), 10_000)


def _stop_waiting(ids: Sequence[UUID], error_type: str, message: str, actor: str) -> set[UUID]:
    db, failure = dialect(settings.DATABASE), Failure(ErrorCategory.STOPPED, error_type, message)
    request = {"cancel_requested_at": Sql("{now}"), "cancel_requested_by": actor, "reason": message}
    sets = {**failure.columns, **request, "fallback_due": False}
    where, params = f"{db.id_in('id')} AND state <> 'running'", [db.id_list(ids)]
    moved = transitions.move("fail", where, params, sets=sets, actor=actor, data={"reason": message})
    for pool in {move.row["pool"] for move in moved}:
        after_commit(passes.after_finish, pool)
    return {move.id for move in moved}


def _ask_to_stop(ids: Sequence[UUID], error_type: str, message: str, actor: str) -> Sequence[UUID]:
    """Ask running jobs to stop; a second request changes nothing."""
    if not ids:
        return []
    db = dialect(settings.DATABASE)
    change = (
        "cancel_requested_at = {now}, cancel_requested_by = %s, reason = %s,"
        " stop_error_type = %s, stop_error_message = %s,"
    )
    where = f"{db.id_in('id')} AND state = 'running' AND cancel_requested_at IS NULL"
    values, data = [actor, message, error_type, message], {"reason": message, "error": error_type}
    asked = transitions.ask(change, values, where, [db.id_list(ids)], "cancel_requested", actor=actor, data=data)
    for job_id in asked:
        after_commit(cancellation.announce_request, job_id, actor)
    return asked
