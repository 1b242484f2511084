"""The system checks: each finds its fault and names the cure, none speaks without need, none opens a connection."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from celery import Celery
from celery.app import app_or_default
from django.core.checks import CheckMessage, Error, run_checks
from django.db import connection, connections
from django.test import override_settings

from jobs.core.conf import checks

GOOD_CELERY: dict[str, Any] = {
    "broker_url": "redis://127.0.0.1:1/0",
    "broker_transport_options": {"socket_connect_timeout": 1, "socket_timeout": 1.5},
    "broker_channel_error_retry": True,
    "worker_prefetch_multiplier": 1,
    "accept_content": ["json"],
    "CELERY_DB_REUSE_MAX": 1000,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that reaches for a broker or a database fails its test (pytest-django guards the SQLite one)."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a check connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def celery() -> Iterator[Celery]:
    """The current Celery application, with the settings the checks want."""
    before = app_or_default()
    app = Celery("checked", set_as_current=False)
    app.conf.update(GOOD_CELERY)
    app.set_current()
    yield app
    before.set_current()


@pytest.fixture
def postgresql(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The OPTIONS of a PostgreSQL database that holds the jobs, and is never connected to."""
    server = {"ENGINE": "django.db.backends.postgresql", "NAME": "jobs", "HOST": "127.0.0.1", "PORT": "1"}
    configured = connections.configure_settings({"default": {}, "server": server})["server"]
    monkeypatch.setitem(connections.settings, "server", configured)
    with override_settings(JOBS={"DATABASE": "server"}):
        yield configured["OPTIONS"]
    del connections["server"]


@pytest.fixture
def mariadb(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The OPTIONS of a MariaDB that holds the jobs, and is never connected to."""
    monkeypatch.setitem(sys.modules, "MySQLdb", pymysql)
    server = {"ENGINE": "django.db.backends.mysql", "NAME": "jobs", "HOST": "127.0.0.1", "PORT": "1"}
    configured = connections.configure_settings({"default": {}, "server": server})["server"]
    monkeypatch.setitem(connections.settings, "server", configured)
    with override_settings(JOBS={"DATABASE": "server"}):
        yield configured["OPTIONS"]
    del connections["server"]


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_all_are_registered_under_the_tag(celery: Celery) -> None:
    celery.conf.worker_prefetch_multiplier = 4
    with override_settings(JOBS={"GRACE": -1, "GRAZE": 1}):
        assert set(ids(run_checks(tags=["jobs"]))) == {"jobs.W001", "jobs.E001", "jobs.W002"}


def test_good_settings_are_met_with_silence(celery: Celery) -> None:
    with override_settings(JOBS={}):
        assert run_checks(tags=["jobs"]) == []


def test_a_wrong_value_is_an_error() -> None:
    with override_settings(JOBS={"MAX_CONCURRENT": -5}):
        [found] = checks.check_settings()
    assert isinstance(found, Error)
    assert found.id == "jobs.E001"
    assert "JOBS['MAX_CONCURRENT'] is -5" in found.msg
    assert found.hint


def test_an_unknown_key_is_a_warning_with_the_nearest() -> None:
    with override_settings(JOBS={"MAX_CONCURENT": 5}):
        [found] = checks.check_settings()
    assert found.id == "jobs.W001"
    assert not found.is_serious()
    assert "Did you mean 'MAX_CONCURRENT'?" in str(found.hint)


@pytest.mark.parametrize("mode", [None, "DEFERRED", "EXCLUSIVE"])
def test_sqlite_must_begin_immediate(monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", mode)
    [found] = checks.check_database()
    assert found.id == "jobs.E002"
    assert found.is_serious()
    assert repr(mode) in found.msg
    assert "IMMEDIATE" in str(found.hint)


@pytest.mark.parametrize("mode", ["IMMEDIATE", "immediate"])
def test_sqlite_that_begins_immediate_is_right(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", mode)
    assert checks.check_database() == []


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({"isolation_level": 1}, "READ UNCOMMITTED"),
        ({"isolation_level": 3}, "REPEATABLE READ"),
        ({"isolation_level": 4}, "SERIALIZABLE"),
        ({"isolation_level": "odd"}, "ODD"),
        ({"options": r"-c default_transaction_isolation=repeatable\ read -c work_mem=4MB"}, "REPEATABLE READ"),
        ({"options": "--default-transaction-isolation=serializable"}, "SERIALIZABLE"),
    ],
)
def test_postgresql_must_read_committed(postgresql: dict[str, Any], options: dict[str, Any], level: str) -> None:
    postgresql.update(options)
    [found] = checks.check_database()
    assert found.id == "jobs.E003"
    assert found.is_serious()
    assert f"asks for {level}:" in found.msg
    assert "READ COMMITTED" in str(found.hint)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"isolation_level": 2},
        {"isolation_level": None},
        {"options": r"-c default_transaction_isolation=read\ committed"},
        {"options": "-c statement_timeout=5s"},
    ],
)
def test_postgresql_that_reads_committed_is_right(postgresql: dict[str, Any], options: dict[str, Any]) -> None:
    postgresql.update(options)
    assert checks.check_database() == []


@pytest.mark.parametrize("level", ["repeatable read", "SERIALIZABLE", None])
def test_mariadb_must_read_committed(mariadb: dict[str, Any], level: str | None) -> None:
    """None is the server's own default, which is another one."""
    mariadb["isolation_level"] = level
    [found] = checks.check_database()
    assert found.id == "jobs.E003"
    assert f"asks for {(level or 'repeatable read').upper()}:" in found.msg


@pytest.mark.parametrize("options", [{}, {"isolation_level": "read committed"}, {"isolation_level": "READ COMMITTED"}])
def test_mariadb_that_reads_committed_is_right(mariadb: dict[str, Any], options: dict[str, Any]) -> None:
    mariadb.update(options)
    assert checks.check_database() == []


@pytest.mark.parametrize(
    ("is_mariadb", "version", "said"),
    [(True, (10, 11, 4), "MariaDB 10.11.4"), (True, (10, 6, 20), "MariaDB 10.6.20"), (False, (8, 4, 0), "MySQL 8.4.0")],
)
def test_a_server_that_will_not_do(
    mariadb: dict[str, Any], monkeypatch: pytest.MonkeyPatch, is_mariadb: bool, version: tuple[int, ...], said: str
) -> None:
    _pretend(monkeypatch, is_mariadb, version)
    [found] = checks.check_server(databases=["server"])
    assert found.id == "jobs.E005"
    assert f"{said}: jobs needs MariaDB 10.11.5" in found.msg
    assert checks.check_server(databases=["default"]) == checks.check_server(databases=None) == []


def test_a_server_that_will_do(mariadb: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, True, (10, 11, 5))
    assert checks.check_server(databases=["server"]) == []


def _pretend(monkeypatch: pytest.MonkeyPatch, is_mariadb: bool, version: tuple[int, ...]) -> None:
    """What Django would have read from the server's greeting."""
    server = connections["server"]
    monkeypatch.setitem(vars(server), "mysql_is_mariadb", is_mariadb)
    monkeypatch.setitem(vars(server), "mysql_version", version)


def test_a_database_that_does_not_exist_is_told_once() -> None:
    with override_settings(JOBS={"DATABASE": "nowhere"}):
        assert checks.check_database() == []
        assert checks.memory_database_error() is None
        assert ids(checks.check_settings()) == ["jobs.E001"]


@pytest.mark.parametrize("name", [":memory:", "file:memorydb_default?mode=memory&cache=shared"])
def test_a_worker_of_its_own_cannot_share_a_database_in_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", name)
    error = checks.memory_database_error()
    assert error is not None
    assert error.id == "jobs.E004"
    assert name in str(error)
    assert "HINT" in str(error)


@pytest.mark.parametrize("name", ["/srv/jobs.sqlite3", Path("/srv/jobs.sqlite3")])
def test_a_worker_of_its_own_may_share_a_file(monkeypatch: pytest.MonkeyPatch, name: object) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", name)
    assert checks.memory_database_error() is None


def test_a_worker_of_its_own_may_share_a_server(postgresql: dict[str, Any]) -> None:
    assert checks.memory_database_error() is None


@pytest.mark.parametrize(
    ("setting", "value", "id"),
    [
        ("worker_prefetch_multiplier", 4, "jobs.W002"),
        ("worker_prefetch_multiplier", 0, "jobs.W002"),
        ("accept_content", ["json", "pickle"], "jobs.W003"),
        ("accept_content", None, "jobs.W003"),
        ("task_acks_late", True, "jobs.W004"),
        ("task_reject_on_worker_lost", True, "jobs.W005"),
        ("worker_cancel_long_running_tasks_on_connection_loss", True, "jobs.W006"),
        ("broker_channel_error_retry", False, "jobs.W007"),
        ("CELERY_DB_REUSE_MAX", None, "jobs.W008"),
        ("CELERY_DB_REUSE_MAX", 0, "jobs.W008"),
        ("broker_transport_options", {}, "jobs.W009"),
        ("broker_transport_options", {"socket_timeout": 1}, "jobs.W009"),
        ("broker_transport_options", {"socket_connect_timeout": 1}, "jobs.W009"),
    ],
)
def test_celery_settings_that_work_against_us(celery: Celery, setting: str, value: object, id: str) -> None:
    celery.conf[setting] = value
    [found] = checks.check_celery()
    assert found.id == id
    assert not found.is_serious()
    assert setting in found.msg
    assert "CELERY_" in str(found.hint)


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("redis+socket:///run/valkey.sock", {}, ["jobs.W009"]),
        ("rediss://127.0.0.1:1/0", {}, ["jobs.W009"]),
        ("sentinel://127.0.0.1:1;sentinel://127.0.0.1:2", {}, ["jobs.W009"]),
        ("amqp://guest:guest@127.0.0.1:1//", {}, ["jobs.W010"]),
        ("amqps://guest:guest@127.0.0.1:1//", {"confirm_publish": False}, ["jobs.W010"]),
        (["pyamqp://127.0.0.1:1//", "pyamqp://127.0.0.1:2//"], {}, ["jobs.W010"]),
        (None, {}, ["jobs.W010"]),
        ("amqp://guest:guest@127.0.0.1:1//", {"confirm_publish": True}, []),
        ("redis://127.0.0.1:1/0", {"socket_connect_timeout": 1, "socket_timeout": 2}, []),
        ("memory://", {}, []),
        ("sqs://", {}, []),
    ],
)
def test_each_broker_has_its_own_advice(celery: Celery, url: Any, options: dict[str, Any], expected: list[str]) -> None:
    celery.conf.update(broker_url=url, broker_transport_options=options)
    found = checks.check_celery()
    assert ids(found) == expected
    assert "guest" not in "".join(map(str, found))


def test_django_s_own_spelling_of_the_settings_is_read(celery: Celery) -> None:
    with override_settings(CELERY_WORKER_PREFETCH_MULTIPLIER=9, CELERY_DB_REUSE_MAX=5):
        app = Celery("spelled", set_as_current=False)
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.conf.update(broker_url="memory://", broker_channel_error_retry=True)
        app.set_current()
        assert ids(checks.check_celery()) == ["jobs.W002"]
