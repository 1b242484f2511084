"""What the jobs of one submission share: their columns, what admission decides by, what becomes of newcomers."""

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
class Draft:
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
        return {name: value for name, value in values.items() if value not in _LEFT_OUT.get(name, _NOTHING)}

    @property
    def _max_retries(self) -> int | Sql:
        """Its own number, else that of its pool as it stands now, else the setting's."""
        options = self.options
        if options.at_most_once or options.max_retries is not None:
            return options.max_retries or 0
        of_pool = "COALESCE((SELECT max_retries FROM jobs_pool WHERE name = %s), %s)"
        return Sql(of_pool, (self.pool, settings.RETRY.max_retries))

    @property
    def _retry_policy(self) -> dict[str, Any]:
        """What the job says itself, by the names of `retrying.Policy`."""
        options = self.options
        said = {
            "multiplier": options.retry_multiplier,
            "cap": options.retry_cap,
            "jitter": options.retry_jitter,
            "deadline": options.retry_deadline,
            "retry_on": list(options.retry_on) or None,
            "never_retry": list(options.never_retry) or None,
        }
        return {name: value for name, value in said.items() if value is not None}

    @property
    def _expires_at(self) -> datetime | Sql | None:
        expires = self.options.expires
        if expires is None or isinstance(expires, datetime):
            return expires
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
        return Sql(dialect(self.using).later("{now}"), (seconds,))

    @functools.cached_property
    def facts(self) -> Facts:
        """What admission will decide by; the partition differs from call to call."""
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
            max_concurrent=self._own_maximum,
            rate=(options.rate or "") if self.declared is None or options.rate != self.declared.rate else "",
            timeout=by_kind if options.timeout is None else options.timeout,
            grace=options.grace,
        )

    @property
    def _own_maximum(self) -> int | None:
        """The maximum that this submission says for itself: one, where it says nothing but a conflict policy."""
        declared = self.declared.max_concurrent if self.declared is not None else None
        if self.options.max_concurrent != declared:
            return self.options.max_concurrent
        return 1 if self.conflict is not None and declared is None else None

    @functools.cached_property
    def conflict(self) -> str | None:
        """The policy that this submission says for itself."""
        declared = self.declared.conflict if self.declared is not None else None
        return self.options.conflict if self.options.conflict != declared else None

    @functools.cached_property
    def standing(self) -> ConflictRule | None:
        """What becomes of a newcomer, where its task or its submission has a word to say about it."""
        found = declaring.conflict_rule(self.task, self.conflict, self.facts.max_concurrent)
        return found if found is not None and self._comes_at_once else None

    @property
    def _comes_at_once(self) -> bool:
        """Whether it waits for admission from the first; of a moment the database's clock says so."""
        when = self.options.run_after
        if not self.options.start or when is None:
            return self.options.start
        if isinstance(when, datetime):
            sql = f"SELECT CASE WHEN {dialect(self.using).moment} <= {{now}} THEN 1 ELSE 0 END"
            return bool(query(self.using, sql, [prepare(self.using, Job, "run_after", when)])[0][0])
        return (when.total_seconds() if isinstance(when, timedelta) else when) <= 0

    def check(self) -> None:
        """Refuse needs that the whole pool cannot meet, and write what the task declares."""
        declaring.refuse_impossible(self.pool, self.facts.needs)
        if self.declared is not None:
            for kept in declaring.declare(self.task, self.pool, self.declared):
                passes.admit_on_commit(kept)

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


# Values that are the column's default already. An empty key is a key, and no delay is a delay.
_LEFT_OUT: dict[str, tuple[Any, ...]] = {"max_retries": (0,), "key": (None,), "at_most_once": (False,)}
_NOTHING: tuple[Any, ...] = ("", None, {}, [])
