"""What only MariaDB can get wrong: its collations, its assignments, the size of what it takes at once, its server."""

from typing import Any

from django.core.checks import run_checks
from django.db import connection

from jobs import Job, job_manager
from jobs.models import Pool, transitions
from jobs.models.collations import convert, others
from jobs.models.transitions import Sql
from jobs.submission.insertion import CHUNK_SIZE
from tests.app import stages
from tests.services import Stack

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


def _words() -> str:
    return " UNION ALL ".join(["SELECT CONVERT(%s USING utf8mb4) AS word"] * len(SPELLINGS))


def _ask(sql: str, *params: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()[0][0]
