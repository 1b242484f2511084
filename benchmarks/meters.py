"""What a phase of a trial cost: CPU seconds per process tree, SQL statements and commits in one database.

Reads from outside (process accounts, `pg_stat_statements`, `pg_stat_database`): nothing is added to what is measured.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from benchmarks.place import Place

QUIET_SECONDS = 20

_ACTIVE = """
    SELECT count(*) AS clients FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
"""
_TOTALS = """
    SELECT coalesce(sum(calls), 0) AS statements,
           coalesce(sum(calls) FILTER (WHERE query ~* '^\\s*(select|insert|update|delete|with|merge)'
                                         AND query !~* 'set_config'), 0) AS data_statements,
           coalesce(sum(total_exec_time), 0) AS exec_ms,
           coalesce(sum(wal_bytes), 0) AS wal_bytes
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s
"""
_COMMITS = "SELECT xact_commit AS commits, sessions AS connections FROM pg_stat_database WHERE datname = %s"
_DEAREST = """
    SELECT calls, round(total_exec_time::numeric, 1)::float AS ms, left(query, 400) AS query
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s
    ORDER BY total_exec_time DESC LIMIT 15
"""
_RESET = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = %s"


class SqlMeter:
    """Statements and commits in the trial's database between `start()` and `read()`.

    PostgreSQL counts a commit at the latest when its session ends, so both wait until no client is connected.
    """

    def __init__(self, place: Place) -> None:
        self._database = place.database
        self._connection = psycopg.connect(
            host=place.postgres_socket,
            user=place.postgres_user,
            dbname="postgres",
            autocommit=True,
            row_factory=dict_row,
        )
        self._before: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to count."""
        self._wait_quiet()
        self._one(_RESET)
        self._before = self._one(_COMMITS)

    def read(self) -> dict[str, float]:
        """Totals since `start()`: statements (all; those on data), commits, connections, milliseconds, WAL bytes."""
        self._wait_quiet()
        counted = {**self._one(_TOTALS), **self._one(_COMMITS)}
        return {name: float(value) - float(self._before.get(name, 0)) for name, value in counted.items()}

    def dearest(self) -> list[dict[str, Any]]:
        """The statements that took most time since `start()`: calls, milliseconds, normalised text."""
        return self._connection.execute(_DEAREST, [self._database]).fetchall()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _wait_quiet(self) -> None:
        deadline = time.monotonic() + QUIET_SECONDS
        while clients := self._one(_ACTIVE)["clients"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{clients} clients are still connected to {self._database} after {QUIET_SECONDS} s")
            time.sleep(0.02)

    def _one(self, sql: str) -> dict[str, Any]:
        row: dict[str, Any] | None = self._connection.execute(sql, [self._database]).fetchone()
        return row or {}


@dataclass(frozen=True)
class CpuSample:
    """CPU seconds so far of each tree, of the whole machine, and the time of the look."""

    trees: Mapping[str, float]
    machine: float
    at: float

    def since(self, earlier: "CpuSample") -> dict[str, float]:
        """CPU seconds per tree; `others_share` is the part of the machine's busy time that belongs to no tree."""
        spent = {name: seconds - earlier.trees[name] for name, seconds in self.trees.items()}
        busy = self.machine - earlier.machine
        others = (busy - sum(spent.values())) / busy if busy > 0 else 0.0
        return {**spent, "others_share": others, "seconds": self.at - earlier.at}


def sample_cpu(roots: Mapping[str, Sequence[int]]) -> CpuSample:
    """Look at the trees under the given process ids, children that ended and were waited for included."""
    trees = {name: sum(_tree_seconds(psutil.Process(pid)) for pid in pids) for name, pids in roots.items()}
    times = psutil.cpu_times()
    # Guest time is inside user time already; idle and iowait are not work.
    machine = times.user + times.nice + times.system + times.irq + times.softirq
    return CpuSample(trees, machine, time.time())


def _tree_seconds(root: psutil.Process) -> float:
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended between the listing and the look: its parent's account has it
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return total
