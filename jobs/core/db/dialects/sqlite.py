"""SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jobs.core.db.dialects.base import PAYLOAD, Dialect


def _sqlite_moment(arguments: str) -> str:
    """A moment as Django writes it, where a whole second has no fraction: SQLite compares texts."""
    return f"replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f000', {arguments}), '.000000', '')"


class SQLite(Dialect):
    """One writer at a time: BEGIN IMMEDIATE is the lock, so rows need none."""

    vendor = "sqlite"
    clock = _sqlite_moment("'now'")
    new_uuid = "lower(hex(randomblob(16)))"

    def literal(self, moment: datetime) -> str:
        return f"'{moment.astimezone(UTC).replace(tzinfo=None)}'"

    def epoch(self, expression: str) -> str:
        return f"((julianday({expression}) - 2440587.5) * 86400.0)"

    def later(self, expression: str, seconds: str = "%s") -> str:
        return _sqlite_moment(f"{expression}, printf('%%+f seconds', {seconds})")

    def contains(self, column: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = %s)"

    def id_in(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(%s))"

    def id_list(self, values: Iterable[UUID]) -> Any:
        return json.dumps([value.hex for value in values])

    def pick_skip_locked(self, select: str) -> str:
        return f"id IN ({select})"

    def payload_rows(self, run_after: str) -> str:
        part = "json_extract(value, '$[{}]') AS {}"
        given = ", ".join(part.format(index, name) for index, name in enumerate(PAYLOAD))
        return f"SELECT {given}, {run_after} AS run_after FROM json_each(%s)"

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [json.dumps([[value.hex if isinstance(value, UUID) else value for value in row] for row in rows])]

    def id_rows(self) -> str:
        return "(SELECT value AS id FROM json_each(%s))"

    def json_columns(self, columns: Sequence[str], rest: str) -> str:
        lists = ", ".join(f"json_group_array({column})" for column in columns)
        return f"(SELECT json_array({lists}) FROM {rest})"

    def json_list(self, expression: str, only: str) -> str:
        return f"json(json_group_array({expression}) FILTER (WHERE {only}))"

    def json_value(self, column: str) -> str:
        return f"json({column})"
