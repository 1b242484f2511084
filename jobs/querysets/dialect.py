"""How each database spells what the hot statements need: the clock, epochs, fresh ids, locks.

The only place that knows vendors. Statements are written once with `{now}` for the database's clock; nothing else
reads a clock. PostgreSQL and SQLite are spoken here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

PAYLOAD = ("id", "args", "kwargs", "partition", "lane")  # what differs between the jobs of one submission
_bound: ContextVar[datetime | None] = ContextVar("bound_now", default=None)


class Dialect:
    """The words of one database vendor."""

    vendor: ClassVar[str]
    clock: ClassVar[str]
    new_uuid: ClassVar[str]
    skip_locked: ClassVar[str] = ""
    for_update: ClassVar[str] = ""
    hurried: ClassVar[str] = ""
    """Further columns of a SELECT that set this transaction to commit without a flush, and not to plan anew."""
    writes_in_cte: ClassVar[bool] = False
    has_lateral: ClassVar[bool] = False
    notifies: ClassVar[bool] = False
    no_moment: ClassVar[str] = "NULL"
    moment: ClassVar[str] = "%s"
    uuid: ClassVar[str] = "%s"

    def literal(self, moment: datetime) -> str:
        """An aware datetime as SQL text."""
        raise NotImplementedError

    def epoch(self, expression: str) -> str:
        """A timestamp as epoch seconds."""
        raise NotImplementedError

    def later(self, expression: str, seconds: str = "%s") -> str:
        """A timestamp moved by a number of seconds (a parameter, or an SQL expression)."""
        raise NotImplementedError

    def contains(self, column: str) -> str:
        """Whether a JSON list holds the string parameter."""
        raise NotImplementedError

    def among(self, column: str) -> str:
        """Whether an id column is one of the ids that `ids` made one parameter of."""
        raise NotImplementedError

    def ids(self, values: Iterable[UUID]) -> Any:
        """Many ids as one parameter for `among`, so that the statement's text does not change with their number."""
        raise NotImplementedError

    def picked(self, select: str) -> str:
        """Whether the id is one that a SELECT with a LIMIT finds and locks, passing over what others have locked.

        The SELECT must run once. `id IN (SELECT … LIMIT 2 FOR UPDATE SKIP LOCKED)` may run it once for each row of the
        other side of a join, skip what the last run has locked, and update them all.
        """
        raise NotImplementedError

    def payload_rows(self, run_after: str) -> str:
        """A SELECT of PAYLOAD and run_after, one row per job of a submission, from `payload`'s parameters."""
        raise NotImplementedError

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The PAYLOAD of any number of jobs as a fixed number of parameters."""
        raise NotImplementedError

    def each_id(self) -> str:
        """The ids that `ids` made one parameter of, as rows of one column `id`."""
        raise NotImplementedError

    def json_rows(self, columns: Sequence[str], rest: str) -> str:
        """A sub-select whose one value is the JSON text of a list with a list of these columns for each row."""
        raise NotImplementedError

    def json_list(self, expression: str, only: str) -> str:
        """An aggregate: the JSON list of an expression, over the rows for which a condition holds."""
        raise NotImplementedError

    def json_value(self, column: str) -> str:
        """A column that `json_list` has made as `json_rows` takes it."""
        raise NotImplementedError

    def now(self) -> str:
        """The database's clock at the statement, or the literal that a test has bound."""
        moment = _bound.get()
        return self.clock if moment is None else self.literal(moment)


class PostgreSQL(Dialect):
    """Data-modifying CTEs: one statement moves, records and returns."""

    vendor = "postgresql"
    clock = "statement_timestamp()"
    new_uuid = "gen_random_uuid()"
    skip_locked = " FOR UPDATE SKIP LOCKED"
    for_update = " FOR UPDATE"
    hurried = (
        ", set_config('synchronous_commit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"
    )
    writes_in_cte = True
    has_lateral = True
    notifies = True
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

    def among(self, column: str) -> str:
        return f"{column} = ANY(%s)"

    def ids(self, values: Iterable[UUID]) -> Any:
        return list(values)

    def picked(self, select: str) -> str:
        return f"id = ANY(ARRAY({select} FOR UPDATE SKIP LOCKED))"

    def payload_rows(self, run_after: str) -> str:
        names = ", ".join(PAYLOAD)
        given = f"unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[]) AS given({names})"
        return f"SELECT {names}, {run_after} AS run_after FROM {given}"

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [list(column) for column in zip(*rows, strict=True)]

    def each_id(self) -> str:
        return "(SELECT unnest(%s::uuid[]) AS id)"

    def json_rows(self, columns: Sequence[str], rest: str) -> str:
        return f"(SELECT COALESCE(json_agg(json_build_array({', '.join(columns)})), '[]')::text FROM {rest})"

    def json_list(self, expression: str, only: str) -> str:
        return f"json_agg({expression}) FILTER (WHERE {only})"

    def json_value(self, column: str) -> str:
        return column


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

    def among(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(%s))"

    def ids(self, values: Iterable[UUID]) -> Any:
        return json.dumps([value.hex for value in values])

    def picked(self, select: str) -> str:
        return f"id IN ({select})"

    def payload_rows(self, run_after: str) -> str:
        part = "json_extract(value, '$[{}]') AS {}"
        given = ", ".join(part.format(index, name) for index, name in enumerate(PAYLOAD))
        return f"SELECT {given}, {run_after} AS run_after FROM json_each(%s)"

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return [json.dumps([[value.hex if isinstance(value, UUID) else value for value in row] for row in rows])]

    def each_id(self) -> str:
        return "(SELECT value AS id FROM json_each(%s))"

    def json_rows(self, columns: Sequence[str], rest: str) -> str:
        return f"(SELECT json_group_array(json_array({', '.join(columns)})) FROM {rest})"

    def json_list(self, expression: str, only: str) -> str:
        return f"json(json_group_array({expression}) FILTER (WHERE {only}))"

    def json_value(self, column: str) -> str:
        return f"json({column})"


_DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSQL(), "sqlite": SQLite()}


def dialect(using: str) -> Dialect:
    """The dialect of a database alias; NotImplementedError names a vendor that is not spoken."""
    vendor = connections[using].vendor
    try:
        return _DIALECTS[vendor]
    except KeyError:
        raise NotImplementedError(f"jobs speaks {', '.join(_DIALECTS)}; database {using!r} is {vendor!r}") from None


def db_now(using: str) -> str:
    """SQL for the present moment by the database's clock."""
    return dialect(using).now()


@contextmanager
def bound_now(moment: datetime) -> Iterator[None]:
    """Bind `{now}` to a literal: the virtual clock of `jobs.testing`. For this thread, or this asyncio task, only."""
    token = _bound.set(moment)
    try:
        yield
    finally:
        _bound.reset(token)


class DbNow(models.Func):
    """`{now}` for the ORM: what `db_now` says. Django's own `Now()` knows nothing of the virtual clock."""

    def __init__(self) -> None:
        super().__init__(output_field=models.DateTimeField())

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, tuple[()]]:
        return db_now(connection.alias), ()


def prepare(using: str, model: type[models.Model], column: str, value: Any) -> Any:
    """A Python value as the database adapter wants it for that column."""
    return _field(model, column).get_db_prep_save(value, connections[using])


def read(using: str, model: type[models.Model], columns: tuple[str, ...], row: Sequence[Any]) -> dict[str, Any]:
    """A raw row as Python values by column name."""
    connection = connections[using]
    converters = _converters(connection.vendor, using, model, columns)
    return {
        name: value if convert is None else convert(value, connection)
        for name, value, convert in zip(columns, row, converters, strict=False)
    }


@functools.cache
def _field(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.column == column)


@functools.cache
def _converters(
    vendor: str, using: str, model: type[models.Model], columns: tuple[str, ...]
) -> tuple[Callable[[Any, BaseDatabaseWrapper], Any] | None, ...]:
    return tuple(_converter(connections[using], model, column) for column in columns)


def _converter(
    connection: BaseDatabaseWrapper, model: type[models.Model], column: str
) -> Callable[[Any, BaseDatabaseWrapper], Any] | None:
    expression = _field(model, column).get_col(model._meta.db_table)
    steps = [*connection.ops.get_db_converters(expression), *expression.get_db_converters(connection)]
    if not steps:
        return None

    def convert(value: Any, live: BaseDatabaseWrapper) -> Any:
        for step in steps:
            value = step(value, expression, live)
        return value

    return convert
