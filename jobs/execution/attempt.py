"""Claim, run, finish: one attempt of one job, as the process that runs the body reports it.

The claim returns the arguments or refuses; the body runs; exactly one edge ends the attempt, fenced by its id. A late
finisher changes nothing and leaves a `stale` event. A database that is away is waited for within bounds; after that the
steward decides. Nothing here knows Celery but the names of its exceptions.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from jobs.admission import passes
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.values import prepare
from jobs.exceptions import InvalidArguments, InvalidPayload, JobAborted
from jobs.execution import back_to_queue, context, outcomes
from jobs.execution import body as bodies
from jobs.execution import hooks as aftercare
from jobs.execution.context import JobContext, JobInterrupted, JobPaused, JobSnoozed
from jobs.execution.failures.failure import Failure, failure_of, is_end_of_greenlet, kill_in
from jobs.execution.hooks import NO_HOOKS, Hooks
from jobs.execution.progress import Line, flusher, write_lines
from jobs.models import Attempt, Job, transitions
from jobs.models.fields import Unreadable
from jobs.models.transitions import Moved, Sql
from jobs.states import ErrorCategory, JobState

logger = logging.getLogger(__name__)

FINISH_WITHIN = 300  # seconds that a finishing write is tried again while the database is away
_CLAIMED = ("args", "kwargs", "metadata", "owner", "diagnostics", "timeout", "checkpoint")
_DOORBELL = "id = %s AND attempt_id = %s"
_FENCE = _DOORBELL  # with the source `running`: a job that waits again has its last attempt's id still
_TO_CANCEL = " AND cancel_requested_at IS NOT NULL AND stop_error_type = ''"
_NOT_EXPIRED = " AND (expires_at IS NULL OR expires_at > {now})"
_NOT_FENCED = " AND NOT EXISTS (SELECT 1 FROM jobs_worker WHERE boot_id = %s AND fenced_at IS NOT NULL)"
Body = Callable[..., Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Claimed:
    """One attempt that is ours: the job's row at the claim, and the `self.job` its body will see."""

    row: dict[str, Any]
    context: JobContext
    worker: UUID | None = None
    hooks: Hooks = NO_HOOKS

    @property
    def fence(self) -> list[Any]:
        using = settings.DATABASE
        return [prepare(using, Job, "id", self.row["id"]), prepare(using, Job, "attempt_id", self.row["attempt_id"])]


def perform(job_id: UUID, attempt_id: UUID, body: Body, worker: UUID | None, hooks: Hooks = NO_HOOKS) -> bool:
    """Run one attempt from claim to end; False when the claim was refused and nothing ran.

    Whatever the body raises becomes the attempt's outcome, but for the exit that tells this process to die.
    """
    claimed = claim(job_id, attempt_id, worker, hooks)
    if claimed is None:
        return False
    run(claimed, body)
    return True


def claim(job_id: UUID, attempt_id: UUID, worker: UUID | None, hooks: Hooks = NO_HOOKS) -> Claimed | None:
    """Take a queued job for this process; None when the doorbell was stale.

    Reconnects once if the connection is dead.
    """
    using = settings.DATABASE
    try:
        moved = _claim(job_id, attempt_id, worker, hooks)
    except (OperationalError, InterfaceError):
        if connections[using].in_atomic_block:
            raise
        connections[using].close()
        moved = _claim(job_id, attempt_id, worker, hooks)
    for one in moved:
        return Claimed(one.row, _context_of(one.row), worker, hooks)
    return None


def run(claimed: Claimed, body: Body) -> None:
    """Run the body of an attempt that is ours and record its end; then its slot is free."""
    aftercare.before_run(claimed.hooks, claimed.row, claimed.worker)
    token = context.bind(claimed.context)
    claimed.context.begin()
    try:
        _run(claimed, body)
    finally:
        claimed.context.end()
        context.release(token)
        flusher.forget(claimed.row["attempt_id"])
        passes.after_finish(claimed.row["pool"])
    aftercare.after_end(claimed.hooks, claimed.context, claimed.row, claimed.worker)


def _claim(job_id: UUID, attempt_id: UUID, worker: UUID | None, hooks: Hooks) -> list[Moved]:
    """The claim, and beside it the note that the task has hooks, where it has."""
    if not hooks:
        return _take(job_id, attempt_id, worker)
    with transaction.atomic(using=settings.DATABASE):
        moved = _take(job_id, attempt_id, worker)
        for one in moved:
            aftercare.arm(one.id, one.row["run"])
    return moved


def _take(job_id: UUID, attempt_id: UUID, worker: UUID | None) -> list[Moved]:
    using = settings.DATABASE
    fence = [prepare(using, Job, "id", job_id), prepare(using, Job, "attempt_id", attempt_id)]
    fence.append(prepare(using, Attempt, "worker_id", worker))
    who = {"worker_id": worker, "hostname": _HOSTNAME, "pid": os.getpid()}
    return transitions.move(
        "claim", _DOORBELL + _NOT_EXPIRED + _NOT_FENCED, fence, attempt=who, actor=_HOSTNAME, returning=_CLAIMED
    )


def _context_of(row: dict[str, Any]) -> JobContext:
    made = JobContext(
        id=row["id"],
        key=row["key"],
        attempt=row["attempt"],
        args=row["args"],
        kwargs=row["kwargs"],
        metadata=row["metadata"],
        owner=row["owner"],
        attempt_id=row["attempt_id"],
        started_at=row["started_at"],
        timeout=row["timeout"],
        resume_data=row["checkpoint"],
        in_transaction=connections[settings.DATABASE].in_atomic_block,
    )
    made.diagnostics.extend(row["diagnostics"])
    return made


def _run(claimed: Claimed, body: Body) -> None:
    """Call the body and take the edge that its end calls for."""
    try:
        args, kwargs = _arguments(claimed.context)
        result = bodies.call(body, *args, **kwargs)
    except JobSnoozed as snoozed:
        _end(claimed, "snooze", sets=_in(snoozed.seconds))
    except (JobInterrupted, JobPaused):
        _end(claimed, "interrupt")  # which becomes the pause that was asked for, unless it was withdrawn meanwhile
    except BaseException as error:
        kill = kill_in(error)
        if kill is not None:
            raise kill from None  # Celery would take what the clean-up made of it for a failure, and keep the process
        if is_end_of_greenlet(error):
            _end(claimed, "interrupt")
            raise
        _fail(claimed, error)
        if isinstance(error, KeyboardInterrupt):
            raise  # whoever pressed Ctrl-C meant the process as well
    else:
        _complete(claimed, result)


def _arguments(job: JobContext) -> tuple[list[Any], dict[str, Any]]:
    """The arguments, or InvalidArguments where a newer version has written what this one cannot read."""
    for name, value in (("args", job.args), ("kwargs", job.kwargs)):
        if isinstance(value, Unreadable):
            raise InvalidArguments(
                f"{name} cannot be read here: {value.problem}. Is this worker older than its caller?"
            )
    return job.args, job.kwargs


def _complete(claimed: Claimed, result: Any) -> None:
    try:
        sets = {"result": Sql("%s", (encoding.dumps(result, field="result"),))}
    except InvalidPayload as error:
        sets = {"result_error": Sql("%s", (encoding.clean_text(str(error), 1000),))}
    _end(claimed, "complete", sets=sets)


def _fail(claimed: Claimed, error: BaseException) -> None:
    """Take the edge that follows a failure; chosen anew where a person's request came in between."""
    failure, edge = failure_of(error), "fail"
    for _ in range(outcomes.TRIES):
        chosen = _persist(lambda: outcomes.choose(claimed.fence, failure, is_abort=isinstance(error, JobAborted)))
        if chosen is None:
            break
        edge, fence = chosen.edge, _FENCE + chosen.condition
        if edge == "cancel":
            _before_cancel(claimed, fence)
        if _finish(claimed, edge, fence=fence, sets=chosen.sets, attempt=chosen.attempt):
            return
    _persist(lambda: _note_stale(claimed, edge))


def _before_cancel(claimed: Claimed, fence: str) -> None:
    aftercare.before_cancel(claimed.hooks, claimed.context, claimed.row, fence, claimed.fence, claimed.worker)


def _in(seconds: float) -> dict[str, Sql]:
    return {"run_after": Sql(dialect(settings.DATABASE).later("{now}"), (seconds,))}


def _end(claimed: Claimed, edge: str, **how: Any) -> None:
    """Take the edge that ends the attempt; one that no longer counts leaves an event.

    Where a cancellation will take the place of going back to waiting, its hook comes first, as it does elsewhere.
    """
    if edge in transitions.BACK_TO_WAITING:
        _before_cancel(claimed, _FENCE + _TO_CANCEL)
    if not _finish(claimed, edge, **how):
        _persist(lambda: _note_stale(claimed, edge))


def _finish(
    claimed: Claimed,
    edge: str,
    *,
    fence: str = _FENCE,
    sets: dict[str, Any] | None = None,
    attempt: dict[str, Any] | None = None,
) -> bool:
    """Take an edge, with what the body said last; False when the attempt does not stand at the fence."""
    draft = claimed.context.draft
    draft.hush()
    with draft.writing:
        said, lines = draft.take()
    columns = {**_last_words(said, edge), **(sets or {})}
    attempt = {**_measured(claimed), **(attempt or {})}
    options = {"source": JobState.RUNNING, "sets": columns, "attempt": attempt, "actor": "execution"}
    if not _take_edge(claimed, edge, fence, options, lines):
        draft.put_back(said, lines)
        return False
    return True


def _measured(claimed: Claimed) -> dict[str, Any]:
    """What the attempt used. Numbers go as they are: to have Django look at each costs more than to measure it."""
    used = claimed.context.end()
    return {name: value if name == "metrics" else Sql("%s", (value,)) for name, value in used.items()}


def _last_words(said: dict[str, Any], edge: str) -> dict[str, Any]:
    """What goes with the finishing write: all of it, but for what a job that waits again, or is done, does not show."""
    if edge in transitions.BACK_TO_WAITING:
        return {name: value for name, value in said.items() if name not in transitions.FRESH_LIVE}
    return {**said, "progress": 100.0} if edge == "complete" else said


def _take_edge(
    claimed: Claimed, edge: str, fence: str, options: dict[str, Any], lines: Sequence[Line]
) -> Sequence[Moved]:
    try:
        return _persist(lambda: _move_and_tell(claimed, edge, fence, options, lines))
    except DatabaseError as error:
        if isinstance(error, OperationalError):
            raise
        logger.exception("the database refused to record the end of job %s", claimed.row["id"])
        refusal = f"the database refused to record this attempt ({edge}): {encoding.describe_error(error).message}"
    failure = Failure(ErrorCategory.UNKNOWN, "DatabaseError", encoding.clean_text(refusal, 10_000))
    return _persist(
        lambda: transitions.move(
            "fail", _FENCE, claimed.fence, source=JobState.RUNNING, sets=failure.columns, attempt=failure.columns
        )
    )


def _move_and_tell(
    claimed: Claimed, edge: str, fence: str, options: dict[str, Any], lines: Sequence[Line]
) -> Sequence[Moved]:
    """One statement, or with lines left to write one transaction: whoever sees the end sees the last line as well."""
    act = back_to_queue.give_back if edge in transitions.BACK_TO_WAITING else transitions.move
    if not lines:
        return act(edge, fence, claimed.fence, **options)
    with transaction.atomic(using=settings.DATABASE):
        moved = act(edge, fence, claimed.fence, **options)
        if moved:
            write_lines(claimed.row["id"], claimed.row["attempt_id"], lines)
    return moved


def _note_stale(claimed: Claimed, edge: str) -> None:
    data = {"attempt": str(claimed.row["attempt_id"]), "edge": edge}
    transitions.note(claimed.row["id"], "stale", actor=_HOSTNAME, data=data)


def _persist(write: Callable[[], T]) -> T:
    """Do a write that must not be lost: while the database is away, try again with a growing pause, within bounds."""
    connection = connections[settings.DATABASE]
    give_up_at, pause = time.monotonic() + FINISH_WITHIN, 0.1
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or time.monotonic() > give_up_at:
                raise
            logger.warning("finishing write failed, again in %.1f s: %s", pause, error)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


_HOSTNAME = socket.gethostname()[:200]
