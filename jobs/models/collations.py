"""On MariaDB, columns that tell `a` from `A` and from `a ` with a space behind it, whatever the database's own rule is.

Keys, hashes, pools and partitions are compared as they are; the other databases know no other way.
"""

from __future__ import annotations

from django.apps import apps
from django.db import connections

from jobs.core.conf import settings

BINARY = "utf8mb4_nopad_bin"


def convert(using: str) -> None:
    """Give the tables of this app the binary collation, where a migration has made one with another.

    Columns that are added later take after their table, so this rewrites a table once, while it is empty as a rule.
    """
    connection = connections[using]
    if using != settings.DATABASE or connection.vendor != "mysql":
        return
    with connection.cursor() as cursor:
        for table in others(using):
            cursor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {BINARY}")


def others(using: str) -> list[str]:
    """The tables of this app with another collation, by name."""
    ours = [model._meta.db_table for model in apps.get_app_config("jobs").get_models()]
    sql = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        f" AND table_collation <> %s AND table_name IN ({', '.join(['%s'] * len(ours))}) ORDER BY table_name"
    )
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [BINARY, *ours])
        return [table for (table,) in cursor.fetchall()]
