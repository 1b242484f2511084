"""How each database spells what the hot statements need: the clock, epochs, fresh ids, locks.

The only place that knows vendors. Statements are written once with `{now}` for the database's clock; nothing else
reads a clock. PostgreSQL, SQLite and MariaDB are spoken here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.core.db.dialects.base import PAYLOAD, Dialect, bound
from jobs.core.db.dialects.mariadb import MariaDB
from jobs.core.db.dialects.postgresql import PostgreSQL
from jobs.core.db.dialects.sqlite import SQLite

__all__ = [
    "PAYLOAD",
    "DbNow",
    "Dialect",
    "MariaDB",
    "PostgreSQL",
    "SQLite",
    "bound_now",
    "db_now",
    "dialect",
    "prepare",
    "read",
]

_DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSQL(), "sqlite": SQLite(), "mysql": MariaDB()}


@functools.cache  # an alias keeps its vendor
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
    token = bound.set(moment)
    try:
        yield
    finally:
        bound.reset(token)


class DbNow(models.Func):
    """`{now}` for the ORM: what `db_now` says. Django's own `Now()` knows nothing of the virtual clock."""

    def __init__(self) -> None:
        super().__init__(output_field=models.DateTimeField())

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, tuple[()]]:
        return db_now(connection.alias), ()


def prepare(using: str, model: type[models.Model], column: str, value: Any) -> Any:
    """A Python value as the database adapter wants it for that column."""
    if type(value) is UUID and dialect(using).native_uuids:
        return value
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
