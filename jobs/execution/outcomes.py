"""Decides how a failed attempt ends: cancelled, stopped with an error, retried, or failed; the first that applies.

The row is read once and an edge chosen. The UPDATE repeats the condition of that choice; if a request arrived in
between it matches no row, and the choice is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import OuterRef, Subquery

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.core.db.dialects import dialect
from jobs.execution.failures import retry_policy
from jobs.execution.failures.failure import Failure
from jobs.execution.failures.retry_policy import RetryBudget
from jobs.execution.fence import FENCE, Pair
from jobs.models import Attempt, Job, Pool
from jobs.models.expressions import Epoch
from jobs.models.transitions import Moved, Sql
from jobs.states import ErrorCategory, JobState

_CANCEL_REQUESTED = " AND cancel_requested_at IS NOT NULL"
_NO_CANCEL_REQUEST = " AND cancel_requested_at IS NULL"
TRIES = 3  # at most one request can arrive in between, because it is not withdrawn while the job runs
_JOB_COLUMNS = (
    "state",
    "cancel_requested_at",
    "stop_error_type",
    "stop_error_message",
    "at_most_once",
    "max_retries",
    "retry_count",
    "retry_delay",
    "retry_policy",
)
_POOL_COLUMNS = ("delay", "multiplier", "cap", "jitter", "deadline")


@dataclass(frozen=True)
class Outcome:
    """An edge, its condition (SQL after the fence), and the columns of the job and the attempt written with it."""

    edge: str
    condition: str = ""
    sets: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)


def settle(
    pair: Pair, failure: Failure, write: Callable[[Outcome, str], Sequence[Moved]], *, is_abort: bool = False
) -> Sequence[Moved]:
    """Decide the outcome of a failed attempt and have `write` take the edge; empty when the attempt is not running.

    `write` gets the outcome and the fence with the outcome's condition. If it moves nothing, the outcome is decided
    again.
    """
    for _ in range(TRIES):
        outcome = decide(pair, failure, is_abort=is_abort)
        if outcome is None:
            return []
        moved = write(outcome, FENCE + outcome.condition)
        if moved:
            return moved
    return []


def decide(pair: Pair, failure: Failure, *, is_abort: bool = False) -> Outcome | None:
    """The outcome of an attempt that failed; None when it is not running.

    `is_abort`: the body raised JobAborted, on request or of its own accord.
    """
    job = _read(pair)
    if job is None:
        return None
    if job["stop_error_type"]:
        return _stopped(job, failure)
    is_requested = job["cancel_requested_at"] is not None
    if is_requested or is_abort:
        condition = _CANCEL_REQUESTED if is_requested else _NO_CANCEL_REQUEST
        return Outcome("cancel", condition, attempt=failure.of_attempt)
    seconds = retry_policy.seconds_to_next(failure, _policy(job), _budget(job))
    if seconds is None:
        return Outcome("fail", _NO_CANCEL_REQUEST, _final(failure), failure.of_attempt)
    return Outcome("retry", "", run_after(seconds), failure.of_attempt)


def run_after(seconds: float) -> dict[str, Sql]:
    """The column that lets a waiting job start again after some seconds."""
    return {"run_after": Sql(dialect(settings.DATABASE).later("{now}"), (seconds,))}


def _stopped(job: Mapping[str, Any], failure: Failure) -> Outcome:
    """The job fails with the error it was stopped with; its attempt also keeps the traceback of where it stopped."""
    stopped = Failure(ErrorCategory.STOPPED, job["stop_error_type"], job["stop_error_message"], failure.traceback)
    sets = {**_final(stopped), "fallback_due": False}
    return Outcome("fail", _CANCEL_REQUESTED, sets, stopped.of_attempt)


def _final(failure: Failure) -> dict[str, Any]:
    sets = dict(failure.columns)
    if failure.result is not None:
        sets["result"] = Sql("%s", (encoding.dumps(failure.result, field="result"),))
    return sets


def _policy(job: Mapping[str, Any]) -> retry_policy.RetryPolicy:
    own = {"delay": job["retry_delay"], **(job["retry_policy"] or {})}
    return retry_policy.policy_of(own, {name: job[f"pool_{name}"] for name in _POOL_COLUMNS})


def _budget(job: Mapping[str, Any]) -> RetryBudget:
    allowed = 0 if job["at_most_once"] else job["max_retries"]
    return RetryBudget(job["retry_count"], allowed, job["since_first"] or 0.0, job["left"])


def _read(pair: Pair) -> dict[str, Any] | None:
    """The columns of a running attempt's job that decide its outcome, with those of its pool.

    The state is compared here: with old statistics PostgreSQL would read every running job to find this one.
    """
    pool = Pool.objects.filter(name=OuterRef("pool"))
    first = Attempt.objects.filter(job_id=OuterRef("pk"), run=OuterRef("run")).order_by("number")
    computed: dict[str, Any] = {f"pool_{name}": Subquery(pool.values(f"retry_{name}")[:1]) for name in _POOL_COLUMNS}
    computed["since_first"] = Epoch(DbNow()) - Epoch(Subquery(first.values("started_at")[:1]))
    computed["left"] = Epoch("expires_at") - Epoch(DbNow())
    jobs = Job.objects.using(settings.DATABASE).filter(pk=pair[0], attempt_id=pair[1])
    job = jobs.values(*_JOB_COLUMNS, **computed).first()
    return job if job is not None and job["state"] == JobState.RUNNING else None
