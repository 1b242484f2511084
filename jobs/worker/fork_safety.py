"""Keeps the statements of a worker's own threads and the forks of its pool apart.

A child that is forked in the middle of a statement would inherit a lock that is never released, or half a message on a
connection. Celery forks whenever it replaces a child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from jobs.core.conf import settings

_FORK_WAIT = 1.0  # seconds that a fork waits for a statement


class Statements:
    """The statements of one thread."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._forking = threading.local()  # two threads may fork at once

    def watch_forks(self) -> None:
        """From now on a fork waits for the statement that is under way."""
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork)

    @contextmanager
    def own(self) -> Iterator[None]:
        """No fork happens inside, and none inherits an open SQLite connection."""
        with self._running:
            try:
                yield
            finally:
                connection = connections[settings.DATABASE]
                if connection.vendor == "sqlite":
                    connection.close()

    def _before_fork(self) -> None:
        self._forking.held = self._running.acquire(timeout=_FORK_WAIT)

    def _after_fork(self) -> None:
        if self._forking.held:
            self._running.release()
