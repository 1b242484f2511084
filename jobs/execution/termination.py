"""How an attempt ends that cannot say so itself, because its process is gone or will not listen: the verdict on it.

Whoever pronounces a verdict has made sure that the code has stopped, or that it never can be. Every move here is fenced
by the attempt, so a verdict that comes too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.values import prepare
from jobs.execution import back_to_queue, outcomes
from jobs.execution.failures.failure import Failure
from jobs.models import Attempt, Job
from jobs.models.transitions import Moved
from jobs.states import ErrorCategory

Pair = tuple[UUID, UUID]  # job id, attempt id

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
    return Verdict("fail", why, Failure(ErrorCategory.TIMEOUT, "jobs.exceptions.JobTimedOut", why), is_gentle=True)


def heavier(one: Verdict | None, other: Verdict | None) -> Verdict | None:
    """The one that counts; the first of two that weigh the same."""
    return max((verdict for verdict in (one, other) if verdict), key=lambda verdict: verdict.weight, default=None)


def end(pair: Pair, verdict: Verdict, actor: str) -> Sequence[Moved]:
    """Take the edge that a verdict calls for; empty when the attempt had ended already, by whatever edge.

    A request to stop wins over everything that has happened since.
    """
    told: dict[str, Any] = {"actor": actor, "attempt": verdict.attempt, "data": {"why": verdict.why}}
    if verdict.failure is not None:
        return outcomes.end(*pair, verdict.failure, **told)
    fence = [prepare(settings.DATABASE, Job, "id", value) for value in pair]  # of one type
    if verdict.edge == "interrupt":
        return back_to_queue.give_back("interrupt", outcomes.FENCE, fence, **told)
    return back_to_queue.end_asked(outcomes.FENCE, fence, **told)


def note_usage(attempt_id: UUID, columns: Mapping[str, Any]) -> None:
    """Keep what was measured of an attempt whose process died before it could say so itself."""
    Attempt.objects.using(settings.DATABASE).filter(pk=attempt_id, cpu_seconds__isnull=True).update(**columns)
