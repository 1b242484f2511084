"""MariaDB, from 10.11.5 on: earlier versions sort time-ordered UUIDs wrongly.

An UPDATE returns no rows, `key` and `partition` are reserved words, and a SELECT inside an UPDATE runs once for each
row. So rows are found and locked first, in a statement of their own.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

from jobs.core.db.dialects.base import PAYLOAD, Dialect

LONGEST = 256 * 2**20  # bytes of an aggregated text
_PICK = " FOR UPDATE SKIP LOCKED"
_RESERVED = re.compile(r"'[^']*'|`[^`]*`|\b(?:key|partition)\b")
_TYPES = {"id": "CHAR(36)", "lane": "CHAR(36)", "partition": "VARCHAR(200)"}


class MariaDB(Dialect):
    """Row locks as on PostgreSQL; a move is a short transaction, as on SQLite."""

    vendor = "mysql"
    clock = "UTC_TIMESTAMP(6)"
    new_uuid = "UUID()"
    skip_locked = _PICK
    for_update = " FOR UPDATE"
    native_uuids = True
    updates_return = False
    skips_in_index = True
    no_moment = "CAST(NULL AS DATETIME(6))"
    moment = "CAST(%s AS DATETIME(6))"

    def literal(self, moment: datetime) -> str:
        return f"TIMESTAMP'{moment.astimezone(UTC).replace(tzinfo=None)}'"

    def epoch(self, expression: str) -> str:
        return f"(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {expression}) / 1e6)"

    def later(self, expression: str, seconds: str = "%s") -> str:
        return f"({expression} + INTERVAL ROUND(1e6 * ({seconds})) MICROSECOND)"

    def contains(self, column: str) -> str:
        return f"JSON_CONTAINS({column}, JSON_QUOTE(%s))"

    def id_in(self, column: str) -> str:
        return f"{column} IN (%s)"

    def id_list(self, values: Iterable[UUID]) -> Any:
        return list(values)

    def pick_skip_locked(self, select: str) -> str:
        return f"id IN ({select}{_PICK})"

    def resolve_pick(self, where: str) -> str | None:
        is_one = where.startswith("id IN (SELECT ") and where.endswith(f"{_PICK})")
        return where.removeprefix("id IN (").removesuffix(")") if is_one else None

    def payload_rows(self, run_after: str) -> str:
        given = (f"{name} {_TYPES.get(name, 'LONGTEXT')} PATH '$[{place}]'" for place, name in enumerate(PAYLOAD))
        return (
            f"SELECT {', '.join(PAYLOAD)}, {run_after} AS run_after"
            f" FROM JSON_TABLE(%s, '$[*]' COLUMNS ({', '.join(given)})) given"
        )

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [json.dumps(rows, default=str)]

    def id_rows(self) -> str:
        given = "JSON_TABLE(JSON_ARRAY(%s), '$[*]' COLUMNS (id CHAR(36) PATH '$'))"
        return f"(SELECT CAST(given.id AS UUID) AS id FROM {given} given)"

    def json_columns(self, columns: Sequence[str], rest: str) -> str:
        lists = ", ".join(f"COALESCE(JSON_ARRAYAGG({column}), JSON_ARRAY())" for column in columns)
        return f"(SELECT JSON_ARRAY({lists}) FROM {rest})"

    def json_list(self, expression: str, only: str) -> str:
        return f"CONCAT('[', COALESCE(GROUP_CONCAT(CASE WHEN {only} THEN {expression} END), ''), ']')"

    def json_value(self, column: str) -> str:
        return f"JSON_COMPACT({column})"

    def on_conflict_nothing(self, key: str) -> str:
        """ON DUPLICATE KEY locks the existing row for one caller at a time; the error comes to all at once."""
        return ""

    def on_conflict_update(self, keys: Sequence[str], column: str) -> str:
        return f"ON DUPLICATE KEY UPDATE {column} = VALUES({column})"

    def as_text(self, column: str) -> str:
        return column

    def long_aggregates(self, select: str) -> str:
        return f"SET STATEMENT group_concat_max_len = {LONGEST} FOR {select}"

    def with_lock_timeout(self, insert: str, seconds: int) -> str:
        return f"SET STATEMENT innodb_lock_wait_timeout = {seconds} FOR {insert}"

    def simultaneous_assignment(self, update: str) -> str:
        return f"SET STATEMENT sql_mode = CONCAT(@@sql_mode, ',SIMULTANEOUS_ASSIGNMENT') FOR {update}"

    def as_many_rows(self, insert: str, times: int) -> str | None:
        return self._as_many_rows(insert, times, " ON DUPLICATE KEY ")

    def adapt(self, sql: str, params: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """Quotes reserved words, and expands a list among the parameters: `IN (%s)` takes any number of values."""
        text = _quoted(sql)
        if not any(isinstance(value, list) for value in params):
            return text, params
        lists = [value if isinstance(value, list) else [value] for value in params]
        slots = [", ".join(["%s"] * len(values)) or "NULL" for values in lists]
        parts = text.split("%s")
        return "".join(chain.from_iterable(zip(parts, [*slots, ""], strict=True))), [*chain.from_iterable(lists)]


@functools.lru_cache(1024)
def _quoted(sql: str) -> str:
    return _RESERVED.sub(lambda match: match[0] if match[0][0] in "'`" else f"`{match[0]}`", sql)
