"""What the methods of a manager share: its name, and the jobs that filters choose."""

from __future__ import annotations

from typing import Any

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.exceptions import InvalidOption
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.models.transitions import ALL_COLUMNS
from jobs.monitoring.filters import PRIVATE, narrowed

PUBLIC_COLUMNS = frozenset(ALL_COLUMNS) - PRIVATE


class ManagerBase:
    """A manager's name and its jobs."""

    def __init__(self, name: str = "") -> None:
        if encoding.clean_text(name, 100) != name:
            problem = "must be at most 100 characters, without NUL and lone surrogates."
            raise InvalidOption(f"name: {name!r:.60} {problem}", option="name")
        self.name = name

    def __repr__(self) -> str:
        return f"JobManager({self.name!r})"

    def _filtered(self, filters: dict[str, Any]) -> JobQuerySet:
        if self.name:
            filters["manager"] = self.name
        return narrowed(Job.objects.using(settings.DATABASE), filters, PUBLIC_COLUMNS)
