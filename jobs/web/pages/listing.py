"""The page that lists jobs: newest first, by keyset, with bounded counts. The filter is in the address."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.core.db.clock import DbNow
from jobs.core.encoding import clean_text
from jobs.exceptions import did_you_mean
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.monitoring import counting, search
from jobs.monitoring.counting import Bounded
from jobs.monitoring.explain import worker_command
from jobs.states import MEANINGS, JobState
from jobs.web.access import is_refresh, page, person, visible_jobs
from jobs.web.argument_previews import HEADS
from jobs.web.pages import workers

PAGE = 50  # jobs
COLUMNS = (
    "id",
    "state",
    "task",
    "key",
    "pool",
    "priority",
    "owner",
    "progress",
    "message",
    "stage",
    "attempt",
    "max_retries",
    "run",
    "created_at",
    "run_after",
    "started_at",
    "finished_at",
    "updated_at",
    "cancel_requested_at",
    "pause_requested_at",
    "error_type",
    "error_message",
    "reason",
)


@page
@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    """The jobs that this user may see.

    `?state=&task=&key=&owner=&category=&fingerprint=&q=` filter, `?after=&before=` turn pages.
    """
    filters = Filters.read(request.GET)
    visible = visible_jobs(request)
    shown = turn_page(filters.of_state(filters.applied(visible)), _id(request, "after"), _id(request, "before"))
    counts = count_states(visible, filters, everywhere=person(request).is_staff)
    served = workers.served_pools()
    deserted = workers.deserted_pools(served)
    context = {
        "page": shown,
        "older": filters.with_also(after=str(shown.older)) if shown.older else "",
        "newer": filters.with_also(before=str(shown.newer)) if shown.newer else "",
        "filters": filters,
        "tabs": list(_tabs(filters, counts)),
        "tasks": search.recent_tasks(visible),
        "deserted": workers.described(deserted),
        "worker_command": worker_command(deserted or [workers.default_pool()]),
        "no_worker": not served,
        "is_staff": person(request).is_staff,
        "is_refresh": is_refresh(request),
    }
    return render(request, "jobs/job_list.html", context)


@dataclass(frozen=True)
class Filters:
    """The filters in the address; "" means not set."""

    state: str = ""
    task: str = ""
    key: str = ""
    owner: str = ""
    category: str = ""
    fingerprint: str = ""
    q: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filters:
        """From a query string. Characters that no database can hold are replaced, so they match nothing."""
        return cls(**{name: clean_text(given.get(name, "").strip(), 1100) for name in _NAMES})

    def applied(self, jobs: JobQuerySet) -> JobQuerySet:
        """The jobs that match all filters but the state."""
        if self.task:
            jobs = jobs.filter(task=self.task)
        if self.key:
            jobs = search.with_key_text(jobs, self.key)
        if self.owner:
            jobs = jobs.owned_by(self.owner).exclude(owner="")
        if self.category:
            jobs = jobs.of_category(self.category)
        if self.fingerprint:
            jobs = jobs.alike(self.fingerprint)
        return search.matching(jobs, self.q) if self.q else jobs

    def of_state(self, jobs: JobQuerySet) -> JobQuerySet:
        """The jobs in the state."""
        return jobs.filter(state=self.state) if self.state else jobs

    @property
    def without_state(self) -> Filters:
        return dataclasses.replace(self, state="")

    @property
    def meaning(self) -> str:
        """The meaning of the state; for an unknown state, the most similar one."""
        if self.is_known_state:
            return MEANINGS[JobState(self.state)] if self.state else ""
        return f"There is no state {self.state!r}.{did_you_mean(self.state, map(str, JobState))}"

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """(name, value, query string without it) of every filter that is set, without the state, which has a tab."""
        active = [(name, getattr(self, name)) for name in _NAMES if name != "state" and getattr(self, name)]
        return [(_TITLES[name], value, dataclasses.replace(self, **{name: ""}).query) for name, value in active]

    @property
    def is_known_state(self) -> bool:
        """Whether the state is "" or a known one."""
        return not self.state or self.state in set(JobState)

    @property
    def query(self) -> str:
        """As a query string with its "?"; "?" alone clears all filters."""
        return self.with_also()

    def with_also(self, **more: str) -> str:
        """The query string with more parameters."""
        return "?" + urlencode({**{name: getattr(self, name) for name in _NAMES if getattr(self, name)}, **more})


_NAMES = tuple(field.name for field in dataclasses.fields(Filters))
_TITLES = {
    "task": "Task",
    "key": "Key",
    "owner": "Owner",
    "category": "Error category",
    "fingerprint": "Same error",
    "q": "Search",
}


@dataclass(frozen=True)
class Page:
    """One page of jobs, and the ids where the next pages begin, if there are any."""

    jobs: list[Job]
    older: UUID | None
    newer: UUID | None
    is_first: bool


def turn_page(jobs: JobQuerySet, after: UUID | None, before: UUID | None) -> Page:
    """The newest jobs, or those that follow an id in either direction. Each has `read_at`, the database's time."""
    rows = jobs.only(*COLUMNS).annotate(read_at=DbNow(), **HEADS)
    if before is not None and after is None:
        page = list(rows.filter(pk__gt=before).order_by("pk")[: PAGE + 1])
        has_newer, has_older = len(page) > PAGE, True
        page = page[:PAGE][::-1]
    else:
        page = list((rows.filter(pk__lt=after) if after else rows).newest()[: PAGE + 1])
        has_newer, has_older = after is not None, len(page) > PAGE
        page = page[:PAGE]
    older = page[-1].pk if page and has_older else None
    return Page(page, older, page[0].pk if page and has_newer else None, is_first=not has_newer)


def count_states(jobs: JobQuerySet, filters: Filters, *, everywhere: bool) -> dict[str, Bounded]:
    """How many jobs each tab would show. Reads about ten thousand index entries at most."""
    if everywhere and filters.without_state == Filters():
        return counting.everywhere()
    return counting.within(filters.applied(jobs))


@dataclass(frozen=True)
class Tab:
    """A tab of the list; `state` is "" for all jobs."""

    state: str
    count: Bounded
    query: str
    is_current: bool


def _tabs(filters: Filters, counts: dict[str, Bounded]) -> Iterator[Tab]:
    everything: list[tuple[str, Any]] = [("", counting.total(counts)), *((s.value, counts[s]) for s in JobState)]
    for state, count in everything:
        yield Tab(state, count, dataclasses.replace(filters, state=state).query, filters.state == state)


def _id(request: HttpRequest, name: str) -> UUID | None:
    """An id from the address; None if it is missing or malformed."""
    try:
        return UUID(request.GET.get(name, ""))
    except ValueError:
        return None
