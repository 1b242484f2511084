"""The JOBS setting: every key with its type, its default and what it may be. Durations are seconds.

`settings.HEARTBEAT` reads it, lazily and once; a change of Django's settings (`override_settings`) is seen at the next
read. Groups such as RETRY are merged over their defaults, key by key. A wrong value raises `InvalidSettings` at the
first read; a key that does not exist is ignored with a warning. `problems()` lists both, for the system checks.

This module must not touch a database: it reads names and kinds of databases, and connects to none.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.error_names import ErrorRule, problem_of
from jobs.exceptions import InvalidSettings, did_you_mean, shown
from jobs.states import ErrorCategory

KNOWN_OPERATION_TYPES = ("decomposition", "execution", "validation", "analysis", "codemap", "context_enrichment")
_DAY = 86_400
_LONGEST = 10**10  # seconds, three centuries: beyond it dates overflow
_MOST = 2**31 - 1  # what an integer column holds
_CATEGORIES = f"Categories: {', '.join(ErrorCategory)}."


class Problem(NamedTuple):
    """One thing wrong with the JOBS setting."""

    key: str  # "JOBS['RETRY']['max_retries']"
    message: str  # one sentence with the key and the value
    hint: str  # what to do about it
    unknown: bool = False  # there is no such key: ignored with a warning. Otherwise the value is wrong: refused


# Takes the key's full name and its value; answers the value to use, and adds to the list what is wrong.
_Rule = Callable[[str, Any, list[Problem]], Any]


def _must(be: str, fits: Callable[[Any], bool], use: Callable[[Any], Any] = lambda value: value) -> _Rule:
    def rule(key: str, value: Any, problems: list[Problem]) -> Any:
        if fits(value):
            return use(value)
        hint = "Correct the value, or leave the key out to have its default."
        problems.append(Problem(key, f"{key} is {shown(value)}; it must be {be}.", hint))
        return value

    return rule


def _number(what: str, least: float, most: float, kinds: type | tuple[type, ...] = (int, float)) -> _Rule:
    return _must(f"{what} from {least:,} to {most:,}", lambda value: _fits(value, least, most, kinds))


def _number_or_none(what: str, least: float, most: float, kinds: type | tuple[type, ...] = (int, float)) -> _Rule:
    return _must(
        f"None, or {what} from {least:,} to {most:,}",
        lambda value: value is None or _fits(value, least, most, kinds),
    )


def _fits(value: object, least: float, most: float, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= cast(float, value) <= most


def _are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


_count = _number("a whole number", 0, _MOST, int)
_size = _number("a whole number", 1, _MOST, int)
_size_or_none = _number_or_none("a whole number", 1, _MOST, int)
_factor = _number("a number", 1, 1000)
_weight_or_none = _number_or_none("a number", 0.001, _MOST)
_wait = _number("a number of seconds", 0, _LONGEST)
_span = _number("a number of seconds", 0.001, _LONGEST)
_span_or_none = _number_or_none("a number of seconds", 0.001, _LONGEST)
_head_start = _number("a number of seconds", -_LONGEST, _LONGEST)
_flag = _must("True or False", lambda value: isinstance(value, bool))
_name = _must("the name of a database", lambda value: isinstance(value, str))
_directory_or_none = _must(
    "None, or the absolute path of a directory",
    lambda value: value is None or (isinstance(value, str) and Path(value).is_absolute()),
)
_operation_types = _must(
    "a list of names", _are_names, lambda names: tuple(dict.fromkeys([*KNOWN_OPERATION_TYPES, *names]))
)


def _table(defaults: Mapping[str, float], rule: _Rule) -> Any:
    """A key whose value is a mapping with these names in it, merged over the defaults."""

    def merged(key: str, value: Any, problems: list[Problem]) -> Mapping[str, Any]:
        return MappingProxyType({**defaults, **_values(dict.fromkeys(defaults, rule), key, value, problems)})

    return _key(MappingProxyType(dict(defaults)), merged)


def _group(of: type) -> dict[str, _Rule]:
    """The metadata of a key whose value is a mapping, read into a dataclass."""

    def read(key: str, value: Any, problems: list[Problem]) -> Any:
        return of(**_values(_rules(of), key, value, problems))

    return {"rule": read}


def _errors(key: str, value: Any, problems: list[Problem]) -> Mapping[str, ErrorRule]:
    """Rules by exception or category: a category, whether to retry, or {"category": …, "retry": …}."""
    given = value if isinstance(value, Mapping) else {}
    for name in given:
        wrong = problem_of(name) if isinstance(name, str) else f"{shown(name)} is no name"
        if wrong:
            problems.append(Problem(f"{key}[{name!r}]", f"{key}[{name!r}]: {wrong}.", "Write shop.errors.OutOfStock."))
    rules = _values(dict.fromkeys(given, _error_rule), key, value, problems)
    return MappingProxyType({name: rule for name, rule in rules.items() if isinstance(rule, ErrorRule)})


def _error_rule(key: str, value: Any, problems: list[Problem]) -> ErrorRule | None:
    rule = value if isinstance(value, Mapping) else {"retry" if isinstance(value, bool) else "category": value}
    category, retry = rule.get("category"), rule.get("retry")
    is_known = category is None or (isinstance(category, str) and category in set(ErrorCategory))
    if rule and rule.keys() <= {"category", "retry"} and is_known and (retry is None or isinstance(retry, bool)):
        return ErrorRule(None if category is None else ErrorCategory(category), retry)
    said = f"{key} is {shown(value)}; it must be a category, True or False, or a dict of `category` and `retry`."
    problems.append(Problem(key, said, did_you_mean(category, map(str, ErrorCategory)).strip() or _CATEGORIES))
    return None


def _operations(key: str, value: Any, problems: list[Problem]) -> Mapping[str, float]:
    """A mapping with names of the host's own; whether they are operation types is seen later, with all keys read."""
    names = value if isinstance(value, Mapping) else ()
    return MappingProxyType(_values(dict.fromkeys(names, _span), key, value, problems))


def _key(default: Any, rule: _Rule) -> Any:
    if isinstance(default, MappingProxyType):
        return field(default_factory=lambda: default, metadata={"rule": rule})
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Retry:
    """JOBS["RETRY"]: retry n waits initial_delay * multiplier ** (n - 1), at most cap; jitter varies it by chance.

    None begins later than `deadline` seconds after the first attempt of the run.
    """

    max_retries: int = _key(0, _count)
    multiplier: float = _key(2, _factor)
    initial_delay: float = _key(1, _wait)
    cap: float = _key(600, _wait)
    jitter: bool = _key(True, _flag)
    deadline: float | None = _key(None, _span_or_none)


@dataclass(frozen=True)
class Timeout:
    """JOBS["TIMEOUT"]: how long a job may run, by default and by operation type; None is without end."""

    default: float | None = _key(None, _span_or_none)
    operations: Mapping[str, float] = _key(MappingProxyType({}), _operations)


@dataclass(frozen=True)
class Limits:
    """JOBS["LIMITS"]: the budgets the default pool starts with; None is no limit. Afterwards the pool's row rules."""

    memory_mb: int | None = _key(None, _size_or_none)
    cpu_weight: float | None = _key(None, _weight_or_none)
    disk_mb: int | None = _key(None, _size_or_none)


@dataclass(frozen=True)
class Polling:
    """JOBS["POLLING"]: the advice on when to read an unchanged job again; doubles from initial to cap."""

    initial: float = _key(1, _span)
    cap: float = _key(30, _span)


@dataclass(frozen=True)
class JobsSettings:
    """The whole of JOBS, checked."""

    # How much runs, and in which order
    MAX_CONCURRENT: int | None = _key(None, _size_or_none)  # jobs in flight in the whole system; None: no maximum
    PRIORITY_HEAD_START: Mapping[str, float] = _table(
        {"low": -3600, "medium": 0, "high": 3600, "critical": 10**9}, _head_start
    )  # seeds the Priority rows
    LOOK_AHEAD: int = _key(1, _count)  # jobs admitted beyond each pool process that is free
    AGED_AFTER: float = _key(3600, _span)  # a partition not served for so long goes before its fair share
    RESERVE_AFTER: float = _key(60, _wait)  # a job too large for the room waits this long before room is kept for it
    LIMITS: Limits = field(default_factory=Limits, metadata=_group(Limits))
    # What a job may be, and do
    RETRY: Retry = field(default_factory=Retry, metadata=_group(Retry))
    ERRORS: Mapping[str, ErrorRule] = _key(MappingProxyType({}), _errors)  # what exceptions mean, before our own rules
    TIMEOUT: Timeout = field(default_factory=Timeout, metadata=_group(Timeout))
    GRACE: float = _key(10, _wait)  # between the request to stop and the kill
    HOOK_TIMEOUT: float = _key(60, _span)  # whoever runs a job's hooks for longer is taken for dead: they run again
    MEMORY_TOLERANCE: float = _key(1.2, _factor)  # times its declared memory that a job may use before it is stopped
    DISK_TOLERANCE: float = _key(1.2, _factor)  # the same of the disk that its directory takes
    SAMPLE_EVERY: float = _key(0.5, _span)  # a worker looks at what its jobs use
    TMPDIR: str | None = _key(None, _directory_or_none)  # where jobs have their directories; None: the system's own
    OPERATION_TYPES: tuple[str, ...] = _key(KNOWN_OPERATION_TYPES, _operation_types)  # the six known and the host's own
    MAX_PAYLOAD: int = _key(2**20, _size)  # bytes of JSON
    STRICT_TASKS: bool = _key(False, _flag)  # refuse names of tasks that this process has not imported
    UNKNOWN_TASK_AFTER: float = _key(600, _wait)  # a task that no worker knows fails after this
    RECORD_TIMEOUT: float = _key(60, _span)  # silence after which a recorded job counts as lost
    # Who is alive
    HEARTBEAT: float = _key(5, _span)  # a worker renews its row
    STALE_AFTER: float = _key(20, _span)  # unchanged for this long: dead. 60 where the database is SQLite
    LEASE: float = _key(10, _span)  # the steward's
    TICK: float = _key(1, _span)  # the steward looks round
    MAX_RESCUES: int = _key(3, _count)  # of one job from dead workers
    PUBLISH_AFTER: float = _key(2, _wait)  # admitted and not published: the steward publishes
    LOST_AFTER: float = _key(15, _span)  # published and not claimed: released; then doubled, to 10 minutes
    # What stays
    CLEANUP_INTERVAL: float = _key(300, _span)
    RETENTION: Mapping[str, float] = _table({"completed": 7 * _DAY, "failed": 30 * _DAY, "cancelled": 30 * _DAY}, _wait)
    POLLING: Polling = field(default_factory=Polling, metadata=_group(Polling))
    DATABASE: str = _key("default", _name)


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
    values = _values(_rules(JobsSettings), "JOBS", getattr(django_settings, "JOBS", {}), found)
    database = connection()
    if database and database.vendor == "sqlite":
        values.setdefault("STALE_AFTER", 60)
    read = JobsSettings(**values)
    if not found:
        found += _contradictions(read)
    return read, found


def _values(rules: Mapping[str, _Rule], key: str, value: Any, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.append(
            Problem(key, f"{key} is {shown(value)}; it must be a dict.", f"Known keys: {', '.join(rules)}.")
        )
        return {}
    problems += [_unknown(key, name, value[name], rules) for name in value if name not in rules]
    return {name: rules[name](f"{key}[{name!r}]", value[name], problems) for name in rules if name in value}


def _unknown(key: str, name: object, value: object, known: Iterable[str]) -> Problem:
    known = list(known)
    hint = did_you_mean(name, known).strip() or f"Known keys: {', '.join(known)}."
    return Problem(f"{key}[{name!r}]", f"{key}[{name!r}] (= {shown(value)}) does not exist.", hint, unknown=True)


def _rules(of: type) -> dict[str, _Rule]:
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(of)}


def _contradictions(read: JobsSettings) -> list[Problem]:
    """What only shows when every key by itself is right."""
    found = [
        _unknown("JOBS['TIMEOUT']['operations']", name, seconds, read.OPERATION_TYPES)
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
    return found


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"JOBS", "DATABASES"}:
        vars(settings).clear()


setting_changed.connect(_forget, dispatch_uid="jobs.conf")
