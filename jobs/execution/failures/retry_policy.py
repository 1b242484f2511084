"""The retry policy of a job: whether a failed attempt is retried, and when. Writes nothing.

Each value comes from the first of these that sets it: the submit, the task, the pool's row, `JOBS["RETRY"]`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jobs.core.conf import settings
from jobs.execution.failures import classification
from jobs.execution.failures.failure import Failure

_MAX_EXPONENT = 60  # a larger one overflows, and every cap is reached before


@dataclass(frozen=True)
class RetryPolicy:
    """The retry policy of one job; times in seconds."""

    delay: float
    multiplier: float
    cap: float
    jitter: bool
    deadline: float | None = None
    retry_on: Sequence[str] = ()
    never_retry: Sequence[str] = ()


@dataclass(frozen=True)
class RetryBudget:
    """Retries used and allowed. `since_first`: seconds since the run's first start; `left`: until the job expires."""

    used: int
    allowed: int
    since_first: float = 0
    left: float | None = None


def policy_of(job: Mapping[str, Any], pool: Mapping[str, Any]) -> RetryPolicy:
    """The job's own values over its pool's, over the setting; None means not set."""
    default = settings.RETRY
    values: dict[str, Any] = {
        "delay": default.initial_delay,
        "multiplier": default.multiplier,
        "cap": default.cap,
        "jitter": default.jitter,
        "deadline": default.deadline,
    }
    for level in (pool, job):
        values |= {name: value for name, value in level.items() if value is not None}
    return RetryPolicy(**values)


def seconds_to_next(failure: Failure, policy: RetryPolicy, budget: RetryBudget) -> float | None:
    """Seconds until the next attempt; None if this one was the last."""
    if budget.used >= budget.allowed or not _helps(failure, policy):
        return None
    seconds = back_off(budget.used, policy) if failure.retry_in is None else failure.retry_in
    if policy.deadline is not None and budget.since_first + seconds > policy.deadline:
        return None
    return None if budget.left is not None and seconds >= budget.left else seconds


def back_off(retries: int, policy: RetryPolicy) -> float:
    """Seconds before the next retry: exponential, capped, with jitter over the upper half.

    A first delay above the cap raises the cap to it.
    """
    cap = max(policy.cap, policy.delay)
    seconds = min(cap, policy.delay * policy.multiplier ** min(retries, _MAX_EXPONENT))
    return seconds * random.uniform(0.5, 1) if policy.jitter else seconds  # noqa: S311 - spread, not secrecy


def _helps(failure: Failure, policy: RetryPolicy) -> bool:
    """Whether another attempt may help, by the code itself, then the policy's exception lists, then the rules."""
    if failure.may_retry is not None:
        return failure.may_retry
    names = {*failure.names, failure.category}
    if not names.isdisjoint(policy.never_retry):
        return False
    if policy.retry_on:
        return not names.isdisjoint(policy.retry_on)
    return classification.is_retried(failure.category, failure.names)


NAMES = tuple(field.name for field in fields(RetryPolicy))
