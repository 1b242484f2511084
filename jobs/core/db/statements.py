"""Runs SQL statements: fills in `{now}`, and on PostgreSQL prepares them once per connection.

A statement that moves a job has several parts; PostgreSQL needs more time to plan than to run it. Behind a pooler in
transaction mode prepared statements do not work: `DISABLE_SERVER_SIDE_CURSORS`, which Django asks for there, turns them
off here too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import NotSupportedError, connections, transaction

from jobs.core.conf import settings
from jobs.core.db.clock import db_now
from jobs.core.db.dialects import dialect

if TYPE_CHECKING or find_spec("psycopg"):
    from psycopg import Cursor
    from psycopg.types.datetime import TimestamptzLoader

    class _PreparingCursor(Cursor[Any]):
        """Prepares every statement; the statement's text is the key."""

        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            return super().execute(query, params, **{**options, "prepare": True})


T = TypeVar("T")
_ONLY_ON_REQUEST = 2**31  # executions after which psycopg would prepare by itself, on Django's own cursors


def query(using: str, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement that returns rows."""
    return _run(using, sql, params, lambda cursor: list(cursor.fetchall()))


def execute(using: str, sql: str, params: Sequence[Any] = ()) -> int:
    """Run one statement for its effect; returns the number of rows it touched."""
    return _run(using, sql, params, lambda cursor: int(cursor.rowcount))


def execute_many(using: str, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement once per row of parameters."""
    db, text = dialect(using), sql.replace("{now}", db_now(using))
    together = db.as_many_rows(text, len(rows)) if rows else None
    with _cursor(using) as cursor:
        if together is None:
            cursor.executemany(text, rows)
        else:
            cursor.execute(*db.adapt(together, [value for row in rows for value in row]))


def change(
    using: str, sets: str, values: Sequence[Any], job_id: Any, fence: str, fence_values: Sequence[Any], answer: str
) -> list[tuple[Any, ...]]:
    """Update one job unless its row fails the fence (SQL, " AND …"); the columns `answer` as they are afterwards."""
    update, given = f"UPDATE jobs_job SET {sets} WHERE id = %s{fence}", [*values, job_id, *fence_values]
    if dialect(using).updates_return:
        return query(using, f"{update} RETURNING {answer}", given)
    with transaction.atomic(using=using):
        if not execute(using, update, given):
            return []
        return query(using, f"SELECT {answer} FROM jobs_job WHERE id = %s", [job_id])


def resolve_pick(using: str, where: str, params: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """A condition and its parameters. On MariaDB the pick runs first, as a statement of its own.

    The rows it found stay locked until the end of the caller's transaction.
    """
    db = dialect(using)
    select = db.resolve_pick(where)
    if select is None:
        return where, params
    return db.id_in("id"), [[picked for (picked,) in query(using, select, params)]]


def after_commit(act: Callable[..., object], *args: Any) -> None:
    """Call `act(*args)` after the caller's transaction has committed; at once where there is none.

    An exception is logged; it reaches neither the caller nor other hooks. Django logs the hook's name, so this is a
    function: a failing `functools.partial` would end in an AttributeError.
    """

    def call() -> None:
        act(*args)

    call.__qualname__ = act.__qualname__
    transaction.on_commit(call, using=settings.DATABASE, robust=True)


def _run(using: str, sql: str, params: Sequence[Any], answer: Callable[[Any], T]) -> T:
    """Run a statement; again, on a new connection, if a migration changed a column's type after it was prepared.

    PostgreSQL rejects such a plan every time, so a worker that kept the connection could never claim a job again.
    """
    text, params = dialect(using).adapt(_with_clock(sql, db_now(using)), params)
    try:
        with _cursor(using) as cursor:
            cursor.execute(text, params)
            return answer(cursor)
    except NotSupportedError as error:
        if connections[using].in_atomic_block or "cached plan" not in str(error):
            raise
        connections[using].close()
    with _cursor(using) as cursor:
        cursor.execute(text, params)
        return answer(cursor)


@functools.lru_cache(512)
def _with_clock(sql: str, now: str) -> str:
    return sql.replace("{now}", now)


@contextmanager
def _cursor(using: str) -> Iterator[Any]:
    """A cursor; on PostgreSQL one that prepares and lives as long as the connection.

    Where Django logs queries or `execute` is wrapped, Django's own cursor is used, so that both see the statement.
    """
    connection: Any = connections[using]
    if connection.vendor != "postgresql" or connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        with connection.cursor() as cursor:
            yield cursor
        return
    connection.close_if_health_check_failed()  # as Django's own `cursor()` begins
    connection.ensure_connection()
    cursor = _own_cursor(connection)
    if connection.queries_logged or connection.execute_wrappers:
        cursor = connection._prepare_cursor(_PreparingCursor(connection.connection))  # Django's last step of `cursor()`
    else:
        connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        yield cursor


def _own_cursor(connection: Any) -> Any:
    """The connection's own cursor. psycopg's compiled loader reads its timestamps, not Django's Python one."""
    raw = connection.connection
    cursor = getattr(raw, "jobs_cursor", None)
    if cursor is None:
        raw.prepare_threshold = _ONLY_ON_REQUEST if raw.prepare_threshold is None else raw.prepare_threshold
        cursor = raw.jobs_cursor = _PreparingCursor(raw)
        if connection.timezone is not None:  # without time zones they are naive
            cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    return cursor
