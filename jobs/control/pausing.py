"""Pausing, resuming and starting jobs: waiting jobs at once, running jobs at their next checkpoint.

A pause request outlives the attempt, as a cancel request does; if there are both, the job is cancelled. Repeating a
request is harmless. Each function takes any number of jobs, in one transaction, and answers for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from jobs.admission import passes
from jobs.control.answers import Answer, Answers
from jobs.control.requests import (
    ELIGIBLE_AT,
    RESUMED_STATE,
    RequestState,
    answer_all,
    clean_actor,
    in_order,
    rank_at,
    reason_data,
)
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit
from jobs.models import transitions
from jobs.models.transitions import Moved, Sql
from jobs.states import WAITING, JobState

NOT_STARTED = "not started"
"""The reason of a job that was submitted with start=False."""

_WAITS = f"state IN ({', '.join(repr(str(state)) for state in WAITING)})"
_NOT_REQUESTED = "state = 'running' AND pause_requested_at IS NULL AND cancel_requested_at IS NULL AND NOT at_most_once"
_REQUEST = "pause_requested_at = {now}, paused_by = %s, reason = %s,"
_REQUESTED = "state = 'running' AND pause_requested_at IS NOT NULL"
_WITHDRAW = (
    "pause_requested_at = NULL, paused_by = '', reason = CASE WHEN cancel_requested_at IS NULL THEN '' ELSE reason END,"
)


def pause(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """PAUSED what waits, REQUESTED what runs; NOT_POSSIBLE if it has ended, is to be cancelled, or is `at_most_once`.

    A running job is paused at its next checkpoint, or when its attempt ends in a retry or another wait.
    """
    reason, actor = encoding.clean_text(reason, 10_000), clean_actor(actor)
    data, db = reason_data(reason), dialect(settings.DATABASE)

    def act(left: Sequence[UUID]) -> Answers:
        ids_param = db.id_list(left)
        moved = _pause_waiting(f"{db.id_in('id')} AND {_WAITS}", [ids_param], reason, actor)
        where = f"{db.id_in('id')} AND {_NOT_REQUESTED}"
        asked = transitions.ask(
            _REQUEST, [actor, reason], where, [ids_param], "pause_requested", actor=actor, data=data
        )
        return {**dict.fromkeys((move.id for move in moved), Answer.PAUSED), **dict.fromkeys(asked, Answer.REQUESTED)}

    return answer_all(ids, act, when_pausing)


def resume(ids: Sequence[UUID], *, reason: str = "", actor: str = "") -> Answers:
    """RESUMED what was paused, and what runs with a pause request, which is withdrawn; else NOT_PAUSED."""
    db = dialect(settings.DATABASE)
    event: dict[str, Any] = {"actor": clean_actor(actor), "data": reason_data(reason)}

    def act(left: Sequence[UUID]) -> Answers:
        ids_param = db.id_list(left)
        moved = _resume(db.id_in("id"), [ids_param], **event)
        where = f"{db.id_in('id')} AND {_REQUESTED}"
        withdrawn = transitions.ask(_WITHDRAW, [], where, [ids_param], "pause_withdrawn", **event)
        return dict.fromkeys([*(move.id for move in moved), *withdrawn], Answer.RESUMED)

    return answer_all(ids, act, when_resuming)


def start(ids: Sequence[UUID], *, actor: str = "") -> Answers:
    """STARTED what was submitted with start=False, and ALREADY_STARTED everything else."""
    db = dialect(settings.DATABASE)

    def act(left: Sequence[UUID]) -> Answers:
        held = f"{db.id_in('id')} AND reason = %s"
        moved = _resume(held, [db.id_list(left), NOT_STARTED], actor=clean_actor(actor))
        return dict.fromkeys((move.id for move in moved), Answer.STARTED)

    return answer_all(ids, act, lambda _: Answer.ALREADY_STARTED)


def _pause_waiting(where: str, params: list[object], reason: str, actor: str) -> list[Moved]:
    """Pause waiting jobs. A queued one frees its slot; its message is stale."""
    sets, data = {"reason": reason, "paused_by": actor}, reason_data(reason)
    moved = transitions.move("pause", where, params, sets=sets, actor=actor, data=data)
    for pool in {move.row["pool"] for move in moved if move.from_state == JobState.QUEUED}:
        after_commit(passes.after_finish, pool)
    return moved


def _resume(where: str, params: list[object], **event: Any) -> list[Moved]:
    """Resume: each job becomes scheduled or pending, and is eligible from now on."""
    sets = {"eligible_at": Sql(ELIGIBLE_AT), "rank": rank_at(ELIGIBLE_AT)}
    held = in_order(f"{where} AND state = 'paused'")
    moved = transitions.move("resume", held, params, to=RESUMED_STATE, sets=sets, **event)
    for pool in {move.row["pool"] for move in moved}:
        passes.admit_on_commit(pool)
    return moved


def when_pausing(job: RequestState) -> Answer | None:
    """The answer for a job in this state, if nothing is to be done."""
    if job.state == JobState.PAUSED:
        return Answer.PAUSED
    if job.state == JobState.RUNNING and not (job.is_to_be_cancelled or job.runs_once):
        return Answer.REQUESTED if job.is_to_be_paused else None
    return None if job.state in WAITING else Answer.NOT_POSSIBLE


def when_resuming(job: RequestState) -> Answer | None:
    """The answer for a job in this state, if nothing is to be done."""
    is_held = job.state == JobState.PAUSED or (job.state == JobState.RUNNING and job.is_to_be_paused)
    return None if is_held else Answer.NOT_PAUSED
