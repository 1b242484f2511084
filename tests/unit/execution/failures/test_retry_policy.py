"""Whether another attempt follows, and when: the policy, value by value, and the bounds of the back-off."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from jobs.execution.failures.failure import Failure, failure_of
from jobs.execution.failures.retry_policy import RetryBudget, RetryPolicy, back_off, policy_of, seconds_to_next

HOUR = 3600
PLAIN = RetryPolicy(delay=1, multiplier=2, cap=60, jitter=False)
LEFT = RetryBudget(used=0, allowed=3)


def _policy(**said: Any) -> RetryPolicy:
    return RetryPolicy(**{**vars(PLAIN), **said})


@pytest.mark.parametrize("retries", range(8))
def test_the_back_off_doubles_within_its_bounds(retries: int) -> None:
    expected = min(60, 2**retries)
    assert back_off(retries, PLAIN) == expected
    waits = [back_off(retries, _policy(jitter=True)) for _ in range(200)]
    assert expected / 2 <= min(waits) <= max(waits) <= expected
    assert max(waits) - min(waits) > expected / 4


def test_the_extremes_of_the_back_off() -> None:
    policy = _policy(delay=5, cap=600)
    assert (back_off(0, policy), back_off(3, policy), back_off(10_000, policy)) == (5, 40, 600)
    nothing = _policy(delay=0)
    assert back_off(0, nothing) == back_off(9, nothing) == 0
    long = _policy(delay=HOUR)
    assert back_off(0, long) == back_off(1, long) == HOUR  # said so: above the cap
    assert back_off(10_000, _policy(multiplier=1000, cap=10**9)) == 10**9
    assert back_off(5, _policy(multiplier=1)) == 1


def test_the_job_goes_before_the_pool_and_the_pool_before_the_setting() -> None:
    retry = {"initial_delay": 7, "multiplier": 3, "cap": 70, "jitter": False, "deadline": 700}
    with override_settings(JOBS={"RETRY": retry}):
        assert policy_of({}, {}) == RetryPolicy(7, 3, 70, False, 700)
        pool = {"delay": 8, "multiplier": None, "cap": 80, "jitter": True, "deadline": None}
        assert policy_of({}, pool) == RetryPolicy(8, 3, 80, True, 700)
        job = {"delay": None, "cap": 90, "retry_on": ["ValueError"]}
        assert policy_of(job, pool) == RetryPolicy(8, 3, 90, True, 700, ["ValueError"])


def test_it_ends_with_the_number_of_retries() -> None:
    failure = failure_of(ValueError("no"))
    assert seconds_to_next(failure, PLAIN, RetryBudget(2, 3)) == 4
    assert seconds_to_next(failure, PLAIN, RetryBudget(3, 3)) is None
    assert seconds_to_next(failure, PLAIN, RetryBudget(0, 0)) is None


@pytest.mark.parametrize(("since_first", "expected"), [(0, 1), (9, 1), (9.5, None), (100, None)])
def test_none_begins_after_the_deadline(since_first: float, expected: float | None) -> None:
    standing = RetryBudget(0, 3, since_first)
    assert seconds_to_next(failure_of(ValueError()), _policy(deadline=10), standing) == expected


@pytest.mark.parametrize(("left", "expected"), [(None, 1), (2, 1), (1, None), (-5, None)])
def test_none_is_planned_for_after_the_expiry(left: float | None, expected: float | None) -> None:
    assert seconds_to_next(failure_of(ValueError()), PLAIN, RetryBudget(0, 3, 0, left)) == expected


def test_what_the_code_says_itself_counts_most() -> None:
    never = _policy(never_retry=["ValueError", "user"])
    assert seconds_to_next(Failure("user", "ValueError", "", may_retry=True, retry_in=7), never, LEFT) == 7
    only = _policy(retry_on=["ValueError"])
    assert seconds_to_next(Failure("user", "ValueError", "", may_retry=False), only, LEFT) is None


class AwayError(ConnectionError):
    """A library's own."""


@pytest.mark.parametrize(
    ("said", "error", "is_retried"),
    [
        ({}, ValueError(), True),
        ({}, AwayError(), True),
        ({}, MemoryError(), False),
        ({"retry_on": ["ConnectionError"]}, AwayError(), True),
        ({"retry_on": ["ConnectionError"]}, ValueError(), False),
        ({"retry_on": ["transient"]}, AwayError(), True),
        ({"retry_on": ["memory"]}, MemoryError(), True),
        ({"never_retry": ["ConnectionError"]}, AwayError(), False),
        ({"never_retry": ["user"]}, ValueError(), False),
        ({"never_retry": ["OSError"], "retry_on": ["ConnectionError"]}, AwayError(), False),
        ({"retry_on": [f"{__name__}.AwayError"]}, AwayError(), True),
        ({"retry_on": [f"{__name__}.AwayError"]}, ConnectionError(), False),
    ],
    ids=str,
)
def test_which_failures_are_retried(said: dict[str, Any], error: Exception, is_retried: bool) -> None:
    seconds = seconds_to_next(failure_of(error), _policy(**said), LEFT)
    assert (seconds is not None) is is_retried


@pytest.mark.parametrize(
    ("rules", "is_retried"),
    [
        ({"user": {"retry": False}}, False),
        ({"ValueError": False}, False),
        ({"user": {"retry": False}, "ValueError": {"retry": True}}, True),
        ({"Exception": False}, False),
        ({"ValueError": "memory"}, False),
        ({"ValueError": {"category": "memory", "retry": True}}, True),
    ],
    ids=str,
)
def test_rules_of_the_setting(rules: dict[str, Any], is_retried: bool) -> None:
    with override_settings(JOBS={"ERRORS": rules}):
        seconds = seconds_to_next(failure_of(ValueError()), PLAIN, LEFT)
    assert (seconds is not None) is is_retried


@pytest.mark.parametrize("category", ["lost", "stopped", "expired", "dependency", "impossible", "unknown_task"])
def test_what_is_over_is_over(category: str) -> None:
    assert seconds_to_next(Failure(category, "X", ""), PLAIN, LEFT) is None


def test_a_category_of_the_bodys_own_is_retried_as_any_other() -> None:
    assert seconds_to_next(Failure("billing", "X", ""), PLAIN, LEFT) == 1
