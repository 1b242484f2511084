"""System checks: what is wrong with the host's settings, said before it costs a job.

    jobs.E001  a wrong value in JOBS                        jobs.W001  a key that JOBS does not have
    jobs.E002  SQLite without transaction_mode IMMEDIATE    jobs.W002  worker_prefetch_multiplier is not 1
    jobs.E003  PostgreSQL, MariaDB not at READ COMMITTED    jobs.W003  accept_content is more than json
    jobs.E004  SQLite in memory, with a worker elsewhere    jobs.W004  task_acks_late is on
    jobs.E005  MySQL, or a MariaDB that is too old          jobs.W005  task_reject_on_worker_lost is on
    W002 to W010 are about Celery's settings.               jobs.W006  a lost connection cancels long running tasks
                                                            jobs.W007  broker_channel_error_retry is off
                                                            jobs.W008  CELERY_DB_REUSE_MAX is not set
                                                            jobs.W009  Redis: no socket time-outs
                                                            jobs.W010  RabbitMQ: no confirm_publish
                                                            jobs.I001  the admin is there, "jobs.web" is not

They run under the tag "jobs" with every `manage.py` command and at every worker start, so they must not touch the
database nor the broker: they read settings only. E005 asks the server, so it runs where Django's own questions to
databases do: with `migrate`, and `check --database`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from celery import current_app
from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from jobs.core import conf

TAG = "jobs"
OLDEST_MARIADB = (10, 11, 5)
_READ_COMMITTED = "read committed"
_ISOLATION_LEVELS = {1: "read uncommitted", 2: _READ_COMMITTED, 3: "repeatable read", 4: "serializable"}
_ISOLATION_OPTION = re.compile(r"default[-_]transaction[-_]isolation=((?:\\.|[^\s\\])+)", re.IGNORECASE)


@register(TAG)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Every wrong value of JOBS as an error, every key that does not exist as a warning."""
    return [
        Warning(problem.message, hint=f"{problem.hint} It is ignored.", id="jobs.W001")
        if problem.unknown
        else Error(problem.message, hint=problem.hint, id="jobs.E001")
        for problem in conf.problems()
    ]


@register(TAG)
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """What the database of the jobs is set up to do, where limits would not hold or writers would fail."""
    database = conf.connection()
    if database is None:  # check_settings says so
        return []
    options = database.settings_dict.get("OPTIONS") or {}
    if database.vendor == "sqlite":
        return _check_transaction_mode(database.alias, options)
    return _check_isolation(database.alias, options)


@register(TAG)
def check_web(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """A host with Django's admin most likely wants the jobs in it. `jobs.urls` refuses to load without it."""
    if apps.is_installed("jobs.web") or not apps.is_installed("django.contrib.admin"):
        return []
    return [
        Info(
            "The admin shows no jobs: their pages and admin are an app of their own.",
            hint='Add "jobs.web" to INSTALLED_APPS, beside "jobs"; or silence jobs.I001 where none are wanted.',
            id="jobs.I001",
        )
    ]


@register(Tags.database)
def check_server(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Whether the server is one that the jobs can live in; PostgreSQL's version is Django's business."""
    database: Any = conf.connection()
    if database is None or database.vendor != "mysql" or database.alias not in (databases or ()):
        return []
    if database.mysql_is_mariadb and database.mysql_version >= OLDEST_MARIADB:
        return []
    return [
        Error(
            f"DATABASES[{database.alias!r}] is {'MariaDB' if database.mysql_is_mariadb else 'MySQL'} "
            f"{'.'.join(map(str, database.mysql_version))}: jobs needs MariaDB {'.'.join(map(str, OLDEST_MARIADB))} or "
            "newer, whose UUIDs are ordered by time and whose INSERT returns rows.",
            hint="Upgrade the server, or keep the jobs in PostgreSQL (JOBS['DATABASE']).",
            id="jobs.E005",
        )
    ]


@register(TAG)
def check_celery(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Where Celery's settings work against the platform: the database recovers, Celery should stay fast and simple."""
    found = [advice.warning(current_app.conf) for advice in _ADVICE if not advice.fits(current_app.conf)]
    return [*found, *_check_broker(current_app.conf)]


def memory_database_error() -> Error | None:
    """The error a separate worker process must not start with, else None; to print it: `str(error)`.

    No check, because in one process (tests, a threads worker beside the web) a database in memory is fine.
    """
    database = conf.connection()
    if database is None or database.vendor != "sqlite":
        return None
    name = str(database.settings_dict["NAME"])
    if name != ":memory:" and "mode=memory" not in name:
        return None
    return Error(
        f"DATABASES[{database.alias!r}] is SQLite in memory ({name!r}): this worker would see a database of its own, "
        "empty, and never a job.",
        hint="Use a file, or PostgreSQL; in tests use jobs.testing, which runs jobs in the same process.",
        id="jobs.E004",
    )


def _check_transaction_mode(alias: str, options: Mapping[str, Any]) -> list[CheckMessage]:
    mode = options.get("transaction_mode")
    if isinstance(mode, str) and mode.upper() == "IMMEDIATE":
        return []
    return [
        Error(
            f"DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] is {mode!r}: a transaction that reads, then writes, "
            'fails with "database is locked" when another connection wrote in between: at once, whatever the timeout.',
            hint="Set it to 'IMMEDIATE'.",
            id="jobs.E002",
        )
    ]


def _check_isolation(alias: str, options: Mapping[str, Any]) -> list[CheckMessage]:
    return [
        Error(
            f"DATABASES[{alias!r}]['OPTIONS'][{key!r}] asks for {level.upper()}: limits hold only at READ COMMITTED, "
            "because who waited for the lock must then count what the holder has committed.",
            hint="Leave it out, or ask for READ COMMITTED; use another alias for work that needs more.",
            id="jobs.E003",
        )
        for key, level in _isolation_levels(options)
        if level.lower() != _READ_COMMITTED
    ]


def _isolation_levels(options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The levels that OPTIONS ask for: Django's own key, and the driver's start-up parameters."""
    level = options.get("isolation_level", _READ_COMMITTED)
    if level is not None:
        yield "isolation_level", _ISOLATION_LEVELS.get(level, str(level))
    elif conf.connection().vendor == "mysql":  # type: ignore[union-attr]  # check_settings reports a missing one
        yield "isolation_level", "repeatable read"  # MariaDB's own default; Django's is the right one
    for found in _ISOLATION_OPTION.finditer(str(options.get("options") or "")):
        yield "options", found[1].replace("\\", "").strip("'\"").lower()


class _Advice(NamedTuple):
    id: str
    setting: str
    fits: Callable[[Any], bool]
    why: str
    hint: str

    def warning(self, celery: Any) -> CheckMessage:
        value = celery.get(self.setting)
        return Warning(f"Celery's {self.setting} is {value!r}: {self.why}", hint=self.hint, id=self.id)


_ADVICE = (
    _Advice(
        "jobs.W002",
        "worker_prefetch_multiplier",
        lambda celery: celery.worker_prefetch_multiplier == 1,
        "what a worker has fetched ahead is out of reach of priority, fairness and pause.",
        "Set CELERY_WORKER_PREFETCH_MULTIPLIER = 1.",
    ),
    _Advice(
        "jobs.W003",
        "accept_content",
        lambda celery: set(celery.accept_content or ["*"]) <= {"json", "application/json"},
        "a process that can write to the broker can make workers load other formats, and pickle runs code.",
        'Set CELERY_ACCEPT_CONTENT = ["json"].',
    ),
    _Advice(
        "jobs.W004",
        "task_acks_late",
        lambda celery: not celery.task_acks_late,
        "the database brings jobs back from dead workers; the broker would deliver them a second time, to be refused.",
        "Set CELERY_TASK_ACKS_LATE = False, and acks_late=True on the tasks that are not jobs.",
    ),
    _Advice(
        "jobs.W005",
        "task_reject_on_worker_lost",
        lambda celery: not celery.task_reject_on_worker_lost,
        "a job that kills its worker would come back at once, for ever, past MAX_RESCUES.",
        "Set CELERY_TASK_REJECT_ON_WORKER_LOST = False.",
    ),
    _Advice(
        "jobs.W006",
        "worker_cancel_long_running_tasks_on_connection_loss",
        lambda celery: not celery.worker_cancel_long_running_tasks_on_connection_loss,
        "a broker that is away for a moment would kill jobs that are running well.",
        "Set CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False.",
    ),
    _Advice(
        "jobs.W007",
        "broker_channel_error_retry",
        lambda celery: bool(celery.broker_channel_error_retry),
        "a worker would stop when the broker closes its channel, as on a fail-over.",
        "Set CELERY_BROKER_CHANNEL_ERROR_RETRY = True.",
    ),
    _Advice(
        "jobs.W008",
        "CELERY_DB_REUSE_MAX",
        lambda celery: bool(celery.get("CELERY_DB_REUSE_MAX")),
        "Celery opens a new database connection for every task, which more than halves the throughput.",
        "Set CELERY_DB_REUSE_MAX = 10_000 (tasks per connection).",
    ),
)


def _check_broker(celery: Any) -> list[CheckMessage]:
    """A broker that hangs must not hang the submitter, and one that refuses a message must say so."""
    options = celery.broker_transport_options or {}
    scheme = _scheme(celery)
    if scheme.startswith(("redis", "sentinel")):
        return _check_redis(options)
    return _check_rabbitmq(options) if scheme.startswith(("amqp", "pyamqp")) else []


def _check_redis(options: Mapping[str, Any]) -> list[CheckMessage]:
    missing = [name for name in ("socket_connect_timeout", "socket_timeout") if not options.get(name)]
    if not missing:
        return []
    return [
        Warning(
            f"Celery's broker_transport_options have no {' and no '.join(missing)}: publishing to a Redis that "
            "hangs waits for ever.",
            hint='Set CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 1.5}.',
            id="jobs.W009",
        )
    ]


def _check_rabbitmq(options: Mapping[str, Any]) -> list[CheckMessage]:
    if options.get("confirm_publish"):
        return []
    return [
        Warning(
            "Celery's broker_transport_options have no confirm_publish: RabbitMQ drops a message that it cannot take "
            "without a word.",
            hint='Set CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}.',
            id="jobs.W010",
        )
    ]


def _scheme(celery: Any) -> str:
    """How the broker's address begins: redis, amqp … Several addresses are of one kind; none means RabbitMQ."""
    url = celery.broker_write_url or celery.broker_url or celery.broker_transport or "amqp"
    first = url if isinstance(url, str) else next(iter(url), "amqp")
    return str(first).partition("://")[0]
