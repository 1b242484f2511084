"""Attempts, read-only: which process ran which job, and how the attempt ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from jobs.models import Attempt
from jobs.monitoring import formatting
from jobs.web.admin.base import BigTableAdmin


@admin.register(Attempt)
class AttemptAdmin(BigTableAdmin):
    """Attempts of the newest jobs first, in the order of the table's index."""

    list_display = (
        "job_id",
        "run",
        "number",
        "outcome",
        "started_at",
        "duration",
        "cpu",
        "memory",
        "disk",
        "score",
        "hostname",
        "pid",
        "error_type",
    )
    list_display_links = ("job_id",)
    ordering = ("-job_id", "-run", "-number")
    search_fields = ("id",)
    search_help_text = "The id of an attempt, or of its job."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By id of the attempt, or of the job."""
        if not search_term.strip():
            return queryset, False
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return queryset.none(), False
        return queryset.filter(Q(pk=wanted) | Q(job_id=wanted)), False

    @admin.display(description="duration")
    def duration(self, attempt: Attempt) -> str:
        """How long it took."""
        if attempt.finished_at is None:
            return "–"
        return formatting.duration((attempt.finished_at - attempt.started_at).total_seconds())

    @admin.display(description="CPU")
    def cpu(self, attempt: Attempt) -> str:
        """Processor time."""
        return "–" if attempt.cpu_seconds is None else formatting.duration(attempt.cpu_seconds)

    @admin.display(description="memory, MB")
    def memory(self, attempt: Attempt) -> str:
        """At its peak."""
        return "–" if attempt.peak_memory_mb is None else f"{attempt.peak_memory_mb:,.0f}"

    @admin.display(description="disk, MB")
    def disk(self, attempt: Attempt) -> str:
        """Of its temporary directory, at its peak."""
        return "–" if attempt.peak_disk_mb is None else f"{attempt.peak_disk_mb:,.0f}"

    @admin.display(description="score")
    def score(self, attempt: Attempt) -> str:
        """How well it did, compared with the expectation: 0-100."""
        return "–" if attempt.performance_score is None else f"{attempt.performance_score:.0f}"
