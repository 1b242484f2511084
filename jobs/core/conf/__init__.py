"""The JOBS setting: every key with its type, its default and what it may be. Durations are seconds.

`settings.HEARTBEAT` reads it, lazily and once; a change of Django's settings (`override_settings`) is seen at the next
read. Groups such as RETRY are merged over their defaults, key by key. A wrong value raises `InvalidSettings` at the
first read; a key that does not exist is ignored with a warning. `problems()` lists both, for the system checks.

This module must not touch a database: it reads names and kinds of databases, and connects to none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.core.conf.exception_names import ErrorRule
from jobs.core.conf.rules import (
    CRITICAL_APART,
    Problem,
    are_names,
    by_error,
    by_operation,
    checked,
    count,
    database_name,
    directory_or_none,
    factor,
    flag,
    group,
    head_start,
    key,
    must,
    rules_of,
    size,
    size_or_none,
    span,
    span_or_none,
    table,
    unknown,
    wait,
    weight_or_none,
)
from jobs.exceptions import InvalidSettings, did_you_mean

KNOWN_OPERATION_TYPES = ("decomposition", "execution", "validation", "analysis", "codemap", "context_enrichment")
_DAY = 86_400
_operation_types = must(
    "a list of names", are_names, lambda names: tuple(dict.fromkeys([*KNOWN_OPERATION_TYPES, *names]))
)


@dataclass(frozen=True)
class Retry:
    """JOBS["RETRY"]: retry n waits initial_delay * multiplier ** (n - 1), at most cap; jitter varies it by chance.

    None begins later than `deadline` seconds after the first attempt of the run.
    """

    max_retries: int = key(0, count)
    multiplier: float = key(2, factor)
    initial_delay: float = key(1, wait)
    cap: float = key(600, wait)
    jitter: bool = key(True, flag)
    deadline: float | None = key(None, span_or_none)


@dataclass(frozen=True)
class Timeout:
    """JOBS["TIMEOUT"]: how long a job may run, by default and by operation type; None is without end."""

    default: float | None = key(None, span_or_none)
    operations: Mapping[str, float] = key(MappingProxyType({}), by_operation)


@dataclass(frozen=True)
class Limits:
    """JOBS["LIMITS"]: the budgets the default pool starts with; None is no limit. Afterwards the pool's row rules."""

    memory_mb: int | None = key(None, size_or_none)
    cpu_weight: float | None = key(None, weight_or_none)
    disk_mb: int | None = key(None, size_or_none)


@dataclass(frozen=True)
class Polling:
    """JOBS["POLLING"]: the advice on when to read an unchanged job again; doubles from initial to cap."""

    initial: float = key(1, span)
    cap: float = key(30, span)


@dataclass(frozen=True)
class JobsSettings:
    """The whole of JOBS, checked."""

    # How much runs, and in which order
    MAX_CONCURRENT: int | None = key(None, size_or_none)  # jobs in flight in the whole system; None: no maximum
    PRIORITY_HEAD_START: Mapping[str, float] = table(
        {"low": -3600, "medium": 0, "high": 3600, "critical": 10**9}, head_start
    )  # seeds the Priority rows
    LOOK_AHEAD: int = key(1, count)  # jobs admitted beyond each pool process that is free
    AGED_AFTER: float = key(3600, span)  # a partition not served for so long goes before its fair share
    RESERVE_AFTER: float = key(60, wait)  # a job too large for the room waits this long before room is kept for it
    LIMITS: Limits = field(default_factory=Limits, metadata=group(Limits))
    # What a job may be, and do
    RETRY: Retry = field(default_factory=Retry, metadata=group(Retry))
    ERRORS: Mapping[str, ErrorRule] = key(MappingProxyType({}), by_error)  # what exceptions mean, before our own rules
    TIMEOUT: Timeout = field(default_factory=Timeout, metadata=group(Timeout))
    GRACE: float = key(10, wait)  # between the request to stop and the kill
    HOOK_TIMEOUT: float = key(60, span)  # a process that runs a job's hooks for longer counts as dead: they run again
    MEMORY_TOLERANCE: float = key(1.2, factor)  # times its declared memory that a job may use before it is stopped
    DISK_TOLERANCE: float = key(1.2, factor)  # the same of the disk that its directory takes
    SAMPLE_EVERY: float = key(0.5, span)  # a worker looks at what its jobs use
    TMPDIR: str | None = key(None, directory_or_none)  # where jobs have their directories; None: the system's own
    OPERATION_TYPES: tuple[str, ...] = key(KNOWN_OPERATION_TYPES, _operation_types)  # the six known and the host's own
    MAX_PAYLOAD: int = key(2**20, size)  # bytes of JSON
    STRICT_TASKS: bool = key(False, flag)  # refuse names of tasks that this process has not imported
    UNKNOWN_TASK_AFTER: float = key(600, wait)  # a task that no worker knows fails after this
    RECORD_TIMEOUT: float = key(60, span)  # silence after which a recorded job counts as lost
    # Who is alive
    HEARTBEAT: float = key(5, span)  # a worker renews its row
    STALE_AFTER: float = key(20, span)  # unchanged for this long: dead. 60 where the database is SQLite
    LEASE: float = key(10, span)  # the steward's
    TICK: float = key(1, span)  # the steward looks round
    MAX_RESCUES: int = key(3, count)  # of one job from dead workers
    PUBLISH_AFTER: float = key(2, wait)  # admitted and not published: the steward publishes
    LOST_AFTER: float = key(15, span)  # published and not claimed: released; then doubled, to 10 minutes
    # What stays
    CLEANUP_INTERVAL: float = key(300, span)
    RETENTION: Mapping[str, float] = table({"completed": 7 * _DAY, "failed": 30 * _DAY, "cancelled": 30 * _DAY}, wait)
    POLLING: Polling = field(default_factory=Polling, metadata=group(Polling))
    DATABASE: str = key("default", database_name)


class _LazySettings:
    """Stands for a `JobsSettings`: reads it at the first use, then holds the values as plain attributes."""

    def __getattr__(self, name: str) -> Any:
        vars(self).update(vars(_load()))
        if name in vars(self):
            return vars(self)[name]
        raise AttributeError(f"JOBS has no key {name!r}.{did_you_mean(name, vars(self))}")


settings = cast(JobsSettings, _LazySettings())


def problems() -> list[Problem]:
    """Everything wrong with the JOBS setting as it stands; [] when all is well."""
    return _read()[1]


def connection() -> BaseDatabaseWrapper | None:
    """The connection to JOBS["DATABASE"], not opened; None where DATABASES has no such name. Needs no other key."""
    given = getattr(django_settings, "JOBS", {})
    alias = given.get("DATABASE", "default") if isinstance(given, Mapping) else "default"
    return connections[alias] if isinstance(alias, str) and alias in connections.settings else None


def _load() -> JobsSettings:
    read, found = _read()
    wrong = [problem.message for problem in found if not problem.unknown]
    if wrong:
        raise InvalidSettings(" ".join(wrong))
    for problem in found:
        warnings.warn(f"{problem.message} {problem.hint}", RuntimeWarning, stacklevel=3)
    return read


def _read() -> tuple[JobsSettings, list[Problem]]:
    found: list[Problem] = []
    values = checked(rules_of(JobsSettings), "JOBS", getattr(django_settings, "JOBS", {}), found)
    database = connection()
    if database and database.vendor == "sqlite":
        values.setdefault("STALE_AFTER", 60)
    read = JobsSettings(**values)
    if not found:
        found += _contradictions(read)
    return read, found


def _contradictions(read: JobsSettings) -> list[Problem]:
    """What only shows when every key by itself is right."""
    found = [
        unknown("JOBS['TIMEOUT']['operations']", name, seconds, read.OPERATION_TYPES)
        for name, seconds in read.TIMEOUT.operations.items()
        if name not in read.OPERATION_TYPES
    ]
    if read.DATABASE not in connections.settings:
        key, names = "JOBS['DATABASE']", sorted(connections.settings)
        hint = did_you_mean(read.DATABASE, names).strip() or f"Known: {', '.join(names)}."
        found.append(Problem(key, f"{key} is {read.DATABASE!r}, which DATABASES does not have.", hint))
    if read.STALE_AFTER <= read.HEARTBEAT:
        key = "JOBS['STALE_AFTER']"
        said = (
            f"{key} is {read.STALE_AFTER}, not above HEARTBEAT ({read.HEARTBEAT}): every living worker would look dead."
        )
        found.append(Problem(key, said, "Make it at least three times HEARTBEAT."))
    return [*found, *_critical_is_not_first(read)]


def _critical_is_not_first(read: JobsSettings) -> Iterator[Problem]:
    starts = read.PRIORITY_HEAD_START
    most = max(start for name, start in starts.items() if name != "critical")
    if starts["critical"] - most < CRITICAL_APART:
        key = "JOBS['PRIORITY_HEAD_START']['critical']"
        said = (
            f"{key} is {starts['critical']}, not {CRITICAL_APART:,} above the others: critical jobs would not be first."
        )
        yield Problem(key, said, "Leave it out: 1,000,000,000 is its default.")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"JOBS", "DATABASES"}:
        vars(settings).clear()


setting_changed.connect(_forget, dispatch_uid="jobs.core.conf")
