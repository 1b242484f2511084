"""Admission reads by its indexes, whatever the planner knows of the table: or it would slow down with what waits.

On PostgreSQL by the blocks that the very statements touch, on MariaDB by the index entries and rows that they read, on
SQLite by the plan it tells.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from jobs.admission import publishing
from jobs.admission.limits.lanes import Facts
from jobs.core.db import statements
from jobs.core.db.clock import db_now
from jobs.core.db.dialects import dialect
from jobs.execution import heartbeats
from jobs.execution.heartbeats import Identity
from jobs.models import Job, Limit, Worker
from tests.app import stages
from tests.services import Stack

LANES, FULL = 100, 90
MOST = 4_000  # blocks, or reads; all that waits is 10,000 and more, and each lane's probe touches four or five
ON_SQLITE = bool((stack := Stack.current()) and stack.is_sqlite)
ON_MARIADB = bool(stack and stack.name.startswith("mariadb"))
WAITING = 10_000 if ON_SQLITE else 100_000  # there the plan counts, here the blocks

ANALYZE = {"postgresql": "ANALYZE jobs_job", "mysql": "ANALYZE TABLE jobs_job", "sqlite": "ANALYZE"}
FILL = """
INSERT INTO jobs_job (id, state, task, pool, priority, manager, args, kwargs, rank, created_at, eligible_at, updated_at,
                      partition_by, partition, lane, attempt_id, queued_at)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}),
     lanes(number, lane) AS (VALUES {lanes})
SELECT {uuid}, '{state}', 'plans', 'default', 'medium', '', '[]', '{{}}', 1000 + n, {now}, {now}, {now},
       'customer', 'c' || number, lane, {attempt}, {now}
  FROM numbers JOIN lanes ON number = n % {modulo}
"""


FILL_MARIADB = """
INSERT INTO jobs_job (id, state, task, pool, priority, manager, args, kwargs, `rank`, created_at, eligible_at,
                      updated_at, partition_by, `partition`, lane, attempt_id, queued_at)
WITH lanes AS (SELECT * FROM JSON_TABLE('{lanes}', '$[*]' COLUMNS (number FOR ORDINALITY, lane CHAR(36) PATH '$')) l)
SELECT UUID(), '{state}', 'plans', 'default', 'medium', '', '[]', '{{}}', 1000 + seq, {now}, {now}, {now},
       'customer', CONCAT('c', number - 1), lane, {attempt}, {now}
  FROM seq_0_to_{last} JOIN lanes ON number - 1 = seq % {modulo}
"""


@pytest.fixture
def crowded(stack: Stack) -> Iterator[None]:
    """So many wait in a hundred lanes, of which most are full. Without a history: the invariants are not for it."""
    Limit.objects.create(name="plans", pool="default", task="plans", partition_by="customer", size=1)
    _fill(WAITING, LANES, "pending")
    _fill(FULL, FULL, "running")
    heartbeats.register(Identity(uuid.uuid4(), "nobody", 1, ("default",), 1000))
    Worker.objects.update(beat_at=Now() + timedelta(hours=1))  # to explain takes longer than a worker may be silent
    publishing.breaker.succeeded()
    yield
    with connection.cursor() as cursor:
        for table in ("jobs_jobevent", "jobs_job"):
            cursor.execute(f"DELETE FROM {table}" if ON_SQLITE or ON_MARIADB else f"TRUNCATE {table} CASCADE")


def test_admission_touches_little_of_what_waits(crowded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """First as the planner knows nothing of the table, then with all there is to know.

    MariaDB only with that: it jumps from lane to lane where it knows how few there are, and counts anew within some ten
    seconds. Until then it reads all that waits in the pool.
    """
    if not ON_MARIADB:
        _admits_cheaply(monkeypatch)
    Job.objects.filter(state="queued").update(state="pending", attempt_id=None)
    with connection.cursor() as cursor:
        cursor.execute(ANALYZE[connection.vendor])
    _admits_cheaply(monkeypatch)


def _admits_cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _Watch()
    with monkeypatch.context() as patch:
        patch.setattr(statements, "_run", seen.run(statements._run))
        assert len(stages.admit()) == LANES - FULL
    assert {"peek", "look", "best", "move"} <= seen.worst.keys()
    assert not {name: cost for name, cost in seen.worst.items() if cost > MOST}


class _Watch:
    """What each kind of statement costs, asked of the database before it is run."""

    def __init__(self) -> None:
        self.worst: dict[str, int] = {}

    def run(self, right: Any) -> Any:
        def watched(using: str, sql: str, params: Any, answer: Any) -> Any:
            name = _name(sql)
            if name:
                self.worst[name] = max(self.worst.get(name, 0), _cost(sql, params))
            return right(using, sql, params, answer)

        return watched


def _name(sql: str) -> str | None:
    marks = {
        "look": " walk AS (",
        "peek": "AS in_flight",
        "best": "LIMIT l.most",
        "move": "UPDATE jobs_job",
        "pick": "SKIP LOCKED",
    }
    return next((name for name, mark in marks.items() if mark in sql), "best" if "UNION ALL" in sql else None)


def _cost(sql: str, params: Any) -> int:
    """Blocks touched, or rows read; on SQLite a number beyond all bounds where a whole table or index is read."""
    text = sql.replace("{now}", db_now("default"))
    with connection.cursor() as cursor:
        if ON_SQLITE:
            cursor.execute(f"EXPLAIN QUERY PLAN {text}", params)
            return max((MOST + 1 for row in cursor.fetchall() if re.match(r"SCAN (jobs_job|j)\b", row[3])), default=0)
        cursor.execute("SAVEPOINT plans") if connection.in_atomic_block else cursor.execute("BEGIN")
        if ON_MARIADB:
            return _reads(cursor, *dialect("default").adapt(text, params))
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", params)
        ((told,),) = cursor.fetchall()
        cursor.execute("ROLLBACK TO plans" if connection.in_atomic_block else "ROLLBACK")
    plan = (told if isinstance(told, list) else json.loads(told))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _reads(cursor: Any, text: str, params: Any) -> int:
    """Index entries and rows read by the very statement, which is then undone, and not by asking for their number."""
    numbers = [_reads_so_far(cursor), _reads_so_far(cursor)]
    cursor.execute(text, params)
    cursor.fetchall()
    numbers.append(_reads_so_far(cursor))
    cursor.execute("ROLLBACK TO plans" if connection.in_atomic_block else "ROLLBACK")
    return numbers[2] - numbers[1] - (numbers[1] - numbers[0])


def _reads_so_far(cursor: Any) -> int:
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(number) for _, number in cursor.fetchall())


def _fill(count: int, lanes: int, state: str) -> None:
    ids = [Facts("plans", partition_by="customer", partition=f"c{number}").lane for number in range(lanes)]
    if ON_MARIADB:
        _fill_mariadb(count, lanes, state, ids)
        return
    spelled = [f"'{one.hex}'" if ON_SQLITE else f"'{one}'::uuid" for one in ids]
    new = "lower(hex(randomblob(16)))" if ON_SQLITE else "gen_random_uuid()"
    sql = FILL.format(
        count=count,
        modulo=lanes,
        state=state,
        uuid=new,
        attempt="NULL" if state == "pending" else new,
        lanes=", ".join(f"({number}, {lane})" for number, lane in enumerate(spelled)),
        now="strftime('%Y-%m-%d %H:%M:%f', 'now')" if ON_SQLITE else "now()",
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _fill_mariadb(count: int, lanes: int, state: str, ids: list[uuid.UUID]) -> None:
    sql = FILL_MARIADB.format(
        last=count - 1,
        modulo=lanes,
        state=state,
        lanes=json.dumps([str(one) for one in ids]),
        now=db_now("default"),
        attempt="NULL" if state == "pending" else "UUID()",
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
