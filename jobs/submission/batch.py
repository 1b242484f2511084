"""What the jobs of one submission share: columns, the facts that admission decides by, the conflict rule."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import current_app

from jobs.admission import passes, pools
from jobs.admission.limits import Facts
from jobs.admission.limits import declared as declaring
from jobs.admission.limits.declared import ConflictRule
from jobs.admission.limits.lanes import COLUMNS
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.core.db.values import prepare
from jobs.core.options.declared_task import JobLike
from jobs.core.options.job_options import JobOptions
from jobs.core.options.partition import name_of
from jobs.models import Job
from jobs.models.transitions import Sql


@dataclass(frozen=True)
class Batch:
    """What the jobs of one submission share."""

    manager: str
    task: str
    options: JobOptions
    declared: JobOptions | None = None
    key: str | None = None
    active_key: str | None = None

    @property
    def using(self) -> str:
        return settings.DATABASE

    @functools.cached_property
    def pool(self) -> str:
        return pools.known(self.options.pool or str(current_app.conf.task_default_queue), _declared_pools)

    @functools.cached_property
    def columns(self) -> dict[str, Any]:
        """The columns that differ from the row's defaults, as Python values."""
        options = self.options
        values = {
            "task": self.task,
            "pool": self.pool,
            "priority": options.priority,
            "manager": self.manager,
            "key": self.key,
            "key_hash": self.active_key,
            "active_key": self.active_key,
            "metadata": dict(options.metadata),
            "tags": list(options.tags),
            "owner": options.owner,
            "operation_type": options.operation_type,
            "external_id": options.external_id,
            "project_id": options.project_id,
            "session_id": options.session_id,
            "batch_id": options.batch_id,
            "estimated_duration": options.estimated_duration,
            "retry_delay": options.retry_delay,
            "max_retries": self._max_retries,
            "retry_policy": self._retry_policy,
            "expires_at": self._expires_at,
            "fallback": options.fallback,
            "at_most_once": options.at_most_once,
            "reason": "" if options.start else "not started",
            **{name: getattr(self.facts, name) for name in COLUMNS if name not in {"task", "partition"}},
        }
        return {name: value for name, value in values.items() if value not in _DEFAULTS.get(name, _EMPTY)}

    @property
    def _max_retries(self) -> int | Sql:
        """The number of the options, else of the pool at this moment, else of the setting."""
        options = self.options
        if options.at_most_once or options.max_retries is not None:
            return options.max_retries or 0
        of_pool = "COALESCE((SELECT max_retries FROM jobs_pool WHERE name = %s), %s)"
        return Sql(of_pool, (self.pool, settings.RETRY.max_retries))

    @property
    def _retry_policy(self) -> dict[str, Any]:
        """The retry options of this submission, by the names of `retry_policy.Policy`."""
        options = self.options
        policy = {
            "multiplier": options.retry_multiplier,
            "cap": options.retry_cap,
            "jitter": options.retry_jitter,
            "deadline": options.retry_deadline,
            "retry_on": list(options.retry_on) or None,
            "never_retry": list(options.never_retry) or None,
        }
        return {name: value for name, value in policy.items() if value is not None}

    @property
    def _expires_at(self) -> datetime | Sql | None:
        expires = self.options.expires
        if expires is None or isinstance(expires, datetime):
            return expires
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
        return Sql(dialect(self.using).later("{now}"), (seconds,))

    @functools.cached_property
    def facts(self) -> Facts:
        """What admission decides by; the partition is added call by call."""
        options = self.options
        timeouts = settings.TIMEOUT
        by_kind = timeouts.operations.get(options.operation_type, timeouts.default)
        return Facts(
            task=self.task,
            partition_by=name_of(options.partition_by, self.task),
            access=options.access,
            memory_mb=options.memory_mb,
            cpu_weight=options.cpu_weight,
            disk_mb=options.disk_mb,
            resources=dict(options.resources),
            max_concurrent=self._max_concurrent,
            rate=(options.rate or "") if self.declared is None or options.rate != self.declared.rate else "",
            timeout=by_kind if options.timeout is None else options.timeout,
            grace=options.grace,
        )

    @property
    def _max_concurrent(self) -> int | None:
        """The limit that this submission sets beside the declared one; 1 if it sets a conflict policy only."""
        declared = self.declared.max_concurrent if self.declared is not None else None
        if self.options.max_concurrent != declared:
            return self.options.max_concurrent
        return 1 if self.conflict is not None and declared is None else None

    @functools.cached_property
    def conflict(self) -> str | None:
        """The conflict policy that this submission sets beside the declared one."""
        declared = self.declared.conflict if self.declared is not None else None
        return self.options.conflict if self.options.conflict != declared else None

    @functools.cached_property
    def conflict_rule(self) -> ConflictRule | None:
        """What happens when the partition is full; None where the job waits. Jobs for later have no rule."""
        rule = declaring.conflict_rule(self.task, self.conflict, self.facts.max_concurrent)
        return rule if rule is not None and self._starts_now else None

    @property
    def _starts_now(self) -> bool:
        """Whether the jobs are pending from the beginning. For a datetime, by the database's clock."""
        when = self.options.run_after
        if not self.options.start or when is None:
            return self.options.start
        if isinstance(when, datetime):
            sql = f"SELECT CASE WHEN {dialect(self.using).moment} <= {{now}} THEN 1 ELSE 0 END"
            return bool(query(self.using, sql, [prepare(self.using, Job, "run_after", when)])[0][0])
        return (when.total_seconds() if isinstance(when, timedelta) else when) <= 0

    def check(self) -> None:
        """Refuse needs that exceed the whole pool, and write the limits that the task declares."""
        declaring.refuse_impossible(self.pool, self.facts.needs)
        if self.declared is not None:
            for pool in declaring.declare(self.task, self.pool, self.declared):
                passes.admit_on_commit(pool)

    def lane(self, partition: str) -> UUID:
        """The lane of a call."""
        if partition not in self._lanes:
            self._lanes[partition] = self.facts._replace(partition=partition).lane
        return self._lanes[partition]

    @functools.cached_property
    def _lanes(self) -> dict[str, UUID]:
        return {}


def _declared_pools() -> set[str]:
    return {task.options.pool for task in current_app.tasks.values() if isinstance(task, JobLike) and task.options.pool}


# Values that equal the column's default. An empty key is a key, and a delay of 0 is a delay.
_DEFAULTS: dict[str, tuple[Any, ...]] = {"max_retries": (0,), "key": (None,), "at_most_once": (False,)}
_EMPTY: tuple[Any, ...] = ("", None, {}, [])
