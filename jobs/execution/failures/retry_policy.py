"""Whether a failed attempt is followed by another, and when: the retry policy of a job. Decides; writes nothing.

What a submit says goes before what its task says, then the pool's row, then `JOBS["RETRY"]`; each value by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jobs.core.conf import settings
from jobs.execution.failures import classification
from jobs.execution.failures.failure import Failure

_MOST_STEPS = 60  # beyond it a power overflows, and every cap is reached


@dataclass(frozen=True)
class RetryPolicy:
    """One job's policy. Seconds; no deadline is None."""

    delay: float
    multiplier: float
    cap: float
    jitter: bool
    deadline: float | None = None
    retry_on: Sequence[str] = ()
    never_retry: Sequence[str] = ()


@dataclass(frozen=True)
class RetryBudget:
    """Where a job's retries stand. `since_first` is seconds since its run began, `left` until it expires, or None."""

    used: int
    allowed: int
    since_first: float = 0
    left: float | None = None


def policy_of(job: Mapping[str, Any], pool: Mapping[str, Any]) -> RetryPolicy:
    """What the job itself says, over what its pool says, over the setting. None is nothing said."""
    default = settings.RETRY
    said: dict[str, Any] = {
        "delay": default.initial_delay,
        "multiplier": default.multiplier,
        "cap": default.cap,
        "jitter": default.jitter,
        "deadline": default.deadline,
    }
    for level in (pool, job):
        said |= {name: value for name, value in level.items() if value is not None}
    return RetryPolicy(**said)


def seconds_to_next(failure: Failure, policy: RetryPolicy, standing: RetryBudget) -> float | None:
    """Seconds until the next attempt; None where this one was the last."""
    if standing.used >= standing.allowed or not _helps(failure, policy):
        return None
    seconds = back_off(standing.used, policy) if failure.retry_in is None else failure.retry_in
    if policy.deadline is not None and standing.since_first + seconds > policy.deadline:
        return None
    return None if standing.left is not None and seconds >= standing.left else seconds


def back_off(retries: int, policy: RetryPolicy) -> float:
    """Seconds before the next retry: exponential from the first delay, capped, with jitter over its upper half.

    A first delay above the cap is meant as it is said.
    """
    most = max(policy.cap, policy.delay)
    seconds = min(most, policy.delay * policy.multiplier ** min(retries, _MOST_STEPS))
    return seconds * random.uniform(0.5, 1) if policy.jitter else seconds  # noqa: S311 - spread, not secrecy


def _helps(failure: Failure, policy: RetryPolicy) -> bool:
    """Whether another attempt may help: what the code said of this failure, then of its exceptions, then rules."""
    if failure.may_retry is not None:
        return failure.may_retry
    names = {*failure.names, failure.category}
    if not names.isdisjoint(policy.never_retry):
        return False
    if policy.retry_on:
        return not names.isdisjoint(policy.retry_on)
    return classification.is_retried(failure.category, failure.names)


NAMES = tuple(field.name for field in fields(RetryPolicy))
