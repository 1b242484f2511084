"""Prepared statements and kept connections, when the server changes under them. SQLite has neither: it just works.

On MariaDB nothing is prepared; its connections are cut as PostgreSQL's are.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from jobs import job_manager
from jobs.admission import passes
from jobs.admission.wakeup import own_feeder
from jobs.core.db.statements import query
from jobs.execution import claims
from jobs.models import Limit
from tests.app import stages
from tests.app.jobs import probe
from tests.app.limited import mixed
from tests.services import Stack

SUBMITTED: dict[str, Callable[[], object]] = {
    "plain": lambda: job_manager.submit_many(probe, [((), {})] * 50),
    "everything": lambda: job_manager.submit_many(mixed, [((f"customer {n % 10}",), {}) for n in range(50)]),
}
STATEMENTS = {
    "postgresql": {"plain": 3, "everything": 6},
    "sqlite": {"plain": 3, "everything": 6},
    "mysql": {"plain": 6, "everything": 9},  # a move is four there
}


def test_a_claim_survives_a_migration_that_changes_a_type(stack: Stack) -> None:
    """PostgreSQL refuses a prepared plan whose columns have changed, each time, for as long as the connection lives."""
    stages.claim(job_manager.submit("nobody.runs.this"))
    _change_type("bigint")
    try:
        row = job_manager.submit("nobody.runs.this")
        assert claims.claim(row.id, stages.queue(row), None) is not None
    finally:
        _change_type("integer")


def test_a_connection_that_was_cut_between_requests_is_replaced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    query("default", "SELECT 1")
    _begin_request(monkeypatch)
    _cut()
    assert query("default", "SELECT 1") == [(1,)]


@pytest.mark.parametrize("kind", SUBMITTED)
def test_an_admission_is_few_statements(kind: str, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch, what its process has met before. The first look at lanes that are new reads their facts as well."""
    monkeypatch.setattr(own_feeder, "wake", lambda: None)  # what is submitted waits
    Limit.objects.filter(name="system").update(size=100 if kind != "plain" else None)
    _admission_after(kind)
    said = _admission_after(kind)
    assert len(said) == STATEMENTS[connection.vendor][kind], "\n".join(said)


def _admission_after(kind: str) -> list[str]:
    """Make room for a few and admit one batch; its statements between the beginning and the end of the transaction."""
    stages.start_worker(slots=4, pools=["default", "second"])
    SUBMITTED[kind]()
    said: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        said.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(listen):
        done = passes._admit_batch("default")
    assert done
    assert len(done.moved) > 1
    return [sql for sql in said if not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))]


def _change_type(kind: str) -> None:
    """By another connection, as a migration does; psycopg plans anew what its own connection has altered."""
    how = "MODIFY retry_count {} NOT NULL DEFAULT 0" if connection.vendor == "mysql" else "ALTER retry_count TYPE {}"
    _elsewhere(f"ALTER TABLE jobs_job {how.format(kind)}")


def _begin_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django does at the beginning of a request where CONN_HEALTH_CHECKS is on."""
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    monkeypatch.setattr(connection, "health_check_enabled", True)
    monkeypatch.setattr(connection, "health_check_done", False)


def _cut() -> None:
    live: Any = connection.connection
    if connection.vendor == "postgresql":
        _elsewhere("SELECT pg_terminate_backend(%s, 5000)", live.info.backend_pid)
    elif connection.vendor == "mysql":
        _elsewhere("KILL HARD CONNECTION %s", live.thread_id())


def _elsewhere(sql: str, *params: Any) -> None:
    other: Any = connection
    if connection.vendor != "sqlite":
        other = other.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute(sql, params)
        finally:
            other.close()
