"""Expressions that indexes are built on, and moments as each database computes with them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Func

KEY_HEAD = 200  # characters: four bytes each still fit an index row of PostgreSQL


class KeyHead(Func):
    """The first characters of a key, spelled without parameters: only so does SQLite find the index on it."""

    template = f"substr(%(expressions)s, 1, {KEY_HEAD})"
    output_field = models.CharField()


class KeyTail(Func):
    """What follows the head."""

    template = f"substr(%(expressions)s, {KEY_HEAD + 1})"
    output_field = models.CharField()


class Epoch(Func):
    """A moment in epoch seconds."""

    arity = 1
    output_field = models.FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, template="EXTRACT(EPOCH FROM %(expressions)s)::float8", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(
            compiler, connection, template="((julianday(%(expressions)s) - 2440587.5) * 86400.0)", **context
        )

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        template = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', %(expressions)s) / 1e6)"
        return self.as_sql(compiler, connection, template=template, **context)


class Later(Func):
    """A moment moved by a number of seconds: `Later(DbNow(), -30)`."""

    arity = 2
    output_field = models.DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s * interval '1 second')", arg_joiner=" + ", **context
        )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        # as Django writes a moment, where a whole second has no fraction: SQLite compares texts
        template = "replace(strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', %(expressions)s)), '.000000', '')"
        return self.as_sql(compiler, connection, template=template, arg_joiner=", printf('%%+f seconds', ", **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        template = "(%(expressions)s) MICROSECOND)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=" + INTERVAL ROUND(1e6 * ", **context)
