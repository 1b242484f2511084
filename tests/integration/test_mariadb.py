"""What only MariaDB can get wrong: its collations, its deadlocks, the size of what it takes at once, its server."""

import threading
import time
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.db import connection, connections, transaction

from jobs import Job, job_manager, transitions
from jobs.models import Pool
from jobs.models.collations import convert, others
from jobs.querysets.dialect import dialect
from jobs.submission.inserting import CHUNK_SIZE
from jobs.transitions import Sql
from tests.app import stages
from tests.services import Stack
from tests.services.processes import wait_until

SPELLINGS = ("castle", "Castle", "castle ", "cástle")


def test_what_is_spelled_differently_is_different(stack: Stack) -> None:
    """The database's own collation, made for the tests as a host may have it, takes all of these for one."""
    assert _ask("SELECT COUNT(DISTINCT word COLLATE utf8mb4_general_ci) FROM (" + _words() + ") w", *SPELLINGS) == 1
    for word in SPELLINGS:
        Pool.objects.create(name=word)
        job_manager.submit("nobody.runs.this", pool=word, owner=word, external_id=word)
        assert job_manager.run_job(word, "nobody.runs.this").type == "JOB_CREATED"
    for word in SPELLINGS:
        for column in ("pool", "owner", "external_id", "key"):
            assert Job.objects.filter(**{column: word}).count() == 1


def test_a_table_with_another_collation_is_converted(stack: Stack) -> None:
    """By the next `migrate`, once: who adds a table need not think of it."""
    assert others("default") == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_turn CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    assert others("default") == ["jobs_turn"]
    convert("default")
    assert others("default") == []


def test_a_move_that_falls_to_a_deadlock_is_done_again(stack: Stack) -> None:
    """Another transaction, which has written more, holds the second job and then wants the first."""
    first, second = (job_manager.submit("nobody.runs.this") for _ in range(2))
    cancelled = threading.Thread(target=_cancel, args=([first.id, second.id],))
    with transaction.atomic():
        Group.objects.bulk_create(Group(name=str(number)) for number in range(100))
        _lock(second)
        cancelled.start()
        wait_until(_somebody_waits, 10, "a move that waits for a lock")
        _lock(first)
    cancelled.join(20)
    assert {stages.fresh(row).state for row in (first, second)} == {"cancelled"}
    assert Group.objects.count() == 100


def test_what_a_move_sets_sees_the_row_as_it_was(stack: Stack) -> None:
    """MariaDB's own way is that each assignment sees what those before it have set."""
    row = job_manager.submit("nobody.runs.this")
    transitions.move("cancel", "id = %s", [row.id], sets={"message": Sql("state")})
    assert stages.fresh(row).message == "pending"


def test_many_large_jobs_are_several_statements(stack: Stack) -> None:
    """As MariaDB comes it takes 16 MiB at once; quotes are escaped by JSON and by SQL."""
    text = '"' * (CHUNK_SIZE // 5)
    rows = job_manager.submit_many("nobody.runs.this", [([text], {})] * 20)
    assert len(rows) == 20
    assert Job.objects.get(pk=rows[-1].id).args == [text]


def test_the_server_passes_its_check(stack: Stack) -> None:
    assert not [found for found in run_checks(tags=["jobs", "database"], databases=["default"]) if found.is_serious()]


def test_locks_are_taken_at_read_committed(stack: Stack) -> None:
    assert _ask("SELECT @@tx_isolation") == "READ-COMMITTED"


def _cancel(ids: list[UUID]) -> None:
    words = dialect("default")
    try:
        transitions.move("cancel", words.among("id"), [words.ids(ids)])
    finally:
        connections.close_all()


def _somebody_waits() -> bool:
    """Whoever asks again within a tenth of a second is told the same."""
    time.sleep(0.2)
    return bool(_ask("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"))


def _lock(row: Job) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM jobs_job WHERE id = %s FOR UPDATE", [row.id])


def _words() -> str:
    return " UNION ALL ".join(["SELECT CONVERT(%s USING utf8mb4) AS word"] * len(SPELLINGS))


def _ask(sql: str, *params: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()[0][0]
