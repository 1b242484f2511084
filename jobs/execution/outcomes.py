"""Which edge ends an attempt that did not end well: cancelled, stopped, another attempt, or failed – in this order.

One reading of the row, one choice; whoever takes the edge names the condition under which it was chosen, so a request
that comes in between is not passed over: then the choice is made anew. For the process that ran the body, and for a
worker's main process that ended it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect
from jobs.core.db.statements import query
from jobs.core.db.values import prepare, read
from jobs.execution import back_to_queue
from jobs.execution.failures import retry_policy
from jobs.execution.failures.failure import Failure
from jobs.execution.failures.retry_policy import Standing
from jobs.models import Job, Pool, transitions
from jobs.models.transitions import Moved, Sql
from jobs.states import JobState

FENCE = "id = %s AND attempt_id = %s"
_ASKED = " AND cancel_requested_at IS NOT NULL"
_NOBODY_ASKED = " AND cancel_requested_at IS NULL"
TRIES = 3  # a request can come in between once: nobody withdraws it while the job runs
_OF_JOB = (
    "cancel_requested_at",
    "stop_error_type",
    "stop_error_message",
    "at_most_once",
    "max_retries",
    "retry_count",
    "retry_delay",
    "retry_policy",
)
_OF_POOL = ("retry_delay", "retry_multiplier", "retry_cap", "retry_jitter", "retry_deadline")


@dataclass(frozen=True)
class Sequel:
    """An edge, the condition under which it holds (SQL after the fence), and what is written with it."""

    edge: str
    condition: str = ""
    sets: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)


def end(
    job_id: UUID,
    attempt_id: UUID,
    failure: Failure,
    actor: str,
    *,
    attempt: Mapping[str, Any] = MappingProxyType({}),
    data: Mapping[str, Any] | None = None,
) -> list[Moved]:
    """End a running attempt that failed, from outside its process; [] when it does not run any more.

    `attempt` holds further columns of the attempt, `data` is the event's.
    """
    using = settings.DATABASE
    fence = [prepare(using, Job, "id", job_id), prepare(using, Job, "attempt_id", attempt_id)]
    for _ in range(TRIES):
        sequel = choose(fence, failure)
        if sequel is None:
            return []
        act = back_to_queue.give_back if sequel.edge in transitions.BACK_TO_WAITING else transitions.move
        how: dict[str, Any] = {"source": JobState.RUNNING, "actor": actor, "data": data}
        how |= {"sets": sequel.sets, "attempt": {**sequel.attempt, **attempt}}
        moved = act(sequel.edge, FENCE + sequel.condition, fence, **how)
        if moved:
            return moved
    return []


def choose(fence: Sequence[Any], failure: Failure, *, is_abort: bool = False) -> Sequel | None:
    """The edge for a failure of the attempt at a fence (job id, attempt id); None when it does not run any more.

    `is_abort`: the body ended because it was asked to, or says so.
    """
    row = _read(fence)
    if row is None:
        return None
    if row["stop_error_type"]:
        return _stopped(row, failure)
    if row["cancel_requested_at"] is not None or is_abort:
        return Sequel("cancel", _NOBODY_ASKED if row["cancel_requested_at"] is None else _ASKED, {}, failure.of_attempt)
    seconds = retry_policy.seconds_to_next(failure, _policy(row), _standing(row))
    if seconds is None:
        return Sequel("fail", _NOBODY_ASKED, _final(failure), failure.of_attempt)
    later = {"run_after": Sql(dialect(settings.DATABASE).later("{now}"), (seconds,))}
    return Sequel("retry", "", later, failure.of_attempt)


def _stopped(row: Mapping[str, Any], failure: Failure) -> Sequel:
    """Somebody gave an error to end with: it is the job's, and the attempt's with the traceback of where it stopped."""
    stopped = Failure("stopped", row["stop_error_type"], row["stop_error_message"], failure.traceback)
    sets = {**_final(stopped), "fallback_due": False}
    return Sequel("fail", _ASKED, sets, stopped.of_attempt)


def _final(failure: Failure) -> dict[str, Any]:
    sets = dict(failure.columns)
    if failure.result is not None:
        sets["result"] = Sql("%s", (encoding.dumps(failure.result, field="result"),))
    return sets


def _policy(row: Mapping[str, Any]) -> retry_policy.Policy:
    mine = {"delay": row["retry_delay"], **(row["retry_policy"] or {})}
    pools = {name.removeprefix("retry_"): row["pool"][name] for name in _OF_POOL}
    return retry_policy.policy_of(mine, pools)


def _standing(row: Mapping[str, Any]) -> Standing:
    allowed = 0 if row["at_most_once"] else row["max_retries"]
    return Standing(row["retry_count"], allowed, row["since_first"] or 0.0, row["left"])


def _read(fence: Sequence[Any]) -> dict[str, Any] | None:
    using = settings.DATABASE
    rows = query(using, _sql(dialect(using)), fence)
    if not rows:
        return None
    mine, pools, (since_first, left) = rows[0][: len(_OF_JOB)], rows[0][len(_OF_JOB) : -2], rows[0][-2:]
    row = read(using, Job, _OF_JOB, mine)
    return {**row, "pool": read(using, Pool, _OF_POOL, pools), "since_first": since_first, "left": left}


def _sql(db: Dialect) -> str:
    first = "SELECT min(a.started_at) FROM jobs_attempt a WHERE a.job_id = j.id AND a.run = j.run"
    columns = [*(f"j.{name}" for name in _OF_JOB), *(f"p.{name}" for name in _OF_POOL)]
    now = db.epoch("{now}")
    times = [f"{now} - {db.epoch(f'({first})')}", f"{db.epoch('j.expires_at')} - {now}"]
    return (
        f"SELECT {', '.join([*columns, *times])} FROM jobs_job j LEFT JOIN jobs_pool p ON p.name = j.pool"
        " WHERE j.id = %s AND j.attempt_id = %s AND COALESCE(j.state, '') = 'running'"
    )
