"""Stopping a job with an error: it ends `failed` with that error, category `stopped`, and is not tried again.

One that runs is asked as by a cancellation and stops in the same way; the error waits in its row until its code has
stopped. Whoever asked first is obeyed. Without an error this is `control.cancel`.
"""

from __future__ import annotations

from uuid import UUID

from jobs.admission import passes
from jobs.control import cancellation as control
from jobs.control.cancellation import Answer
from jobs.control.requests import param, state_of
from jobs.core import encoding
from jobs.core.db.statements import after_commit
from jobs.execution.failures.failure import Failure
from jobs.models import transitions
from jobs.models.transitions import Sql
from jobs.states import FINAL, ErrorCategory


def stop(job_id: UUID, error: BaseException | str | None = None, actor: str = "") -> Answer:
    """STOPPED (with an error) or CANCELLED when it waits, REQUESTED when it runs, ALREADY_FINAL; JobNotFound.

    Repeating it is harmless.
    """
    if error is None:
        return control.cancel(job_id, "stopped", actor)
    kind, message = _texts(error)
    actor = encoding.clean_text(actor, 200)
    while True:
        if _stop_waiting(job_id, kind, message, actor):
            return Answer.STOPPED
        if _ask_running(job_id, kind, message, actor):
            return Answer.REQUESTED
        if state_of(job_id) in FINAL:
            return Answer.ALREADY_FINAL


def _texts(error: BaseException | str) -> tuple[str, str]:
    if isinstance(error, BaseException):
        return encoding.kind_and_message(error)
    return "Stopped", encoding.clean_text(str(error), 10_000)


def _stop_waiting(job_id: UUID, kind: str, message: str, actor: str) -> bool:
    stopped = Failure(ErrorCategory.STOPPED, kind, message).columns
    asked = {"cancel_requested_at": Sql("{now}"), "cancel_requested_by": actor, "reason": message}
    sets = {**stopped, **asked, "fallback_due": False}
    where, params = "id = %s AND state <> 'running'", [param(job_id)]
    moved = transitions.move("fail", where, params, sets=sets, actor=actor, data={"reason": message})
    for one in moved:
        after_commit(passes.after_finish, one.row["pool"])
    return bool(moved)


def _ask_running(job_id: UUID, kind: str, message: str, actor: str) -> bool:
    """Ask a running job to stop, once: the first request stands. False when it does not run any more."""
    change = "cancel_requested_at = {now}, cancel_requested_by = %s, reason = %s,"
    change += " stop_error_type = %s, stop_error_message = %s,"
    first = "id = %s AND state = 'running' AND cancel_requested_at IS NULL"
    asked = transitions.ask(
        change,
        [actor, message, kind, message],
        first,
        [param(job_id)],
        "cancel_requested",
        actor=actor,
        data={"reason": message, "error": kind},
    )
    if asked:
        after_commit(control.announce_request, job_id, actor)
    return bool(asked) or state_of(job_id) == "running"
