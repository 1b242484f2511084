"""Servers and workers for tests: found where one answers, started where one can be, and private ones to be killed.

Nothing here touches a server that it did not start, beyond a database, a Redis database number or a virtual host of
its own. How a test uses them: tests/README.md.
"""

from tests.services.finding import NoService, Service, find_mariadb, find_postgres, find_rabbitmq, find_redis
from tests.services.mariadb import PrivateMariaDB
from tests.services.postgres import PrivatePostgres
from tests.services.proxy import Proxy
from tests.services.rabbitmq import PrivateRabbitMQ
from tests.services.stacks import STACKS, Stack, open_stack
from tests.services.valkey import PrivateValkey
from tests.services.workers import Worker

__all__ = [
    "STACKS",
    "NoService",
    "PrivateMariaDB",
    "PrivatePostgres",
    "PrivateRabbitMQ",
    "PrivateValkey",
    "Proxy",
    "Service",
    "Stack",
    "Worker",
    "find_mariadb",
    "find_postgres",
    "find_rabbitmq",
    "find_redis",
    "open_stack",
]
