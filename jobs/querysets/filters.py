"""What `list_jobs`, pages and commands may filter by: public columns, ranges, metadata keys, the coarse status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Q

from jobs import states
from jobs.exceptions import UnknownFilter, shown

PRIVATE = frozenset({"active_key", "key_hash", "args", "kwargs", "result", "live_state", "diagnostics"})
LOOKUPS = frozenset({"gt", "gte", "lt", "lte", "in", "contains", "startswith", "isnull"})


def condition(filters: Mapping[str, Any], columns: frozenset[str]) -> Q:
    """Filters as one condition; UnknownFilter, with the nearest known name, for one that does not exist.

    A name is a public column of Job, alone or with a range (`created_at__gte`), `status`, or `metadata__<key>`.
    """
    found = Q()
    for name, value in filters.items():
        found &= _one(name, value, columns - PRIVATE)
    return found


def _one(name: str, value: Any, columns: frozenset[str]) -> Q:
    column, _, lookup = name.partition("__")
    if name == "status":
        return Q(state__in=_states_of(value))
    if column == "metadata" and lookup:
        return Q(**{name: value})
    if column not in columns or (lookup and lookup not in LOOKUPS):
        raise UnknownFilter(name, sorted({*columns, "status"}))
    try:
        return Q(**{name: value.lower() if column == "priority" and isinstance(value, str) else value})
    except (FieldError, ValidationError, ValueError, TypeError) as error:
        raise UnknownFilter(f"{name}={shown(value)} ({error})") from error


def _states_of(word: object) -> list[str]:
    found = [state.value for state in states.JobState if states.status(state) == word]
    if not found:
        raise UnknownFilter(f"status={word}", sorted({f"status={states.status(state)}" for state in states.JobState}))
    return found
