"""Retries a transaction that the database aborted because of a deadlock. A caller's own transaction is not retried.

InnoDB has more deadlocks than PostgreSQL, because every index entry has a lock of its own.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connections

from jobs.core.conf import settings

P = ParamSpec("P")
T = TypeVar("T")
DEADLOCK = 1213  # MariaDB; the whole transaction is rolled back
_PAUSES = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
)  # seconds at most; the pause is random, so that the same two do not collide again


def retry_on_deadlock(act: Callable[P, T]) -> Callable[P, T]:
    """Retry a function that is a transaction of its own, a few times, when a deadlock aborted it.

    Inside a caller's transaction the error goes to the caller: only the caller can restart it.
    """

    @functools.wraps(act)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in _PAUSES:
            try:
                return act(*args, **kwargs)
            except OperationalError as error:
                if connections[settings.DATABASE].in_atomic_block or not is_deadlock(error):
                    raise
            time.sleep(pause * random.random())  # noqa: S311 - no secret
        return act(*args, **kwargs)

    return call


def is_deadlock(error: OperationalError) -> bool:
    """Whether the database aborted this transaction because of a deadlock."""
    return getattr(error.__cause__, "sqlstate", "") == "40P01" or error.args[:1] == (DEADLOCK,)
