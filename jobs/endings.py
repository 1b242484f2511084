"""How an attempt ends that cannot say so itself, because its process is gone or will not listen: the verdict on it.

Whoever pronounces a verdict has made sure that the code has stopped, or that it never can be. Every move here is fenced
by the attempt, so a verdict that comes too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jobs import transitions
from jobs.conf import settings
from jobs.failures import Failure, back_off
from jobs.models import Attempt, Job
from jobs.querysets.dialect import dialect, prepare
from jobs.states import JobState
from jobs.transitions import Moved, Sql

Pair = tuple[UUID, UUID]  # job id, attempt id

_FENCE = "id = %s AND attempt_id = %s"
_ASKED = f"{_FENCE} AND cancel_requested_at IS NOT NULL"
_WEIGHTS = ("interrupt", "timeout", "disk", "memory", "cancel")


@dataclass(frozen=True)
class Verdict:
    """Why an attempt is stopped, and the edge that follows: `cancel`, `fail` with its failure, or `interrupt`.

    `attempt` holds further columns of the attempt: what was measured of it. A gentle one lets the body clean up first.
    """

    edge: str
    why: str
    failure: Failure | None = None
    is_gentle: bool = False
    attempt: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Of two verdicts on one attempt the heavier one counts: cancelled > memory > disk > timeout > interrupted."""
        return _WEIGHTS.index(self.failure.category if self.failure else self.edge)


INTERRUPTED = Verdict("interrupt", "its worker was shut down", is_gentle=True)


def timed_out(elapsed: float, timeout: float, grace: float) -> Verdict:
    """The verdict on an attempt that is over its time-out and its grace; all in seconds."""
    why = f"ran for {elapsed:.1f} s: over its time-out of {timeout:g} s, and over its grace of {grace:g} s"
    return Verdict("fail", why, Failure("timeout", "jobs.exceptions.JobTimedOut", why), is_gentle=True)


def heavier(one: Verdict | None, other: Verdict | None) -> Verdict | None:
    """The one that counts; the first of two that weigh the same."""
    return max((verdict for verdict in (one, other) if verdict), key=lambda verdict: verdict.weight, default=None)


def end(pair: Pair, verdict: Verdict, actor: str) -> Sequence[Moved]:
    """Take the edge that a verdict calls for; empty when the attempt had ended already, by whatever edge.

    A request to cancel wins over everything that has happened since.
    """
    fence = [prepare(settings.DATABASE, Job, "id", pair[0]), prepare(settings.DATABASE, Job, "attempt_id", pair[1])]
    told: dict[str, Any] = {"attempt": verdict.attempt, "actor": actor, "data": {"why": verdict.why}}
    if verdict.edge == "interrupt":
        return transitions.give_back("interrupt", _FENCE, fence, **told)
    moved = transitions.move("cancel", _ASKED, fence, source=JobState.RUNNING, **told)
    if moved or verdict.failure is None:
        return moved
    return _fail(pair, fence, verdict.failure, {**told, "attempt": {**verdict.failure.columns, **verdict.attempt}})


def note_usage(attempt_id: UUID, columns: Mapping[str, Any]) -> None:
    """Keep what was measured of an attempt whose process died before it could say so itself."""
    Attempt.objects.using(settings.DATABASE).filter(pk=attempt_id, cpu_seconds__isnull=True).update(**columns)


def _fail(pair: Pair, fence: list[Any], failure: Failure, told: dict[str, Any]) -> Sequence[Moved]:
    """As the failure of a body: another attempt while there are retries left, else the end."""
    row = Job.objects.using(settings.DATABASE).filter(pk=pair[0]).values("retry_count", "max_retries", "retry_delay")
    for job in row:
        if failure.may_retry and job["retry_count"] < job["max_retries"]:
            later = dialect(settings.DATABASE).later("{now}")
            sets = {"run_after": Sql(later, (back_off(job["retry_count"], job["retry_delay"]),))}
            return transitions.give_back("retry", _FENCE, fence, sets=sets, **told)
    sets = {**failure.columns, "error_count": Sql("error_count + 1")}
    return transitions.move("fail", _FENCE, fence, source=JobState.RUNNING, sets=sets, **told)
