"""Ends an attempt from outside its process: the process is dead, or does not react. A `Termination` says why.

The caller has made sure that the body has stopped, or that it cannot be stopped. Every move is fenced by the attempt,
so a termination that comes too late changes nothing.
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
    """Why an attempt is ended, and by which edge: `cancel`, `fail` with a failure, or `interrupt`.

    A gentle termination lets the body clean up first. `attempt` holds measured columns of the attempt.
    """

    edge: str
    why: str
    failure: Failure | None = None
    is_gentle: bool = False
    attempt: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """Of two terminations of one attempt the more severe counts: cancel > memory > disk > timeout > interrupt."""
        return _SEVERITIES.index(self.failure.category if self.failure else self.edge)


INTERRUPTED = Termination("interrupt", "its worker was shut down", is_gentle=True)


def timed_out(elapsed: float, timeout: float, grace: float) -> Termination:
    """The termination of an attempt that is over its time-out and its grace; all in seconds."""
    why = f"ran for {elapsed:.1f} s: over its time-out of {timeout:g} s, and over its grace of {grace:g} s"
    return Termination("fail", why, Failure(ErrorCategory.TIMEOUT, "jobs.exceptions.JobTimedOut", why), is_gentle=True)


def stronger(first: Termination | None, second: Termination | None) -> Termination | None:
    """The more severe of two terminations; the first one if they are equal."""
    given = (termination for termination in (first, second) if termination)
    return max(given, key=lambda termination: termination.severity, default=None)


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

    return outcomes.settle(pair, failure, write)


def note_usage(attempt_id: UUID, columns: Mapping[str, Any]) -> None:
    """Store the measured usage of an attempt whose process died before it stored its own."""
    Attempt.objects.using(settings.DATABASE).filter(pk=attempt_id, cpu_seconds__isnull=True).update(**columns)
