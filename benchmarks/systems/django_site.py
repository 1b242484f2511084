"""What systems with a Django database share: a fresh database per trial, its migrations, its connections."""

import psycopg
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql

from benchmarks.systems.base import System


class DjangoSystem(System):
    """A system whose record is in PostgreSQL. Needs Django set up before it is imported."""

    def prepare(self) -> None:
        """Make the database anew and migrate it."""
        super().prepare()
        self._create_database()
        call_command("migrate", verbosity=0, interactive=False)

    def analyze(self) -> None:
        """Refresh the planner's statistics, as autovacuum has long done on a site that lives."""
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def disconnect(self) -> None:
        """Close every database connection of this process."""
        connections.close_all()

    def _create_database(self) -> None:
        place = self.place
        name = sql.Identifier(place.database)
        with psycopg.connect(
            host=place.postgres_socket, user=place.postgres_user, dbname="postgres", autocommit=True
        ) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
            server.execute(sql.SQL("CREATE DATABASE {}").format(name))
