"""Filters of the job list. None of them reads the whole table of jobs to find its choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from jobs.core.conf import settings
from jobs.models import Job, Pool, Priority
from jobs.models.querysets import JobQuerySet
from jobs.monitoring import search
from jobs.states import ErrorCategory, JobState

CHOICES = 100  # names offered


class ByName(admin.SimpleListFilter):
    """A filter on one column, by a known name."""

    parameter_name: str

    def queryset(self, request: HttpRequest, queryset: Any) -> JobQuerySet:
        """Only names from the choices: any other name finds nothing, without a query."""
        jobs: JobQuerySet = queryset
        name = self.value()
        if name is None:
            return jobs
        known = {str(choice) for choice, _ in self.lookup_choices}
        return self.narrowed(jobs, name) if name in known else jobs.none()

    def narrowed(self, jobs: JobQuerySet, name: str) -> JobQuerySet:
        """The jobs of that name."""
        return jobs.filter(**{self.parameter_name: name})


class StateFilter(ByName):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(state.value, state.value) for state in JobState]


class TaskFilter(ByName):
    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The tasks of the newest jobs, and the one that the address asks for."""
        names = search.recent_tasks(Job.objects.using(settings.DATABASE))[:CHOICES]
        asked = request.GET.get("task", "")
        if asked and asked not in names and "\0" not in asked:
            names = [*names, asked]
        return [(name, name) for name in names]


class RecentByName(ByName):
    """On a column without an index: looks at the newest jobs only, and its title says so."""

    def narrowed(self, jobs: JobQuerySet, name: str) -> JobQuerySet:
        return super().narrowed(search.within_newest(jobs), name)


class CategoryFilter(ByName):
    """The category of the error."""

    title = "category"
    parameter_name = "error_category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(category.value, category.value) for category in ErrorCategory]

    def narrowed(self, jobs: JobQuerySet, name: str) -> JobQuerySet:
        return jobs.of_category(name)


class PriorityFilter(RecentByName):
    title = f"priority (newest {search.WINDOW:,})"
    parameter_name = "priority"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = Priority.objects.using(settings.DATABASE).order_by("head_start").values_list("name", flat=True)
        return [(name, name) for name in names[:CHOICES]]


class PoolFilter(RecentByName):
    title = f"pool (newest {search.WINDOW:,})"
    parameter_name = "pool"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names[:CHOICES]]
