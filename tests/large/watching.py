"""Somebody beside: reads and writes a job all the while, and looks at who has the tables to himself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

EVERY = 0.01  # seconds
TABLES = ("jobs_job", "jobs_attempt", "jobs_jobevent", "jobs_joblog")
_EXCLUSIVE = """
SELECT l.pid::text || ' ' || c.relname, l.granted FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
 WHERE l.mode = 'AccessExclusiveLock' AND c.relname = ANY(%s)
"""


@dataclass
class Seen:
    """The longest of each, in seconds."""

    exclusive: float = 0  # a table held by one alone, or asked for so that all others queue up behind
    read: float = 0
    write: float = 0
    since: dict[str, float] = field(default_factory=dict)


@contextmanager
def watched(database_url: str, job_id: UUID) -> Iterator[Seen]:
    """Read, write and look on until the block ends."""
    seen, over = Seen(), threading.Event()
    threads = [threading.Thread(target=act, args=(database_url, job_id, seen, over)) for act in (_look, _read, _write)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _look(database_url: str, _: UUID, seen: Seen, over: threading.Event) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        while not over.wait(EVERY):
            now = time.monotonic()
            held = {name for name, _ in connection.execute(_EXCLUSIVE, [list(TABLES)]).fetchall()}
            seen.since = {name: seen.since.get(name, now) for name in held}
            seen.exclusive = max([seen.exclusive, *(now - since for since in seen.since.values())])


def _read(database_url: str, job_id: UUID, seen: Seen, over: threading.Event) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        while not over.wait(EVERY):
            begin = time.monotonic()
            connection.execute("SELECT state FROM jobs_job WHERE id = %s", [job_id]).fetchall()
            seen.read = max(seen.read, time.monotonic() - begin)


def _write(database_url: str, job_id: UUID, seen: Seen, over: threading.Event) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        while not over.wait(EVERY):
            begin = time.monotonic()
            connection.execute("UPDATE jobs_job SET updated_at = now() WHERE id = %s", [job_id])
            seen.write = max(seen.write, time.monotonic() - begin)
