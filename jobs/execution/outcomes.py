"""Which edge ends an attempt that did not end well: cancelled, stopped, another attempt, or failed – in this order.

One reading of the row, one choice; whoever takes the edge names the condition under which it was chosen, so a request
that comes in between is not passed over: then the choice is made anew. For the process that ran the body, and for a
worker's main process that ended it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect, read
from jobs.core.db.statements import query
from jobs.execution.failures import retry_policy
from jobs.execution.failures.failure import Failure
from jobs.execution.failures.retry_policy import RetryBudget
from jobs.execution.fence import FENCE
from jobs.models import Job, Pool
from jobs.models.transitions import Moved, Sql

_CANCEL_REQUESTED = " AND cancel_requested_at IS NOT NULL"
_NO_CANCEL_REQUEST = " AND cancel_requested_at IS NULL"
TRIES = 3  # a request can come in between once: nobody withdraws it while the job runs
_JOB_COLUMNS = (
    "cancel_requested_at",
    "stop_error_type",
    "stop_error_message",
    "at_most_once",
    "max_retries",
    "retry_count",
    "retry_delay",
    "retry_policy",
)
_POOL_COLUMNS = ("retry_delay", "retry_multiplier", "retry_cap", "retry_jitter", "retry_deadline")


@dataclass(frozen=True)
class Outcome:
    """An edge, the condition under which it holds (SQL after the fence), and what is written with it."""

    edge: str
    condition: str = ""
    sets: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)


def settle(
    fence: Sequence[Any],
    failure: Failure,
    write: Callable[[Outcome, str], Sequence[Moved]],
    *,
    is_abort: bool = False,
) -> Sequence[Moved]:
    """End a failed attempt: decide its outcome and have `write` take the edge; empty when it does not run any more.

    `write` gets the outcome and the SQL condition under which it was decided. Where a request came in between, no row
    matches that any more, and the outcome is decided again.
    """
    for _ in range(TRIES):
        outcome = decide(fence, failure, is_abort=is_abort)
        if outcome is None:
            return []
        moved = write(outcome, FENCE + outcome.condition)
        if moved:
            return moved
    return []


def decide(fence: Sequence[Any], failure: Failure, *, is_abort: bool = False) -> Outcome | None:
    """The edge for a failure of the attempt at a fence (job id, attempt id); None when it does not run any more.

    `is_abort`: the body ended because it was asked to, or says so.
    """
    row = _read(fence)
    if row is None:
        return None
    if row["stop_error_type"]:
        return _stopped(row, failure)
    is_requested = row["cancel_requested_at"] is not None
    if is_requested or is_abort:
        condition = _CANCEL_REQUESTED if is_requested else _NO_CANCEL_REQUEST
        return Outcome("cancel", condition, attempt=failure.of_attempt)
    seconds = retry_policy.seconds_to_next(failure, _policy(row), _standing(row))
    if seconds is None:
        return Outcome("fail", _NO_CANCEL_REQUEST, _final(failure), failure.of_attempt)
    later = {"run_after": Sql(dialect(settings.DATABASE).later("{now}"), (seconds,))}
    return Outcome("retry", "", later, failure.of_attempt)


def _stopped(row: Mapping[str, Any], failure: Failure) -> Outcome:
    """Somebody gave an error to end with: it is the job's, and the attempt's with the traceback of where it stopped."""
    stopped = Failure("stopped", row["stop_error_type"], row["stop_error_message"], failure.traceback)
    sets = {**_final(stopped), "fallback_due": False}
    return Outcome("fail", _CANCEL_REQUESTED, sets, stopped.of_attempt)


def _final(failure: Failure) -> dict[str, Any]:
    sets = dict(failure.columns)
    if failure.result is not None:
        sets["result"] = Sql("%s", (encoding.dumps(failure.result, field="result"),))
    return sets


def _policy(row: Mapping[str, Any]) -> retry_policy.RetryPolicy:
    mine = {"delay": row["retry_delay"], **(row["retry_policy"] or {})}
    pools = {name.removeprefix("retry_"): row["pool"][name] for name in _POOL_COLUMNS}
    return retry_policy.policy_of(mine, pools)


def _standing(row: Mapping[str, Any]) -> RetryBudget:
    allowed = 0 if row["at_most_once"] else row["max_retries"]
    return RetryBudget(row["retry_count"], allowed, row["since_first"] or 0.0, row["left"])


def _read(fence: Sequence[Any]) -> dict[str, Any] | None:
    using = settings.DATABASE
    rows = query(using, _sql(dialect(using)), fence)
    if not rows:
        return None
    mine, pools, (since_first, left) = rows[0][: len(_JOB_COLUMNS)], rows[0][len(_JOB_COLUMNS) : -2], rows[0][-2:]
    row = read(using, Job, _JOB_COLUMNS, mine)
    return {**row, "pool": read(using, Pool, _POOL_COLUMNS, pools), "since_first": since_first, "left": left}


def _sql(db: Dialect) -> str:
    first = "SELECT min(a.started_at) FROM jobs_attempt a WHERE a.job_id = j.id AND a.run = j.run"
    columns = [*(f"j.{name}" for name in _JOB_COLUMNS), *(f"p.{name}" for name in _POOL_COLUMNS)]
    now = db.epoch("{now}")
    times = [f"{now} - {db.epoch(f'({first})')}", f"{db.epoch('j.expires_at')} - {now}"]
    return (
        f"SELECT {', '.join([*columns, *times])} FROM jobs_job j LEFT JOIN jobs_pool p ON p.name = j.pool"
        " WHERE j.id = %s AND j.attempt_id = %s AND COALESCE(j.state, '') = 'running'"
    )
