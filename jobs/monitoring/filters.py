"""What `list_jobs` may filter by: public columns, ranges, metadata keys, the status (a group of states)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Q, QuerySet

from jobs import states
from jobs.core.encoding import check_json, clean_text
from jobs.exceptions import UnknownFilter, shown

PRIVATE = frozenset(
    {
        "active_key",
        "key_hash",
        "args",
        "kwargs",
        "result",
        "live_state",
        "diagnostics",
        "checkpoint",
        "retry_policy",
        "fallback_due",
    }
)
Rows = TypeVar("Rows", bound=QuerySet[Any])
LOOKUPS = frozenset({"gt", "gte", "lt", "lte", "in", "contains", "startswith", "isnull"})


def narrowed(queryset: Rows, filters: Mapping[str, Any], columns: frozenset[str]) -> Rows:
    """The queryset with every filter applied; UnknownFilter for a name or a value that is not allowed.

    A name is a public column of Job, alone or with a range (`created_at__gte`), `status`, or `metadata__<key>`.
    """
    for name, value in filters.items():
        try:
            condition = _condition(name, value, columns - PRIVATE)
            _check_value(name, value)
            queryset = queryset.filter(condition)
        except (FieldError, ValidationError, ValueError, OverflowError, TypeError) as error:
            if isinstance(error, UnknownFilter):
                raise
            raise UnknownFilter(f"{name}={shown(value)} ({error})") from error
    return queryset


def _condition(name: str, value: Any, columns: frozenset[str]) -> Q:
    column, _, lookup = name.partition("__")
    if name == "status":
        return Q(state__in=_states_of(value))
    if column == "metadata" and lookup:
        check_json([value], field=name)
        return Q(**{name: value})
    if column not in columns or (lookup and lookup not in LOOKUPS):
        raise UnknownFilter(name, sorted({*columns, "status"}))
    if name == "state" and value not in states.MEANINGS:
        raise UnknownFilter(f"state={value}", [f"state={state}" for state in states.JobState])
    return Q(**{name: value.lower() if column == "priority" and isinstance(value, str) else value})


def _check_value(name: str, value: object) -> None:
    """Refuse text that PostgreSQL cannot hold: the query would abort the caller's transaction."""
    if name.endswith("__isnull") and not isinstance(value, bool):
        raise ValueError("isnull is True or False")
    if isinstance(value, str) and clean_text(value, len(value)) != value:
        raise ValueError("no text in a database holds NUL or a lone surrogate")


def _states_of(word: object) -> list[str]:
    names = [state.value for state in states.JobState if states.status(state) == word]
    if not names:
        raise UnknownFilter(f"status={word}", sorted({f"status={states.status(state)}" for state in states.JobState}))
    return names
