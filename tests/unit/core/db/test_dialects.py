"""How the databases are spoken to, as far as SQLite can show it: the clock, times, ids, raw rows.

What MariaDB makes of its db: tests/integration/test_mariadb.py.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from jobs.core.db.clock import DbNow, bound_now, db_now
from jobs.core.db.dialects import MariaDB, PostgreSQL, SQLite, dialect
from jobs.core.db.statements import execute, execute_many, query
from jobs.core.db.values import prepare, read
from jobs.models import Job, Pool, Worker
from tests.app import stages

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MOMENTS = [NOON, NOON + timedelta(milliseconds=1), NOON + timedelta(microseconds=123456), NOON + timedelta(seconds=1)]


def _value(sql: str, params: Any = ()) -> Any:
    return query("default", f"SELECT {sql}", params)[0][0]


@pytest.mark.django_db
def test_the_clock_is_the_databases_in_utc() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=2)
    now = datetime.fromisoformat(_value("{now}")).replace(tzinfo=UTC)
    assert before <= now <= datetime.now(UTC) + timedelta(milliseconds=2)


@pytest.mark.django_db
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_moment_equals_itself_however_it_got_there(moment: datetime) -> None:
    with bound_now(moment):
        boot_id = stages.start_worker()
        parameter = prepare("default", Worker, "beat_at", moment)
        assert query("default", "SELECT 1 FROM jobs_worker WHERE beat_at = %s", [parameter])
        assert query("default", "SELECT 1 FROM jobs_worker WHERE beat_at = {now}")
        assert Worker.objects.filter(beat_at=moment, pk=boot_id).exists()
        assert Worker.objects.filter(beat_at=DbNow()).exists()
        assert Worker.objects.filter(beat_at__gt=DbNow() - timedelta(seconds=1), beat_at__lte=DbNow()).exists()
    assert Worker.objects.get().beat_at == moment


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [0, 1, -1, 0.5, 86_400.25, -3600])
def test_later_adds_seconds(seconds: float) -> None:
    db = dialect("default")
    with bound_now(NOON):
        moved = _value(db.later("{now}"), [seconds])
        assert moved == str((NOON + timedelta(seconds=seconds)).replace(tzinfo=None))
        assert _value(db.epoch("{now}")) == pytest.approx(NOON.timestamp(), abs=0.001)


@pytest.mark.django_db
def test_moments_are_ordered_as_texts() -> None:
    texts = []
    for moment in MOMENTS:
        with bound_now(moment):
            texts.append(_value("{now}"))
    assert sorted(texts) == [text for _, text in sorted(zip(MOMENTS, texts, strict=True))]


@pytest.mark.django_db
def test_the_bound_clock_is_this_threads_and_ends_with_its_block() -> None:
    seen: list[str] = []
    with bound_now(NOON):
        with bound_now(NOON.astimezone(timezone(timedelta(hours=5)))):
            assert _value("{now}") == "2030-01-01 12:00:00"
        thread = threading.Thread(target=lambda: seen.append(db_now("default")))
        thread.start()
        thread.join()
    assert seen == [SQLite.clock] == [db_now("default")]


def test_postgresqls_spelling_of_a_moment() -> None:
    db = PostgreSQL()
    assert db.now() == "statement_timestamp()"
    with bound_now(NOON):
        assert db.now() == "TIMESTAMPTZ '2030-01-01T12:00:00+00:00'"


def test_mariadbs_spelling_of_a_moment() -> None:
    db = MariaDB()
    assert db.now() == "UTC_TIMESTAMP(6)"
    with bound_now(NOON.astimezone(timezone(timedelta(hours=5)))):
        assert db.now() == "TIMESTAMP'2030-01-01 12:00:00'"


def test_mariadbs_reserved_words_are_quoted_where_they_are_names() -> None:
    sql = "SELECT key, j.partition, partition_by FROM jobs_job j WHERE `key` = 'the key' AND lane = %s"
    quoted = "SELECT `key`, j.`partition`, partition_by FROM jobs_job j WHERE `key` = 'the key' AND lane = %s"
    assert MariaDB().adapt(sql, ["x"]) == (quoted, ["x"])
    for db in (PostgreSQL(), SQLite()):
        assert db.adapt(sql, ["x"]) == (sql, ["x"])


def test_mariadb_takes_a_list_as_many_parameters() -> None:
    db = MariaDB()
    ids = [uuid4(), uuid4()]
    where = f"pool = %s AND {db.id_in('id')} AND {db.id_in('lane')} AND rank < %s"
    spread = db.adapt(where, ["p", db.id_list(ids), db.id_list([]), 1])
    assert spread == ("pool = %s AND id IN (%s, %s) AND lane IN (NULL) AND rank < %s", ["p", *ids, 1])


def test_mariadb_inserts_many_rows_at_once() -> None:
    db = MariaDB()
    insert = f"INSERT INTO t (a, b) VALUES (%s, UTC_TIMESTAMP(6)) {db.on_conflict_update(['a'], 'b')}"
    many = db.as_many_rows(insert, 3)
    row = "(%s, UTC_TIMESTAMP(6))"
    assert many == f"INSERT INTO t (a, b) VALUES {row}, {row}, {row} ON DUPLICATE KEY UPDATE b = VALUES(b)"
    assert db.as_many_rows("INSERT INTO t (a) VALUES (%s)", 2) == "INSERT INTO t (a) VALUES (%s), (%s)"
    assert db.as_many_rows("UPDATE t SET a = %s WHERE id = %s", 2) is None


def test_postgresql_inserts_few_rows_at_once() -> None:
    db = PostgreSQL()
    insert = f"INSERT INTO t (a, b) VALUES (%s, %s) {db.on_conflict_update(['a'], 'b')}"
    row = "(%s, %s)"
    assert db.as_many_rows(insert, 2) == f"INSERT INTO t (a, b) VALUES {row}, {row} {db.on_conflict_update(['a'], 'b')}"
    assert db.as_many_rows(insert, 21) is None


def test_mariadb_picks_by_a_statement_of_its_own() -> None:
    db = MariaDB()
    select = "SELECT id FROM jobs_job WHERE state = 'pending' LIMIT %s"
    assert db.resolve_pick(db.pick_skip_locked(select)) == f"{select} FOR UPDATE SKIP LOCKED"
    assert db.resolve_pick("id = %s") is db.resolve_pick(db.id_in("id")) is None
    assert (
        PostgreSQL().resolve_pick(PostgreSQL().pick_skip_locked(select))
        is SQLite().resolve_pick(SQLite().pick_skip_locked(select))
        is None
    )


@pytest.mark.django_db
def test_ids_are_one_parameter_however_many() -> None:
    db = dialect("default")
    boots = [stages.start_worker() for _ in range(3)]
    sql = f"SELECT count(*) FROM jobs_worker WHERE {db.id_in('boot_id')}"
    assert query("default", sql, [db.id_list(boots[:2])]) == [(2,)]
    assert query("default", sql, [db.id_list([])]) == [(0,)]
    assert query("default", sql, [db.id_list([uuid4()])]) == [(0,)]


@pytest.mark.django_db
def test_running_statements() -> None:
    insert = "INSERT INTO jobs_pool (name, resources, paused_by, pause_reason) VALUES (%s, '{}', '', '')"
    execute_many("default", insert, [("a",), ("b",)])
    assert execute("default", "UPDATE jobs_pool SET paused_at = {now} WHERE name IN (%s, %s)", ["a", "b"]) == 2
    assert Pool.objects.filter(paused_at__isnull=False).count() == 2


@pytest.mark.django_db
def test_a_raw_row_is_read_as_python_values() -> None:
    boot_id = stages.start_worker(pools=["a"])
    columns = ("boot_id", "pools", "beat_at", "fenced_at", "slots")
    (row,) = query("default", f"SELECT {', '.join(columns)} FROM jobs_worker")
    values = read("default", Worker, columns, row)
    worker = Worker.objects.get()
    assert values == {"boot_id": boot_id, "pools": ["a"], "beat_at": worker.beat_at, "fenced_at": None, "slots": 100}
    assert prepare("default", Job, "id", boot_id) == boot_id.hex


def test_a_vendor_that_is_not_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    with pytest.raises(NotImplementedError, match=r"postgresql, sqlite.*'oracle'"):
        dialect.__wrapped__("default")
