"""How an attempt ends that cannot say so itself, because its process is gone or will not listen: the verdict on it.

Whoever pronounces a verdict has made sure that the code has stopped, or that it never can be. Every move here is fenced
by the attempt, so a verdict that comes too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID

from jobs.core.conf import settings
from jobs.execution import outcomes
from jobs.execution.back_to_queue import end_as_requested, leave_running, return_to_queue
from jobs.execution.failures.failure import Failure
from jobs.execution.fence import FENCE, Pair, fence_params
from jobs.execution.outcomes import Outcome
from jobs.models import Attempt
from jobs.models.transitions import Moved
from jobs.states import ErrorCategory, JobState

_SEVERITIES = ("interrupt", "timeout", "disk", "memory", "cancel")


@dataclass(frozen=True)
class Termination:
    """Why an attempt is stopped, and the edge that follows: `cancel`, `fail` with its failure, or `interrupt`.

    `attempt` holds further columns of the attempt: what was measured of it. A gentle one lets the body clean up first.
    """

    edge: str
    why: str
    failure: Failure | None = None
    is_gentle: bool = False
    attempt: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """Of two verdicts on one attempt the stronger one counts: cancelled > memory > disk > timeout > interrupted."""
        return _SEVERITIES.index(self.failure.category if self.failure else self.edge)


INTERRUPTED = Termination("interrupt", "its worker was shut down", is_gentle=True)


def timed_out(elapsed: float, timeout: float, grace: float) -> Termination:
    """The verdict on an attempt that is over its time-out and its grace; all in seconds."""
    why = f"ran for {elapsed:.1f} s: over its time-out of {timeout:g} s, and over its grace of {grace:g} s"
    return Termination("fail", why, Failure(ErrorCategory.TIMEOUT, "jobs.exceptions.JobTimedOut", why), is_gentle=True)


def stronger(one: Termination | None, other: Termination | None) -> Termination | None:
    """The one that counts; the first of two that weigh the same."""
    return max((verdict for verdict in (one, other) if verdict), key=lambda verdict: verdict.severity, default=None)


def end_attempt(pair: Pair, termination: Termination, actor: str) -> Sequence[Moved]:
    """Take the edge that a termination calls for; empty when the attempt has ended already.

    A request to stop wins over everything that has happened since.
    """
    fence = fence_params(*pair)
    options: dict[str, Any] = {"actor": actor, "attempt": termination.attempt, "data": {"why": termination.why}}
    if termination.edge == "interrupt":
        return return_to_queue("interrupt", FENCE, fence, **options)
    if termination.failure is None:
        return end_as_requested(FENCE, fence, **options)
    return end_failed(pair, termination.failure, **options)


def end_failed(
    pair: Pair,
    failure: Failure,
    actor: str,
    *,
    attempt: Mapping[str, Any] = MappingProxyType({}),
    data: Mapping[str, Any] | None = None,
) -> Sequence[Moved]:
    """End an attempt that failed; empty when it has ended already. `attempt` holds further columns of the attempt."""
    fence = fence_params(*pair)

    def write(outcome: Outcome, where: str) -> Sequence[Moved]:
        columns = {**outcome.attempt, **attempt}
        source = JobState.RUNNING
        return leave_running(
            outcome.edge, where, fence, source=source, sets=outcome.sets, attempt=columns, actor=actor, data=data
        )

    return outcomes.settle(fence, failure, write)


def note_usage(attempt_id: UUID, columns: Mapping[str, Any]) -> None:
    """Keep what was measured of an attempt whose process died before it could say so itself."""
    Attempt.objects.using(settings.DATABASE).filter(pk=attempt_id, cpu_seconds__isnull=True).update(**columns)
