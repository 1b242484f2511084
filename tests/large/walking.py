"""Migrations forward with rows, back, to nothing and forward again, in a process of its own on a database of its own.

`walk()` prints nothing; what is not as it must be is an AssertionError.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from jobs.maintenance import pruner
from jobs.models import Attempt, Job, JobEvent

FIRST = "0001_initial"
STATES = ("scheduled", "blocked", "pending", "queued", "running", "paused", "completed", "failed", "cancelled")
NO_LANE = UUID(int=0)


def walk() -> int:
    """0 when all of it was as it must be."""
    _migrate(FIRST)
    _fill()
    _leave_half_an_index()
    _migrate("0006_turn")
    _forward_and_check()
    _migrate(FIRST)
    _count_is(len(STATES))
    _forward_and_check()
    pruner.prune(dict.fromkeys(pruner.configured(), 0.0))
    _count_is(len(STATES) - 3)
    _migrate("zero")
    assert "jobs_job" not in connection.introspection.table_names()
    call_command("migrate", verbosity=0)
    _count_is(0)
    _check_the_guards()
    return 0


def _migrate(name: str) -> None:
    call_command("migrate", "jobs", name, verbosity=0)


def _fill() -> None:
    """A job of each state with attempt and event, by the models of the first migration."""
    old: Any = MigrationExecutor(connection).loader.project_state(("jobs", FIRST)).apps
    now = timezone.now()
    for number, state in enumerate(STATES):
        final, flying = state in STATES[6:], state in ("queued", "running")
        row = old.get_model("jobs", "Job").objects.create(
            id=UUID(int=number + 1),
            task=f"task {number % 3}",
            pool="default",
            state=state,
            created_at=now,
            eligible_at=now,
            rank=0,
            updated_at=now,
            finished_at=now if final else None,
            attempt_id=uuid4() if flying else None,
            active_key=None if final else str(number),
            timeout=number if number % 2 else None,
        )
        old.get_model("jobs", "Attempt").objects.create(id=uuid4(), job_id=row.id, number=1, started_at=now)
        old.get_model("jobs", "JobEvent").objects.create(job_id=row.id, seq=1, name="create", at=now)


def _leave_half_an_index() -> None:
    """As a migration that was killed leaves one: of the right name, and worthless."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("CREATE INDEX job_ended ON jobs_job (task)")


def _forward_and_check() -> None:
    call_command("migrate", verbosity=0)
    _count_is(len(STATES))
    assert not Job.objects.filter(lane=NO_LANE).exists()
    assert Attempt.objects.count() == JobEvent.objects.count() == len(STATES)
    _check_the_indexes()
    _check_the_guards()
    _check_that_older_code_may_write()


def _check_that_older_code_may_write() -> None:
    """Processes that still run the code before the newest migration go on to insert: they name no new column."""
    loader = MigrationExecutor(connection).loader
    (newest,) = loader.graph.leaf_nodes("jobs")
    (before,) = (node.key for node in loader.graph.node_map[newest].parents if node.key[0] == "jobs")
    old: Any = loader.project_state(before).apps
    now, attempt = timezone.now(), uuid4()
    with transaction.atomic():
        worker = old.get_model("jobs", "Worker").objects.create(
            boot_id=uuid4(), hostname="old", pid=1, pools=["default"], slots=1, started_at=now, beat_at=now
        )
        row = old.get_model("jobs", "Job").objects.create(
            id=uuid4(),
            task="t",
            pool="default",
            state="running",
            attempt_id=attempt,
            created_at=now,
            eligible_at=now,
            rank=0,
            updated_at=now,
        )
        old.get_model("jobs", "Attempt").objects.create(
            id=attempt, job_id=row.pk, number=1, started_at=now, worker=worker
        )
        old.get_model("jobs", "JobEvent").objects.create(job_id=row.pk, seq=1, name="create", at=now)
        assert Job.objects.get(pk=row.pk).attempts.get().worker_id == worker.pk
        transaction.set_rollback(True)


def _check_the_indexes() -> None:
    """Those of the models and no others, each with its columns, none half-built."""
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, Job._meta.db_table)
        if connection.vendor == "postgresql":
            cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
            assert not cursor.fetchall()
            cursor.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated")
            assert not cursor.fetchall()
    wanted = {index.name for index in Job._meta.indexes} | {one.name for one in Job._meta.constraints}
    assert wanted <= set(there), wanted - set(there)
    ours = {name for name in there if name.startswith("job_")}
    assert ours == wanted, ours ^ wanted
    assert there["job_ended"]["columns"] == ["state", "finished_at", "id"]
    if connection.vendor == "mysql":  # which knows no conditions of indexes: a column stands for each
        assert there["job_candidates"]["columns"] == ["pool", "state", "lane", "rank", "id"]
        assert there["job_expiring"]["columns"] == ["state", "expires_at"]


def _check_the_guards() -> None:
    """The unique key and the check on states hold."""
    now = timezone.now()
    plain = {"task": "t", "pool": "default", "created_at": now, "eligible_at": now, "rank": 0, "updated_at": now}
    _is_refused([plain | {"active_key": "x"}] * 2)
    _is_refused([plain | {"state": "completed"}])
    _is_refused([plain | {"state": "running"}])
    _is_refused([plain | {"state": "nonsense"}])


def _is_refused(rows: list[dict[str, Any]]) -> None:
    try:
        with transaction.atomic():
            for row in rows:
                Job.objects.create(**row)
            raise AssertionError(f"nobody refused {rows}")
    except DatabaseError:
        return


def _count_is(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job")
        assert cursor.fetchone() == (number,)
