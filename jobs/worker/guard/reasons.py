"""Why an attempt must not go on: each reason looks at one holder and answers with a verdict, or with None.

A reason that needs more than the row says (what was measured of the process) is added to `REASONS` as a function of the
holder. The heaviest verdict counts, so their order does not matter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from jobs.endings import Verdict, heavier, timed_out
from jobs.worker.guard.holders import Holder

Reason = Callable[[Holder], Verdict | None]


def verdict_on(holder: Holder) -> Verdict | None:
    """The heaviest verdict that any reason has on an attempt; None when it may go on."""
    return functools.reduce(heavier, (reason(holder) for reason in REASONS), None)


def cancelled(holder: Holder) -> Verdict | None:
    """Somebody asked it to stop, and its grace is over, or he did not want to wait."""
    if holder.asked is None or not (holder.is_forced or holder.asked >= holder.grace):
        return None
    if holder.is_forced:
        return Verdict("cancel", "stopped by force")
    return Verdict("cancel", f"stopped: it did not end within {holder.grace:g} s of the request", is_gentle=True)


def overdue(holder: Holder) -> Verdict | None:
    """It is over its time-out, which the body was told of, and over the grace that it had to clean up."""
    if holder.timeout is None or holder.elapsed < holder.timeout + holder.grace:
        return None
    return timed_out(holder.elapsed, holder.timeout, holder.grace)


REASONS: Sequence[Reason] = (cancelled, overdue)
