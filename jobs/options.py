"""What may be said with `@job(...)` and at submit, checked in one place. Knows words and types, no database."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from jobs.conf import settings
from jobs.encoding import clean_text
from jobs.exceptions import InvalidOption, did_you_mean

_FAR_AWAY = 10**9  # seconds; farther off a database writes dates that Python cannot read


@dataclass(frozen=True)
class JobOptions:
    """Everything that can be declared for a job; the defaults are those of a bare `@job()`.

    `run_after` is an aware datetime, a timedelta or seconds from now; `retry_delay` and `estimated_duration` are
    seconds. `start=False` holds the job until `start_job`. None for `pool`, `max_retries` and `retry_delay` means
    the setting's.
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
        return JobOptions(**merged)


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
    if value is not None and (not _is_number(value) or not 0 <= value < _FAR_AWAY):  # type: ignore[operator]
        raise InvalidOption(f"{name}: {value!r:.60} must be a number of seconds, not negative", option=name)


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
    if seconds is not None and not (_is_number(seconds) and -_FAR_AWAY < seconds < _FAR_AWAY):  # type: ignore[operator]
        raise InvalidOption(
            f"{name}: {value!r:.60} must be an aware datetime, a timedelta or seconds from now, below {_FAR_AWAY:,}",
            option=name,
        )


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidOption(f"{name}: {value!r:.60} must be True or False", option=name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


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
}

assert set(_CHECKS) == set(asdict(JobOptions()))  # noqa: S101 - every option has its check
