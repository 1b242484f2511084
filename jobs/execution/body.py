"""Calls a body and rolls back a transaction that it left open."""

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
    """Call the body. If it leaves a transaction open, that is rolled back and the attempt fails.

    Otherwise the end of this job, and the jobs after it, would be written in a transaction that is never committed.
    """
    connection = connections[settings.DATABASE]
    inside = connection.in_atomic_block  # a transaction of a test, or of a caller that runs jobs eagerly
    try:
        result = body(*args, **kwargs)
    except BaseException:
        _roll_back(connection, inside=inside)
        raise
    if _roll_back(connection, inside=inside):
        raise JobFailed("The body returned inside a transaction, which is rolled back: leave the atomic block first.")
    return result


def _roll_back(connection: BaseDatabaseWrapper, *, inside: bool) -> bool:
    """Roll back a transaction that was not open before the body; False if there is none."""
    is_open = connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)
    if inside or not is_open:
        return False
    logger.error("a body left a transaction open; it is rolled back")
    connection.close()
    with suppress(Error):  # the database is away: later writes handle that
        connection.connect()  # resets Django's atomic blocks
    return True
