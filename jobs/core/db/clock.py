"""The database's clock: the only clock that decides anything. `bound_now` replaces it in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.core.db.dialects import dialect
from jobs.core.db.dialects.base import bound


def db_now(using: str) -> str:
    """SQL for the present moment by the database's clock."""
    return dialect(using).now()


@contextmanager
def bound_now(moment: datetime) -> Iterator[None]:
    """Bind `{now}` to a literal, the virtual clock of `jobs.testing`: for this thread or asyncio task only."""
    token = bound.set(moment)
    try:
        yield
    finally:
        bound.reset(token)


class DbNow(models.Func):
    """`{now}` for the ORM. Django's own `Now()` ignores the virtual clock."""

    def __init__(self) -> None:
        super().__init__(output_field=models.DateTimeField())

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, tuple[()]]:
        return db_now(connection.alias), ()
