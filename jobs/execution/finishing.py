"""Records the end of an attempt in the process that ran its body, together with the last output of the body.

While the database is away the write is tried again, for FINISH_WITHIN seconds; after that the steward decides. An
attempt that no longer counts changes nothing and leaves a `stale` event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.hostname import HOSTNAME
from jobs.exceptions import InvalidPayload, JobAborted
from jobs.execution import hooks, outcomes
from jobs.execution.back_to_queue import leave_running
from jobs.execution.claims import Claimed
from jobs.execution.failures.failure import Failure, failure_of
from jobs.execution.fence import FENCE
from jobs.execution.outcomes import Outcome
from jobs.execution.progress import Line, write_lines
from jobs.models import transitions
from jobs.models.transitions import Moved, Sql
from jobs.states import ErrorCategory, JobState

logger = logging.getLogger(__name__)

FINISH_WITHIN = 300  # seconds
_TO_CANCEL = " AND cancel_requested_at IS NOT NULL AND stop_error_type = ''"
T = TypeVar("T")


def complete(claimed: Claimed, result: Any) -> None:
    """Complete the job with its result, or with the reason why the result cannot be stored."""
    try:
        sets = {"result": Sql("%s", (encoding.dumps(result, field="result"),))}
    except InvalidPayload as error:
        sets = {"result_error": Sql("%s", (encoding.clean_text(str(error), 1000),))}
    finish(claimed, "complete", sets=sets)


def fail(claimed: Claimed, error: BaseException) -> None:
    """Take the edge that follows a failure."""
    failure, is_abort = failure_of(error), isinstance(error, JobAborted)

    def write(outcome: Outcome, fence: str) -> Sequence[Moved]:
        if outcome.edge == "cancel":
            _before_cancel(claimed, fence)
        return _finish(claimed, outcome.edge, fence=fence, sets=outcome.sets, attempt=outcome.attempt)

    if not _persist(lambda: outcomes.settle(claimed.pair, failure, write, is_abort=is_abort)):
        _persist(lambda: _note_stale(claimed, "fail"))


def finish(claimed: Claimed, edge: str, *, sets: Mapping[str, Any] | None = None) -> None:
    """Take an edge that ends the attempt.

    Where a cancel request turns a return to the queue into a cancellation, its hook runs first, as for every cancel.
    """
    if edge in transitions.BACK_TO_WAITING:
        _before_cancel(claimed, FENCE + _TO_CANCEL)
    if not _finish(claimed, edge, sets=sets):
        _persist(lambda: _note_stale(claimed, edge))


def _before_cancel(claimed: Claimed, fence: str) -> None:
    hooks.before_cancel(claimed.hooks, claimed.context, claimed.row, fence, claimed.fence, claimed.worker)


def _finish(
    claimed: Claimed,
    edge: str,
    *,
    fence: str = FENCE,
    sets: Mapping[str, Any] | None = None,
    attempt: Mapping[str, Any] | None = None,
) -> Sequence[Moved]:
    """Take an edge and write the body's last output with it; empty when the fence no longer matches."""
    outbox = claimed.context.outbox
    outbox.clear_callbacks()
    with outbox.writing:
        columns, lines = outbox.take()
    options = {
        "source": JobState.RUNNING,
        "sets": {**_last_columns(columns, edge), **(sets or {})},
        "attempt": {**_usage(claimed), **(attempt or {})},
        "actor": "execution",
    }
    moved = _record(claimed, edge, fence, options, lines)
    if not moved:
        outbox.put_back(columns, lines)
    return moved


def _usage(claimed: Claimed) -> dict[str, Any]:
    """What the attempt used. Numbers skip Django's field conversion, which costs more than measuring them."""
    used = claimed.context.end()
    return {name: value if name == "metrics" else Sql("%s", (value,)) for name, value in used.items()}


def _last_columns(columns: dict[str, Any], edge: str) -> dict[str, Any]:
    """The output to write with an edge. A job that waits again shows no live columns; a completed one shows 100 %."""
    if edge in transitions.BACK_TO_WAITING:
        return {name: value for name, value in columns.items() if name not in transitions.FRESH_LIVE}
    return {**columns, "progress": 100.0} if edge == "complete" else columns


def _record(claimed: Claimed, edge: str, fence: str, options: dict[str, Any], lines: Sequence[Line]) -> Sequence[Moved]:
    """Write the end; where the database refuses its values, write a failure that says so."""
    try:
        return _persist(lambda: _move(claimed, edge, fence, options, lines))
    except DatabaseError as error:
        if isinstance(error, OperationalError):
            raise
        logger.exception("the database refused to record the end of job %s", claimed.row["id"])
        refusal = f"the database refused to record this attempt ({edge}): {encoding.describe_error(error).message}"
    columns = Failure(ErrorCategory.UNKNOWN, "DatabaseError", encoding.clean_text(refusal, 10_000)).columns
    source = JobState.RUNNING
    return _persist(
        lambda: transitions.move("fail", FENCE, claimed.fence, source=source, sets=columns, attempt=columns)
    )


def _move(claimed: Claimed, edge: str, fence: str, options: dict[str, Any], lines: Sequence[Line]) -> Sequence[Moved]:
    """One statement; with log lines left one transaction, so that a reader who sees the end sees the last line."""
    if not lines:
        return leave_running(edge, fence, claimed.fence, **options)
    with transaction.atomic(using=settings.DATABASE):
        moved = leave_running(edge, fence, claimed.fence, **options)
        if moved:
            write_lines(claimed.row["id"], claimed.row["attempt_id"], lines)
        return moved


def _note_stale(claimed: Claimed, edge: str) -> None:
    data = {"attempt": str(claimed.row["attempt_id"]), "edge": edge}
    transitions.note(claimed.row["id"], "stale", actor=HOSTNAME, data=data)


def _persist(write: Callable[[], T]) -> T:
    """Do a write that must not be lost: while the database is away, try again with growing pauses."""
    connection = connections[settings.DATABASE]
    last_try_at, pause = time.monotonic() + FINISH_WITHIN, 0.1
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or time.monotonic() > last_try_at:
                raise
            logger.warning("finishing write failed, again in %.1f s: %s", pause, error)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
