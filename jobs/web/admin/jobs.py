"""The job list and the job page of the admin, with its actions: cancel, retry, pause, resume, change priority."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.core.db.clock import DbNow
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.monitoring import formatting, search
from jobs.web.admin import actions
from jobs.web.admin.base import BigTableAdmin, OneOrderList
from jobs.web.admin.filters import CategoryFilter, PoolFilter, PriorityFilter, StateFilter, TaskFilter
from jobs.web.argument_previews import HEADS
from jobs.web.templatetags.jobs_display import ago, excerpt

LARGE = ("args", "kwargs", "result", "live_state", "diagnostics", "metadata", "tags", "checkpoint")
EVENTS, ATTEMPTS, LINES = 200, 50, 200  # shown of each, the newest


class JobList(OneOrderList):
    """The list without the large columns, and with the database's time, for the duration of running jobs."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        shown: QuerySet[Any] = rows.defer(*LARGE).annotate(read_at=DbNow(), **HEADS)
        return shown


@admin.register(Job)
class JobAdmin(BigTableAdmin):
    """Jobs, newest first."""

    list_display = ("state_badge", "task", "name", "priority", "progress_bar", "attempts", "created", "duration")
    list_display_links = ("state_badge", "task")
    list_filter = (StateFilter, TaskFilter, CategoryFilter, PriorityFilter, PoolFilter)
    search_fields = ("id",)
    search_help_text = "A job’s id, its whole key, or its external id."
    ordering = ("-id",)
    actions = (
        actions.cancel_selected,
        actions.pause_selected,
        actions.resume_selected,
        actions.retry_selected,
        actions.change_priority_of_selected,
    )
    fieldsets = (
        (None, {"fields": ("id", "state_badge", "task", "key", "manager", "pool", "priority", "owner", "reason")}),
        ("Progress", {"fields": ("progress_bar", "stage", "message", "sub_progress", "diagnostics_shown")}),
        (
            "Error",
            {
                "fields": (
                    "error_category",
                    "error_type",
                    "error_message",
                    "error_fingerprint",
                    "error_count",
                    "fallback",
                )
            },
        ),
        (
            "Values",
            {
                "fields": (
                    "args_shown",
                    "kwargs_shown",
                    "result_shown",
                    "result_error",
                    "live_state_shown",
                    "checkpoint_shown",
                )
            },
        ),
        ("History", {"fields": ("events_shown", "attempts_shown", "log_shown")}),
        (
            "Times",
            {
                "fields": (
                    "created_at",
                    "run_after",
                    "eligible_at",
                    "queued_at",
                    "started_at",
                    "finished_at",
                    "updated_at",
                    "expires_at",
                )
            },
        ),
        (
            "Counts",
            {
                "fields": (
                    "run",
                    "attempts",
                    "max_retries",
                    "retry_count",
                    "rescue_count",
                    "release_count",
                    "at_most_once",
                    "retry_policy",
                )
            },
        ),
        (
            "Requests",
            {
                "fields": (
                    "cancel_requested_at",
                    "cancel_requested_by",
                    "cancel_force",
                    "pause_requested_at",
                    "paused_by",
                )
            },
        ),
        ("Bounds of an attempt", {"fields": ("timeout", "grace", "memory_mb", "cpu_weight", "disk_mb")}),
        (
            "Labels",
            {
                "fields": (
                    "metadata_shown",
                    "tags",
                    "operation_type",
                    "external_id",
                    "project_id",
                    "session_id",
                    "batch_id",
                    "estimated_duration",
                )
            },
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return JobList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By id, whole key or external id: each has an index."""
        jobs: JobQuerySet = queryset  # type: ignore[assignment]  # the model's own
        word = search_term.strip()
        return (search.matching(jobs, word) if word else jobs), False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether this person is offered the action."""
        return request.user.has_perm(f"{self.opts.app_label}.cancel_job")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether this person is offered the action."""
        return request.user.has_perm(f"{self.opts.app_label}.retry_job")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether this person is offered both actions."""
        return request.user.has_perm(f"{self.opts.app_label}.pause_job")

    def has_prioritise_permission(self, request: HttpRequest) -> bool:
        """Whether this person is offered the action."""
        return request.user.has_perm(f"{self.opts.app_label}.change_job")

    def view_on_site(self, job: Job) -> str | None:  # Django allows a method here
        """The job's own page, if the project includes `jobs.urls`."""
        try:
            return reverse("jobs:job-detail", args=[job.pk])
        except NoReverseMatch:
            return None

    @admin.display(description="state")
    def state_badge(self, job: Job) -> SafeString:
        return format_html('<span class="jobs-badge jobs-{}">{}</span>', job.state, job.state)

    @admin.display(description="key or arguments")
    def name(self, job: Job) -> str:
        return excerpt(job) if job.key is None else job.key

    @admin.display(description="progress")
    def progress_bar(self, job: Job) -> SafeString:
        bar = '<progress class="jobs-progress" max="100" value="{0}" aria-label="progress"></progress> {0} %'
        return format_html(bar, f"{job.progress:.0f}")

    @admin.display(description="attempts")
    def attempts(self, job: Job) -> str:
        return formatting.attempts(job)

    @admin.display(description="created")
    def created(self, job: Job) -> SafeString:
        return ago(job.created_at, getattr(job, "read_at", job.updated_at))

    @admin.display(description="duration")
    def duration(self, job: Job) -> str:
        return formatting.ran_for(job, getattr(job, "read_at", None)) or "–"

    @admin.display(description="arguments")
    def args_shown(self, job: Job) -> SafeString:
        return _block(job.args)

    @admin.display(description="keyword arguments")
    def kwargs_shown(self, job: Job) -> SafeString:
        return _block(job.kwargs)

    @admin.display(description="result")
    def result_shown(self, job: Job) -> SafeString:
        return _block(job.result)

    @admin.display(description="live state")
    def live_state_shown(self, job: Job) -> SafeString:
        return _block(job.live_state)

    @admin.display(description="checkpoint")
    def checkpoint_shown(self, job: Job) -> SafeString:
        return _block(job.checkpoint)

    @admin.display(description="diagnostics")
    def diagnostics_shown(self, job: Job) -> SafeString:
        return _block(job.diagnostics)

    @admin.display(description="metadata")
    def metadata_shown(self, job: Job) -> SafeString:
        return _block(job.metadata)

    @admin.display(description="events")
    def events_shown(self, job: Job) -> SafeString:
        events = list(job.events.order_by("-seq")[:EVENTS])[::-1]
        return render_to_string("admin/jobs/job/events.html", {"events": events})

    @admin.display(description="attempts")
    def attempts_shown(self, job: Job) -> SafeString:
        attempts = job.attempts.order_by("-run", "-number")[:ATTEMPTS]
        return render_to_string("admin/jobs/job/attempts.html", {"attempts": attempts})

    @admin.display(description="log")
    def log_shown(self, job: Job) -> SafeString:
        lines = list(job.logs.order_by("-id")[:LINES])[::-1]
        return render_to_string("admin/jobs/job/log.html", {"lines": lines})


def _block(value: Any) -> SafeString:
    return format_html('<pre class="jobs-value">{}</pre>', formatting.as_json(value))
