"""The SQL that differs between PostgreSQL, SQLite and MariaDB. This package alone knows vendors.

Statements are written once, with `{now}` for the database's clock.
"""

from __future__ import annotations

import functools

from django.db import connections

from jobs.core.db.dialects.base import PAYLOAD, Dialect
from jobs.core.db.dialects.mariadb import MariaDB
from jobs.core.db.dialects.postgresql import PostgreSQL
from jobs.core.db.dialects.sqlite import SQLite

__all__ = ["PAYLOAD", "Dialect", "MariaDB", "PostgreSQL", "SQLite", "dialect"]

_DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSQL(), "sqlite": SQLite(), "mysql": MariaDB()}


@functools.cache  # an alias keeps its vendor
def dialect(using: str) -> Dialect:
    """The dialect of a database alias; NotImplementedError names a vendor that is not supported."""
    vendor = connections[using].vendor
    try:
        return _DIALECTS[vendor]
    except KeyError:
        raise NotImplementedError(f"jobs speaks {', '.join(_DIALECTS)}; database {using!r} is {vendor!r}") from None
