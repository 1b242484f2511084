"""Why a pending job is not admitted: every blocker that admission would find, and the jobs ahead of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from jobs.admission import limits, publishing, queries
from jobs.admission.limits import QueuePosition, Snapshot
from jobs.admission.passes import BATCH
from jobs.core.conf import settings
from jobs.core.db.values import prepare
from jobs.models import Job
from jobs.monitoring import counting
from jobs.monitoring.explain import remarks, sentences
from jobs.monitoring.explain.answer import Reason, Why
from jobs.monitoring.explain.holders import holders
from jobs.monitoring.explain.wording import name


def explain(job: Job, now: datetime) -> Why:
    """All that keeps a pending job, or that it is next."""
    snapshot = limits.preview(job.pool)
    if snapshot is None:
        reason = Reason("no_pool", f"Pool {name(job.pool)} does not exist any more.", pool=job.pool)
        return Why(job.id, job.state, (reason,))
    stand = _queue_position(job, snapshot)
    position = _position(job)
    reasons = [*_closed(snapshot), *_blocking(stand, job, now)]
    ahead = None if stand.blockers else len(stand.ahead)
    is_next = not reasons and _is_next(job, snapshot, position.number)
    beside = remarks.remarks(stand, now, position, is_next=is_next, is_kept=bool(reasons))
    return Why(job.id, job.state, (*reasons, *beside), position, ahead, is_next)


def _queue_position(job: Job, snapshot: Snapshot) -> QueuePosition:
    """The position of the job's lane. It is added if the snapshot does not have it: there may be too many lanes."""
    lane_head = next((head for head in snapshot.heads if head.lane in (str(job.lane), job.lane.hex)), None)
    if lane_head is None:
        lane_head = limits.head_of(job)
        snapshot = replace(snapshot, heads=[*snapshot.heads, lane_head])
    return limits.position_of(snapshot, lane_head.lane)


def _position(job: Job) -> counting.Bounded:
    using = settings.DATABASE
    lane, job_id = prepare(using, Job, "lane", job.lane), prepare(using, Job, "id", job.pk)
    return counting.bounded(queries.place(job.pool, lane, job.rank, job_id, counting.CEILING + 1))


def _closed(snapshot: Snapshot) -> Iterator[Reason]:
    """What stops all admission of this process."""
    if publishing.breaker.is_open:
        yield Reason("broker_away", "The broker does not answer this process, which admits nothing until it does.")
    if settings.MAX_CONCURRENT is not None and limits.SYSTEM_LIMIT not in {rule.name for rule in snapshot.rules.all}:
        sentence = "The row of the system-wide limit is missing, so nothing is admitted: run `manage.py migrate`."
        yield Reason("no_system_limit", sentence, limit=limits.SYSTEM_LIMIT)


def _blocking(stand: QueuePosition, job: Job, now: datetime) -> Iterator[Reason]:
    blockers = [*limits.pool_blockers(stand.tally), *stand.blockers]
    closed = sentences.closed_by(job.pool, blockers)
    for blocker, held_by in zip(blockers, holders(stand, blockers), strict=True):
        reason = sentences.reason(blocker, stand, closed, now)
        yield replace(reason, holders=held_by.named, more_holders=held_by.more)


def _is_next(job: Job, snapshot: Snapshot, position: int) -> bool:
    """Whether the next admission takes this job, decided by the same code."""
    plan = limits.plan(snapshot, BATCH)
    if not plan.lanes:
        return False
    if plan.is_simple:
        return plan.lanes[0].lane in (str(job.lane), job.lane.hex) and position < limits.how_many(plan)
    lanes = limits.first_lanes(plan)
    picked: Sequence[queries.Candidate] = limits.pick(plan, queries.best_of(job.pool, lanes), lanes)
    return any(UUID(candidate.id) == job.id for candidate in picked)
