"""How an attempt leaves `running` when it did not end well by itself: back to waiting, or as a person has asked.

Cancel wins, then an error that somebody gave, then what may run once only, then a pause. What would have been counted
of the edge in whose place another is taken is counted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import done_again
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.execution.failures.failure import Failure
from jobs.execution.fence import RUNNING
from jobs.models.transitions import BACK_TO_WAITING, COUNTED, Moved, move
from jobs.models.transitions.sql import BY_ID
from jobs.states import EDGES, ErrorCategory, JobState

_NO_REQUEST = " AND cancel_requested_at IS NULL AND pause_requested_at IS NULL"
_CANCEL_REQUESTED = " AND cancel_requested_at IS NOT NULL"
_MAY_RUN_AGAIN = " AND NOT at_most_once"
_ONCE = Failure(ErrorCategory.LOST, "RunsOnce", "its only attempt did not end by itself, and it may run at most once")


def leave_running(edge_name: str, where: str, params: Sequence[Any] = (), **options: Any) -> list[Moved]:
    """Take an edge from running; one that returns the job to the queue as `return_to_queue` does."""
    take = return_to_queue if edge_name in BACK_TO_WAITING else move
    return take(edge_name, where, params, **options)


def return_to_queue(edge_name: str, where: str, params: Sequence[Any] = (), **options: Any) -> list[Moved]:
    """Take an edge from running to a waiting state, unless a person asked otherwise: then cancel, or pause, instead.

    A job that may run at most once fails as `lost`: whatever it has begun, nobody begins it again.
    """
    moved = move(edge_name, where + _NO_REQUEST + _MAY_RUN_AGAIN, params, **options)
    if moved and where.startswith(BY_ID):
        return moved
    return moved + _as_asked(edge_name, where, params, options)


def end_as_requested(where: str, params: Sequence[Any] = (), **options: Any) -> list[Moved]:
    """End running jobs that were asked to stop, once they have: cancelled, or failed with the error they were given."""
    moved = move(
        "cancel", f"{where}{_CANCEL_REQUESTED} AND stop_error_type = ''", params, source=JobState.RUNNING, **options
    )
    if moved and where.startswith(BY_ID):
        return moved
    return moved + _end_stopped(f"{where}{_CANCEL_REQUESTED}", params, options)


def _end_stopped(where: str, params: Sequence[Any], options: Mapping[str, Any]) -> list[Moved]:
    """Fail what was given an error to end with: one move for all that were given the same."""
    texts = "SELECT DISTINCT stop_error_type, stop_error_message FROM jobs_job"
    given = query(settings.DATABASE, f"{texts} WHERE {where} AND stop_error_type <> '' AND {RUNNING}", params)
    same, moved = f"{where} AND stop_error_type = %s AND stop_error_message = %s", []
    for kind, message in given:
        stopped = Failure(ErrorCategory.STOPPED, kind, message)
        moved += _fail(stopped, same, [*params, kind, message], options, {"fallback_due": False})
    return moved


def _fail(
    failure: Failure, where: str, params: Sequence[Any], options: Mapping[str, Any], also: Mapping[str, Any]
) -> list[Moved]:
    attempt = {**options.get("attempt", {}), **failure.columns}
    how = {**options, "attempt": attempt, "sets": {**options.get("sets", {}), **failure.columns, **also}}
    return move("fail", where, params, **{**how, "source": JobState.RUNNING})


@done_again
def _as_asked(edge_name: str, where: str, params: Sequence[Any], options: dict[str, Any]) -> list[Moved]:
    """The same for what somebody asked to stop, or to pause, and for what may not run again: cancel wins.

    The rows are locked, so that no request comes or is withdrawn between two of the moves: who was between them all
    would run on with nobody running it, or be paused although it was to be cancelled.
    """
    using = settings.DATABASE
    carried = {name: value for name, value in options.items() if name in {"attempt", "actor", "data"}}
    with transaction.atomic(using=using):
        locked = f"SELECT id FROM jobs_job WHERE {where} AND {RUNNING} ORDER BY id{dialect(using).for_update}"
        if not query(using, locked, params):
            return []
        moved = end_as_requested(where, params, **carried)
        once = f"{where} AND at_most_once AND cancel_requested_at IS NULL"
        moved += _fail(_ONCE, once, params, carried, {})
        moved += _pause(edge_name, f"{where} AND pause_requested_at IS NOT NULL", params, options)
        return moved + move(edge_name, where + _NO_REQUEST + _MAY_RUN_AGAIN, params, **options)


def _pause(edge_name: str, where: str, params: Sequence[Any], options: Mapping[str, Any]) -> list[Moved]:
    """Pause in place of an edge.

    A failure stays one, with its outcome and its count: else a job that is paused each time would fail for ever.
    """
    how = {**options, "source": JobState.RUNNING}
    if edge_name in COUNTED:
        how["sets"] = {**(options.get("sets") or {}), **COUNTED[edge_name]}
        how["attempt"] = {**(options.get("attempt") or {}), "outcome": EDGES[edge_name].outcome}
        how["data"] = {**(options.get("data") or {}), "instead_of": edge_name}
    return move("pause", where, params, **how)
