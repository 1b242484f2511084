"""The job row: the truth about one piece of work.

Rows are written by `submission` (insert), `transitions` (state) and `context` (live values); nothing else saves a Job.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Case, F, Q, Value, When
from uuid_utils.compat import uuid7

from jobs import states
from jobs.models.expressions import KeyHead
from jobs.models.fields import PayloadField
from jobs.models.querysets import JobQuerySet
from jobs.states import JobState


class JobKind(models.TextChoices):
    """A task has a body that a worker runs; a container ends when its children decide."""

    TASK = "task"
    CONTAINER = "container"


def _long_text(**options: Any) -> models.TextField[str, str]:
    """A text of any length. PostgreSQL takes a varchar to be half full, and where it has counted nothing yet it
    believes that a table whose row does not fit a page is empty.
    """
    return models.TextField(blank=True, default="", db_default="", **options)


def _text(length: int = 200, **options: Any) -> models.CharField[str, str]:
    return models.CharField(max_length=length, blank=True, default="", db_default="", **options)


def _count(**options: Any) -> models.IntegerField[int, int]:
    return models.IntegerField(default=0, db_default=0, **options)


def _moment() -> models.DateTimeField[Any, Any]:
    return models.DateTimeField(null=True, blank=True)


NO_LANE = uuid.UUID(int=0)


def _suits_its_state() -> Case:
    """What each state demands of a row; a state that is none fits nowhere.

    One constraint: PostgreSQL parses the stored text of each one with every statement that writes.
    """
    waiting = sorted(set(states.UNFINISHED) - set(states.IN_FLIGHT))
    return Case(
        When(state__in=sorted(states.FINAL), then=Q(finished_at__isnull=False, active_key__isnull=True)),
        When(state__in=sorted(states.IN_FLIGHT), then=Q(finished_at__isnull=True, attempt_id__isnull=False)),
        When(state__in=waiting, then=Q(finished_at__isnull=True)),
        default=Value(False),
        output_field=models.BooleanField(),
    )


class Job(models.Model):
    """One submitted piece of work, from submission to its end and through every retry."""

    id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10, choices=JobKind.choices, default=JobKind.TASK, db_default=JobKind.TASK)
    task = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=states.CHOICES, default=JobState.PENDING)
    pool = models.CharField(max_length=100)
    priority = models.CharField(max_length=20, default="medium", db_default="medium")
    manager = _text(100)
    key = models.CharField(max_length=1000, null=True, blank=True)
    active_key = models.CharField(max_length=64, null=True, blank=True, editable=False)
    key_hash = models.CharField(max_length=64, null=True, blank=True, editable=False)

    args: PayloadField = PayloadField(default=list, db_default=models.Value("[]", models.TextField()))
    kwargs: PayloadField = PayloadField(default=dict, db_default=models.Value("{}", models.TextField()))
    metadata = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    tags = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    owner = _text()
    operation_type = _text(50)
    external_id = _text()
    project_id = _text()
    session_id = _text()
    batch_id = _text()
    estimated_duration = models.FloatField(null=True, blank=True, help_text="seconds, as declared")

    progress = models.FloatField(default=0, db_default=0, help_text="0-100")
    message = _long_text()
    stage = _long_text()
    sub_progress = models.FloatField(null=True, blank=True, help_text="0-100 within the stage")
    diagnostics = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    live_state: PayloadField = PayloadField(null=True, blank=True)
    checkpoint: PayloadField = PayloadField(null=True, blank=True)
    result: PayloadField = PayloadField(null=True, blank=True)
    result_error = models.TextField(blank=True, default="", db_default="")

    error_category = _text(20)
    error_type = _long_text()
    error_message = models.TextField(blank=True, default="", db_default="")
    error_fingerprint = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text="alike failures have the same: jobs.fingerprints",
    )
    error_count = _count()
    stop_error_type = _long_text(help_text="of the error that somebody stopped it with")
    stop_error_message = models.TextField(blank=True, default="", db_default="")
    fallback = _long_text(help_text="the task that is submitted in its place when it has failed")
    fallback_due = models.BooleanField(
        default=False, db_default=False, help_text="failed, and that is still to be done"
    )
    reason = models.TextField(blank=True, default="", db_default="", help_text="why it was cancelled, paused or held")

    run = models.IntegerField(default=1, db_default=1, help_text="1, and one more for each requeue")
    attempt = _count(help_text="number of the newest attempt of this run")
    attempt_id = models.UUIDField(null=True, blank=True, editable=False, help_text="the fence of this admission")
    max_retries = _count()
    retry_count = _count()
    retry_delay = models.FloatField(null=True, blank=True, help_text="seconds before the first retry")
    retry_policy = models.JSONField(null=True, blank=True, help_text="what the job says itself: jobs.retrying.Policy")
    at_most_once = models.BooleanField(default=False, db_default=False)
    rescue_count = _count()
    release_count = _count(help_text="doorbells in a row that nobody answered")

    unknown_since = models.DateTimeField(
        null=True, blank=True, help_text="when a worker first said that it does not know the task"
    )

    run_after = _moment()
    created_at = models.DateTimeField()
    eligible_at = models.DateTimeField()
    rank = models.FloatField(help_text="eligible_at in epoch seconds less the priority's head start; smallest first")
    queued_at = _moment()
    published_at = _moment()
    started_at = _moment()
    finished_at = _moment()
    updated_at = models.DateTimeField()
    event_seq = models.IntegerField(default=1, db_default=1)
    wake_due = models.BooleanField(default=False, db_default=False)

    timeout = models.FloatField(null=True, blank=True, help_text="seconds")
    grace = models.FloatField(
        null=True, blank=True, help_text="seconds to clean up before it is stopped by force; none: the setting's"
    )
    expires_at = _moment()
    memory_mb = models.IntegerField(null=True, blank=True)
    cpu_weight = models.FloatField(null=True, blank=True)
    disk_mb = models.IntegerField(null=True, blank=True)
    resources = models.JSONField(
        default=dict, blank=True, db_default=models.Value({}, models.JSONField()), help_text="further needs, by name"
    )
    lane: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(
        default=NO_LANE, db_default=NO_LANE, editable=False, help_text="of all that admission decides by: limits.lanes"
    )
    partition_by = _text(100)
    partition = _text()
    access = _text(10, help_text="shared or exclusive, within the partition")
    max_concurrent = models.IntegerField(null=True, blank=True, help_text="the job's own, tighter than the task's")
    rate = _text(50, help_text="the job's own, tighter than the task's")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children", db_index=False
    )

    cancel_requested_at = _moment()
    cancel_requested_by = _long_text()
    cancel_force = models.BooleanField(default=False, db_default=False)
    pause_requested_at = _moment()
    paused_by = _long_text()

    objects = JobQuerySet.as_manager()

    class Meta:
        permissions = (
            ("cancel_job", "Can cancel a job"),
            ("retry_job", "Can retry a job"),
            ("pause_job", "Can pause and resume a job"),
        )
        constraints = (
            models.UniqueConstraint(name="job_active_key", fields=["active_key"]),  # unique=True adds a second index
            models.CheckConstraint(name="job_suits_its_state", condition=_suits_its_state()),
        )
        indexes = (
            models.Index(name="job_candidates", fields=["pool", "lane", "rank", "id"], condition=Q(state="pending")),
            models.Index(
                name="job_in_flight", fields=["pool", "state"], condition=Q(state__in=sorted(states.IN_FLIGHT))
            ),
            models.Index(
                name="job_by_partition",
                fields=["task", "partition"],
                condition=~Q(partition="") & ~Q(state__in=sorted(states.FINAL)),
            ),
            models.Index(name="job_due", fields=["run_after"], condition=Q(state="scheduled")),
            models.Index(
                name="job_expiring",
                fields=["expires_at"],
                condition=Q(expires_at__isnull=False) & Q(state__in=sorted(states.NOT_RUNNING)),
            ),
            models.Index(name="job_fallback_due", fields=["fallback_due", "id"], condition=Q(fallback_due=True)),
            models.Index(
                name="job_by_fingerprint", fields=["error_fingerprint", "-id"], condition=~Q(error_fingerprint="")
            ),
            models.Index(name="job_wake_due", fields=["id"], condition=Q(wake_due=True)),
            models.Index(
                name="job_ended", fields=["state", "finished_at", "id"], condition=Q(state__in=sorted(states.FINAL))
            ),
            models.Index(name="job_by_state", fields=["state", "-id"]),
            models.Index(name="job_by_task", fields=["task", "-id"]),
            models.Index(KeyHead("key"), F("id").desc(), name="job_by_key", condition=Q(key__isnull=False)),
            models.Index(name="job_children", fields=["parent"], condition=Q(parent__isnull=False)),
            *(
                models.Index(name=f"job_by_{name}", fields=[name, "-id"], condition=~Q(**{name: ""}))
                for name in (
                    "owner",
                    "manager",
                    "operation_type",
                    "external_id",
                    "project_id",
                    "session_id",
                    "batch_id",
                    "error_category",
                )
            ),
        )

    def __str__(self) -> str:
        return f"{self.task} {self.key or self.id}"

    @property
    def status(self) -> str:
        """The coarse word for the state: pending, running, paused, completed, failed or cancelled."""
        return states.status(self.state)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return states.is_final(self.state)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What went wrong, oldest first: each failed attempt as `Attempt.as_error` gives it.

        The last entry of a job that failed of something else (expired, stopped …) has None for its attempt.
        """
        failed = list(self.attempts.exclude(error_type="").order_by("run", "number"))
        entries = [attempt.as_error() for attempt in failed]
        ended_in_one = any(
            (one.run, one.outcome, one.error_category) == (self.run, "failed", self.error_category) for one in failed
        )
        if self.state == JobState.FAILED and self.error_type and not ended_in_one:
            entries.append(self._own_error())
        return entries

    def _own_error(self) -> dict[str, Any]:
        return {
            "at": self.finished_at,
            "attempt": None,
            "step": None,
            "category": self.error_category,
            "type": self.error_type,
            "message": self.error_message,
            "traceback": "",
            "fingerprint": self.error_fingerprint,
        }
