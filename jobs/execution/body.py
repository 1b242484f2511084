"""Calls a body, and sees to it that no transaction outlives it. Knows nothing of jobs' states."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.core.conf import settings
from jobs.exceptions import JobFailed

logger = logging.getLogger(__name__)


def call_body(body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the body; a transaction that it leaves open is rolled back, and a failure.

    Else its end would be written into that transaction, which nobody commits, and so would the jobs that follow.
    """
    connection = connections[settings.DATABASE]
    inside = connection.in_atomic_block  # a test's transaction, or that of whoever runs jobs eagerly
    try:
        result = body(*args, **kwargs)
    except BaseException:
        _roll_back(connection, inside=inside)
        raise
    if _roll_back(connection, inside=inside):
        raise JobFailed("The body returned inside a transaction, which is rolled back: leave the atomic block first.")
    return result


def _roll_back(connection: BaseDatabaseWrapper, *, inside: bool) -> bool:
    """Leave a transaction that was not open before; False where there is none."""
    is_open = connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)
    if inside or not is_open:
        return False
    logger.error("a body left a transaction open; it is rolled back")
    connection.close()
    with suppress(Error):  # away for the moment: the writes to come see to that
        connection.connect()  # forgets the atomic blocks
    return True
