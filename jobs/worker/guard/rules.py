"""Why an attempt must not go on: each reason looks at one holder and answers with a verdict, or with None.

A reason that needs more than the row says (what was measured of the process) is added to `REASONS` as a function of the
holder. The heaviest verdict counts, so their order does not matter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.core.conf import settings
from jobs.execution.failures.failure import Failure
from jobs.execution.termination import Termination, stronger, timed_out
from jobs.worker import sampler
from jobs.worker.guard.running import Holder

MEMORY_SLACK_MB = 32  # what a first import or a connection may take, however little was declared
Reason = Callable[[Holder], Termination | None]


def verdict_on(holder: Holder) -> Termination | None:
    """The heaviest verdict that any reason has on an attempt; None when it may go on."""
    return functools.reduce(stronger, (reason(holder) for reason in REASONS), None)


def cancelled(holder: Holder) -> Termination | None:
    """A person asked it to stop, and its grace is over, or the stop was forced."""
    if holder.asked is None or not (holder.is_forced or holder.asked >= holder.grace):
        return None
    if holder.is_forced:
        return Termination("cancel", "stopped by force")
    return Termination("cancel", f"stopped: it did not end within {holder.grace:g} s of the request", is_gentle=True)


def overdue(holder: Holder) -> Termination | None:
    """It is over its time-out, which the body saw as an exception, and over the grace for its clean-up."""
    if holder.timeout is None or holder.elapsed < holder.timeout + holder.grace:
        return None
    return timed_out(holder.elapsed, holder.timeout, holder.grace)


def over_memory(holder: Holder) -> Termination | None:
    """It uses more memory than it has declared, with the tolerance, and a moment ago it did so, too."""
    seen = sampler.reading(holder.attempt_id)
    if seen is None or holder.memory_mb is None:
        return None
    most = max(holder.memory_mb * settings.MEMORY_TOLERANCE, holder.memory_mb + MEMORY_SLACK_MB)
    return _over("memory", seen.memory_kb / 1024, holder.memory_mb, most, seen.columns)


def over_disk(holder: Holder) -> Termination | None:
    """Its temporary directory takes more of its disk than it has declared, with the tolerance."""
    seen = sampler.reading(holder.attempt_id)
    if seen is None or holder.disk_mb is None:
        return None
    return _over("disk", seen.disk_kb / 1024, holder.disk_mb, holder.disk_mb * settings.DISK_TOLERANCE, seen.columns)


def _over(what: str, used: float, declared: int, most: float, columns: Mapping[str, Any]) -> Termination | None:
    if used <= most:
        return None
    why = f"used {used:,.0f} MB of {declared:,} MB {what} declared; from {most:,.0f} MB on a job is stopped"
    return Termination("fail", why, Failure(what, f"{what.capitalize()}Exceeded", why), attempt=columns)


REASONS: Sequence[Reason] = (cancelled, overdue, over_memory, over_disk)
