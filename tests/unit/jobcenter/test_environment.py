"""`jobcenter/environment.py`: what each variable may say, and what it is told when it says something else."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobcenter import environment
from jobcenter.environment import MEMORY_NAME

pytestmark = pytest.mark.unit
BASE = Path("/srv/app")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///jobs.db", "/srv/app/jobs.db"),
        ("sqlite:////data/a%20b.db", "/data/a b.db"),
        ("sqlite://:memory:", MEMORY_NAME),
        ("sqlite:///:memory:", MEMORY_NAME),
    ],
)
def test_sqlite_addresses(url: str, name: str) -> None:
    entry = environment.parse_database_url(url, BASE)
    assert (entry["ENGINE"], entry["NAME"]) == ("django.db.backends.sqlite3", name)
    assert entry["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_server_addresses_are_decoded() -> None:
    entry = environment.parse_database_url(
        "postgresql://u%40x:p%2Fw@db:5433/jobs?sslmode=require&connect_timeout=3", BASE
    )
    assert entry == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "jobs",
        "USER": "u@x",
        "PASSWORD": "p/w",
        "HOST": "db",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require", "connect_timeout": 3},
    }
    for scheme in ("mysql", "mariadb"):
        read = environment.parse_database_url(f"{scheme}://u:p%40@h:3307/n?connect_timeout=3", BASE)
        assert read["ENGINE"] == "django.db.backends.mysql"
        assert read["OPTIONS"] == {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 3}
        assert (read["USER"], read["PASSWORD"], read["HOST"], read["PORT"], read["NAME"]) == (
            "u",
            "p@",
            "h",
            "3307",
            "n",
        )
    assert environment.parse_database_url("postgres:///n?host=/run/pg&port=1", BASE)["HOST"] == "/run/pg"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresq://h/n", "Did you mean 'postgresql'"),
        ("nonsense", "must be one of"),
        ("sqlite://file.db", "sqlite:///file.db"),
        ("sqlite:///", "names no file"),
        ("postgresql://host", "names no database"),
        ("postgresql://host:port/n", "DATABASE_URL: Port"),
    ],
)
def test_bad_addresses_say_what_to_write(url: str, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refused:
        environment.parse_database_url(url, BASE)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "/srv/app/var/jobcenter.sqlite3"),
        ({"JOB_STORE_TYPE": "file", "JOB_STORE_PATH": "/data/jobs.db"}, "/data/jobs.db"),
        ({"JOB_STORE_PATH": "data/"}, "/srv/app/data/jobcenter.sqlite3"),
        ({"JOB_STORE_TYPE": "Memory"}, MEMORY_NAME),
        ({"JOB_STORE_TYPE": "memory", "DATABASE_URL": "postgresql://h/n"}, "n"),
    ],
)
def test_where_jobs_are_kept(env: dict[str, str], name: str) -> None:
    assert environment.database(env, BASE)["NAME"] == name


@pytest.mark.parametrize(
    ("env", "conflicts"),
    [
        ({}, 0),
        ({"JOB_STORE_TYPE": "file", "DATABASE_URL": "sqlite:///x.db"}, 0),
        ({"JOB_STORE_TYPE": "file", "DATABASE_URL": "sqlite:///x.db", "JOB_STORE_PATH": "x.db"}, 0),
        ({"JOB_STORE_TYPE": "memory", "DATABASE_URL": "sqlite://:memory:"}, 0),
        ({"JOB_STORE_TYPE": "database", "DATABASE_URL": "postgresql://h/n"}, 0),
        ({"JOB_STORE_TYPE": "database"}, 1),
        ({"JOB_STORE_TYPE": "memory", "JOB_STORE_PATH": "x.db"}, 1),
        ({"JOB_STORE_TYPE": "memory", "DATABASE_URL": "sqlite:///x.db"}, 1),
        ({"JOB_STORE_TYPE": "file", "DATABASE_URL": "sqlite://:memory:"}, 1),
        ({"JOB_STORE_TYPE": "file", "DATABASE_URL": "postgresql://h/n"}, 1),
        ({"JOB_STORE_TYPE": "file", "DATABASE_URL": "postgresql://h/n", "JOB_STORE_PATH": "x.db"}, 2),
        ({"DATABASE_URL": "sqlite:///x.db", "JOB_STORE_PATH": "y.db"}, 1),
    ],
)
def test_contradictions_are_found(env: dict[str, str], conflicts: int) -> None:
    assert len(environment.store_conflicts(env, BASE)) == conflicts


def test_unknown_store_type_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'memory'"):
        environment.store_type({"JOB_STORE_TYPE": "memori"})


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Off", False), ("", True), ("yes", True), ("no", False)])
def test_switches(text: str, value: bool) -> None:
    assert environment.flag({"X": text}, "X", default=True) is value


def test_switch_that_is_none() -> None:
    with pytest.raises(ImproperlyConfigured, match="X is 'maybe'"):
        environment.flag({"X": "maybe"}, "X", default=True)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "ten", "٣"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="whole number greater than zero"):
        environment.number({"X": text}, "X", default=1)


def test_production_needs_a_key() -> None:
    with pytest.raises(ImproperlyConfigured, match="JOBCENTER_SECRET_KEY"):
        environment.secret_key({}, debug=False)
    assert environment.secret_key({}, debug=True)
    assert environment.secret_key({"JOBCENTER_SECRET_KEY": "k"}, debug=False) == "k"


def test_no_call_to_a_broker_waits_for_ever() -> None:
    assert environment.broker_options("amqp://h//") == {"confirm_publish": True}
    for url in ("redis://h/0", "rediss://h/0", "redis+socket:///x", "sentinel://h"):
        assert environment.broker_options(url)["socket_timeout"] <= 2
    assert environment.broker_options("memory://") == {}
