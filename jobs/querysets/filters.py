"""What `list_jobs`, pages and commands may filter by: public columns, ranges, metadata keys, the coarse status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Q

from jobs import encoding, states
from jobs.exceptions import UnknownFilter, shown

if TYPE_CHECKING:
    from jobs.querysets.jobs import JobQuerySet

PRIVATE = frozenset({"active_key", "key_hash", "args", "kwargs", "result", "live_state", "diagnostics"})
LOOKUPS = frozenset({"gt", "gte", "lt", "lte", "in", "contains", "startswith", "isnull"})


def narrowed(jobs: JobQuerySet, filters: Mapping[str, Any], columns: frozenset[str]) -> JobQuerySet:
    """The jobs that all filters let pass; UnknownFilter, with the nearest known name, for one that does not exist.

    A name is a public column of Job, alone or with a range (`created_at__gte`), `status`, or `metadata__<key>`. A value
    that its column cannot be compared with is an UnknownFilter as well.
    """
    for name, value in filters.items():
        try:
            jobs = jobs.filter(_one(name, _storable(name, value), columns - PRIVATE))
        except (FieldError, ValidationError, ValueError, OverflowError, TypeError) as error:
            if isinstance(error, UnknownFilter):
                raise
            raise UnknownFilter(f"{name}={shown(value)}") from error
    return jobs


def _one(name: str, value: Any, columns: frozenset[str]) -> Q:
    column, _, lookup = name.partition("__")
    if name == "status":
        return Q(state__in=_states_of(value))
    if column == "metadata" and lookup:
        return Q(**{name: value})
    if column not in columns or (lookup and lookup not in LOOKUPS):
        raise UnknownFilter(name, sorted({*columns, "status"}))
    return Q(**{name: value.lower() if column == "priority" and isinstance(value, str) else value})


def _storable(name: str, value: Any) -> Any:
    """PostgreSQL is not asked for what it could not hold: it would abort the caller's transaction."""
    if name.endswith("__isnull") and not isinstance(value, bool):
        raise ValueError("isnull is True or False")
    if isinstance(value, str) or name.startswith("metadata__"):
        encoding.check_json(value, field=name)
    return value


def _states_of(word: object) -> list[str]:
    found = [state.value for state in states.JobState if states.status(state) == word]
    if not found:
        raise UnknownFilter(f"status={word}", sorted({f"status={states.status(state)}" for state in states.JobState}))
    return found
