"""Named shares of the workers, the words for priority, and limits: what admission decides by."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from jobs.core.conf import settings
from jobs.core.conf.rules import CRITICAL_APART
from jobs.core.options import validators
from jobs.core.options.policies import Policy
from jobs.exceptions import UnknownPool


class Pool(models.Model):
    """A named share of the workers: a Celery queue. Its row is also the lock of its admission."""

    name = models.CharField(max_length=100, primary_key=True)
    max_concurrent = models.IntegerField(null=True, blank=True, help_text="empty: as many as the workers have slots")
    max_memory_mb = models.IntegerField(null=True, blank=True)
    max_cpu_weight = models.FloatField(null=True, blank=True)
    max_disk_mb = models.IntegerField(null=True, blank=True)
    resources = models.JSONField(default=dict, blank=True)
    max_retries = models.IntegerField(null=True, blank=True, help_text="of jobs that say none")
    retry_delay = models.FloatField(null=True, blank=True, help_text="seconds before the first retry")
    retry_multiplier = models.FloatField(null=True, blank=True, help_text="each further one waits so many times longer")
    retry_cap = models.FloatField(null=True, blank=True, help_text="seconds, at most")
    retry_jitter = models.BooleanField(null=True, blank=True, help_text="vary it by chance")
    retry_deadline = models.FloatField(null=True, blank=True, help_text="seconds after the first start")
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.CharField(max_length=500, blank=True, default="")
    draining_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = (("pause_pool", "Can pause, drain and resume a pool"),)
        constraints = (
            models.CheckConstraint(
                name="pool_limits_not_negative",
                condition=(Q(max_concurrent__isnull=True) | Q(max_concurrent__gte=0))
                & (Q(max_memory_mb__isnull=True) | Q(max_memory_mb__gte=0))
                & (Q(max_cpu_weight__isnull=True) | Q(max_cpu_weight__gte=0))
                & (Q(max_disk_mb__isnull=True) | Q(max_disk_mb__gte=0)),
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError, by column, where the row would not do what it says."""
        columns = ("max_concurrent", "max_memory_mb", "max_cpu_weight", "max_disk_mb")
        problems = {name: validators.amount(getattr(self, name)) for name in columns}
        problems["resources"] = validators.resources(self.resources)
        problems |= {name: validators.amount(getattr(self, name)) for name in ("retry_delay", "retry_cap")}
        problems["max_retries"] = validators.retries(self.max_retries)
        problems["retry_multiplier"] = validators.multiplier(self.retry_multiplier)
        problems["retry_deadline"] = "" if self.retry_deadline is None else validators.above_zero(self.retry_deadline)
        if self._state.adding:
            problems["name"] = validators.pool_name(self.name)
        _refuse(problems)


class TaskPause(models.Model):
    """A paused task: none of its jobs is admitted, in any pool. The row is deleted when the task is resumed."""

    task = models.CharField(max_length=200, primary_key=True)
    paused_at = models.DateTimeField()
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        default_permissions = ("view",)
        permissions = (("pause_task", "Can pause and resume a task"),)
        verbose_name = "paused task"

    def __str__(self) -> str:
        return self.task


class Priority(models.Model):
    """A word for priority and the head start in seconds that it gives in the queue."""

    name = models.CharField(max_length=20, primary_key=True)
    head_start = models.FloatField(help_text="seconds")

    class Meta:
        verbose_name_plural = "priorities"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError where the head start is no time that a queue knows, or critical would not be first."""
        _refuse({"head_start": validators.head_start(self.head_start) or self._order_problem()})

    def _order_problem(self) -> str:
        others = Priority.objects.using(settings.DATABASE).exclude(pk=self.pk)
        starts = {**dict(others.values_list("name", "head_start")), self.name: self.head_start}
        critical = starts.pop("critical", None)
        if critical is None or not starts or critical - max(starts.values()) >= CRITICAL_APART:
            return ""
        return f"critical jobs are first: their head start has to be {CRITICAL_APART:,} above all others"


SYSTEM_LIMIT = "system"


class LimitKind(models.TextChoices):
    """What a limit counts."""

    CONCURRENCY = "concurrency", "jobs in flight at once"
    RATE = "rate", "starts in a period"


class Limit(models.Model):
    """How many jobs of a pool, a task, a partition may be in flight at once, or start in a period.

    Empty columns match everything: a limit with nothing but a size is system-wide. `partition_by` counts each partition
    of that name by itself, and a row with a `partition` stands for that one in place of the general row. A limit of one
    pool is held under the pool's lock; one without has its own row for a lock, taken in name order after the pool's.
    """

    name = models.CharField(max_length=250, primary_key=True)
    pool = models.CharField(max_length=100, blank=True, default="", help_text="empty: in all pools together")
    task = models.CharField(max_length=200, blank=True, default="", help_text="empty: whatever the task")
    partition_by = models.CharField(
        max_length=100, blank=True, default="", help_text="each partition of this name by itself"
    )
    partition = models.CharField(max_length=200, blank=True, default="", help_text="only this one; empty: each")
    kind = models.CharField(max_length=20, choices=LimitKind.choices, default=LimitKind.CONCURRENCY)
    size = models.FloatField(
        null=True,
        blank=True,
        help_text='jobs at once, or starts per period. Empty: no limit; for `system`, JOBS["MAX_CONCURRENT"]',
    )
    period = models.FloatField(default=1, help_text="seconds; of a rate")
    burst = models.IntegerField(default=1, help_text="starts at once after a rest; of a rate")
    weight = models.FloatField(default=1, help_text="share of each partition beside the others: 2 gets twice as much")
    policy = models.CharField(max_length=20, choices=Policy.choices, default=Policy.WAIT)
    declared = models.JSONField(null=True, blank=True, editable=False, help_text="what the code said last")

    class Meta:
        constraints = (
            models.CheckConstraint(name="limit_size_not_negative", condition=Q(size__isnull=True) | Q(size__gte=0)),
            models.CheckConstraint(name="limit_of_use", condition=Q(period__gt=0) & Q(burst__gte=1) & Q(weight__gt=0)),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_system(self) -> bool:
        """Whether it is the row behind JOBS["MAX_CONCURRENT"], which admission cannot do without."""
        return self.name == SYSTEM_LIMIT

    @property
    def subject(self) -> dict[str, str]:
        """What it limits: the columns by which two rows would be one limit."""
        return {name: getattr(self, name) for name in ("kind", "pool", "task", "partition_by", "partition")}

    def clean(self) -> None:
        """Raise ValidationError, by column, where the row would not do what it says, or does what another does."""
        if self.is_system and (any(list(self.subject.values())[1:]) or self.kind != LimitKind.CONCURRENCY):
            raise ValidationError("The limit “system” is for all jobs in flight: make another one for anything else.")
        _refuse(
            {
                "name": validators.limit_name(self.name) if self._state.adding else "",
                "size": validators.limit_size(self.size, is_count=self.kind == LimitKind.CONCURRENCY),
                "period": validators.above_zero(self.period),
                "burst": validators.burst(self.burst),
                "weight": validators.above_zero(self.weight),
                "partition": "say partition_by as well" if self.partition and not self.partition_by else "",
                "policy": self._policy_problem(),
                "pool": self._pool_problem(),
            }
        )
        self._refuse_double()

    def _policy_problem(self) -> str:
        if self.policy == Policy.WAIT or (self.name == self.task and self.kind == LimitKind.CONCURRENCY):
            return ""
        return "only a task’s own limit has one: of kind concurrency, and named as the task is"

    def _pool_problem(self) -> str:
        known = Pool.objects.using(settings.DATABASE).values_list("name", flat=True) if self.pool else ()
        return "" if not self.pool or self.pool in known else str(UnknownPool(self.pool, known))

    def _refuse_double(self) -> None:
        """Two rows for one subject would both hold, and a person would not know which one to change."""
        rows = Limit.objects.using(settings.DATABASE)
        stored = None if self._state.adding else rows.filter(pk=self.pk).first()
        if stored is not None and stored.subject == self.subject:
            return
        other = rows.filter(**self.subject).exclude(pk=self.pk).first()
        if other is not None:
            raise ValidationError(f"The limit “{other.name}” limits the same: change that one instead.")


class Rate(models.Model):
    """Where a rate limit stands for one partition: the theoretical arrival time of GCRA, moved at each admission.

    Its row is also the lock of a partition's conflict policy.
    """

    limit_name = models.CharField(max_length=250)
    partition = models.CharField(max_length=200, blank=True, default="")
    tat = models.FloatField(default=0, help_text="epoch seconds; in the past: the limit is at rest")

    class Meta:
        constraints = (models.UniqueConstraint(name="rate_of_partition", fields=["limit_name", "partition"]),)

    def __str__(self) -> str:
        return f"{self.limit_name} {self.partition}".strip()


def _refuse(problems: Mapping[str, str]) -> None:
    """Raise one ValidationError for all columns that have a problem."""
    found = {name: problem for name, problem in problems.items() if problem}
    if found:
        raise ValidationError(found)


class Turn(models.Model):
    """When a partition was last admitted from. Written where several wait: with one slot the order would be lost.

    The fair share is read from jobs in flight, and there may be none.
    """

    pool = models.CharField(max_length=100)
    partition_by = models.CharField(max_length=100, blank=True, default="")
    partition = models.CharField(max_length=200, blank=True, default="")
    at = models.FloatField(help_text="epoch seconds")

    class Meta:
        constraints = (models.UniqueConstraint(name="turn_of_partition", fields=["pool", "partition_by", "partition"]),)

    def __str__(self) -> str:
        return f"{self.pool} {self.partition}".strip()
