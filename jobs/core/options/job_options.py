"""What may be said with `@job(...)` and at submit, checked in one place. Knows words and types, no database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from jobs.core.conf import settings
from jobs.core.conf.exception_names import as_names
from jobs.core.encoding import clean_text
from jobs.core.options import failure, overrides, validators
from jobs.core.options.partition import whole_task
from jobs.core.options.policies import Policy
from jobs.core.options.rate import parse
from jobs.core.options.validators import MOST, is_number
from jobs.exceptions import InvalidOption, did_you_mean

_FAR_AWAY = 10**9  # seconds; farther off a database writes dates that Python cannot read


@dataclass(frozen=True)
class JobOptions:
    """Everything that can be declared for a job; the defaults are those of a bare `@job()`.

    `max_concurrent` jobs of the task are in flight at once, and `rate` ("10/m", "10/m burst 5") says how many start;
    with `partition_by` (the name of a parameter or of a key of the metadata, or a callable that gets the arguments)
    each value by itself. `conflict` says what becomes of a job whose partition is at its limit: wait, refuse,
    cancel_running, latest. `access` makes it a reader ("shared") or a writer ("exclusive") of its partition.
    `memory_mb`, `disk_mb`, `cpu_weight` and `resources` (units by name) are taken of the pool's budgets while the job
    is in flight. `retry_on` and `never_retry` are exception classes, their names, or categories: with the first only
    those are retried, with the second those are not. `retry_deadline` bounds, from the first start, when a retry may
    begin. `fallback` is the task that is submitted in its place when it has failed; `expires` says when it is too late
    to start it; `at_most_once` runs it once, whatever becomes of it. `run_after` and `expires` are an aware datetime, a
    timedelta or seconds from now; `timeout`, `grace` (between the request to stop, or the time-out, and the end by
    force), `retry_delay` and `estimated_duration` are seconds. `start=False` holds the job until `start_job`. None
    means the setting's, or none.
    """

    pool: str | None = None
    priority: str = "medium"
    max_retries: int | None = None
    retry_delay: float | None = None
    operation_type: str = ""
    external_id: str = ""
    project_id: str = ""
    session_id: str = ""
    batch_id: str = ""
    owner: str = ""
    estimated_duration: float | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run_after: datetime | timedelta | float | None = None
    start: bool = True
    max_concurrent: int | None = None
    partition_by: str | Callable[..., Any] | None = None
    rate: str | None = None
    conflict: str | None = None
    access: str = ""
    memory_mb: int | None = None
    cpu_weight: float | None = None
    disk_mb: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    timeout: float | None = None
    grace: float | None = None
    retry_multiplier: float | None = None
    retry_cap: float | None = None
    retry_jitter: bool | None = None
    retry_deadline: float | None = None
    retry_on: Sequence[type[BaseException] | str] = ()
    never_retry: Sequence[type[BaseException] | str] = ()
    fallback: Any = ""
    expires: datetime | timedelta | float | None = None
    at_most_once: bool = False

    def but(self, changes: Mapping[str, Any]) -> JobOptions:
        """These options with some replaced, each checked; InvalidOption names the first that is wrong."""
        if not changes:
            return self
        for name, value in changes.items():
            check = _CHECKS.get(name)
            if check is None:
                raise InvalidOption.unknown(name, _CHECKS)
            check(name, value)
        merged = {**_shallow(self), **changes}
        merged["priority"] = str(merged["priority"]).lower()
        merged["tags"] = tuple(merged["tags"])
        merged |= {name: as_names(merged[name]) for name in ("retry_on", "never_retry")}
        merged["fallback"] = failure.name_of(merged["fallback"])
        if merged["conflict"] not in (None, Policy.WAIT) and merged["partition_by"] is None:
            merged["partition_by"] = whole_task
        chosen = JobOptions(**merged)
        if chosen.access and chosen.partition_by is None:
            raise InvalidOption(
                f"access: {chosen.access!r} is of a partition: say partition_by as well", option="access"
            )
        if chosen.at_most_once and chosen.max_retries:
            said = f"at_most_once: with max_retries={chosen.max_retries} it would run again: leave one of them out"
            raise InvalidOption(said, option="at_most_once")
        return chosen

    def at_submit(self, changes: Mapping[str, Any]) -> JobOptions:
        """These options, a task's own, with those of one submit: limits may become tighter by it, never wider."""
        chosen = self.but(changes)
        overrides.refuse_wider(_shallow(self), _shallow(chosen), changes.keys())
        return chosen


def task_name(name: str) -> str:
    """A task's name that this process does not know, as long as it could be one; else InvalidOption."""
    _words("task", name)
    if not name:
        raise InvalidOption("task: '' names no task", option="task")
    return name


def _shallow(options: JobOptions) -> dict[str, Any]:
    return {item.name: getattr(options, item.name) for item in fields(options)}


def _words(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > 200 or clean_text(value, 200) != value:
        raise InvalidOption(
            f"{name}: {value!r:.60} must be a string of at most 200 characters, without NUL and lone surrogates",
            option=name,
        )


def _pool(name: str, value: object) -> None:
    if value is not None:
        _words(name, value)


def _priority(name: str, value: object) -> None:
    known = settings.PRIORITY_HEAD_START
    if not isinstance(value, str) or value.lower() not in known:
        raise InvalidOption(
            f"{name}: {value!r:.60} is none of {', '.join(known)}.{did_you_mean(value, known)}", option=name
        )


def _whole(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10_000):
        raise InvalidOption(f"{name}: {value!r:.60} must be a whole number from 0 to 10,000", option=name)


def _seconds(name: str, value: object) -> None:
    if value is not None and (not is_number(value) or not 0 <= value < _FAR_AWAY):  # type: ignore[operator]
        raise InvalidOption(f"{name}: {value!r:.60} must be a number of seconds, not negative", option=name)


def _at_least_one(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST):
        raise InvalidOption(f"{name}: {value!r:.60} must be a whole number from 1 to {MOST:,}", option=name)


def _amount(name: str, value: object) -> None:
    if value is not None and (not is_number(value) or not 0 <= value <= MOST):  # type: ignore[operator]
        raise InvalidOption(f"{name}: {value!r:.60} must be a number from 0 to {MOST:,}", option=name)


def _whole_amount(name: str, value: object) -> None:
    _amount(name, value)
    if isinstance(value, float):
        raise InvalidOption(f"{name}: {value!r:.60} must be a whole number", option=name)


def _resources(name: str, value: object) -> None:
    problem = validators.resources(value)
    if problem:
        raise InvalidOption(f"{name}: {problem}", option=name)


def _partition_by(name: str, value: object) -> None:
    if value is not None and not callable(value):
        _words(name, value)
        if not value or len(str(value)) > 100:
            raise InvalidOption(
                f"{name}: {value!r:.60} must name a parameter or a key of the metadata, or be a callable", option=name
            )


def _rate(name: str, value: object) -> None:
    if value is not None:
        _words(name, value)
        parse(str(value))


def _one_of(*words: str | None) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        if value not in words:
            known = [word for word in words if word]
            raise InvalidOption(
                f"{name}: {value!r:.60} is none of {', '.join(known)}.{did_you_mean(value, known)}", option=name
            )

    return check


def _span(name: str, value: object) -> None:
    if value is not None and (not is_number(value) or not 0 < value < _FAR_AWAY):  # type: ignore[operator]
        raise InvalidOption(f"{name}: {value!r:.60} must be a number of seconds above 0", option=name)


def _operation(name: str, value: object) -> None:
    known = settings.OPERATION_TYPES
    if value != "" and value not in known:
        hint = did_you_mean(value, known) or ' Add yours to JOBS["OPERATION_TYPES"].'
        raise InvalidOption(f"{name}: {value!r:.60} is none of {', '.join(known)}.{hint}", option=name)


def _tags(name: str, value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise InvalidOption(f"{name}: {value!r:.60} must be a list of strings", option=name)
    for tag in value:
        _words(name, tag)


def _metadata(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise InvalidOption(f"{name}: {value!r:.60} must be a dict", option=name)


def _moment(name: str, value: object) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidOption(
                f"{name}: {value!r} has no time zone: use an aware datetime, a timedelta or seconds", option=name
            )
        if not 1970 <= value.year < 9999:  # a zone may move it into a year that Python cannot read back
            raise InvalidOption(f"{name}: {value} is out of reach: from the year 1970 to 9998", option=name)
        return
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is not None and not (is_number(seconds) and -_FAR_AWAY < seconds < _FAR_AWAY):  # type: ignore[operator]
        raise InvalidOption(
            f"{name}: {value!r:.60} must be an aware datetime, a timedelta or seconds from now, below {_FAR_AWAY:,}",
            option=name,
        )


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidOption(f"{name}: {value!r:.60} must be True or False", option=name)


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "pool": _pool,
    "priority": _priority,
    "max_retries": _whole,
    "retry_delay": _seconds,
    "operation_type": _operation,
    **dict.fromkeys(("external_id", "project_id", "session_id", "batch_id", "owner"), _words),
    "estimated_duration": _seconds,
    "tags": _tags,
    "metadata": _metadata,
    "run_after": _moment,
    "start": _flag,
    "max_concurrent": _at_least_one,
    "partition_by": _partition_by,
    "rate": _rate,
    "conflict": _one_of(None, *Policy.values),
    "access": _one_of("", "shared", "exclusive"),
    "memory_mb": _whole_amount,
    "disk_mb": _whole_amount,
    "cpu_weight": _amount,
    "resources": _resources,
    "timeout": _span,
    "grace": _seconds,
    "retry_multiplier": failure.multiplier,
    "retry_cap": _seconds,
    "retry_jitter": failure.flag_or_none,
    "retry_deadline": _span,
    "retry_on": failure.errors,
    "never_retry": failure.errors,
    "fallback": failure.fallback,
    "expires": _moment,
    "at_most_once": _flag,
}

assert set(_CHECKS) == set(asdict(JobOptions()))  # noqa: S101 - every option has its check
