"""The feeder's ear: hears from PostgreSQL that a job waits, on the feeder's own connection. Decides nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connections

from jobs.admission import wakeup
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect


class Ear:
    """Listens on whatever connection this thread has at the moment; a database without notifications gives nothing."""

    def __init__(self, boot_id: UUID | None) -> None:
        self._boot_id = boot_id
        self._raw: Any = None
        self._is_known = False
        self._pools: set[str] = set()

    def attend(self) -> bool:
        """Listen, and note it in the worker's row; True when that has just begun: earlier jobs sent no notification.

        After a lost connection the new one listens from the next call on.
        """
        if self._is_known and self._is_open():
            return False
        if self._boot_id is None or not _can_listen():
            return False
        if not self._is_open():
            self._listen(self._boot_id)
        self._is_known = wakeup.listens(self._boot_id)  # another process writes the row: it may not be there yet
        return self._is_known

    @property
    def socket(self) -> int | None:
        """The socket that becomes readable with a notification; None while it does not listen."""
        return int(self._raw.fileno()) if self._is_open() else None

    @property
    def has_heard(self) -> bool:
        """Whether something came in beside a statement: the socket does not tell."""
        return bool(self._pools)

    def heard(self) -> set[str]:
        """The pools that jobs were submitted to since the last call."""
        if self._is_open():
            with connections[settings.DATABASE].wrap_database_errors:
                self._raw.pgconn.consume_input()
                while (note := self._raw.pgconn.notifies()) is not None:
                    self._pools.add(note.extra.decode())
        pools, self._pools = self._pools, set()
        return pools

    def _is_open(self) -> bool:
        return self._raw is not None and connections[settings.DATABASE].connection is self._raw and not self._raw.closed

    def _listen(self, boot_id: UUID) -> None:
        connection = connections[settings.DATABASE]
        with connection.cursor() as cursor:
            cursor.execute(f'LISTEN "{wakeup.channel(boot_id)}"')
        self._raw = connection.connection
        self._raw.add_notify_handler(lambda note: self._pools.add(note.payload))  # what comes in beside a statement


def _can_listen() -> bool:
    """Behind a pooler in transaction mode a session belongs to another client after each statement."""
    connection = connections[settings.DATABASE]
    return dialect(settings.DATABASE).notifies and not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
