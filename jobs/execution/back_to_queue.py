"""Returns running jobs to the queue, unless a request says otherwise: then they are cancelled, failed or paused.

In this order: a cancel request, a stop request with an error, `at_most_once`, a pause request. A pause in place of a
retry still counts as that retry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
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
    """Take an edge from running to a waiting state; where a cancel or pause was requested, take that edge instead.

    A job that may run at most once fails as `lost`: it has started, and must not start again.
    """
    moved = move(edge_name, where + _NO_REQUEST + _MAY_RUN_AGAIN, params, **options)
    if moved and where.startswith(BY_ID):
        return moved
    return moved + _as_asked(edge_name, where, params, options)


def end_as_requested(where: str, params: Sequence[Any] = (), **options: Any) -> list[Moved]:
    """End jobs whose body has stopped on request: cancelled, or failed with the error of the request."""
    moved = move(
        "cancel", f"{where}{_CANCEL_REQUESTED} AND stop_error_type = ''", params, source=JobState.RUNNING, **options
    )
    if moved and where.startswith(BY_ID):
        return moved
    return moved + _end_stopped(f"{where}{_CANCEL_REQUESTED}", params, options)


def _end_stopped(where: str, params: Sequence[Any], options: Mapping[str, Any]) -> list[Moved]:
    """Fail the jobs that were stopped with an error: one move for each error."""
    select = "SELECT DISTINCT stop_error_type, stop_error_message FROM jobs_job"
    errors = query(settings.DATABASE, f"{select} WHERE {where} AND stop_error_type <> '' AND {RUNNING}", params)
    same_error, moved = f"{where} AND stop_error_type = %s AND stop_error_message = %s", []
    for kind, message in errors:
        stopped = Failure(ErrorCategory.STOPPED, kind, message)
        moved += _fail(stopped, same_error, [*params, kind, message], options, {"fallback_due": False})
    return moved


def _fail(
    failure: Failure, where: str, params: Sequence[Any], options: Mapping[str, Any], sets: Mapping[str, Any]
) -> list[Moved]:
    columns = {
        "attempt": {**options.get("attempt", {}), **failure.columns},
        "sets": {**options.get("sets", {}), **failure.columns, **sets},
    }
    return move("fail", where, params, **{**options, **columns, "source": JobState.RUNNING})


@retry_on_deadlock
def _as_asked(edge_name: str, where: str, params: Sequence[Any], options: dict[str, Any]) -> list[Moved]:
    """Take the edge that each job's request, or `at_most_once`, demands; then return the remaining jobs.

    The rows are locked first. Otherwise a cancel that arrives between two of these UPDATEs would be missed, and the job
    would stay `running` without a process.
    """
    using = settings.DATABASE
    shared = {name: value for name, value in options.items() if name in {"attempt", "actor", "data"}}
    with transaction.atomic(using=using):
        locked = f"SELECT id FROM jobs_job WHERE {where} AND {RUNNING} ORDER BY id{dialect(using).for_update}"
        if not query(using, locked, params):
            return []
        moved = end_as_requested(where, params, **shared)
        once = f"{where} AND at_most_once AND cancel_requested_at IS NULL"
        moved += _fail(_ONCE, once, params, shared, {})
        moved += _pause(edge_name, f"{where} AND pause_requested_at IS NOT NULL", params, options)
        return moved + move(edge_name, where + _NO_REQUEST + _MAY_RUN_AGAIN, params, **options)


def _pause(edge_name: str, where: str, params: Sequence[Any], options: Mapping[str, Any]) -> list[Moved]:
    """Pause in place of an edge.

    A failed attempt keeps its outcome and counts as a retry: otherwise a job that is paused at each failure would be
    retried for ever.
    """
    changed = {**options, "source": JobState.RUNNING}
    if edge_name in COUNTED:
        changed["sets"] = {**(options.get("sets") or {}), **COUNTED[edge_name]}
        changed["attempt"] = {**(options.get("attempt") or {}), "outcome": EDGES[edge_name].outcome}
        changed["data"] = {**(options.get("data") or {}), "instead_of": edge_name}
    return move("pause", where, params, **changed)
