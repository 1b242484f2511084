"""What a simulation has shown, read from the recorded events; nothing is remembered beside them.

Jobs are chosen by columns of their row, as in `Job.objects.filter`: `task=render, partition="acme", pool="gpu"`.
Times are seconds since the start of the simulation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from jobs.admission.limits.lanes import COLUMNS, CPU, DISK, MEMORY, facts_of
from jobs.core.conf import settings
from jobs.models import Job, JobEvent, Pool, Worker
from jobs.models.querysets import JobQuerySet
from jobs.states import IN_FLIGHT, JobState
from jobs.testing.clock import Clock

SLOTS = "slots"


@dataclass
class Stay:
    """One job in flight: admitted, perhaps started, and out again (None: it still is)."""

    job: UUID
    admitted: float
    started: float | None = None
    ended: float | None = None


class Report:
    """The questions a test may ask of a simulation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def seconds(self) -> float:
        """The virtual time, in seconds since the start."""
        return self._clock.seconds

    @property
    def start_at(self) -> datetime:
        """The moment that times are counted from."""
        return self._clock.start

    def peak(self, **jobs: Any) -> int:
        """The most of these jobs that were in flight at once, as limits count them: admitted, and not yet ended."""
        now = most = 0
        for _, from_state, to_state, _ in self._moves(jobs):
            now += (to_state in IN_FLIGHT) - (from_state in IN_FLIGHT)
            most = max(most, now)
        return most

    def starts(self, **jobs: Any) -> list[float]:
        """When bodies began, in order; one for each attempt."""
        return [moment for _, _, to_state, moment in self._moves(jobs) if to_state == JobState.RUNNING]

    def waits(self, **jobs: Any) -> list[float]:
        """How long each job waited for its first start once it might run, in the order of submission.

        Those that still wait are among them, with the time until now.
        """
        first: dict[UUID, float] = {}
        for job_id, _, to_state, moment in self._moves(jobs):
            if to_state == JobState.RUNNING:
                first.setdefault(job_id, moment)
        rows = self._rows(jobs).order_by("pk").values_list("pk", "state", "eligible_at")
        return [
            max(0.0, first.get(job_id, self.seconds) - self._since_start(eligible_at))
            for job_id, state, eligible_at in rows
            if job_id in first or state in (JobState.PENDING, JobState.QUEUED)
        ]

    def busiest(self, seconds: float, **jobs: Any) -> int:
        """The most of these jobs that were admitted within any span of so many seconds: what rates count."""
        window: deque[float] = deque()
        most = 0
        for stay in self.stays(**jobs):
            window.append(stay.admitted)
            while window[0] <= stay.admitted - seconds:
                window.popleft()
            most = max(most, len(window))
        return most

    def utilisation(self, resource: str = SLOTS, pool: str = "default", since: float = 0.0) -> float:
        """How much of a pool was in use, from 0 to 1, on average from a moment until now.

        `slots` are in use while bodies run, and compared to the slots of the workers that are there now. Budgets
        (`memory_mb`, `cpu_weight`, …) are held from admission on, and compared to what the pool's row says now.
        """
        needs = {} if resource == SLOTS else self._needs(resource, pool)
        used = 0.0
        for stay in self.stays(pool=pool):
            begun = stay.started if resource == SLOTS else stay.admitted
            if begun is not None:
                until = self.seconds if stay.ended is None else stay.ended
                used += max(0.0, until - max(begun, since)) * needs.get(stay.job, 1.0 if resource == SLOTS else 0.0)
        return used / (_size(resource, pool) * (self.seconds - since))

    def stays(self, **jobs: Any) -> list[Stay]:
        """Each time that one of these jobs was in flight, in the order of admission."""
        found: list[Stay] = []
        current: dict[UUID, Stay] = {}
        for job_id, from_state, to_state, moment in self._moves(jobs):
            if from_state not in IN_FLIGHT:
                current[job_id] = Stay(job_id, moment)
                found.append(current[job_id])
            elif to_state == JobState.RUNNING:
                current[job_id].started = moment
            else:
                current.pop(job_id).ended = moment
        return found

    def _moves(self, jobs: dict[str, Any]) -> Iterator[tuple[UUID, str, str, float]]:
        """Job, state before, state after and moment of each move into, within or out of flight, as they came."""
        chosen = {f"job__{name}": _plain(value) for name, value in jobs.items()}
        flown = Q(from_state__in=IN_FLIGHT) | Q(to_state__in=IN_FLIGHT)
        events = JobEvent.objects.using(settings.DATABASE).filter(flown, at__gte=self._clock.start, **chosen)
        moved = events.exclude(from_state=F("to_state")).order_by("pk")
        for job_id, before, after, at in moved.values_list("job_id", "from_state", "to_state", "at"):
            yield job_id, before, after, self._since_start(at)

    @staticmethod
    def _rows(jobs: dict[str, Any]) -> JobQuerySet:
        chosen = {name: _plain(value) for name, value in jobs.items()}
        return Job.objects.using(settings.DATABASE).filter(**chosen)

    def _since_start(self, moment: datetime) -> float:
        return (moment - self._clock.start).total_seconds()

    def _needs(self, resource: str, pool: str) -> dict[UUID, float]:
        rows = self._rows({"pool": pool}).filter(attempt_id__isnull=False).values("pk", *COLUMNS)
        return {row["pk"]: facts_of(row).needs.get(resource, 0.0) for row in rows}


def _size(resource: str, pool: str) -> float:
    """What a pool has of a resource."""
    using = settings.DATABASE
    if resource == SLOTS:
        rows = Worker.objects.using(using).unfenced().values_list("pools", "slots")
        size: float | None = sum(slots for pools, slots in rows if pool in pools)
    else:
        row = Pool.objects.using(using).get(name=pool)
        budgets = {MEMORY: row.max_memory_mb, CPU: row.max_cpu_weight, DISK: row.max_disk_mb, **row.resources}
        size = budgets.get(resource)
    if not size:
        raise ValueError(f"resource: pool {pool!r} has no {resource!r} that could be in use; give it a size first")
    return size


def _plain(value: Any) -> Any:
    """A task by its name."""
    return getattr(value, "name", value) if callable(value) else value
