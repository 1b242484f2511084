"""The trial itself, in a process whose settings name the private server: see `__main__`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

import psutil
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from jobs.maintenance import pruner
from jobs.models import Job
from tests.large.watching import Seen, watched

LONGEST = 1.0  # seconds that others may wait
LIVE = UUID(int=7)  # the job that somebody works with meanwhile
MARKS = (10, 50, 100)  # percent
_MEMORY = 0.05  # by how much it may grow from the first mark to the last

# As the first migration made the table: all ended long ago, but one.
_JOBS = """
INSERT INTO jobs_job (id, task, pool, state, created_at, eligible_at, rank, updated_at, finished_at, event_seq, args)
SELECT CASE WHEN number = 0 THEN %s ELSE md5(number::text)::uuid END, 'large.task ' || number %% 20, 'default',
       CASE WHEN number = 0 THEN 'pending' WHEN number %% 10 = 1 THEN 'failed' ELSE 'completed' END, moment, moment,
       extract(epoch FROM moment), moment, CASE WHEN number > 0 THEN moment END, 4, '["an argument of some length"]'
  FROM (SELECT number, now() - interval '60 days' + number * interval '1 second' AS moment
          FROM generate_series(0, %s) AS number) AS numbered
"""
_ATTEMPTS = """
INSERT INTO jobs_attempt (id, job_id, run, number, started_at, finished_at, outcome)
SELECT id, id, 1, 1, created_at, finished_at, state FROM jobs_job WHERE finished_at IS NOT NULL
"""
_EVENTS = """
INSERT INTO jobs_jobevent (job_id, seq, name, from_state, to_state, at)
SELECT id, seq, (ARRAY['create', 'admit', 'claim', 'complete'])[seq], '', '', created_at
  FROM jobs_job, generate_series(1, 4) AS seq
"""


def main(rows: str, database_url: str) -> int:
    """Print the figures; 1 where somebody had to wait, or memory grew."""
    logging.disable(logging.INFO)
    _fill(int(rows))
    fine = [_migrate(database_url), _prune(database_url, int(rows))]
    return 0 if all(fine) else 1


def _fill(rows: int) -> None:
    call_command("migrate", "jobs", "0001", verbosity=0)
    begin = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(_JOBS, [LIVE, rows])
        cursor.execute(_ATTEMPTS)
        cursor.execute(_EVENTS)
        cursor.execute("ANALYZE")
    _say(f"{rows:,} ended jobs with attempt and events at 0001, {time.monotonic() - begin:.0f} s to fill")


def _migrate(database_url: str) -> bool:
    """Each migration by itself, somebody working beside it."""
    worst = 0.0
    executor = MigrationExecutor(connection)
    latest = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "jobs"]
    for migration, _ in executor.migration_plan(latest):
        with watched(database_url, LIVE) as seen:
            seconds = _timed(lambda name=migration.name: call_command("migrate", "jobs", name, verbosity=0))  # type: ignore[misc]
        worst = max(worst, seen.exclusive, seen.read, seen.write)
        _say(f"{migration.name:<26} {seconds:6.1f} s; {_told(seen)}")
    call_command("migrate", verbosity=0)
    return worst <= LONGEST


def _prune(database_url: str, rows: int) -> bool:
    """All that has ended, by the steps that steward and command take."""
    me, gone, longest, begin = psutil.Process(), 0, 0.0, time.monotonic()
    memory: dict[int, int] = {}
    with watched(database_url, LIVE) as seen:
        steps = pruner.steps(dict.fromkeys(pruner.configured(), 0.0))
        while True:
            before = time.monotonic()
            step = next(steps, None)
            longest = max(longest, time.monotonic() - before)
            if step is None:
                break
            gone += step.total()
            for mark in MARKS:
                if gone >= rows * mark // 100 and mark not in memory:
                    memory[mark] = me.memory_info().rss
    told = ", ".join(f"{rss / 2**20:.1f} MB at {mark} %" for mark, rss in memory.items())
    _say(f"pruned {gone:,} in {time.monotonic() - begin:.1f} s; longest transaction {longest:.3f} s; {_told(seen)}")
    _say(f"memory: {told}")
    only_the_live_one = list(Job.objects.values_list("pk", flat=True)) == [LIVE]
    return only_the_live_one and memory[100] <= memory[10] * (1 + _MEMORY) and max(seen.read, seen.write) <= LONGEST


def _told(seen: Seen) -> str:
    return f"longest exclusive lock {seen.exclusive:.2f} s, read {seen.read:.2f} s, write {seen.write:.2f} s"


def _timed(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
