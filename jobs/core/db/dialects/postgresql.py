"""PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.core.db.dialects.base import PAYLOAD, Dialect

MOST_REPEATED = 20  # rows of one INSERT


class PostgreSQL(Dialect):
    """Data-modifying CTEs: one statement moves, records and returns."""

    vendor = "postgresql"
    clock = "statement_timestamp()"
    new_uuid = "gen_random_uuid()"
    skip_locked = " FOR UPDATE SKIP LOCKED"
    for_update = " FOR UPDATE"
    no_fsync_columns = (
        ", set_config('synchronous_commit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"
    )
    native_uuids = True
    writes_in_cte = True
    has_lateral = True
    notifies = True
    sets_locally = True
    no_moment = "NULL::timestamptz"
    moment = "%s::timestamptz"
    uuid = "%s::uuid"

    def literal(self, moment: datetime) -> str:
        return f"TIMESTAMPTZ '{moment.isoformat()}'"

    def epoch(self, expression: str) -> str:
        return f"EXTRACT(EPOCH FROM {expression})::float8"

    def later(self, expression: str, seconds: str = "%s") -> str:
        return f"({expression} + {seconds} * interval '1 second')"

    def contains(self, column: str) -> str:
        return f"{column} @> to_jsonb(%s::text)"

    def id_in(self, column: str) -> str:
        return f"{column} = ANY(%s)"

    def id_list(self, values: Iterable[UUID]) -> Any:
        return list(values)

    def pick_skip_locked(self, select: str) -> str:
        return f"id = ANY(ARRAY({select} FOR UPDATE SKIP LOCKED))"

    def as_many_rows(self, insert: str, times: int) -> str | None:
        """Few different numbers of rows, because each is a statement of its own that must be prepared."""
        return self._as_many_rows(insert, times, " ON CONFLICT ") if times <= MOST_REPEATED else None

    def payload_rows(self, run_after: str) -> str:
        names = ", ".join(PAYLOAD)
        given = f"unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[]) AS given({names})"
        return f"SELECT {names}, {run_after} AS run_after FROM {given}"

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [list(column) for column in zip(*rows, strict=True)]

    def id_rows(self) -> str:
        return "(SELECT unnest(%s::uuid[]) AS id)"

    def json_columns(self, columns: Sequence[str], rest: str) -> str:
        lists = ", ".join(f"COALESCE(json_agg({column}), '[]')" for column in columns)
        return f"(SELECT json_build_array({lists})::text FROM {rest})"

    def json_list(self, expression: str, only: str) -> str:
        return f"json_agg({expression}) FILTER (WHERE {only})"

    def json_value(self, column: str) -> str:
        return column
