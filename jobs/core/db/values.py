"""Column values between Python and the database, for statements that the ORM does not run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.core.db.dialects import dialect


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
