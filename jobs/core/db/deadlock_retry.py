"""Transactions that the database ended because two waited for each other: ours are done again, a caller's cannot be.

InnoDB does so more readily than PostgreSQL: every index entry has a lock of its own.
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
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2)  # seconds at most, drawn at random, so that the same two do not meet again


def done_again(act: Callable[P, T]) -> Callable[P, T]:
    """Do what is a transaction of its own again, a few times, where it fell to a deadlock.

    Inside a caller's transaction the error goes to the caller, who alone can begin it anew.
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
    """Whether the database has chosen this transaction to end a deadlock."""
    return getattr(error.__cause__, "sqlstate", "") == "40P01" or error.args[:1] == (DEADLOCK,)
